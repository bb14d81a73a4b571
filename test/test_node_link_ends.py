"""Robot and ground as two nodes in ROS domains of their own, joined by UDP or a serial line."""

import time

import pytest

rclpy = pytest.importorskip('rclpy')

from geometry_msgs.msg import Twist  # noqa: E402
from gsc_ros.msg import LinkStatus, SemanticFrame  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo  # noqa: E402
from std_msgs.msg import Empty  # noqa: E402
from test_link_end import Line  # noqa: E402
from test_node_link import camera, drive, frame  # noqa: E402

from gsc_ros.link import keys  # noqa: E402
from gsc_ros.nodes import topics  # noqa: E402
from gsc_ros.nodes.link_ground import LinkGround  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402

PATIENCE_S = 15.0


class Host:
    """A node in a domain of its own, with a peer that hears and says what is asked for."""

    def __init__(self, kind, domain, hears, says, **parameters):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        overrides = [Parameter(k, value=v) for k, v in {'profile': 'ideal', **parameters}.items()]
        self.node = kind(context=self.context, parameter_overrides=overrides)
        self.peer = rclpy.create_node('peer', context=self.context)
        self.got = {topic: [] for topic in hears}
        for topic, message in hears.items():
            qos = topics.LATCHED if topic == topics.STATUS else topics.PICTURES
            self.peer.create_subscription(message, topic, self.got[topic].append, qos)
        self.says = {
            topic: self.peer.create_publisher(message, topic, qos)
            for topic, (message, qos) in says.items()
        }
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)

    def close(self):
        self.node.close()
        self.node.destroy_node()
        self.peer.destroy_node()
        self.context.try_shutdown()


class Pair:
    """Robot and ground; both spin in the test's thread."""

    def __init__(self, robot, ground):
        self.ground = Host(
            LinkGround,
            14,
            {topics.RECEIVED: SemanticFrame, topics.RECEIVED_INFO: CameraInfo,
             topics.STATUS: LinkStatus},
            {topics.TELEOP: (Twist, topics.NEWEST), topics.KEY_MISSED: (Empty, topics.NEWEST)},
            **ground,
        )  # fmt: skip
        self.wait(lambda: self.ground.node.active)
        if robot.get('remote') == 'ground':
            robot['remote'] = f'127.0.0.1:{self.ground.node._transport.local[1]}'
        self.robot = Host(
            LinkRobot,
            15,
            {topics.CMD_VEL: Twist, topics.KEY_WANTED: Empty, topics.STATUS: LinkStatus},
            {topics.CODED: (SemanticFrame, topics.NEWEST),
             topics.CAMERA_INFO: (CameraInfo, topics.SENSOR)},
            **robot,
        )  # fmt: skip
        for host in self.hosts:
            self.wait(lambda host=host: host.node.active)
            for publisher in host.says.values():
                self.wait(publisher.get_subscription_count)
            for topic in host.got:
                self.wait(lambda host=host, topic=topic: host.node.count_subscribers(topic))

    @property
    def hosts(self):
        return [host for host in (vars(self).get('ground'), vars(self).get('robot')) if host]

    def wait(self, condition, why='nothing came'):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, why
            for host in self.hosts:
                host.executor.spin_once(0.005)

    def close(self):
        for host in self.hosts:
            host.close()


@pytest.fixture
def key_files(tmp_path):
    """The key of the link, once for each end."""
    paths = [tmp_path / end / 'link.key' for end in ('robot', 'ground')]
    keys.create(paths[0])
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
    made = Pair(common[0] | robot, common[1] | ground)
    yield made
    made.close()
    if line:
        line.close()


def test_frames_commands_requests_and_reports_cross(pair):
    robot, ground = pair.robot, pair.ground
    robot.says[topics.CAMERA_INFO].publish(camera())
    pair.wait(lambda: robot.node.robot.camera_info is not None)
    pictures = ground.got[topics.RECEIVED], ground.got[topics.RECEIVED_INFO]
    sent = [frame(2 * number) for number in range(3)]
    for number, message in enumerate(sent):
        # A frame that waits for the air may be cut.
        pair.wait(lambda: robot.node.end.sender.bucket.free_at < robot.node.now())
        robot.says[topics.CODED].publish(message)
        pair.wait(lambda n=number: min(map(len, pictures)) > n)
    assert [m.sequence for m in ground.got[topics.RECEIVED]] == [0, 2, 4]
    for before, after, info in zip(
        sent, ground.got[topics.RECEIVED], ground.got[topics.RECEIVED_INFO], strict=True
    ):
        assert before.data == after.data and before.header == after.header == info.header
    assert info.k[0] == camera().k[0]

    # The ground knows by now where the robot is.
    ground.says[topics.TELEOP].publish(drive(0.5))
    pair.wait(lambda: robot.got[topics.CMD_VEL])
    assert robot.got[topics.CMD_VEL][0].linear.x == 0.5
    pair.wait(lambda: len(robot.got[topics.CMD_VEL]) == 2)  # nobody drives any more
    assert robot.got[topics.CMD_VEL][1] == Twist()
    ground.says[topics.KEY_MISSED].publish(Empty())
    pair.wait(lambda: robot.got[topics.KEY_WANTED])

    pair.wait(lambda: robot.got[topics.STATUS][-1].frames_delivered == 3, 'no report came')
    for status in (robot.got[topics.STATUS][-1], ground.got[topics.STATUS][-1]):
        assert (status.frames_delivered, status.frames_lost) == (3, 0)
        assert status.loss == 0.0 and status.open and status.rate_bps > 0
    assert robot.got[topics.STATUS][-1].packets_malformed == 0


def test_what_others_send_is_counted_and_answered_by_nothing(key_files):
    pair = Pair(
        {'key_file': key_files[0], 'local': '127.0.0.1:0', 'remote': 'ground'},
        {'key_file': key_files[1], 'local': '127.0.0.1:0'},
    )
    try:
        from gsc_ros.link.transports.udp import UdpTransport

        port = pair.ground.node._transport.local[1]
        other = UdpTransport(':0', f'127.0.0.1:{port}')
        for _ in range(5):
            other.send(b'\x40' + bytes(60))
        pair.wait(lambda: pair.ground.node.end.receiver.malformed == 5)
        assert pair.ground.node._transport._remote is None
        pair.robot.says[topics.CODED].publish(frame(0))
        pair.wait(lambda: pair.ground.got[topics.RECEIVED])
        assert pair.ground.node._transport._remote is not None
        other.close()
    finally:
        pair.close()


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({}, 'gsc key'),
        ({'security': False, 'local': 'nowhere'}, 'host:port'),
        ({'security': False, 'remote': 'no.such.host.invalid:7'}, 'no address'),
        ({'security': False, 'transport': 'serial'}, 'device'),
        ({'security': False, 'transport': 'serial', 'device': '/dev/none'}, 'cannot open'),
        ({'security': False, 'transport': 'pigeon'}, 'udp, serial'),
        ({'security': False, 'local': ':0', 'mtu': 49}, 'mtu must be 50'),
    ],
)
@pytest.mark.parametrize('kind', [LinkRobot, LinkGround])
def test_a_bad_parameter_stops_the_node_at_configure(ros, capfd, kind, parameters, message):
    overrides = [Parameter(k, value=v) for k, v in {'autostart': False, **parameters}.items()]
    node = kind(context=ros, parameter_overrides=overrides)
    try:
        node.trigger_configure()
        assert node.diagnostics is None
    finally:
        node.destroy_node()
    assert message in capfd.readouterr().err
