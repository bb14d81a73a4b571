"""The guard: what it passes on, when it stops the robot, and how little it is."""

import dataclasses
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')

from geometry_msgs.msg import Twist, TwistStamped  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_msgs.msg import Empty, Float32  # noqa: E402

from gsc_ros.nodes.guard import Guard, GuardParameters  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def drive(speed=0.5):
    twist = Twist()
    twist.linear.x = speed
    return twist


class Watched:
    """A guard on a bench, and what comes out of it with the times (s)."""

    def __init__(self, bench, kind=Twist, **parameters):
        self.bench = bench
        self.came = []
        bench.peer.create_subscription(
            kind, topics.CMD_VEL, lambda m: self.came.append((time.monotonic(), m)), 50
        )
        bench.subscribe(Empty, topics.GUARD_ALIVE, topics.SENSOR)
        self.link = bench.peer.create_publisher(Twist, topics.LINK_CMD_VEL, topics.NEWEST)
        self.node = bench.add(Guard, **parameters)
        bench.wait(self.link.get_subscription_count, 'the guard listens')
        bench.wait(lambda: self.came, 'a zero at the start')
        bench.wait(lambda: not self.node._zeros, 'it was repeated often enough')
        self.came.clear()

    @property
    def speeds(self):
        return [getattr(m, 'twist', m).linear.x for _, m in list(self.came)]

    def send(self, speed=0.5):
        """Send a velocity and wait until it came out; returns when it did."""
        before = len(self.came)
        self.link.publish(drive(speed))
        self.bench.wait(lambda: len(self.came) > before and self.speeds[-1] == speed)
        return self.came[-1][0]


def test_a_zero_comes_at_the_start_and_at_the_end(bench):
    came = []
    bench.peer.create_subscription(Twist, topics.CMD_VEL, came.append, 50)
    node = bench.add(Guard)
    bench.wait(lambda: came)
    bench.wait(lambda: not node._zeros)
    assert set(map(str, came)) == {str(Twist())}
    node.moving = True
    came.clear()
    node.halt()
    bench.wait(lambda: came)
    assert came[0] == Twist()


def test_velocities_are_passed_on_and_the_robot_is_stopped_when_they_end(bench):
    guard = Watched(bench, command_timeout_s=0.3)
    for speed in (0.5, 0.25, -1.0):
        at = guard.send(speed)
    bench.wait(lambda: 0.0 in guard.speeds)
    stopped = guard.came[guard.speeds.index(0.0)][0]
    assert 0.25 < stopped - at < 2.0  # test_stop_latency.py measures it
    assert guard.node.stops == 1
    time.sleep(0.3)
    assert set(guard.speeds[3:]) == {0.0} and len(guard.speeds) < 8  # again, not for ever


def test_a_robot_that_stands_is_left_alone(bench):
    guard = Watched(bench, command_timeout_s=0.1)
    guard.send(0.5)
    guard.send(0.0)
    guard.came.clear()
    time.sleep(0.4)
    assert not guard.came and guard.node.stops == 0


def test_every_kind_of_motion_counts(bench):
    guard = Watched(bench, command_timeout_s=0.1)
    twist = Twist()
    twist.angular.z = 1e-3
    guard.link.publish(twist)
    bench.wait(lambda: guard.node.stops == 1)
    twist.angular.z = math.nan
    guard.link.publish(twist)
    bench.wait(lambda: guard.node.stops == 2)


def test_the_links_timeout_counts_unless_the_guard_has_its_own(bench):
    guard = Watched(bench)
    timeout = bench.peer.create_publisher(Float32, topics.COMMAND_TIMEOUT, topics.LATCHED)
    timeout.publish(Float32(data=0.1))
    bench.wait(lambda: guard.node.timeout_s == pytest.approx(0.1))
    at = guard.send()
    bench.wait(lambda: guard.node.stops == 1)
    assert time.monotonic() - at < 2.0
    for useless in (0.0, -1.0, math.nan, math.inf):
        timeout.publish(Float32(data=useless))
    timeout.publish(Float32(data=0.1))
    other = Watched(bench, command_timeout_s=5.0)  # which gets the last one that was published
    # The link misses it sooner.
    bench.wait(lambda: other.node._beat_s == pytest.approx(0.1 / 4))
    assert other.node.timeout_s == 5.0
    assert guard.node.timeout_s == pytest.approx(0.1)


def test_it_publishes_that_it_lives(bench):
    guard = Watched(bench)
    bench.got[topics.GUARD_ALIVE].clear()
    bench.wait(lambda: len(bench.got[topics.GUARD_ALIVE]) >= 10)
    assert guard.node._beat_s <= 0.1  # not counted by the clock of a busy machine
    assert guard.node.count_publishers(f'{bench.namespace}/{topics.GUARD_ALIVE}') == 1


def test_what_waited_too_long_is_not_passed_on(bench):
    guard = Watched(bench, command_timeout_s=0.2)
    old = {'source_timestamp': time.time_ns() - 10**9}
    guard.node._on_velocity(drive(), old)
    assert guard.node.refused == 1 and not guard.node.moving
    guard.node._on_velocity(drive(), {'source_timestamp': time.time_ns()})
    assert guard.node.moving


def test_a_zero_is_never_too_old(bench):
    guard = Watched(bench, command_timeout_s=50.0)
    guard.send(0.5)
    guard.node._on_velocity(Twist(), {'source_timestamp': time.time_ns() - 10**12})
    assert not guard.node.moving
    bench.wait(lambda: guard.speeds[-1] == 0.0)


def test_the_time_that_a_velocity_waited_counts(bench):
    guard = Watched(bench, command_timeout_s=50.0)
    guard.node._on_velocity(drive(), {'source_timestamp': time.time_ns() - 49_700_000_000})
    bench.wait(lambda: guard.node.stops == 1)


def test_nothing_but_a_velocity_puts_a_stop_off(bench):
    """A link that is started again, or whose parameters change, tells its timeout anew."""
    guard = Watched(bench)
    timeout = bench.peer.create_publisher(Float32, topics.COMMAND_TIMEOUT, topics.LATCHED)
    timeout.publish(Float32(data=0.5))
    bench.wait(lambda: guard.node.timeout_s == 0.5)
    at = guard.send()
    while guard.node.moving:
        timeout.publish(Float32(data=0.5))
        time.sleep(0.05)
        assert time.monotonic() - at < 5.0


def test_it_speaks_as_the_base_wants(bench):
    guard = Watched(bench, TwistStamped, stamped=True, frame_id='base')
    guard.send(0.5)
    message = guard.came[-1][1]
    assert message.header.frame_id == 'base'
    age_s = time.time() - message.header.stamp.sec - 1e-9 * message.header.stamp.nanosec
    assert 0 <= age_s < 5


@pytest.mark.parametrize('stamped', [False, True])
def test_simulated_time_does_not_stop_its_clock(bench, stamped):
    """Nothing publishes /clock: simulated time stands still."""
    kind = TwistStamped if stamped else Twist
    guard = Watched(bench, kind, stamped=stamped, use_sim_time=True, command_timeout_s=0.2)
    guard.send(0.5)
    bench.wait(lambda: guard.node.stops == 1)
    # Only stamps are worth a subscription to /clock.
    assert guard.node.get_parameter('use_sim_time').value is stamped


class Held:
    """An executor that waits, as one does whose middleware takes a clock that was set back."""

    def __init__(self, bench, seconds):
        self.begun, self.over = threading.Event(), threading.Event()

        def hold():
            self.begun.set()
            self.over.wait(seconds)

        bench.executor.create_task(hold)

    def __enter__(self):
        assert self.begun.wait(10)

    def __exit__(self, *_):
        self.over.set()


def counted(publisher):
    """Return the list of times at which something is published from now on (s)."""
    times, publish = [], publisher.publish
    publisher.publish = lambda message: (times.append(time.monotonic()), publish(message))
    return times


def test_an_executor_that_waits_puts_no_stop_off(bench):
    guard = Watched(bench, command_timeout_s=0.3)
    at = guard.send()
    with Held(bench, 20.0):
        stops, alive = counted(guard.node._cmd_vel._publisher), counted(guard.node._alive)
        while not stops and time.monotonic() < at + 5.0:
            time.sleep(0.005)
        time.sleep(0.5)
        assert stops and 0.25 < stops[0] - at < 1.0
        assert 2 <= len(stops) <= 4, 'it is repeated, not for ever'
        assert len(alive) >= 5
    assert guard.node.stops == 1 and not guard.node.moving


def test_zeros_at_the_start_wait_for_no_executor(bench):
    with Held(bench, 20.0):
        node = Guard(context=bench.context, namespace=bench.namespace)
        try:
            zeros = counted(node._cmd_vel._publisher)
            deadline = time.monotonic() + 10
            while node._zeros and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not node._zeros and len(zeros) > 15
        finally:
            node.close()
            node.destroy_node()


def test_a_publisher_that_hangs_has_not_the_last_word(bench):
    guard = Watched(bench, command_timeout_s=0.2)
    publisher, publish = guard.node._cmd_vel._publisher, guard.node._cmd_vel._publisher.publish
    hangs, speeds = threading.Event(), []

    def slow(message):
        if message.linear.x:
            hangs.wait(0.6)
        speeds.append(message.linear.x)
        publish(message)

    publisher.publish = slow
    guard.link.publish(drive())
    bench.wait(lambda: 0.5 in speeds and speeds[-1] == 0.0)
    assert speeds[0] == 0.0 and not guard.node.moving


def test_a_thread_that_fails_goes_on(bench):
    guard = Watched(bench, command_timeout_s=0.2)
    publish, failed = guard.node._alive.publish, []

    def fail(message):
        guard.node._alive.publish = publish
        failed.append(message)
        raise RuntimeError('a failure of the test')

    guard.node._alive.publish = fail
    bench.wait(lambda: failed)
    guard.send()
    bench.wait(lambda: guard.node.stops == 1)


def test_its_executor_has_nothing_else_to_do(bench):
    node = Watched(bench).node
    assert not list(node.services) and not list(node.clients)
    assert {s.topic_name.removeprefix(f'{bench.namespace}/') for s in node.subscriptions} == {
        topics.LINK_CMD_VEL, topics.COMMAND_TIMEOUT,
    }  # fmt: skip


LIST = """
import sys
from gsc_ros.start import run
import gsc_ros.nodes.guard as guard
guard.process.run = lambda *_: 0
assert run('guard') == 0
print(*sorted(sys.modules))
"""


def test_it_is_small():
    modules = subprocess.run(
        [sys.executable, '-c', LIST], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {'torch', 'cv2', 'PIL', 'cryptography', 'mujoco'} & set(modules)
    ours = {name for name in modules if name.startswith('gsc_ros')}
    assert ours == {
        'gsc_ros', 'gsc_ros.start', 'gsc_ros.nodes', 'gsc_ros.nodes.guard',
        'gsc_ros.ros', 'gsc_ros.ros.monotonic', 'gsc_ros.ros.parameters', 'gsc_ros.ros.process',
        'gsc_ros.ros.shared_memory', 'gsc_ros.ros.topics',
        'gsc_ros.ros.link', 'gsc_ros.ros.link.velocity',
    }  # fmt: skip


def test_its_parameters_are_fixed():
    # It reads them once and offers no service to set them.
    assert all(field.metadata['read_only'] for field in dataclasses.fields(GuardParameters))


def test_a_parameter_that_cannot_be_used_is_reported(ros):
    with pytest.raises(ValueError, match='command_timeout_s'):
        Guard(context=ros, parameter_overrides=[Parameter('command_timeout_s', value=-1.0)])
    words = ['-m', 'gsc_ros.nodes.guard', '--ros-args', '-p', 'command_timeout_s:=-1.0']
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert 'command_timeout_s' in ended.stderr and 'Traceback' not in ended.stderr
