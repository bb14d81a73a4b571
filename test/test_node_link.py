"""The link node over real topics: what arrives, what is refused, and the robot's safety stop."""

import itertools
import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy')

from bench import STAMP, LinkBench, camera, drive, frame, own_domain  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import Twist  # noqa: E402
from gsc_ros.msg import LinkStatus, SemanticFrame  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, RegionOfInterest  # noqa: E402
from std_msgs.msg import Bool, Empty  # noqa: E402

from gsc_ros.codec import backend, bitstream  # noqa: E402
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD  # noqa: E402
from gsc_ros.link.datagrams.framing import TrafficClass  # noqa: E402
from gsc_ros.link.datagrams.payloads import Command  # noqa: E402
from gsc_ros.link.radio import budget, profiles  # noqa: E402
from gsc_ros.link.traffic.frame_scheduler import LinkCapacity  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402


@pytest.fixture(scope='module')
def context():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain(13))
    yield context
    context.try_shutdown()


@pytest.fixture
def bench(context, request):
    made = []

    def make(**parameters):
        name = f'n{abs(hash(request.node.name)) % 10**8}'
        made.append(LinkBench(context, f'/{name}', **parameters))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_frame_arrives_with_its_own_stamp_and_a_camera_info_of_the_same(bench):
    link = bench()
    link.cameras.publish(camera('cam'))
    link.wait(lambda: link.node.robot.cameras[0].camera_info is not None)
    sent = [frame(number, stamp=(STAMP[0] + number, STAMP[1])) for number in range(5)]
    link.send(*sent)
    link.wait(lambda: len(link.got[topics.RECEIVED]) == len(link.got[topics.RECEIVED_INFO]) == 5)
    for before, after in zip(sent, link.got[topics.RECEIVED], strict=True):
        for name in SemanticFrame.get_fields_and_field_types():
            # The link sets what it knows: the probability is NaN, as no scene was sent.
            if name not in ('caption', 'session', 'scene_probability'):
                assert getattr(before, name) == getattr(after, name), name
        assert math.isnan(after.scene_probability)
    for before, info in zip(sent, link.got[topics.RECEIVED_INFO], strict=True):
        expected = camera('cam')
        expected.header = before.header
        assert info == expected


def test_an_unknown_camera_is_an_uncalibrated_one(bench):
    link = bench()
    link.send(frame())
    link.wait(lambda: link.got[topics.RECEIVED_INFO])
    info = link.got[topics.RECEIVED_INFO][0]
    assert (info.width, info.height, info.k[0]) == (480, 360, 0.0)
    assert info.header == frame().header


def test_a_change_of_camera_crosses_with_its_first_frame(bench):
    link = bench()
    for number, focal in enumerate((400.0, 500.0)):
        link.cameras.publish(camera(focal=focal))
        link.wait(lambda focal=focal: link.node.robot.cameras[0].camera_info
                  and link.node.robot.cameras[0].camera_info.k[0] == focal)  # fmt: skip
        link.send(frame(number))
        link.wait(lambda number=number: len(link.got[topics.RECEIVED_INFO]) == number + 1)
    assert [info.k[0] for info in link.got[topics.RECEIVED_INFO]] == [400.0, 500.0]


def zooming(number, **kwargs):
    """The camera_info of frame ``number`` of a lens that zooms."""
    message = camera(focal=400.0 + number, **kwargs)
    message.header.stamp.sec, message.header.stamp.nanosec = STAMP[0] + number, STAMP[1]
    return message


def zoomed(number):
    return frame(number, stamp=(STAMP[0] + number, STAMP[1]))


def test_a_frame_has_the_camera_info_of_its_stamp_while_newer_ones_came(bench):
    link = bench()
    for number in range(20):
        link.cameras.publish(zooming(number))
    link.wait(lambda: link.node.robot.cameras[0].camera_info
              and link.node.robot.cameras[0].camera_info.k[0] == 419.0)  # fmt: skip
    link.send(*map(zoomed, (4, 11, 19)))
    link.wait(lambda: len(link.got[topics.RECEIVED_INFO]) == 3)
    assert [info.k[0] for info in link.got[topics.RECEIVED_INFO]] == [404.0, 411.0, 419.0]
    assert link.node.robot.cameras[0].unmatched == 0
    # Of one that was lost the newest older one stands in, and it is counted.
    link.cameras.publish(zooming(30))
    link.wait(lambda: link.node.robot.cameras[0].camera_info.k[0] == 430.0)
    link.send(zoomed(25))
    link.wait(lambda: len(link.got[topics.RECEIVED_INFO]) == 4)
    assert link.got[topics.RECEIVED_INFO][3].k[0] == 419.0
    assert link.node.robot.cameras[0].unmatched == 1


def test_the_encoders_camera_info_replaces_the_cameras(bench):
    link = bench()
    encoder = link.peer.create_publisher(CameraInfo, topics.CODED_INFO, topics.IMAGES)
    link.wait(encoder.get_subscription_count)
    for number in range(3):
        link.cameras.publish(zooming(number))
        rectified = zooming(number)
        rectified.d = [0.0] * 5
        encoder.publish(rectified)
    link.wait(lambda: link.node.robot.cameras[0].camera_info
              and link.node.robot.cameras[0].camera_info.k[0] == 402.0)  # fmt: skip
    link.send(*map(zoomed, range(3)))
    link.wait(lambda: len(link.got[topics.RECEIVED_INFO]) == 3)
    assert [(i.k[0], any(i.d)) for i in link.got[topics.RECEIVED_INFO]] == [
        (400.0, False), (401.0, False), (402.0, False),
    ]  # fmt: skip
    link.peer.destroy_publisher(encoder)
    link.wait(lambda: any(link.node.robot.cameras[0].camera_info.d))


@pytest.mark.parametrize(
    'spoil',
    [
        lambda m: setattr(m, 'data', b''),
        lambda m: setattr(m, 'data', b'\xff' * 200),
        lambda m: setattr(m, 'data', bytes(m.data) + bytes(20_000)),
        lambda m: setattr(m, 'data', bytes(m.data)[:-1]),
        lambda m: setattr(m.header, 'frame_id', 'x' * 300),
    ],
    ids=['empty', 'foreign', 'too large', 'cut short', 'endless frame_id'],
)
def test_malformed_frames_are_counted_and_the_link_lives(bench, spoil):
    link = bench()
    bad = frame()
    spoil(bad)
    link.send(bad, bad, frame(1))
    link.wait(lambda: link.got[topics.RECEIVED])
    assert [m.sequence for m in link.got[topics.RECEIVED]] == [1]
    assert link.status(lambda s: s.packets_malformed == 2).frames_delivered <= 1


@pytest.mark.parametrize('protection', ['auto', 'off'])
def test_lost_datagrams_come_back_once_the_ground_has_reported_the_loss(bench, protection):
    link = bench(loss=0.25, mtu=60, protection=protection)
    numbers = itertools.count(step=2)

    def enough():
        link.send(frame(next(numbers)))
        time.sleep(0.01)
        reported = link.node.robot.cameras[0].feedback.loss > 0.1
        return reported and (protection == 'off' or link.node.down.receiver.restored > 5)

    link.wait(enough)
    link.send(*(frame(next(numbers)) for _ in range(10)))
    assert (link.node.down.receiver.restored > 0) == (protection == 'auto')


def test_a_region_is_asked_for_in_pixels_and_seldom(bench):
    link = bench()
    wanted = []
    link.peer.create_subscription(RegionOfInterest, topics.REGION_WANTED, wanted.append, 10)
    asking = link.peer.create_publisher(RegionOfInterest, topics.REGION, topics.NEWEST)
    link.wait(asking.get_subscription_count)
    asking.publish(RegionOfInterest(width=10, height=10))
    link.wait(lambda: link.node.refused == 1)  # of what?
    link.send(frame())
    link.wait(lambda: link.got[topics.RECEIVED])
    begin = time.monotonic()
    for x in range(40):
        asking.publish(RegionOfInterest(x_offset=x, y_offset=36, width=96, height=72))
        time.sleep(0.01)
    link.wait(lambda: len(wanted) == 2)
    assert time.monotonic() - begin > 0.9
    newest = wanted[-1]
    assert (newest.x_offset, newest.y_offset) == (37, 35)  # grown to steps of 1/255
    assert 98 <= newest.width <= 101 and 72 <= newest.height <= 75
    asking.publish(RegionOfInterest(x_offset=400, width=200, height=10))
    link.wait(lambda: link.node.refused == 2)
    asking.publish(RegionOfInterest())
    link.wait(lambda: len(wanted) == 3)
    assert (wanted[-1].width, wanted[-1].height) == (480, 360)


def test_a_camera_info_that_cannot_be_is_refused(bench):
    link = bench()
    bad = camera()
    bad.k[0] = math.nan
    link.cameras.publish(bad)
    link.wait(lambda: link.node.refused == 1)
    link.send(frame())
    link.wait(lambda: link.got[topics.RECEIVED])


def test_status_tells_the_time_of_datagrams_with_preamble_and_header(bench):
    link = bench(profile='lora_915_fhss', security=False)
    status = link.status(lambda s: True)
    result = budget.compute(profiles.load('lora_915_fhss'))
    assert status.rate_bps == pytest.approx(result.carried_bps)
    capacity = LinkCapacity(
        status.rate_bps, status.mtu, status.overhead, status.gap_s, status.parity
    )
    for size in (40, 150, 300):
        frame_s = link.node.down.frame_s(size + FRAME_OVERHEAD)
        assert capacity.frame_s(size) == pytest.approx(frame_s, abs=0.003)  # a block of the code


def test_status_states_what_the_link_carries(bench):
    link = bench(profile='moon_dte_s_13m', delay_scale=0.0)
    status = link.status(lambda s: True)
    assert status.profile == 'moon_dte_s_13m' and status.open
    assert status.rate_bps == pytest.approx(10_240, rel=0.01) and status.delay_s == 0.0
    link.send(*[frame(number, 300) for number in range(10)])
    status = link.status(lambda s: s.frames_delivered and s.frames_stale)
    assert status.offered_bps > status.used_bps > 0
    status = link.status(lambda s: s.queue_bytes == 0)
    assert status.frames_sent + status.frames_stale == 10


def test_an_outage_is_published_at_once_and_ends(bench, tmp_path):
    profile = tmp_path / 'blinking.yaml'
    plain = (profiles._directory() / 'ideal.yaml').read_text()
    windows = ('pass_period: {value: 2 s, source: x}', 'pass_length: {value: 1 s, source: x}')
    profile.write_text('\n'.join([plain, *windows]))
    link = bench(profile=str(profile))
    shut = link.status(lambda s: not s.open)
    assert shut.rate_bps == 0.0 and 0 < shut.changes_in_s <= 1.0
    assert shut.closes_in_s == 0.0 and 0 < shut.next_window_in_s <= 1.0
    link.send(frame(1))  # too old when the window opens
    clear = link.status(lambda s: s.open)
    assert 0 < clear.closes_in_s <= 1.0
    assert clear.next_window_in_s == pytest.approx(clear.closes_in_s + 1.0)
    link.send(frame(3))
    link.wait(lambda: link.got[topics.RECEIVED])
    assert link.got[topics.RECEIVED][0].sequence == 3
    assert link.status(lambda s: s.frames_delivered == 1).frames_stale == 1


def test_a_loss_of_all_lets_nothing_through(bench):
    link = bench(loss=1.0)
    link.send(*[frame(number) for number in range(5)])
    status = link.status(lambda s: s.frames_lost == 5)
    assert status.loss == 1.0 and status.frames_delivered == 0
    assert not link.got[topics.RECEIVED]


def test_truncated_frames_say_so(bench):
    link = bench(loss=0.3, seed=3, mtu=60)
    link.send(*[frame(number, 400) for number in range(40)])
    link.status(lambda s: s.frames_delivered + s.frames_lost == 40)
    received = link.got[topics.RECEIVED]
    assert any(m.truncated for m in received)
    for message in received:
        whole = bytes(frame(message.sequence, 400).data)
        assert whole.startswith(bytes(message.data))
        assert message.truncated == (len(message.data) < len(whole))


def test_an_indivisible_frame_comes_whole_or_is_lost(bench, monkeypatch):
    preset = replace(backend.PRESETS['gsc'], progressive=False)
    monkeypatch.setitem(backend.PRESETS, 'gsc', preset)
    link = bench(loss=0.3, seed=3, mtu=60, protection='off')
    offered, offer = [], link.node.down.offer
    link.node.down.offer = lambda *words: (offered.append(words), offer(*words))
    frames = [frame(number, 400) for number in range(40)]
    for message in frames:
        message.divisible = False
    link.send(*frames)
    status = link.status(lambda s: s.frames_delivered + s.frames_lost == 40)
    assert all(words[4] is False for words in offered if words[2] is TrafficClass.FRAME)
    received = link.got[topics.RECEIVED]
    link.wait(lambda: len(received) == status.frames_delivered)
    for message in received:
        assert not message.truncated and not message.divisible
        assert bytes(message.data) == bytes(frames[message.sequence].data)
    assert link.node.ground.incomplete > 0


def clock_of(link):
    """Return what sets the simulated time of a bench, in whole seconds."""
    clock = link.peer.create_publisher(Clock, '/clock', 10)
    link.wait(clock.get_subscription_count)

    def set_time(seconds):
        clock.publish(Clock(clock=Time(sec=seconds)))
        link.wait(lambda: link.node.get_clock().now().nanoseconds == seconds * 10**9)

    return set_time


def test_simulated_time_drives_the_link_and_may_begin_anew(bench):
    link = bench(profile='moon_dte_s_13m', use_sim_time=True)
    reports = []
    link.peer.create_subscription(DiagnosticArray, '/diagnostics', reports.append, 10)
    link.wait(lambda: reports)  # before there is a time
    set_time = clock_of(link)
    for number, (begin, end) in enumerate(((100, 101), (10, 12))):
        set_time(begin)
        link.frames.publish(frame(number))
        link.wait(lambda begin=begin: link.taken() == 1 and link.node.time_ns == begin * 10**9)
        set_time(end)
        if end - begin > 1.28:
            link.wait(lambda: link.got[topics.RECEIVED])
    # The first was on its way for a second only when time began anew.
    assert [m.sequence for m in link.got[topics.RECEIVED]] == [1]


def test_each_loop_and_each_jump_of_time_is_shown_from_its_first_frame_on(bench):
    link = bench(use_sim_time=True)
    link.cameras.publish(camera())
    set_time = clock_of(link)
    sessions, days = [], 2 * 86_400
    for number, begin in enumerate((100, 100 + days, 100, 105, 20, 20)):
        set_time(begin - 1)  # a bag that begins anew
        link.wait(lambda begin=begin: link.node.time_ns == (begin - 1) * 10**9)
        for step in range(2):
            count = len(link.got[topics.RECEIVED])
            link.send(frame(2 * step, stamp=(begin + step, 0), frame_id=f'cam{number}'))
            set_time(begin + step)
            link.wait(lambda count=count: len(link.got[topics.RECEIVED]) > count)
            came = link.got[topics.RECEIVED][-1]
            assert came.header.frame_id == f'cam{number}'
            assert came.header.stamp.sec == begin + step
        sessions.append(came.session)
    # Another session wherever time ran backwards.
    assert len(set(sessions)) == 4 and sessions[0] == sessions[1]
    assert sessions[2] == sessions[3] != sessions[1]


def test_commands_go_up_and_the_robot_stops_when_they_end(bench):
    link = bench(command_timeout_s=0.3)
    link.know_the_robot()
    link.teleop.publish(drive(0.5))
    commands = link.node.robot.commands
    link.wait(lambda: commands.stops == 1)
    link.wait(lambda: commands._pause_s() is None)  # the zero is repeated, but not for ever
    link.settle()
    first, *others = [m.linear.x for m in link.got[topics.LINK_CMD_VEL]]
    assert first == 0.5 and set(others) == {0.0}


def test_a_clock_that_is_set_back_stops_a_moving_robot(bench):
    link = bench(command_timeout_s=100.0)
    link.know_the_robot()
    link.teleop.publish(drive(0.5))
    link.wait(lambda: link.got[topics.LINK_CMD_VEL])
    clock = link.node.get_clock()
    earlier = SimpleNamespace(now=lambda: clock.now() - Duration(seconds=3600))
    # As timers of that clock do then.
    link.node._alarm.cancel()
    link.node._status_timer.cancel()
    link.node.get_clock = lambda: earlier
    link.wait(lambda: len(link.got[topics.LINK_CMD_VEL]) == 2)
    assert link.got[topics.LINK_CMD_VEL][1] == Twist()
    published = len(link.got[topics.STATUS])
    link.send(frame())
    link.wait(lambda: link.got[topics.RECEIVED])
    link.wait(lambda: len(link.got[topics.STATUS]) > published + 1)


def test_reports_and_requests_take_a_twentieth_of_the_air_turns_included(bench):
    link = bench(profile='vhf_cnr_25k', loss=0.0)
    ground, up = link.node.ground, link.node.up
    one = ground.cameras[0]
    for size in (1, 5, 6):
        assert one._pause_s(bytes(size)) == pytest.approx(20 * (0.6 + up.frame_s(size)))
    link.send(frame())
    link.wait(lambda: link.got[topics.RECEIVED])
    link.wait(lambda: up.sender.counts[TrafficClass.REPORT].offered)
    assert ground.next_deadline > 3.0  # a quarter of the pause, at the cost of the next report


def test_a_delta_frame_may_refer_back_over_the_wrap_of_the_numbers(bench):
    link = bench()
    bad = frame(0)
    header = bitstream.FrameHeader('gsc', 77, 0, 480, 360, 0, 250)
    bad.data = bitstream.pack(header, bytes(99))[1]
    link.send(bad)
    link.wait(lambda: link.got[topics.RECEIVED])
    received = link.got[topics.RECEIVED][0]
    assert received.reference_sequence == 2**32 - 6
    assert math.isnan(received.scene_probability)  # not sent


def test_a_stop_by_the_operator_is_not_repeated(bench):
    link = bench(command_timeout_s=0.1)
    link.know_the_robot()
    link.teleop.publish(drive(0.0))
    link.wait(lambda: link.got[topics.LINK_CMD_VEL])
    commands = link.node.robot.commands
    assert commands.gate.next_deadline is None and commands._pause_s() is None
    link.settle()
    assert len(link.got[topics.LINK_CMD_VEL]) == 1


def test_commands_pay_the_delay(bench):
    link = bench(profile='moon_dte_s_13m', delay_scale=0.5)
    link.know_the_robot()
    begin = time.monotonic()
    link.teleop.publish(drive(0.5))
    link.wait(lambda: link.got[topics.LINK_CMD_VEL])
    assert time.monotonic() - begin >= 0.64
    assert link.got[topics.LINK_CMD_VEL][0].linear.x == 0.5


def test_a_command_that_is_too_late_is_not_executed(bench):
    """Two commands at once: the second waits for the air longer than is allowed."""
    link = bench(profile='moon_dte_s_13m', delay_scale=0.0, rate_scale=0.02, command_max_age_s=0.2)
    link.know_the_robot()
    up = link.node.up.sender
    link.wait(lambda: up.next_start is None and up.pacer.free_at < link.node.now())
    link.teleop.publish(drive(0.1))
    link.wait(lambda: up.counts[TrafficClass.COMMAND].sent == 1)
    link.teleop.publish(drive(0.2))
    link.wait(lambda: link.node.robot.commands.late == 1)
    assert 0.2 not in [round(m.linear.x, 3) for m in link.got[topics.LINK_CMD_VEL]]


def test_a_stop_takes_the_place_of_a_command_that_waits(bench):
    link = bench(profile='moon_dte_s_13m', delay_scale=0.0, rate_scale=0.02, command_max_age_s=9.0)
    link.know_the_robot()
    up, ran = link.node.up.sender, link.node.robot.commands.gate
    link.wait(lambda: up.next_start is None and up.pacer.free_at < link.node.now())
    stopping = link.peer.create_publisher(Bool, topics.STOP, topics.NEWEST)
    link.wait(stopping.get_subscription_count)
    link.teleop.publish(drive(0.1))
    link.wait(lambda: up.counts[TrafficClass.COMMAND].sent == 1)
    link.teleop.publish(drive(0.2))
    link.wait(lambda: up.waiting_payload(TrafficClass.COMMAND) is not None)
    stopping.publish(Bool(data=True))
    link.wait(lambda: up.counts[TrafficClass.STOP].offered)
    waiting = Command.unpack(up.waiting_payload(TrafficClass.COMMAND), 0)
    assert not any(waiting.velocity)
    link.status(lambda s: s.stop == LinkStatus.STOP_HELD)
    assert ran.held and ran.ran == 1
    assert [m.linear.x for m in link.got[topics.LINK_CMD_VEL]][:1] == [0.1]
    assert not any(m.linear.x for m in link.got[topics.LINK_CMD_VEL][1:])


def test_a_command_that_is_no_number_is_refused(bench):
    link = bench()
    link.teleop.publish(drive(math.nan))
    link.wait(lambda: link.node.refused == 1)
    assert not link.got[topics.LINK_CMD_VEL]


def test_closing_the_link_stops_a_moving_robot(bench):
    link = bench(command_timeout_s=100.0)
    link.know_the_robot()
    link.teleop.publish(drive(0.5))
    link.wait(lambda: link.got[topics.LINK_CMD_VEL])
    link.node.trigger_deactivate()
    link.wait(lambda: len(link.got[topics.LINK_CMD_VEL]) == 2)
    assert link.got[topics.LINK_CMD_VEL][1] == Twist()
    link.node.trigger_activate()
    link.send(frame())
    link.wait(lambda: link.got[topics.RECEIVED])


def refused(kind, context, capfd, message, **parameters):
    """Make a node of these parameters, and see it stop at configure and say why."""
    values = {'autostart': False, **parameters}
    overrides = [Parameter(key, value=value) for key, value in values.items()]
    node = kind(context=context, parameter_overrides=overrides)
    before = {one.topic_name for one in node.publishers}
    try:
        node.trigger_configure()
        assert node.diagnostics is None
        # Nobody waits for a status that will not come.
        assert {one.topic_name for one in node.publishers} == before
    finally:
        node.destroy_node()
    assert message in capfd.readouterr().err


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('profile', 'nowhere', 'known: '),
        ('loss', 1.5, 'parameter loss'),
        ('loss', -0.5, 'parameter loss'),
        ('mtu', 49, 'mtu must be 50'),
        ('mtu', 65508, 'parameter mtu'),
        ('rate_scale', 0.0, 'parameter rate_scale'),
        ('seed', 'one', 'parameter seed'),
        ('key_file', '/nowhere/link.key', 'gsc key'),
    ],
)
def test_a_bad_parameter_stops_the_node_at_configure(context, capfd, name, value, message):
    refused(LinkNode, context, capfd, message, **{name: value})


def test_a_key_frame_is_asked_for_over_the_link_and_not_in_a_storm(bench):
    b = bench(use_sim_time=True)  # so that a machine that is busy makes no pauses
    set_time = clock_of(b)
    wanted = []
    b.peer.create_subscription(Empty, topics.KEY_WANTED, wanted.append, topics.IMAGES)
    missed = b.peer.create_publisher(Empty, topics.KEY_MISSED, topics.NEWEST)
    b.wait(missed.get_subscription_count)
    b.wait(b.node.robot.cameras[0]._wanted.get_subscription_count)
    requests = b.node.ground.cameras[0].key_requests
    for number in range(1, 6):
        missed.publish(Empty())
        b.wait(lambda n=number: requests.asked + requests.held >= n)
    set_time(1)
    b.wait(lambda: wanted)
    assert requests.asked == 1 and len(wanted) == 1
    b.send(frame(2))  # a key frame: the answer
    set_time(2)
    b.wait(lambda: b.got[topics.RECEIVED])
    missed.publish(Empty())
    b.wait(lambda: requests.asked == 2)
    set_time(3)
    b.wait(lambda: len(wanted) == 2)


@pytest.mark.parametrize(('security', 'overhead'), [(False, 15), (True, 25)])
def test_a_profile_straight_to_earth_has_packets(
    context, tmp_path, monkeypatch, security, overhead
):
    pytest.importorskip('spacepackets')
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    overrides = [
        Parameter('autostart', value=False),
        Parameter('profile', value='mars_dte_hga_34m'),
        Parameter('security', value=security),
    ]
    node = LinkNode(context=context, parameter_overrides=overrides)
    try:
        node.trigger_configure()
        for channel in (node.down, node.up):
            assert channel.sender.seal.overhead == overhead
    finally:
        node.destroy_node()


def test_the_key_is_made_at_the_first_start_and_kept(context, tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    made = tmp_path / 'gsc_ros' / 'link.key'
    keys = []
    for security in (False, True, True):
        overrides = [
            Parameter('autostart', value=False),
            Parameter('profile', value='ideal'),
            Parameter('security', value=security),
        ]
        node = LinkNode(context=context, parameter_overrides=overrides)
        try:
            node.trigger_configure()
            assert (node.down.sender.seal.version == 4) is security
            assert made.exists() is security
        finally:
            node.destroy_node()
        keys += [made.read_text()] if security else []
    assert keys[0] == keys[1]
    assert made.stat().st_mode & 0o077 == 0
