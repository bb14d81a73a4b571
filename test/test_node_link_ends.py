"""Robot and ground as two nodes in ROS domains of their own, joined by UDP or a serial line."""

import socket
import time
from collections import deque

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from bench import Ends, camera, drive, frame  # noqa: E402
from geometry_msgs.msg import Twist  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_msgs.msg import Empty  # noqa: E402
from test_link_devices import Line  # noqa: E402
from test_node_link import refused  # noqa: E402

from gsc_ros.link.datagrams import key_file  # noqa: E402
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD, Camera, Setup  # noqa: E402
from gsc_ros.link.datagrams.framing import TrafficClass  # noqa: E402
from gsc_ros.link.datagrams.payloads import Command, Stop  # noqa: E402
from gsc_ros.link.radio import profiles, schedule  # noqa: E402
from gsc_ros.link.traffic.pacer import Pacer  # noqa: E402
from gsc_ros.link.traffic.sender import Sender  # noqa: E402
from gsc_ros.link.traffic.transports.caller import HOLD_S  # noqa: E402
from gsc_ros.nodes.link_ground import LinkGround  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402
from gsc_ros.ros.diagnostics import WARN  # noqa: E402

PATIENCE_S = 15.0


@pytest.fixture
def key_files(tmp_path):
    """The key of the link, once for each end."""
    paths = [tmp_path / end / 'link.key' for end in ('robot', 'ground')]
    key_file.create(paths[0])
    paths[1].parent.mkdir()
    for name in ('link.key', 'link.key.counts'):
        (paths[1].parent / name).write_text((paths[0].parent / name).read_text())
    paths[1].chmod(0o600)
    return [str(path) for path in paths]


@pytest.fixture(params=['udp', 'serial'])
def pair(request, key_files):
    common = [{'key_file': path, 'transport': request.param} for path in key_files]
    line = None
    if request.param == 'udp':
        robot = {'local': '127.0.0.1:0', 'remote': 'ground'}
        ground = {'local': '127.0.0.1:0'}
    else:
        pytest.importorskip('serial')
        line = Line()
        robot, ground = ({'device': device, 'baud': 57600} for device in line.devices)
    made = Ends.pair(common[0] | robot, common[1] | ground)
    yield made
    made.close()
    if line:
        line.close()


def test_frames_commands_requests_and_reports_cross(pair):
    robot, ground = pair.robot, pair.ground
    robot.publishers[topics.CAMERA_INFO].publish(camera())
    pair.wait(lambda: robot.node.side.cameras[0].camera_info is not None)
    images = ground.got[topics.RECEIVED], ground.got[topics.RECEIVED_INFO]
    sent = [frame(2 * number) for number in range(3)]
    for number, message in enumerate(sent):
        # A frame that waits for the air may be cut.
        pair.wait(lambda: robot.node.end.sender.pacer.free_at < robot.node.now())
        robot.publishers[topics.CODED].publish(message)
        pair.wait(lambda n=number: min(map(len, images)) > n)
    assert [m.sequence for m in ground.got[topics.RECEIVED]] == [0, 2, 4]
    for before, after, info in zip(
        sent, ground.got[topics.RECEIVED], ground.got[topics.RECEIVED_INFO], strict=True
    ):
        assert before.data == after.data and before.header == after.header == info.header
    assert info.k[0] == camera().k[0]

    # The ground knows by now where the robot is.
    ground.publishers[topics.TELEOP].publish(drive(0.5))
    pair.wait(lambda: robot.got[topics.LINK_CMD_VEL])
    assert robot.got[topics.LINK_CMD_VEL][0].linear.x == 0.5
    pair.wait(lambda: len(robot.got[topics.LINK_CMD_VEL]) == 2)  # nobody drives any more
    assert robot.got[topics.LINK_CMD_VEL][1] == Twist()
    ground.publishers[topics.KEY_MISSED].publish(Empty())
    pair.wait(lambda: robot.got[topics.KEY_WANTED])

    pair.wait(lambda: robot.got[topics.STATUS][-1].frames_delivered == 3, 'no report came')
    for status in (robot.got[topics.STATUS][-1], ground.got[topics.STATUS][-1]):
        assert (status.frames_delivered, status.frames_lost) == (3, 0)
        assert status.loss == 0.0 and status.open and status.rate_bps > 0
    assert robot.got[topics.STATUS][-1].packets_malformed == 0


def test_a_command_whose_age_is_wrong_is_not_executed(pair):
    robot, ground = pair.robot, pair.ground
    robot.publishers[topics.CODED].publish(frame(0))
    pair.wait(lambda: ground.got[topics.RECEIVED])  # now the ground knows where the robot is
    for number, away_s in enumerate((-5.0, 5.0), start=1):
        stamp = ground.node.get_clock().now().nanoseconds // 1000 + round(away_s * 1e6)
        address = robot.node.session & 0xFF
        payload = Command(stamp, (0.5, 0.0, 0.0, 0.0, 0.0, 0.0), address).pack()
        ground.node.end.offer(payload, ground.node.now(), TrafficClass.COMMAND)
        ground.node.wake()
        pair.wait(lambda n=number: robot.node.side.commands.late == n)
    assert not robot.got[topics.LINK_CMD_VEL]


@pytest.mark.parametrize(('away_s', 'words'), [(3.0, '3.0 s ahead'), (-2.0, 's late by the wall')])
def test_clocks_that_differ_are_reported_at_both_ends(key_files, away_s, words):
    """The ground's clock is so many seconds ahead; there are no images to tell that from."""
    pair = Ends.pair(
        {'key_file': key_files[0], 'local': '127.0.0.1:0', 'remote': 'ground'},
        {'key_file': key_files[1], 'local': '127.0.0.1:0'},
    )
    try:
        robot, ground = pair.robot.node, pair.ground.node
        pair.wait(lambda: ground.end.receiver.session, 'the ground receives the robot')
        sender = ground.side.commands
        right = sender.next_stamp
        sender.next_stamp = lambda given_us: right(given_us + round(away_s * 1e6))
        for number in range(1, 6):
            pair.ground.publishers[topics.TELEOP].publish(drive(0.5))
            pair.wait(lambda n=number: robot.side.commands.late >= n)
        report = robot.diagnose()
        assert report.level == WARN and 'commands are refused' in report.message
        assert words in report.message and 'the clocks of both ends differ' in report.message
        pair.wait(lambda: ground.side.refused_commands, 'the robot reports it')
        report = ground.diagnose()
        assert report.level == WARN and 'the robot refuses most commands' in report.message
        assert words in report.message
        assert not pair.robot.got[topics.LINK_CMD_VEL]
    finally:
        pair.close()


class Flood(deque):
    """An inbox that fills as fast as it is emptied."""

    taken = 0

    def popleft(self):
        self.taken += 1
        assert self.taken < 1000, 'the node does nothing else any more'
        self.append(self[0])
        return super().popleft()


def test_a_flood_does_not_keep_the_robot_from_being_stopped(ros):
    robot = active(LinkRobot, ros, security=False, local='127.0.0.1:0', command_timeout_s=0.05)
    try:
        sender = Sender(Pacer(1e9), 1400)
        stamp_us, address = robot.get_clock().now().nanoseconds // 1000, robot.session & 0xFF
        command = Command(stamp_us, (0.5, 0.0, 0.0, 0.0, 0.0, 0.0), address)
        sender.offer(command.pack(), 0.0, TrafficClass.COMMAND)
        ((_, _, data),) = sender.advance(1.0)
        robot._inbox.append((data, ('127.0.0.1', 9)))
        robot.wake()
        commands = robot.side.commands
        assert commands.gate.ran == 1
        robot._inbox = Flood([(b'noise', ('127.0.0.1', 9))])
        robot.wake()
        time.sleep(0.1)
        assert not commands.gate.moving and commands.stops == 1
    finally:
        robot.close()
        robot.destroy_node()


def test_a_stop_is_taken_though_the_inbox_is_full(ros):
    robot = active(LinkRobot, ros, security=False, local='127.0.0.1:0')
    try:
        sender = Sender(Pacer(1e9), 1400)
        stop = Stop(robot.get_clock().now().nanoseconds // 1000, 1)
        sender.offer(stop.pack(), 0.0, TrafficClass.STOP)
        ((_, _, data),) = sender.advance(1.0)
        noise = b'noise', ('127.0.0.1', 9)
        robot._keep([noise] * 300)
        robot._keep([noise] * 50 + [(data, ('127.0.0.1', 9))] + [noise] * 50)
        assert robot._overrun == 144, 'all but the STOP'
        robot._keep([(data, ('127.0.0.1', 9))] * 33)
        assert robot._overrun == 146, 'of STOPs the newest 32 wait, and the others are counted'
        robot.wake()
        assert robot.side.commands.gate.held
    finally:
        robot.close()
        robot.destroy_node()


def crafted(rng, number):
    """Return class and payload as an intruder may make them where nothing is encrypted."""
    payload = rng.bytes(int(rng.integers(1, 120)))
    kind = int(rng.integers(5))
    if kind == 0:
        stamp = int.from_bytes(rng.bytes(8), 'big', signed=True) >> int(rng.integers(0, 40))
        image = Camera('c', *(int(n) for n in rng.integers(0, 65536, 2)))
        return TrafficClass.SETUP, Setup(0, stamp, int(rng.integers(2**32)), image).pack()
    if kind == 1:
        stream = bytes(frame(number % 200).data)
        head = b'\0' + rng.bytes(FRAME_OVERHEAD - 1)
        return TrafficClass.FRAME, head + stream[: int(rng.integers(1, len(stream)))]
    if kind == 2:
        spoilt = bytearray(Setup(0, 10**18, 5, Camera('cam', 480, 360)).pack())
        spoilt[int(rng.integers(len(spoilt)))] ^= 1 << int(rng.integers(8))
        return TrafficClass.SETUP, bytes(spoilt)
    if kind == 3:
        return TrafficClass.COMMAND, Command(int(rng.integers(2**62)), (1.0,) * 6).pack()[:-1]
    return list(TrafficClass)[int(rng.integers(len(TrafficClass)))], payload


@pytest.mark.parametrize('kind', [LinkRobot, LinkGround])
def test_no_payload_ends_a_node(ros, kind):
    node = active(kind, ros, security=False, local='127.0.0.1:0')
    try:
        rng, sender = np.random.default_rng(3), Sender(Pacer(1e9), 1400)
        for number in range(2000):
            traffic_class, payload = crafted(rng, number)
            sender.offer(payload, number, traffic_class)
            for _, _, data in sender.advance(number + 0.5):
                node._inbox.append((data, ('127.0.0.1', 9)))
            node.wake()
            node.status()
        assert node.active and node.refused > 250
        assert node.end.receiver.malformed == 0  # all of it was taken for ours
        if kind is LinkGround:
            assert node.side.delivered > 10
    finally:
        node.close()
        node.destroy_node()


def active(kind, context, **parameters):
    """Make a node that works."""
    values = {'profile': 'ideal', 'autostart': False, **parameters}
    overrides = [Parameter(key, value=value) for key, value in values.items()]
    node = kind(context=context, parameter_overrides=overrides)
    node.trigger_configure()
    node.trigger_activate()
    assert node.active
    return node


def with_windows(folder):
    """Write a profile that is open in every first second of two."""
    plain = (profiles._directory() / 'ideal.yaml').read_text()
    windows = ('pass_period: {value: 2 s, source: x}', 'pass_length: {value: 1 s, source: x}')
    path = folder / 'blinking.yaml'
    path.write_text('\n'.join([plain, *windows]))
    return str(path)


def test_both_ends_keep_the_passes_of_the_profile(key_files, tmp_path):
    common = [
        {
            'key_file': path,
            'local': '127.0.0.1:0',
            'profile': with_windows(tmp_path),
            'schedule_start': '2026-01-01T00:00:00Z',
        }
        for path in key_files
    ]
    pair = Ends.pair(common[0] | {'remote': 'ground'}, common[1])
    start = schedule.start_of('2026-01-01T00:00:00Z')

    def phase(host):
        stamp = host.got[topics.STATUS][-1].header.stamp
        return (stamp.sec - start + 1e-9 * stamp.nanosec) % 2

    def state(is_open):
        return all(host.got[topics.STATUS][-1].open is is_open for host in pair.hosts)

    try:
        for host in pair.hosts:
            pair.wait(lambda host=host: host.got[topics.STATUS])
        pair.wait(lambda: state(False))
        for host in pair.hosts:
            status = host.got[topics.STATUS][-1]
            assert status.rate_bps == 0 and 0 < status.changes_in_s <= 1.0
            assert status.changes_in_s == pytest.approx(2 - phase(host), abs=1e-3)
        for host in pair.hosts:
            pair.wait(lambda host=host: 'is closed' in host.node.diagnose().message)
        pair.wait(lambda: state(True))
        for host in pair.hosts:
            assert phase(host) < 1.0
        for number in range(0, 2000, 2):
            pair.robot.publishers[topics.CODED].publish(frame(number))
            if pair.ground.got[topics.RECEIVED]:
                break
            pair.robot.executor.spin_once(0.01)
            pair.ground.executor.spin_once(0.01)
        assert pair.ground.got[topics.RECEIVED]
    finally:
        pair.close()


def test_a_transport_that_fails_in_any_way_is_tried_again(key_files):
    pair = Ends.pair(
        {'key_file': key_files[0], 'local': '127.0.0.1:0', 'remote': 'ground'},
        {'key_file': key_files[1], 'local': '127.0.0.1:0'},
    )
    try:
        failures = {'receive': 0, 'send': 0}

        def failing(name, method):
            def call(*args):
                failures[name] += 1
                if failures[name] <= 3:
                    raise TypeError('no descriptor')
                return method(*args)

            return call

        for end in (pair.robot.node, pair.ground.node):
            for name in failures:
                setattr(end._transport, name, failing(name, getattr(end._transport, name)))
        pair.wait(lambda: min(failures.values()) > 3)
        pair.robot.publishers[topics.CODED].publish(frame(0))
        pair.wait(lambda: pair.ground.got[topics.RECEIVED])
    finally:
        pair.close()


def test_what_others_send_is_counted_and_answered_by_nothing(key_files):
    pair = Ends.pair(
        {'key_file': key_files[0], 'local': '127.0.0.1:0', 'remote': 'ground'},
        {'key_file': key_files[1], 'local': '127.0.0.1:0'},
    )
    try:
        from gsc_ros.link.traffic.transports.udp import UdpTransport

        port = pair.ground.node._transport.local[1]
        other = UdpTransport(':0', f'127.0.0.1:{port}')
        for _ in range(5):
            other.send(b'\x80' + bytes(60))
        pair.wait(lambda: pair.ground.node.end.receiver.malformed == 5)
        assert not pair.ground.node._transport.peer
        pair.robot.publishers[topics.CODED].publish(frame(0))
        pair.wait(lambda: pair.ground.got[topics.RECEIVED])
        assert pair.ground.node._transport.peer
        other.close()
    finally:
        pair.close()


def test_an_address_in_use_and_a_link_that_does_not_close_are_reported(ros, capfd, tmp_path):
    far = tmp_path / 'far.yaml'
    text = (profiles._directory() / 'vhf_cnr_25k.yaml').read_text()
    far.write_text(text.replace('value: 5 km', 'value: 400 km'))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', 0))
        taken = f'127.0.0.1:{other.getsockname()[1]}'
        for parameters, message in (
            ({'local': taken}, 'cannot listen on'),
            ({'local': '127.0.0.1:0', 'profile': str(far)}, 'does not close'),
        ):
            refused(LinkRobot, ros, capfd, message, security=False, **parameters)
    node = active(
        LinkRobot, ros, security=False, local='127.0.0.1:0', profile=str(far), rate_bps=4800.0
    )
    assert node.end.sender.rate_bps == 4800.0
    node.close()
    node.destroy_node()


def test_a_link_comes_up_before_its_network(ros, monkeypatch, tmp_path):
    """The node works from its start, reports what it waits for, and finds it when it is there."""
    pytest.importorskip('serial')
    monkeypatch.setattr('gsc_ros.link.traffic.transports._PAUSES_S', (0.05,))
    real, known = socket.getaddrinfo, []

    def ask(host, *rest):
        if host == 'base.example' and not known:
            raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')
        return real('127.0.0.1' if host == 'base.example' else host, *rest)

    monkeypatch.setattr(socket, 'getaddrinfo', ask)
    line, device = Line(), tmp_path / 'modem'
    udp = {'local': '127.0.0.1:0', 'remote': 'base.example:9'}
    modem = {'transport': 'serial', 'device': str(device)}
    nodes = [active(LinkRobot, ros, security=False, **values) for values in (udp, modem)]
    try:
        for node, reason in zip(nodes, ('Temporary failure', 'No such file'), strict=True):
            node.end.offer(b'x', node.now(), TrafficClass.FRAME)
            node.wake()
            report = node.diagnose()
            assert report.level == WARN and reason in report.message
            assert report.values['not sent'] == 1
        known.append('base.example')
        device.symlink_to(line.devices[0])
        for node in nodes:
            deadline = time.monotonic() + PATIENCE_S
            while node.trouble:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            node.end.offer(b'x', node.now(), TrafficClass.FRAME)
            node.wake()
            assert node.transport_figures()['not sent'] == 1
    finally:
        for node in nodes:
            node.close()
            node.destroy_node()
        line.close()


def test_a_ground_calls_a_robot_that_has_no_remote(key_files):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{other.getsockname()[1]}'
    pair = Ends.pair(
        {'key_file': key_files[0], 'local': address},
        {'key_file': key_files[1], 'local': '127.0.0.1:0', 'remote': address},
    )
    try:
        pair.wait(lambda: pair.robot.node._transport.peer, 'the ground did not say hello')

        def shown():
            pair.robot.publishers[topics.CODED].publish(frame(0))
            return pair.ground.got[topics.RECEIVED]

        pair.wait(shown)
    finally:
        pair.close()


def test_an_end_follows_the_other_to_a_new_address(ros):
    ground = active(LinkGround, ros, security=False, local='127.0.0.1:0')
    try:
        transport, sender = ground._transport, Sender(Pacer(1e9), 1400)

        def call(port):
            sender.offer(b'frame', 0.0, TrafficClass.FRAME)
            ((_, _, data),) = sender.advance(1.0)
            ground._inbox.append((data, ('127.0.0.1', port)))
            ground.wake()

        call(1)
        assert transport.peer == '127.0.0.1:1'
        call(2)
        call(2)
        assert transport.peer == '127.0.0.1:1'
        time.sleep(HOLD_S)
        call(2)
        assert transport.peer == '127.0.0.1:2'
        assert ground.transport_figures()['other end at'] == '127.0.0.1:2'
    finally:
        ground.close()
        ground.destroy_node()


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({}, 'gsc key'),
        ({'security': False, 'local': 'nowhere'}, 'host:port'),
        ({'security': False, 'remote': 'no such host:7'}, 'host:port'),
        ({'security': False, 'remote': ':7'}, 'nowhere to send to'),
        ({'security': False, 'transport': 'serial'}, 'device'),
        ({'security': False, 'transport': 'pigeon'}, 'udp, serial'),
        ({'security': False, 'local': ':0', 'mtu': 49}, 'mtu must be 50'),
        ({'security': False, 'local': ':0', 'schedule_start': 'noon'}, 'not a time'),
        ({'security': False, 'local': ':0', 'profile': 'nowhere'}, 'known: '),
        ({'local': ':0', 'key_file': '/nowhere/link.key'}, 'gsc key'),
    ],
)
@pytest.mark.parametrize('kind', [LinkRobot, LinkGround])
def test_a_bad_parameter_stops_the_node_at_configure(ros, capfd, kind, parameters, message):
    refused(kind, ros, capfd, message, **parameters)
