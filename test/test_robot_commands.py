"""Commands and STOP at the robot's end, in running nodes: what moves it, and what stops it."""

import itertools
import random
import socket
import threading
import time
from collections import deque
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy')

from bench import drive  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import Twist  # noqa: E402
from gsc_ros.msg import LinkStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from gsc_ros.link.datagrams.framing import TrafficClass  # noqa: E402
from gsc_ros.link.datagrams.payloads import Command, Stop  # noqa: E402
from gsc_ros.link.traffic.command_gate import Refusal  # noqa: E402
from gsc_ros.nodes.guard import Guard  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.nodes.link_ground import LinkGround  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402
from gsc_ros.ros.diagnostics import WARN  # noqa: E402


class Driven:
    """A simulated link whose ground knows the robot, with a guard or without."""

    def __init__(self, bench, guard=True, **parameters):
        self.bench = bench
        for topic in (topics.CMD_VEL, topics.LINK_CMD_VEL):
            bench.subscribe(Twist, topic)
        bench.subscribe(LinkStatus, topics.STATUS, topics.LATCHED)
        self.teleop = bench.peer.create_publisher(Twist, topics.TELEOP, topics.NEWEST)
        self.guard = bench.add(Guard) if guard else None
        self.node = bench.add(LinkNode, **{'profile': 'ideal', **parameters})
        bench.wait(self.teleop.get_subscription_count, 'the link listens')
        self.commands = self.node.robot.commands
        bench.wait(lambda: self.node.down.receiver.session, 'the ground knows the robot')
        for topic in (topics.CMD_VEL, topics.LINK_CMD_VEL):
            name = f'{bench.namespace}/{topic}'
            bench.wait(lambda name=name: self.node.count_subscribers(name) and
                       self.node.count_publishers(name) >= 1)  # fmt: skip
        if guard:
            bench.wait(lambda: not self.commands.guard_missing, 'the guard is there')
            bench.wait(lambda: not self.guard._zeros)
        self.number = 0

    def speeds(self, topic=topics.CMD_VEL):
        return [m.linear.x for m in list(self.bench.got[topic])]

    def drive(self, speed=0.5, topic=topics.CMD_VEL):
        """Command a speed until it comes out."""
        before = len(self.speeds(topic))
        self.teleop.publish(drive(speed))
        self.bench.wait(lambda: speed in self.speeds(topic)[before:], f'{speed} comes out')

    def offer(self, message, traffic_class):
        """Let the ground send a message."""

        def send():
            self.node.up.offer(message.pack(), self.node.now(), traffic_class)
            self.node.wake()

        self.bench.executor.create_task(send)

    def stop(self, stop=True, age_s=0.0, robot=None):
        self.number += 1
        stamp_us = self.node.get_clock().now().nanoseconds // 1000 - round(age_s * 1e6)
        robot = self.node.session & 0xFF if robot is None else robot
        self.offer(Stop(stamp_us, self.number, stop, robot), TrafficClass.STOP)
        return self.number


def test_a_ground_that_has_yet_to_find_the_session_is_no_warning(bench):
    driven = Driven(bench)
    warnings, gate = [], driven.commands.gate
    driven.commands._warn = warnings.append

    def misaddress(count):
        stamp_us = driven.node.get_clock().now().nanoseconds // 1000
        driven.offer(Command(stamp_us, (0.5, 0.0, 0.0, 0.0, 0.0, 0.0), 0), TrafficClass.COMMAND)
        bench.wait(lambda: gate.refused[Refusal.ADDRESS] == count)
        bench.settle()

    misaddress(1)
    assert not warnings
    driven.commands._misaddressed_at -= 60.0
    misaddress(2)
    assert warnings == ['command not executed: for another session of the robot']
    assert 'for another session' in driven.node.robot.trouble(driven.node.now())
    driven.drive()
    misaddress(3)  # which is a new beginning
    assert len(warnings) == 1 and not driven.commands.trouble(time.monotonic())


def test_a_stop_holds_until_its_release_and_the_ground_knows(bench):
    driven = Driven(bench, command_timeout_s=100.0)
    driven.drive()
    number = driven.stop(age_s=1e5, robot=0)  # a STOP is obeyed whatever its age and address
    bench.wait(lambda: driven.speeds()[-1] == 0.0)
    gate = driven.commands.gate
    assert gate.held
    halts, halt = [], driven.commands.halt
    driven.commands.halt = lambda reason: (halts.append(reason), halt(reason))
    repeated = driven.node.up.receiver.accepted
    driven.offer(Stop(0, number), TrafficClass.STOP)  # until the acknowledgement has arrived
    bench.wait(lambda: driven.node.up.receiver.accepted > repeated)
    bench.wait(lambda: driven.node.ground.robot_report.stop == number, 'an acknowledgement')
    assert gate.held and not halts  # which is no news
    driven.commands.halt = halt
    assert driven.node.ground.robot_report.latched
    bench.wait(lambda: bench.got[topics.STATUS][-1].stop == LinkStatus.STOP_HELD)
    report = driven.node.diagnose()
    assert report.level == WARN and "the operator's STOP is held" in report.message
    assert 'the robot holds the STOP' in driven.node.ground.urgent_trouble(driven.node.now())
    driven.teleop.publish(drive())  # the ground does not even send it
    bench.wait(lambda: driven.node.ground.commands.dropped == 1)
    stamp_us = driven.node.get_clock().now().nanoseconds // 1000
    forward = (0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    driven.offer(Command(stamp_us, forward, driven.node.session & 0xFF), TrafficClass.COMMAND)
    bench.wait(lambda: gate.refused[Refusal.STOP] == 1)
    count = len(driven.speeds())
    bench.wait(lambda: len(driven.speeds()) > count + 3, 'it is repeated')
    assert set(driven.speeds()[count:]) == {0.0}
    stops = driven.node.up.sender.counts.of(TrafficClass.STOP)
    for refused in ({'age_s': 5.0}, {'robot': 0}):  # too old, and for another session
        before = stops.delivered
        driven.stop(False, **refused)
        bench.wait(lambda before=before: stops.delivered > before)
        bench.settle()
        assert gate.held
    number = driven.stop(False)
    bench.wait(lambda: not gate.held)
    bench.wait(lambda: driven.node.ground.robot_report.stop == number)
    assert not driven.node.ground.robot_report.latched
    assert 'STOP' not in driven.node.diagnose().message
    assert not driven.node.ground.urgent_trouble(driven.node.now())
    driven.drive(0.25)


def test_without_a_guard_nothing_moves_and_that_is_reported(bench):
    driven = Driven(bench, guard=False)
    driven.drive(topic=topics.LINK_CMD_VEL)
    assert not any(driven.speeds())
    level, _, _ = bench.wait_for_report(
        'link', lambda level, message, _: 'node guard is missing' in message
    )
    assert level != b'\0'
    bench.add(Guard)
    bench.wait_for_report('link', lambda level, message, _: 'guard' not in message)


def test_guarded_reports_warn(bench):
    from gsc_ros.ros.diagnostics import OK, Report

    driven = Driven(bench, guard=False)
    assert driven.node.robot.complete(Report(OK, 'ok')).level == WARN
    remapped = bench.add(Guard, ['cmd_vel:=base/cmd_vel'])
    bench.wait(lambda: not driven.commands.guard_missing)
    report = driven.node.robot.complete(Report(OK, 'ok'))
    assert report.level == WARN and 'remap cmd_vel alike' in report.message
    bench.remove(remapped)
    bench.add(Guard)
    bench.wait(lambda: driven.node.robot.complete(Report(OK, 'ok')).level == OK)


def test_a_guard_that_dies_is_no_longer_needed_to_stop(bench):
    driven = Driven(bench, command_timeout_s=0.3)
    driven.drive()
    bench.remove(driven.guard)  # without a word: halt() is the process's
    deadline = time.monotonic() + 5.0
    while driven.speeds()[-1] != 0.0:
        driven.teleop.publish(drive())  # the operator goes on
        time.sleep(0.02)
        assert time.monotonic() < deadline
    assert driven.commands.stops == 0  # not for want of commands
    bench.add(Guard)
    bench.wait(lambda: not driven.commands.guard_missing)
    driven.drive(0.25)


def test_the_stop_does_not_wait_for_the_node(bench):
    driven = Driven(bench, command_timeout_s=0.3)
    driven.drive()
    published = []
    driven.commands._cmd_vel.stop = lambda: published.append(time.monotonic())
    began = time.monotonic()
    bench.executor.create_task(lambda: time.sleep(1.5))  # the node's thread hangs
    time.sleep(1.0)
    assert published and published[0] - began < 0.8


def test_a_slow_publisher_neither_delays_a_stop_nor_has_the_last_word(bench):
    driven = Driven(bench, command_timeout_s=0.3)
    order = []
    publish, stop = driven.commands._velocities.publish, driven.commands._cmd_vel.stop

    def slow(twist):
        if twist.linear.x:
            time.sleep(1.0)
        order.append(('link', twist.linear.x, time.monotonic()))
        publish(twist)

    driven.commands._velocities.publish = slow
    driven.commands._cmd_vel.stop = lambda: (order.append(('cmd', 0.0, time.monotonic())), stop())
    began = time.monotonic()
    driven.teleop.publish(drive())
    bench.wait(lambda: any(speed for _, speed, _ in order))
    bench.wait(lambda: order[-1][1] == 0.0 and order[-1][0] == 'link')
    topic, speed, at = order[0]
    assert (topic, speed) == ('cmd', 0.0) and at - began < 0.8
    slow_one = [speed for _, speed, _ in order].index(0.5)
    assert ('link', 0.0) in [entry[:2] for entry in order[slow_one + 1 :]]


def test_trouble_in_the_watch_does_not_end_it(bench):
    driven = Driven(bench, command_timeout_s=0.2)
    expire, failures = driven.commands.gate.expire, []

    def failing(now):
        if len(failures) < 3:
            failures.append(now)
            raise RuntimeError('no')
        return expire(now)

    driven.commands.gate.moving = True
    driven.commands.gate._ran_at = time.monotonic()
    driven.commands.gate.expire = failing
    logged = []
    driven.node.get_logger = lambda: SimpleNamespace(
        warning=lambda text, **_: logged.append(text), error=lambda *_, **__: None
    )
    driven.commands._woken.set()
    bench.wait(lambda: driven.commands.stops == 1)
    assert len(failures) == 3
    bench.wait(lambda: 'robot stopped: no command came' in logged)
    assert logged[0] == 'error in the thread that stops the robot: no'


def test_limits_change_while_it_runs(bench):
    from rclpy.parameter import Parameter

    driven = Driven(bench, command_timeout_s=50.0)
    bench.wait(lambda: driven.guard.timeout_s == 50.0)
    driven.drive()
    assert driven.node.set_parameters([Parameter('command_timeout_s', value=0.2)])[0].successful
    bench.wait(lambda: driven.commands.stops == 1)
    bench.wait(lambda: driven.guard.timeout_s == pytest.approx(0.2))


def test_simulated_time_that_stands_still_does_not_hold_the_stop_up(bench):
    clock = bench.peer.create_publisher(Clock, '/clock', 10)
    seconds = itertools.count(100)

    def tick():
        clock.publish(Clock(clock=Time(sec=next(seconds))))
        time.sleep(0.05)

    ticking = threading.Event()

    def run():
        while not ticking.is_set():
            tick()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        driven = Driven(bench, use_sim_time=True, command_timeout_s=0.3)
        driven.drive()
    finally:
        ticking.set()  # time stands still from now on
        thread.join()
    bench.wait(lambda: driven.commands.stops >= 1)
    bench.wait(lambda: driven.speeds()[-1] == 0.0)


# A man in the middle


class Middle:
    """Stands between ground and robot: withholds, repeats and reorders what goes up."""

    def __init__(self, robot, seed):
        self.random = random.Random(seed)
        self.robot = robot
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))
        self.socket.settimeout(0.005)
        self.port = self.socket.getsockname()[1]
        self.ground = None
        self.kept = deque(maxlen=500)
        self.waiting = []
        self.hostile = False
        self.open = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while self.open:
            try:
                data, source = self.socket.recvfrom(65535)
            except (TimeoutError, ConnectionError):
                data, source = b'', None
            if source == ('127.0.0.1', self.robot):
                if self.ground:
                    self.socket.sendto(data, self.ground)
            elif data:
                self.ground = source
                self._up(data)
            now = time.monotonic()
            for entry in [e for e in self.waiting if e[0] <= now]:
                self.waiting.remove(entry)
                self.socket.sendto(entry[1], ('127.0.0.1', self.robot))

    def _up(self, data):
        now, chance = time.monotonic(), self.random.random()
        if not self.hostile or chance < 0.6:
            self.waiting.append((now, data))
        elif chance < 0.9:
            self.waiting.append((now + self.random.choice((0.02, 0.1, 0.5, 1.0, 3.0)), data))
        if self.hostile:
            self.kept.append(data)
            for _ in range(self.random.randrange(3)):
                late = self.random.choice((0.0, 0.05, 0.4))
                self.waiting.append((now + late, self.random.choice(self.kept)))

    def close(self):
        self.open = False
        self.thread.join(5)
        self.socket.close()


def through_the_middle(security, tmp_path, count, seed=1):
    """Send commands of rising speed; returns when each was sent and what came out when."""
    from gsc_ros.link.datagrams import key_file

    common = {'profile': 'ideal', 'security': security, 'command_max_age_s': 0.3}
    files = [tmp_path / end / 'link.key' for end in ('robot', 'ground')]
    if security:
        key_file.create(files[0])
        files[1].parent.mkdir(mode=0o700)
        for name in ('link.key', 'link.key.counts'):
            (files[1].parent / name).write_bytes((files[0].parent / name).read_bytes())
            (files[1].parent / name).chmod(0o600)
    context = rclpy.Context()
    rclpy.init(context=context)
    from rclpy.parameter import Parameter

    def node_of(kind, file, **parameters):
        values = common | parameters | ({'key_file': str(file)} if security else {})
        if kind is LinkGround:
            del values['command_max_age_s']
        overrides = [Parameter(k, value=v) for k, v in values.items()]
        return kind(context=context, namespace='/middle', parameter_overrides=overrides)

    executor = SingleThreadedExecutor(context=context)
    robot = node_of(LinkRobot, files[0], local='127.0.0.1:0')
    executor.add_node(robot)
    spin = threading.Thread(target=executor.spin, daemon=True)
    spin.start()
    middle = ground = None
    try:
        wait(lambda: robot.active)
        middle = Middle(robot._transport.local[1], seed)
        remote = f'127.0.0.1:{middle.port}'
        ground = node_of(LinkGround, files[1], local='127.0.0.1:0', remote=remote)
        executor.add_node(ground)
        wait(lambda: ground.active)
        came = []
        publish = robot.side.commands._velocities.publish

        def published(twist):
            if twist.linear.x:
                came.append((round(twist.linear.x * 1000), time.monotonic()))
            publish(twist)

        robot.side.commands._velocities.publish = published
        sent = {}

        def send(number):
            sent[number] = time.monotonic()
            stamp_us = ground.get_clock().now().nanoseconds // 1000
            address = ground.end.receiver.session & 0xFF
            payload = Command(stamp_us, (number / 1000, 0, 0, 0, 0, 0), address).pack()
            ground.end.offer(payload, ground.now(), TrafficClass.COMMAND)
            ground.wake()

        def acquainted():
            executor.create_task(send, 1)
            time.sleep(0.05)
            return bool(came)

        wait(acquainted)
        came.clear()
        middle.hostile = True
        for number in range(2, count + 2):
            executor.create_task(send, number)
            time.sleep(0.02)
        time.sleep(1.5)
        return sent, came, robot.side.commands.gate
    finally:
        executor.shutdown()
        spin.join(5)
        for node in (robot, ground):
            if node is not None:
                node.close()
                node.destroy_node()
        if middle is not None:
            middle.close()
        context.try_shutdown()


def wait(condition, patience_s=40.0):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    'count', [150, pytest.param(1000, marks=pytest.mark.slow)], ids=['150', '1000']
)
@pytest.mark.parametrize('security', [True, False], ids=['sealed', 'plain'])
def test_no_command_runs_twice_or_out_of_order_through_a_man_in_the_middle(
    security, tmp_path, count
):
    sent, came, gate = through_the_middle(security, tmp_path, count)
    numbers = [number for number, _ in came]
    assert len(numbers) > count / 4
    assert numbers == sorted(set(numbers))
    for number, at in came:
        assert at - sent[number] < 0.3 + 0.15  # and what the machine takes
    assert gate.refused  # he did try
