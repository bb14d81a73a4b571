"""Mismatches on a topic are reported with their remedy; commands of both types are taken."""

import threading

import pytest

rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import Twist, TwistStamped  # noqa: E402
from gsc_ros.msg import LinkStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image, RegionOfInterest  # noqa: E402
from std_msgs.msg import Empty, String  # noqa: E402

from gsc_ros.link.datagrams.framing import TrafficClass  # noqa: E402
from gsc_ros.link.datagrams.payloads import Command  # noqa: E402
from gsc_ros.nodes.camera import Camera  # noqa: E402
from gsc_ros.nodes.encoder import Encoder  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.ros import graph_check, topics  # noqa: E402
from gsc_ros.ros.link import velocity_input  # noqa: E402

LINK = {'profile': 'ideal', 'security': False}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look more often than in the field."""
    monkeypatch.setattr(velocity_input, '_CHECK_S', 0.1)
    monkeypatch.setattr(graph_check, '_CHECK_S', 0.3)
    monkeypatch.setattr(graph_check, '_STILL_S', 0.6)


class Stranger:
    """A node of another process, as far as DDS can tell: one process has one type on a topic."""

    def __init__(self, namespace):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('stranger', context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def publishes(self, kind, topic, qos=topics.NEWEST):
        return self.node.create_publisher(kind, topic, qos)

    def takes(self, kind, topic, qos=topics.NEWEST):
        got = []
        self.node.create_subscription(kind, topic, got.append, qos)
        return got

    def close(self):
        self.executor.shutdown()
        self.thread.join(5)
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def stranger(bench):
    made = Stranger(bench.namespace)
    yield made
    made.close()


@pytest.fixture
def another(bench):
    made = Stranger(bench.namespace)
    yield made
    made.close()


def velocity(kind, x, stamp=None):
    message = kind()
    twist = message.twist if kind is TwistStamped else message
    twist.linear.x = x
    if stamp is not None:
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'base_link'
    return message


@pytest.mark.parametrize(
    ('kind', 'node', 'parameters', 'topic', 'wrong', 'right'),
    [
        ('in', LinkNode, LINK, topics.CODED, Image, 'gsc_ros/msg/SemanticFrame'),
        ('in', LinkNode, LINK, topics.REGION, String, 'sensor_msgs/msg/RegionOfInterest'),
        ('in', Encoder, {'weights': 'random'}, topics.IMAGE, RegionOfInterest,
         'sensor_msgs/msg/Image'),
        ('out', LinkNode, LINK, topics.CMD_VEL, TwistStamped, 'geometry_msgs/msg/Twist'),
        ('out', LinkNode, LINK, topics.RECEIVED, Image, 'gsc_ros/msg/SemanticFrame'),
    ],
)  # fmt: skip
def test_another_type_is_named_with_its_remedy(
    bench, stranger, kind, node, parameters, topic, wrong, right
):
    made = bench.add(node, **parameters)
    (stranger.publishes if kind == 'in' else stranger.takes)(wrong, topic)
    name = '/'.join([wrong.__module__.split('.')[0], 'msg', wrong.__name__])
    level, message, _ = bench.wait_for_report(
        made.get_name(), lambda level, message, values: 'stranger' in message
    )
    assert level >= DiagnosticStatus.WARN
    for part in (f'{bench.namespace}/{topic}: ', f'{bench.namespace}/stranger', name, right):
        assert part in message
    assert ('Set the parameter stamped' in message) == (wrong is TwistStamped)
    assert 'another topic' in message


@pytest.mark.parametrize(
    ('kind', 'topic', 'message_type', 'qos', 'printed'),
    [
        ('in', topics.CODED, None, topics.SENSOR, 'publisher is best effort'),
        ('in', topics.STATUS, LinkStatus, topics.NEWEST, 'publisher is volatile'),
        ('out', topics.CODED, None, topics.LATCHED, 'subscriber transient local'),
    ],
)
def test_a_quality_that_does_not_match_is_named(
    bench, stranger, kind, topic, message_type, qos, printed
):
    from gsc_ros.msg import SemanticFrame

    encoder = kind == 'out' or message_type is LinkStatus
    made = bench.add(Encoder, weights='random') if encoder else bench.add(LinkNode, **LINK)
    (stranger.publishes if kind == 'in' else stranger.takes)(
        message_type or SemanticFrame, topic, qos
    )
    _, message, _ = bench.wait_for_report(
        made.get_name(), lambda level, message, values: 'stranger' in message
    )
    assert printed in message
    assert 'Make the publisher' in message


def test_what_matches_is_no_problem_and_what_is_mended_goes_away(bench, stranger):
    link = bench.add(LinkNode, **LINK)
    stranger.publishes(Empty, topics.KEY_MISSED)
    stranger.takes(Twist, topics.CMD_VEL, topics.SENSOR)
    wrong = stranger.publishes(String, topics.REGION)
    bench.wait(lambda: link._graph_check.problems, 'the wrong one is found')
    assert len(link._graph_check.problems) == 1
    stranger.node.destroy_publisher(wrong)
    bench.wait(lambda: not link._graph_check.problems, 'it is gone')


def test_a_graph_that_cannot_be_asked_harms_no_node(bench, monkeypatch):
    link = bench.add(LinkNode, **LINK)
    asked = []

    def fail(topic):
        asked.append(topic)
        raise RuntimeError('no graph')

    monkeypatch.setattr(link, 'get_publishers_info_by_topic', fail)
    bench.wait(lambda: len(asked) > 4 and f'{bench.namespace}/{topics.TELEOP}' in asked)
    assert bench.thread.is_alive()


def test_simulated_time_that_does_not_come_or_stands_still_is_reported(bench, stranger):
    link = bench.add(LinkNode, use_sim_time=True, **LINK)

    def matches(state):
        return lambda level, message, values: f'/clock {state}' in message

    level, message, _ = bench.wait_for_report('link', matches('is missing'))
    assert level >= DiagnosticStatus.WARN
    assert 'use_sim_time' in message
    clock = stranger.publishes(Clock, '/clock', topics.SENSOR)
    bench.wait_for_report('link', matches('stands still'))
    tick = Clock()

    def ticks():
        tick.clock.nanosec += 1000
        clock.publish(tick)
        return not link._graph_check.problems

    bench.wait(ticks, 'the clock goes')
    bench.wait(lambda: link._graph_check.problems, 'the clock stands again')
    assert '/clock stands still' in link._graph_check.problems[0]


@pytest.mark.parametrize('stamped', [False, True])
@pytest.mark.parametrize('kind', [Twist, TwistStamped])
def test_commands_of_both_types_are_taken(bench, stranger, kind, stamped):
    link = bench.add(LinkNode, stamped=stamped, **LINK)
    bench.subscribe(Twist, topics.LINK_CMD_VEL)
    teleop = stranger.publishes(kind, topics.TELEOP)
    bench.wait(lambda: teleop.publish(velocity(kind, 0.5)) or bench.got[topics.LINK_CMD_VEL])
    assert bench.got[topics.LINK_CMD_VEL][0].linear.x == 0.5
    assert not link._graph_check.problems


@pytest.mark.parametrize('stamped', [False, True])
def test_of_both_types_at_once_the_parameter_chooses_and_the_other_is_reported(
    bench, stranger, another, stamped
):
    link = bench.add(LinkNode, stamped=stamped, **LINK)
    bench.subscribe(Twist, topics.LINK_CMD_VEL)
    wanted, unwanted = (TwistStamped, Twist) if stamped else (Twist, TwistStamped)
    speeds = {Twist: 0.25, TwistStamped: 0.5}
    both = {
        kind: (node.publishes(kind, topics.TELEOP), speeds[kind])
        for kind, node in ((wanted, stranger), (unwanted, another))
    }

    def drive():
        for kind, (publisher, speed) in both.items():
            publisher.publish(velocity(kind, speed))
        found = link._graph_check.problems
        return len(found) == 1 and topics.TELEOP in found[0] and bench.got[topics.LINK_CMD_VEL]

    bench.wait(drive, 'commands and a warning')
    assert any('Set the parameter stamped' in one for one in link._graph_check.problems)

    def last():
        drive()
        return [m.linear.x for m in bench.got[topics.LINK_CMD_VEL]][-5:]

    # Those of before may still be on their way.
    bench.wait(lambda: last() == 5 * [both[wanted][1]], 'the commands of the wanted type alone')
    # Alone, the other one is taken; when the preferred one comes back, that.
    stranger.node.destroy_publisher(both.pop(wanted)[0])
    (other,) = both.values()
    bench.got[topics.LINK_CMD_VEL].clear()
    bench.wait(lambda: drive() or other[1] in [m.linear.x for m in bench.got[topics.LINK_CMD_VEL]])


def test_an_old_stamp_is_refused_a_young_one_is_the_commands_time(bench, stranger):
    link = bench.add(LinkNode, stamped=True, **LINK)
    bench.subscribe(Twist, topics.LINK_CMD_VEL)
    offered = []
    offer = link.ground._up.offer

    def note(payload, now, traffic_class, *rest, **options):
        if traffic_class is TrafficClass.COMMAND:
            offered.append(payload)
        return offer(payload, now, traffic_class, *rest, **options)

    link.ground._up.offer = note
    teleop = stranger.publishes(TwistStamped, topics.TELEOP)
    bench.wait(teleop.get_subscription_count)
    now = stranger.node.get_clock().now

    def say(x, age_s):
        count = len(offered), link.refused
        stamp = now() - rclpy.duration.Duration(seconds=age_s)
        teleop.publish(velocity(TwistStamped, x, stamp))
        bench.wait(lambda: (len(offered), link.refused) != count, 'the command is seen')
        return stamp, now()

    say(0.3, 5.0)
    assert link.refused == 1 and not offered
    stamp, _ = say(0.3, 0.4)
    say(0.0, 5.0)  # to stop it is never too late
    before = now()
    _, after = say(0.3, -3600.0)  # the future says nothing
    assert link.refused == 1
    us = [time.nanoseconds // 1000 for time in (stamp, before, after)]
    young, stop, future = (Command.unpack(p, us[0]).stamp_us for p in offered)
    assert young == us[0]
    assert us[1] <= future <= us[2]
    assert stop > young  # it was given when it came


def test_the_simulated_robot_takes_both_types(bench, stranger, tmp_path):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / '0.png'), np.zeros((64, 64, 3), np.uint8))
    camera = bench.add(Camera, source='images', path=str(tmp_path))
    teleop = stranger.publishes(TwistStamped, topics.CMD_VEL)
    bench.wait(lambda: teleop.publish(velocity(TwistStamped, 0.7)) or camera._command)
    assert camera._command.message == (0.7, 0.0)
