"""Simulated time has the speed of its parameter, and the link uses it."""

import time

import pytest

rclpy = pytest.importorskip('rclpy')

from bench import frame, own_domain  # noqa: E402
from gsc_ros.msg import LinkStatus, SemanticFrame  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from gsc_ros.nodes.clock import ClockNode  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402

PATIENCE_S = 15.0
SPEED = 200


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain(16))
    yield context
    context.try_shutdown()


def test_a_frame_from_mars_takes_minutes_of_simulated_time(context):
    clock = ClockNode(context=context, parameter_overrides=[Parameter('speed', value=SPEED)])
    settings = {'profile': 'mars_dte_hga_34m', 'use_sim_time': True, 'security': False}
    link = LinkNode(
        context=context, parameter_overrides=[Parameter(k, value=v) for k, v in settings.items()]
    )
    peer = rclpy.create_node('peer', context=context)
    times, states, came = [], [], []
    peer.create_subscription(Clock, '/clock', times.append, topics.SENSOR)
    peer.create_subscription(LinkStatus, topics.STATUS, states.append, topics.LATCHED)
    peer.create_subscription(SemanticFrame, topics.RECEIVED, came.append, topics.IMAGES)
    frames = peer.create_publisher(SemanticFrame, topics.CODED, topics.NEWEST)
    executor = SingleThreadedExecutor(context=context)
    for node in (clock, link, peer):
        executor.add_node(node)

    def wait(condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, 'nothing came'
            executor.spin_once(0.005)

    def now_s():
        return times[-1].clock.sec + 1e-9 * times[-1].clock.nanosec

    try:
        wait(lambda: times and states and frames.get_subscription_count())
        simulated = now_s()
        frames.publish(frame())
        wait(lambda: came)
        delay = states[-1].delay_s
        assert 700 < delay < 800
        assert delay < now_s() - simulated
    finally:
        for node in (clock, link):
            node.close()
            node.destroy_node()
        peer.destroy_node()


def test_simulated_time_is_a_multiple_of_real_time(context):
    overrides = [Parameter('speed', value=SPEED), Parameter('start_s', value=5)]
    node = ClockNode(
        context=context, parameter_overrides=[*overrides, Parameter('autostart', value=False)]
    )
    try:
        node.trigger_configure()
        before_start = time.monotonic()
        node.trigger_activate()
        after_start = time.monotonic()
        time.sleep(0.05)
        before = time.monotonic()
        node._tick()
        after = time.monotonic()
        passed = node.now_ns * 1e-9 - 5
        assert SPEED * (before - after_start) <= passed <= SPEED * (after - before_start)
        assert passed > 0.05 * SPEED * 0.99
    finally:
        node.close()
        node.destroy_node()


def test_a_speed_that_cannot_be_is_refused(context, capfd):
    node = ClockNode(
        context=context,
        parameter_overrides=[Parameter('speed', value=-1), Parameter('autostart', value=False)],
    )
    node.trigger_configure()
    assert node.diagnostics is None
    node.destroy_node()
    assert 'speed' in capfd.readouterr().err
