"""Ends that restart, clocks that jump, keys that differ: images come again, and the right ones."""

import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy')

from bench import Ends, camera, drive, frame  # noqa: E402
from geometry_msgs.msg import Twist  # noqa: E402
from gsc_ros.msg import LinkStatus  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from std_msgs.msg import Bool, Empty  # noqa: E402
from test_node_link_ends import key_files as _key_files  # noqa: E402

from gsc_ros.link.datagrams import key_file  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402
from gsc_ros.ros.diagnostics import ERROR, OK, STALE, WARN, Report  # noqa: E402
from gsc_ros.ros.link.state_report import report_of  # noqa: E402

PATIENCE_S = 20.0
key_files = _key_files
FIRST, SECOND = ('front', 400.0), ('rear', 900.0)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(('127.0.0.1', 0))
        return made.getsockname()[1]


class Field(Ends):
    """Ends that are started anew; the robot with one camera or another."""

    def __init__(self, files, domains=(16, 17)):
        super().__init__(domains)
        self.files = list(files)
        self.port = free_port()
        self.sequence = 0

    def start_ground(self, **more):
        local = f'127.0.0.1:{self.port}'
        super().start_ground(**{'local': local, 'key_file': self.files[1], **more})

    def start_robot(self, eye=FIRST, **more):
        address = {'local': '127.0.0.1:0', 'remote': f'127.0.0.1:{self.port}'}
        super().start_robot(**{**address, 'key_file': self.files[0], **more})
        self.use_camera(eye)

    def use_camera(self, eye):
        """Publish another camera's camera_info."""
        self.eye, self.sequence = eye, 0
        name, focal = eye
        self.robot.publishers[topics.CAMERA_INFO].publish(camera(name, focal))
        infos = self.robot.node.side.cameras[0]
        self.wait(lambda: infos.camera_info is not None and infos.camera_info.k[0] == focal)

    @property
    def shown(self):
        """The frames that came, each with frame_id and focal length of its camera_info."""
        images, infos = self.ground.got[topics.RECEIVED], self.ground.got[topics.RECEIVED_INFO]
        self.wait(lambda: len(infos) >= len(images))
        return [(i.header.frame_id, i.k[0]) for i in infos[: len(images)]]

    def send(self):
        """Send a frame, and give it time to come."""
        name, _ = self.eye
        now = time.time_ns()
        message = frame(2 * self.sequence, frame_id=name, stamp=divmod(now, 10**9))
        self.sequence += 1
        before = self.robot.node.end.sender.counts[3].offered
        self.robot.publishers[topics.CODED].publish(message)
        self.wait(lambda: self.robot.node.end.sender.counts[3].offered > before)
        self.spin(0.06)

    def frames_until_shown(self, most):
        """Send frames until one is shown; how many it took."""
        before = len(self.shown)
        for count in range(1, most + 1):
            self.send()
            # On a machine with other work a frame is longer on its way, and that does not count.
            for _ in range(10):
                if len(self.shown) > before:
                    return count
                self.spin(0.05)
        raise AssertionError(f'none of {most} frames is shown')

    def diagnosis(self, name):
        return getattr(self, name).node.diagnose()


@pytest.fixture
def field(key_files):
    made = Field(key_files)
    yield made
    made.close()


def test_a_robot_that_restarts_is_shown_within_three_frames_and_with_its_own_camera(field):
    field.start_ground()
    field.start_robot()
    for _ in range(20):
        field.send()
    first = field.robot.node.session
    assert field.ground.node.status().peer_session == first
    for eye in (SECOND, FIRST):
        field.end('robot')
        before = len(field.shown)
        field.start_robot(eye)
        assert field.robot.node.session != first
        assert field.frames_until_shown(3) <= 3
        for _ in range(5):
            field.send()
        assert set(field.shown[before:]) == {eye}
    sessions = [m.session for m in field.ground.got[topics.RECEIVED]]
    assert len(dict.fromkeys(sessions)) == 3 and sessions[-1] == field.robot.node.session
    assert field.ground.node.status().peer_session == field.robot.node.session


@pytest.mark.parametrize('security', [True, False])
def test_a_ground_that_restarts_or_comes_late_sees_within_three_frames(field, security):
    field.start_robot(security=security)
    for _ in range(4):
        field.send()  # and so all the setups of the first frames
    for _ in range(2):
        field.start_ground(security=security)
        assert field.frames_until_shown(4) <= 4  # three, and a round trip to ask
        assert set(field.shown) == {FIRST}
        for _ in range(5):
            field.send()
        field.end('ground')


def test_a_ground_calls_a_robot_that_waits_to_be_called(field):
    port = free_port()
    field.start_robot(local=f'127.0.0.1:{port}', remote='')
    field.start_ground(local='127.0.0.1:0', remote=f'127.0.0.1:{port}')
    field.wait(lambda: field.ground.node.status().peer_session == field.robot.node.session)
    assert field.frames_until_shown(3) <= 3


@pytest.mark.parametrize('end', ['robot', 'ground'])
def test_a_clock_that_jumps_two_days_and_back_costs_three_frames(field, end):
    field.start_ground()
    field.start_robot()
    for _ in range(4):
        field.send()
    node = getattr(field, end).node
    clock, session = node.get_clock(), node.session
    away = SimpleNamespace(days=2)
    node.get_clock = lambda: SimpleNamespace(
        now=lambda: clock.now() + Duration(seconds=away.days * 86_400),
        ros_time_is_active=False,
    )
    assert field.frames_until_shown(3) <= 3
    assert node.session == session
    away.days = 0
    node.wake()
    assert node.session != session
    assert field.frames_until_shown(4) <= (3 if end == 'robot' else 4)


def test_a_key_that_is_changed_costs_three_frames(field):
    field.start_ground()
    field.start_robot()
    field.send()
    line, paths = key_file.new_key(), [Path(path) for path in field.files]
    before = paths[0].read_text()
    for path in paths:
        path.write_text(f'{before}{line}\n')
    field.end('ground')
    field.start_ground()
    assert field.frames_until_shown(4) <= 4
    for path in paths:
        path.write_text(f'{line}\n{before}')
    field.end('robot')
    count = len(field.shown)
    field.start_robot(SECOND)
    assert field.frames_until_shown(3) <= 3
    assert set(field.shown[count:]) == {SECOND}


def test_a_stop_is_held_until_it_is_released_and_outlives_a_restart_of_the_robot(field):
    field.start_ground()
    field.start_robot()
    field.send()
    ground, publishers = field.ground.node, field.ground.publishers

    def status():
        return ground.status().stop

    def gate():
        return field.robot.node.side.commands.gate

    assert status() == LinkStatus.STOP_NONE
    publishers[topics.STOP].publish(Bool(data=True))
    field.wait(lambda: status() == LinkStatus.STOP_HELD)
    assert gate().held
    # What the operator commands meanwhile is not sent, but for a halt.
    publishers[topics.TELEOP].publish(drive(0.5))
    field.wait(lambda: ground.status().commands_dropped == 1)
    publishers[topics.TELEOP].publish(Twist())
    field.wait(lambda: ground.end.sender.counts[1].sent == 1)

    field.end('robot')
    field.start_robot()
    field.wait(lambda: gate().held, 'the robot that restarted is not stopped again')
    field.wait(lambda: status() == LinkStatus.STOP_HELD)

    # A ground that restarts knows of it.
    field.end('ground')
    field.start_ground()
    field.send()
    ground, publishers = field.ground.node, field.ground.publishers
    field.wait(lambda: status() == LinkStatus.STOP_HELD, 'the ground does not know of the stop')
    publishers[topics.STOP].publish(Bool(data=False))
    field.wait(lambda: not gate().held)
    field.wait(lambda: status() == LinkStatus.STOP_NONE)
    field.robot.publishers[topics.GUARD_ALIVE].publish(Empty())
    publishers[topics.TELEOP].publish(drive(0.5))
    field.wait(lambda: gate().ran)


def test_a_stop_outlives_a_clock_of_the_ground_that_is_set_back(field):
    field.start_ground()
    field.start_robot()
    field.send()
    ground = field.ground.node
    field.ground.publishers[topics.STOP].publish(Bool(data=True))
    field.wait(lambda: ground.status().stop == LinkStatus.STOP_HELD)
    clock, session = ground.get_clock(), ground.session
    ground.get_clock = lambda: SimpleNamespace(now=lambda: clock.now() - Duration(seconds=3600))
    ground.wake()
    assert ground.session != session and ground.status().stop == LinkStatus.STOP_SENT
    field.wait(lambda: ground.status().stop == LinkStatus.STOP_HELD)
    field.end('robot')
    field.start_robot()
    field.wait(lambda: field.robot.node.side.commands.gate.held)


def test_an_unacknowledged_stop_is_reported(field):
    field.start_ground()
    field.start_robot()
    field.send()
    field.end('robot')
    field.ground.publishers[topics.STOP].publish(Bool(data=True))
    field.wait(lambda: field.ground.node.status().stop == LinkStatus.STOP_SENT)
    report = field.diagnosis('ground')
    assert report.level == WARN and 'has not acknowledged the STOP' in report.message
    assert report.values['stop'] == 'SENT'


def test_both_ends_say_when_the_other_was_last_received(field):
    field.start_robot()
    field.wait(lambda: 'never' in field.diagnosis('robot').values['other end last received'])
    silent = field.robot.node.silence(0.0)  # three reports and two seconds are yet to pass
    field.start_ground()
    field.frames_until_shown(4)
    for name in ('robot', 'ground'):
        field.wait(lambda name=name: getattr(field, name).node.status().peer_silence_s < 1.5)
        assert field.diagnosis(name).values['other end last received'].endswith('s ago')
    assert field.diagnosis('ground').level == OK and silent == ''
    field.end('ground')
    node = field.robot.node
    field.wait(lambda: 'nothing comes from the other end' in field.diagnosis('robot').message)
    assert 5.0 <= node.status().peer_silence_s < 8.0
    assert field.diagnosis('robot').level == WARN
    # One trouble hides no other, and a notice is no news for ever.
    node._notice, node._notice_at = 'a notice of the keys', time.monotonic()
    assert 'a notice of the keys; nothing comes from the' in field.diagnosis('robot').message
    node._notice_at -= 3600.0
    assert 'notice' not in field.diagnosis('robot').message


def test_a_ground_reports_that_nothing_at_all_comes(field):
    field.start_robot()
    field.start_ground()
    field.frames_until_shown(4)
    field.end('robot')
    node = field.ground.node
    field.wait(lambda: 'no frames come through; nothing comes' in node.diagnose().message)
    assert node.diagnose().level == STALE


def test_troubles_are_joined_at_the_level_of_the_worst():
    assert report_of([(ERROR, '')], {'a': 1}) == Report(OK, 'ok', {'a': 1})
    assert report_of([(WARN, 'one'), (STALE, 'two')], {}) == Report(WARN, 'one; two')
    assert report_of([(STALE, 'two')], {}).level == STALE
    assert report_of([(WARN, 'one'), (ERROR, 'three')], {}).level == ERROR


def test_keys_that_differ_are_named(field, tmp_path):
    other = tmp_path / 'other' / 'link.key'
    key_file.create(other)
    field.start_ground(key_file=str(other))
    field.start_robot()
    for _ in range(5):
        field.send()
    field.wait(lambda: 'do the keys differ' in field.diagnosis('ground').message)
    assert field.ground.node.status().peer_session == 0
    assert field.ground.node.status().packets_malformed >= 5


def test_a_second_robot_with_the_same_key_is_named(field, tmp_path):
    field.start_ground()
    field.start_robot()
    for _ in range(10):
        field.send()
    second = Field(field.files, (16, 18))
    second.port = field.port
    try:
        # Its counts are a copy: they have all been used.
        path = tmp_path / 'second' / 'link.key'
        path.parent.mkdir()
        for name in ('link.key', 'link.key.counts'):
            text = (tmp_path / 'robot' / name).read_text()
            (path.parent / name).write_text('{}' if name.endswith('counts') else text)
            (path.parent / name).chmod(0o600)
        second.files[0] = str(path)
        second.start_robot(SECOND)
        for _ in range(8):
            second.send()
            field.spin(0.02)
        field.wait(lambda: 'does another one use this key?' in field.diagnosis('ground').message)
        assert field.ground.node.status().packets_replayed >= 4
        assert set(field.shown) == {FIRST}
    finally:
        second.end('robot')


def test_clocks_that_differ_are_named(field):
    field.start_ground()
    field.start_robot()
    name, _ = field.eye
    for ahead, trouble in ((100.0, 'ahead'), (-100.0, 'older than the link makes them')):
        clock = field.robot.node.get_clock().now() + Duration(seconds=ahead)
        stamp = clock.to_msg()
        field.ground.node.side.clocks.clear()
        message = frame(2 * field.sequence, frame_id=name, stamp=(stamp.sec, stamp.nanosec))
        field.sequence += 1
        field.robot.publishers[topics.CODED].publish(message)
        field.wait(lambda trouble=trouble: trouble in field.diagnosis('ground').message)
        assert 'clocks of both ends differ' in field.diagnosis('ground').message
        assert field.diagnosis('ground').level == WARN
