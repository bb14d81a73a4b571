"""Several cameras on one link, over real topics: each in its namespace, the operator chooses."""

import threading
import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from bench import Bench, Host, camera, frame  # noqa: E402
from gsc_ros.msg import LinkStatus, SemanticFrame  # noqa: E402
from sensor_msgs.msg import CameraInfo, RegionOfInterest  # noqa: E402
from std_msgs.msg import Bool, Empty, String, UInt16  # noqa: E402
from test_node_link import refused  # noqa: E402

from gsc_ros.link.datagrams.framing import TrafficClass  # noqa: E402
from gsc_ros.link.datagrams.stills import Part  # noqa: E402
from gsc_ros.link.traffic.frame_scheduler import LinkCapacity  # noqa: E402
from gsc_ros.link.traffic.sharing import CHOSEN_SHARE  # noqa: E402
from gsc_ros.link.traffic.statistics import Statistics  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.nodes.link_ground import LinkGround  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402
from gsc_ros.ros.link.state_report import of_camera  # noqa: E402

NAMES = 'front', 'rear'


class CamerasBench(Bench):
    """A simulated link with a camera in front, of weight 2, and one in the rear."""

    def __init__(self, context, namespace):
        super().__init__(context, namespace)
        publish = self.peer.create_publisher
        self.frames = {}
        for name in NAMES:
            for topic, kind in (
                (topics.RECEIVED, SemanticFrame),
                (topics.RECEIVED_INFO, CameraInfo),
                (topics.KEY_WANTED, Empty),
                (topics.BUDGET_WANTED, UInt16),
                (topics.REGION_WANTED, RegionOfInterest),
            ):
                self.subscribe(kind, f'{name}/{topic}')
            self.subscribe(LinkStatus, f'{name}/{topics.STATUS}', topics.LATCHED)
            self.frames[name] = publish(SemanticFrame, f'{name}/{topics.CODED}', topics.NEWEST)
        self.subscribe(SemanticFrame, topics.RECEIVED)
        self.subscribe(LinkStatus, topics.STATUS, topics.LATCHED)
        self.subscribe(String, topics.FIRST_STATED, topics.LATCHED)
        self.first = publish(String, topics.FIRST, topics.NEWEST)
        self.node = self.add(LinkNode, profile='ideal', cameras='front:2, rear')
        self.wait(lambda: all(p.get_subscription_count() for p in self.frames.values()))
        self.wait(self.first.get_subscription_count)
        for name in NAMES:
            topic = f'{namespace}/{name}/{topics.RECEIVED}'
            self.wait(lambda topic=topic: self.node.count_subscribers(topic))

    def share(self, name):
        """The camera's share of the link's rate, as stated last."""
        whole, own = self.got[topics.STATUS], self.got[f'{name}/{topics.STATUS}']
        return own[-1].rate_bps / whole[-1].rate_bps if whole and own else None

    def send(self, name, number):
        """Publish a frame, and wait until it has come out at the ground."""
        got = self.got[f'{name}/{topics.RECEIVED}']
        before = len(got)
        self.frames[name].publish(frame(number))
        self.wait(lambda: len(got) > before, f'a frame of {name}')
        return got[-1]


@pytest.fixture(scope='module')
def context():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=33)
    yield context
    context.try_shutdown()


@pytest.fixture
def bench(context, request):
    made = CamerasBench(context, f'/n{abs(hash(request.node.name)) % 10**8}')
    yield made
    made.close()


def test_frames_come_out_in_the_namespace_of_their_camera(bench):
    for number in range(4):
        for name in NAMES:
            sent = frame(number)
            assert bench.send(name, number).data == sent.data
    for name in NAMES:
        assert len(bench.got[f'{name}/{topics.RECEIVED}']) == 4
        assert len(bench.got[f'{name}/{topics.RECEIVED_INFO}']) == 4
    assert not bench.got[topics.RECEIVED]
    bench.wait(lambda: bench.got[topics.STATUS][-1].frames_delivered == 8)
    for name in NAMES:
        bench.wait(
            lambda name=name: bench.got[f'{name}/{topics.STATUS}'][-1].frames_delivered == 4
        )


def test_cameras_with_one_frame_would_be_placed_in_one_another_and_that_is_said(bench):
    bench.send('front', 0)
    assert 'frame_id' not in bench.node.ground.trouble(0.0)
    bench.send('rear', 0)
    assert 'cameras front and rear have one frame_id' in bench.node.ground.trouble(0.0)


def test_a_camera_that_sends_alone_has_all_of_the_air(bench):
    bench.send('rear', 0)
    bench.wait(lambda: bench.share('rear') == 1.0)
    assert bench.share('front') == pytest.approx(2 / 3), 'what it would have if it began'


def test_the_operator_chooses_what_comes_first(bench):
    bench.send('front', 0)
    bench.send('rear', 0)
    bench.wait(lambda: bench.share('rear') == pytest.approx(1 / 3))
    bench.first.publish(String(data='rear'))
    stated = bench.got[topics.FIRST_STATED]
    bench.wait(lambda: stated and stated[-1].data == 'rear', 'the robot has it')
    bench.send('front', 1)
    bench.send('rear', 1)
    bench.wait(lambda: bench.share('rear') == pytest.approx(CHOSEN_SHARE))
    assert bench.share('front') == pytest.approx(1 - CHOSEN_SHARE)
    bench.first.publish(String(data=''))
    bench.wait(lambda: stated[-1].data == '')


@pytest.mark.parametrize('name', ['arm', 'Front', 'front,rear'])
def test_a_camera_that_there_is_not_is_a_counted_drop(bench, name):
    bench.first.publish(String(data=name))
    bench.wait(lambda: bench.node.refused == 1)
    assert bench.node.robot._first is None


def test_what_is_asked_of_a_camera_reaches_its_encoder_only(bench):
    for name in NAMES:
        bench.send(name, 0)
    publish = bench.peer.create_publisher
    missed = publish(Empty, f'rear/{topics.KEY_MISSED}', topics.NEWEST)
    budget = publish(UInt16, f'front/{topics.BUDGET}', topics.NEWEST)
    region = publish(RegionOfInterest, f'rear/{topics.REGION}', topics.NEWEST)
    bench.wait(lambda: all(p.get_subscription_count() for p in (missed, budget, region)))
    missed.publish(Empty())
    budget.publish(UInt16(data=120))
    region.publish(RegionOfInterest(width=10, height=10))
    got = bench.got
    bench.wait(lambda: got[f'rear/{topics.KEY_WANTED}'])
    bench.wait(lambda: got[f'front/{topics.BUDGET_WANTED}'])
    bench.wait(lambda: got[f'rear/{topics.REGION_WANTED}'])
    assert got[f'front/{topics.BUDGET_WANTED}'][0].data == 120
    assert not got[f'front/{topics.KEY_WANTED}'] and not got[f'rear/{topics.BUDGET_WANTED}']
    assert not got[f'front/{topics.REGION_WANTED}']


def test_no_request_and_no_camera_holds_up_a_stop(bench):
    """Noise for requests and parts of stills, stills of both, a camera that ends, and STOPs."""
    rng, node = np.random.default_rng(5), bench.node
    stop = bench.peer.create_publisher(Bool, topics.STOP, topics.NEWEST)
    asks = [
        bench.peer.create_publisher(Empty, f'{name}/{topics.STILL}', topics.NEWEST)
        for name in NAMES
    ]
    bench.wait(lambda: all(p.get_subscription_count() for p in (stop, *asks)))
    senders = node.down.sender, node.up.sender

    def come():
        """Let come what no end would send, on the executor's thread as all that comes."""
        now, camera = node.update_time(), int(rng.integers(2))
        # Of known flags: a still, the camera that comes first, bytes and rate.
        flags = bytes([int(rng.integers(128))]) if rng.integers(2) else b''
        request = flags + rng.bytes(int(rng.integers(1, 30)))
        node.up.offer(request, now, TrafficClass.REQUEST, camera=camera)
        # Of no still, or of one that nobody asked for.
        part = rng.bytes(int(rng.integers(1, 60)))
        if rng.integers(2):
            number, tag, index = (int(rng.integers(1, most)) for most in (256, 65536, 4))
            part = Part(number, tag, index, 4, part).pack()
        node.down.offer(part, now, TrafficClass.STILL, camera=1 - camera)
        node.wake()

    troubles, ended = [], threading.Event()

    def noise():
        while not ended.wait(0.005):
            task = bench.executor.create_task(come)
            while not (task.done() or ended.is_set()):
                time.sleep(0.001)
            troubles.append(task.exception())

    thread = threading.Thread(target=noise)
    thread.start()
    took = []
    try:
        for turn in range(8):
            bench.frames['front'].publish(frame(turn))
            for number in range(5 if turn < 4 else 0):  # ten times the bytes, and then none
                bench.frames['rear'].publish(frame(5 * turn + number, size=1500))
            for ask in asks:
                ask.publish(Empty())
            bench.first.publish(String(data=('rear', '', 'arm', 'front')[turn % 4]))
            begun = time.monotonic()
            stop.publish(Bool(data=True))
            bench.wait(lambda: node.robot.commands.gate.held, 'STOP')
            took.append(time.monotonic() - begun)
            stop.publish(Bool(data=False))
            bench.wait(lambda: not node.robot.commands.gate.held, 'its release')
            bench.wait(lambda most=10 * turn: len(troubles) > most, 'noise')
    finally:
        ended.set()
        thread.join()
    assert max(took) < 3, f'a STOP took {max(took):.1f} s'
    assert len(troubles) > 50 and not any(troubles)
    assert (node.down.sender, node.up.sender) == senders, 'nothing began anew'
    assert node.refused > 20 and sum(one.receiver.dropped for one in node.ground._stills) > 5
    bench.send('front', 20)
    bench.send('rear', 20)


def test_a_camera_that_is_absent_is_named(bench, monkeypatch):
    monkeypatch.setattr('gsc_ros.ros.link.robot_camera.NO_FRAMES_S', 1.0)
    bench.send('front', 0)

    def missing(_level, message, _values):
        bench.send('front', 0)
        return 'no frames come from the encoder: camera rear' in message

    bench.wait_for_report('link', missing)


@pytest.mark.parametrize('size', [20, 300, 2000])
def test_a_frame_takes_longer_in_a_share_of_the_air(size):
    """Also on a radio whose datagrams take more than the time of their bytes."""
    whole = LinkStatus(rate_bps=5770.0, mtu=222, overhead=19, gap_s=0.02)
    own = of_camera(whole, Statistics(sent=3), 0.25)
    whole_s, own_s = (
        LinkCapacity(one.rate_bps, one.mtu, one.overhead, one.gap_s).frame_s(size)
        for one in (whole, own)
    )
    assert own_s == pytest.approx(whole_s / 0.25)
    assert (own.frames_sent, whole.frames_sent) == (3, 0)


@pytest.mark.parametrize(
    ('cameras', 'message'),
    [
        ('front,front', 'comes twice'),
        ('front/left', 'is no name'),
        ('a,b,c,d,e,f,g,h,i', 'up to 8'),
    ],
)
def test_a_bad_list_stops_the_node_at_configure(context, capfd, cameras, message):
    refused(LinkNode, context, capfd, message, cameras=cameras)


@pytest.mark.parametrize('there', ['rear,front', 'front', ''])
def test_ends_with_different_lists_show_nothing_and_say_so(there):
    end = {'security': False, 'local': '127.0.0.1:0'}
    front = 'front/' if there else ''
    ground = Host(
        LinkGround,
        34,
        {f'front/{topics.RECEIVED}': SemanticFrame, f'rear/{topics.RECEIVED}': SemanticFrame},
        {},
        cameras='front,rear',
        **end,
    )
    robot = None
    try:
        robot = Host(
            LinkRobot,
            35,
            {},
            {
                f'{front}{topics.CODED}': (SemanticFrame, topics.NEWEST),
                f'{front}{topics.CAMERA_INFO}': (CameraInfo, topics.SENSOR),
            },
            cameras=there,
            remote=f'127.0.0.1:{_port(ground)}',
            **end,
        )
        frames, infos = robot.publishers.values()
        _spin(robot, ground, lambda: robot.ready and ground.ready)
        infos.publish(camera('cam'))
        expected = '' if there == 'front' else 'give both ends the same cameras'
        number = 0

        def told():
            nonlocal number
            number += 1
            if number % 50 == 0:
                frames.publish(frame(number // 50))
            shown = sum(map(len, ground.got.values()))
            return shown > 3 if not expected else expected in ground.node.side.trouble(0.0)

        _spin(robot, ground, told)
        assert not expected or not any(ground.got.values())
    finally:
        for host in (robot, ground):
            if host is not None:
                host.close()


@pytest.mark.parametrize('asked', [topics.FIRST, f'rear/{topics.KEY_MISSED}'])
@pytest.mark.parametrize('there', ['front', ''])
def test_the_ground_is_told_of_a_camera_that_the_robot_lacks(there, asked):
    end = {'security': False, 'local': '127.0.0.1:0'}
    kind = String if asked == topics.FIRST else Empty
    ground = Host(LinkGround, 36, {}, {asked: (kind, topics.NEWEST)}, cameras='front,rear', **end)
    robot = None
    try:
        robot = Host(
            LinkRobot, 37, {}, {}, cameras=there, remote=f'127.0.0.1:{_port(ground)}', **end
        )
        _spin(robot, ground, lambda: robot.ready and ground.ready)
        _spin(robot, ground, lambda: ground.node.side._robot_session, 'they know each other')
        message = String(data='rear') if kind is String else Empty()
        ground.publishers[asked].publish(message)
        _spin(robot, ground, lambda: 'no camera rear: give' in ground.node.side.trouble(0.0))
        requests = ground.node.side._first.requests
        count = requests.asked
        for _ in range(300):
            for host in (robot, ground):
                host.executor.spin_once(0.003)
        assert requests.asked == count, 'it is asked for no more'
    finally:
        for host in (robot, ground):
            if host is not None:
                host.close()


def _port(ground):
    _spin(ground, ground, lambda: ground.node.active)
    return ground.node._transport.local[1]


def _spin(one, other, condition, why=''):
    for _ in range(6000):
        if condition():
            return
        for host in {one, other}:
            host.executor.spin_once(0.003)
    raise AssertionError(f'waited in vain: {why}')
