"""Several cameras on one link: names, shares, and streams that do not disturb each other."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams.frames import Camera, Frame, FrameReceiver, FrameSender, Setup
from gsc_ros.link.datagrams.framing import PER_CAMERA, Datagram, TrafficClass, fragments
from gsc_ros.link.datagrams.payloads import (
    NO_CAMERA,
    PayloadError,
    Request,
    RobotReport,
)
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.radio.losses import GilbertElliottModel
from gsc_ros.link.radio.schedule import Interval, Schedule
from gsc_ros.link.traffic.cameras import MAX_CAMERAS, CameraStream, parse_cameras
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.sharing import CHOSEN_SHARE, FairShare, shares

weights = st.lists(st.floats(0.1, 10.0), min_size=1, max_size=MAX_CAMERAS)


def flood(channel, cameras, seconds, size=300, step_s=0.02, offered=None):
    """Offer frames of each camera without end; returns what came out, as (time, received)."""
    out, now = [], 0.0
    while now < seconds:
        for camera in cameras:
            if offered is None or offered(camera, now):
                channel.offer(bytes([camera]) * size, now, camera=camera)
        out += [(now, received) for received in channel.poll(now)]
        now += step_s
    return out


# The list of cameras


def test_no_list_is_one_camera_without_a_name():
    assert parse_cameras('') == parse_cameras('  ') == (CameraStream(),)
    assert CameraStream().topic('camera/image') == 'camera/image'


def test_names_and_weights():
    cameras = parse_cameras('front:2, rear, arm_left : 0.5')
    assert [(one.name, one.weight) for one in cameras] == [
        ('front', 2.0),
        ('rear', 1.0),
        ('arm_left', 0.5),
    ]
    assert cameras[1].topic('camera/image') == 'rear/camera/image'


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('front,front', 'front comes twice'),
        ('front,,rear', "'' is no name"),
        ('Front', 'is no name'),
        ('2front', 'is no name'),
        ('front/left', 'is no name'),
        ('a__b', 'is no name'),
        ('_front', 'is no name'),
        ('x' * 32, 'is no name'),
        ('front:0', 'weight of front'),
        ('front:nan', 'weight of front'),
        ('front:-1', 'weight of front'),
        ('front:much', 'weight of front'),
        ('front:', 'weight of front'),
        (','.join(f'c{i}' for i in range(MAX_CAMERAS + 1)), 'up to 8, got 9'),
    ],
)
def test_bad_lists_are_refused_with_the_remedy(text, why):
    with pytest.raises(ValueError, match=why):
        parse_cameras(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        cameras = parse_cameras(text)
    except ValueError:
        return
    assert 1 <= len(cameras) <= MAX_CAMERAS
    assert len({one.name for one in cameras}) == len(cameras)


# Shares


@given(weights, st.sets(st.integers(0, 7)), st.none() | st.integers(0, 7))
def test_what_those_that_send_are_given_is_all_of_the_air(given_weights, active, first):
    active = {camera for camera in active if camera < len(given_weights)}
    given_shares = shares(given_weights, active, first)
    assert all(0 < share <= 1 for share in given_shares)
    if active:
        assert sum(given_shares[camera] for camera in active) == pytest.approx(1.0)
    if first in active and len(active) > 1:
        assert given_shares[first] == pytest.approx(CHOSEN_SHARE)
    elif first not in active and len(active) > 1:
        one, two = sorted(active)[:2]
        assert given_shares[one] / given_shares[two] == pytest.approx(
            given_weights[one] / given_weights[two]
        )


@given(
    st.lists(st.floats(0.1, 10.0), min_size=2, max_size=MAX_CAMERAS),
    st.lists(st.floats(0.01, 1.0), min_size=50, max_size=200),
)
def test_busy_cameras_differ_from_their_weights_by_a_frame_each(given_weights, lengths):
    """The bound of start-time fair queueing, over all pairs and at each moment."""
    fair, cameras = FairShare(), range(len(given_weights))
    fair.set_weights(dict(enumerate(given_weights)))
    for camera in cameras:
        fair.begin(camera)
    used, longest = dict.fromkeys(cameras, 0.0), dict.fromkeys(cameras, 0.0)
    for length in lengths:
        camera = fair.choose(cameras)
        fair.account(camera, length)
        used[camera] += length / given_weights[camera]
        longest[camera] = max(longest[camera], length / given_weights[camera])
        for one in cameras:
            for two in cameras:
                bound = longest[one] + longest[two] + 2e-6
                assert abs(used[one] - used[two]) <= bound


def test_a_camera_that_was_silent_has_saved_up_nothing():
    fair = FairShare()
    for _ in range(100):
        fair.account(fair.choose([0]), 1.0)
    fair.begin(1)
    turns = []
    for _ in range(20):
        turns.append(fair.choose([0, 1]))
        fair.account(turns[-1], 1.0)
    assert abs(turns.count(0) - turns.count(1)) <= 2


@pytest.mark.parametrize('weight', [0.0, -1.0, float('nan'), float('inf')])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match='above 0'):
        FairShare().set_weights({0: weight})


# The link


@settings(max_examples=15, phases=(Phase.explicit, Phase.generate), deadline=None)
@given(st.lists(st.floats(0.2, 5.0), min_size=2, max_size=4), st.integers(100, 900))
def test_a_flooded_link_is_shared_by_weights(given_weights, size):
    channel = Channel(20_000.0, 0.3, 128, cameras=len(given_weights))
    channel.sender.share.set_weights(dict(enumerate(given_weights)))
    air_s = dict.fromkeys(range(len(given_weights)), 0.0)
    for _, received in flood(channel, air_s, 30.0, size):
        air_s[received.camera] += channel.frame_s(len(received.payload))
    for camera, weight in enumerate(given_weights):
        share = weight / sum(given_weights)
        assert air_s[camera] == pytest.approx(30.0 * share, abs=1 + 3 * channel.frame_s(size))


def test_waiting_for_others_cuts_no_frame():
    channel = Channel(20_000.0, 0.3, 128, cameras=3)
    came = [received for _, received in flood(channel, range(3), 30.0)]
    assert len(came) > 100 and not any(received.truncated for received in came)


def test_what_a_silent_camera_leaves_the_others_have():
    channel = Channel(20_000.0, 0.0, 128, cameras=3)
    came = flood(channel, (0, 2), 30.0)
    counts = [sum(received.camera == camera for _, received in came) for camera in range(3)]
    assert counts[1] == 0 and abs(counts[0] - counts[2]) <= 1
    assert sum(counts) * channel.frame_s(300) == pytest.approx(30.0, abs=1.0)


def test_a_frame_is_as_old_as_a_round_at_most():
    channel = Channel(20_000.0, 0.5, 128, cameras=3)
    frame_s = channel.frame_s(300)
    offered_at = {}
    now, oldest = 0.0, 0.0
    rng = random.Random(3)
    while now < 60.0:
        for camera in range(3):
            if rng.random() < 0.3:
                stamp = round(now * 1000).to_bytes(4, 'big')
                offered_at[camera] = now
                channel.offer(stamp + bytes(296), now, camera=camera)
        for received in channel.poll(now):
            sent = int.from_bytes(received.payload[:4], 'big') / 1000
            oldest = max(oldest, now - sent)
        now += 0.01
    assert oldest <= 0.5 + 4 * frame_s + 0.02


def test_a_camera_with_a_small_share_waits_as_long_as_that_at_most():
    """Camera 1 offers a frame when its last one has begun, and camera 0 at all times."""
    share = 0.25
    channel = Channel(20_000.0, 0.0, 128, cameras=2)
    channel.sender.share.set_weights({0: 1 - share, 1: share})
    frame_s = channel.frame_s(300)
    oldest = 0.0
    for step in range(12_000):
        now = 0.005 * step
        channel.offer(bytes(300), now)
        if channel.sender.waiting_payload(TrafficClass.FRAME, 1) is None:
            channel.offer(step.to_bytes(4, 'big') + bytes(296), now, camera=1)
        for received in channel.poll(now):
            if received.camera:
                sent = 0.005 * int.from_bytes(received.payload[:4], 'big')
                oldest = max(oldest, now - sent)
    assert 4 * frame_s < oldest <= (1 + 1 / share + 1) * frame_s + 0.01


def test_a_report_that_waits_does_not_change_whose_turn_it_is():
    channel = Channel(20_000.0, 0.0, 128, cameras=2)
    came = []
    for step in range(4000):
        now = 0.005 * step
        channel.offer(bytes(100), now, TrafficClass.REPORT)
        for camera in range(2):
            channel.offer(bytes(100), now, divisible=False, camera=camera)
        came += channel.poll(now)
    frames = [one.camera for one in came if one.traffic_class is TrafficClass.FRAME]
    assert len(frames) > 100 and len(came) - len(frames) > 100
    assert all(one != two for one, two in pairwise(frames))


def test_a_key_frame_keeps_its_place_while_another_camera_has_the_air():
    channel = Channel(20_000.0, 0.0, 128, cameras=2)
    frame_s = channel.frame_s(300)
    channel.offer(bytes(300), 0.0)
    channel.offer(b'K' * 300, 0.05 * frame_s, is_keyframe=True, camera=1)
    channel.offer(b'D' * 300, 0.9 * frame_s, camera=1)
    came = [one.payload[:1] for one in channel.poll(10.0) if one.camera]
    assert came == [b'K']


def test_one_camera_alone_keeps_its_bytes():
    """The datagrams of a link with one camera do not depend on there being others."""
    channels = [Channel(20_000.0, 0.0, 128, cameras=count) for count in (1, 3)]
    sent = []
    for channel in channels:
        channel.offer(bytes(range(250)), 0.0)
        channel.offer(Request(key_frame=True).pack(), 0.0, TrafficClass.REQUEST)
        sent.append([data for _, _, data in channel.sender.advance(10.0)])
    assert sent[0] == sent[1]
    assert all(data[5] & 0b00111000 == 0 for data in sent[0])


@pytest.mark.parametrize('traffic_class', sorted(set(TrafficClass) - PER_CAMERA))
def test_what_is_of_the_robot_is_of_no_camera(traffic_class):
    channel = Channel(20_000.0, cameras=2)
    with pytest.raises(ValueError, match='of the robot'):
        channel.offer(b'x', 0.0, traffic_class, camera=1)
    receiver = Reassembler(1.0, cameras=2)
    data = Datagram(traffic_class, 0, 0, b'x', end=True, camera=1).pack()
    assert receiver.push(data, 0.0) == []
    assert (receiver.other_camera, receiver.refused) == (1, 0)


def test_a_camera_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match='0 to 7'):
        Channel(20_000.0).offer(b'x', 0.0, camera=8)


@given(st.integers(1, 7), st.integers(1, 8))
def test_a_camera_that_there_is_not_is_a_counted_drop(camera, known):
    receiver = Reassembler(1.0, cameras=known)
    datagram = Datagram(TrafficClass.FRAME, 3, 0, b'x', end=True, camera=camera)
    received = receiver.push(datagram.pack(), 0.0)
    assert [one.camera for one in received] == ([camera] if camera < known else [])
    assert receiver.other_camera == (camera >= known)
    assert receiver.lacked == (camera if camera >= known else None)
    if camera >= known:
        receiver.push(Datagram(TrafficClass.FRAME, 3, 0, b'x', end=True, camera=7).pack(), 0.0)
        assert receiver.lacked == camera, 'by turns they would change each report'
    assert receiver.refused == 0
    receiver.push(Datagram(TrafficClass.FRAME, 4, 0, b'x', end=True, session=9).pack(), 0.0)
    assert receiver.lacked is None, 'another ground has asked nothing of it'


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_streams_that_are_woven_together_come_out_each_as_it_was(sizes, rng):
    """Datagrams of each camera keep their order; those of different cameras do not."""
    queues, sent = {0: [], 1: [], 2: []}, {0: [], 1: [], 2: []}
    for camera, size in sizes:
        payload = bytes(rng.randrange(256) for _ in range(size))
        number = len(sent[camera])
        sent[camera].append(payload)
        for one in fragments(payload, TrafficClass.FRAME, number, 64):
            queues[camera].append(
                Datagram(
                    one.traffic_class, number, one.index, one.fragment, one.end, camera=camera
                )
            )
    receiver, came = Reassembler(1.0, cameras=3), {0: [], 1: [], 2: []}
    while any(queues.values()):
        camera = rng.choice([one for one, queue in queues.items() if queue])
        for received in receiver.push(queues[camera].pop(0).pack(), 0.0):
            assert not received.truncated
            came[received.camera].append(received.payload)
    assert came == sent
    assert receiver.expected == receiver.fragments and not receiver.gaps


def test_losses_of_one_camera_do_not_disturb_the_other():
    channel = Channel(40_000.0, 0.1, 128, cameras=2)
    whole = Channel(40_000.0, 0.1, 128, cameras=2)
    out = {}
    for name, one in (('hit', channel), ('whole', whole)):
        if name == 'hit':  # every second datagram of camera 1
            launch, fate = one._launch, iter(range(10**6))

            def hit(left, datagram, data, launch=launch, fate=fate):
                if not (datagram.camera and next(fate) % 2):
                    launch(left, datagram, data)

            one._launch = hit
        out[name] = [
            (at, received.payload)
            for at, received in flood(one, (0, 1), 20.0)
            if received.camera == 0
        ]
    assert out['hit'] == out['whole']
    assert len(out['whole']) > 50


def test_an_outage_leaves_the_newest_of_each_camera():
    times = Schedule([Interval(5.0, 20_000.0), Interval(20.0, 0.0), Interval(1e3, 20_000.0)])
    channel = Channel(0.0, 0.0, 128, schedule=times, cameras=2)
    came = flood(channel, (0, 1), 30.0)
    late = [(at, received.camera) for at, received in came if at > 25.0]
    assert {camera for _, camera in late[:2]} == {0, 1}


def test_loss_bursts_and_floods_count_what_becomes_of_the_frames():
    model = GilbertElliottModel.from_mean(0.2, 3.0)
    channel = Channel(40_000.0, 0.1, 128, loss=model, seed=4, cameras=3)
    flood(channel, range(3), 60.0)
    channel.poll(70.0)
    total = channel.statistics(70.0)
    each = [channel.statistics(70.0, camera=camera) for camera in range(3)]
    for name in ('offered', 'sent', 'stale', 'delivered', 'truncated', 'lost'):
        assert sum(getattr(one, name) for one in each) == getattr(total, name)
    assert all(one.delivered > 50 and one.lost > 5 for one in each)


# Payloads


def test_a_setup_of_one_camera_has_no_name_and_no_other_bytes():
    plain = Setup(3, 10**18, 7, Camera('camera', 640, 480))
    named = Setup(3, 10**18, 7, Camera('camera', 640, 480), 'rear')
    assert Setup.unpack(plain.pack()) == plain and Setup.unpack(named.pack()) == named
    assert len(plain.pack()) < len(named.pack()) <= len(plain.pack()) + 5


@pytest.mark.parametrize(('here', 'there'), [('rear', 'front'), ('', 'front'), ('front', '')])
def test_ends_with_different_lists_show_no_camera_as_another(here, there):
    sender, receiver = FrameSender(0, there), FrameReceiver(here)
    frame = Frame(10**18, 0, Camera('camera', 64, 64), b'frame')
    (_, setup), (_, payload) = sender.pack(frame, 0)
    with pytest.raises(PayloadError, match='give both ends the same cameras'):
        receiver.setup(setup, 1)
    assert receiver.frame(payload, 1) is None
    assert receiver.undescribed == 1


@given(st.integers(0, 7) | st.just(NO_CAMERA), st.booleans(), st.none() | st.integers(1, 65535))
def test_the_operators_choice_crosses(first, key_frame, budget):
    request = Request(key_frame, budget=budget, rate=2.5, first=first)
    assert Request.unpack(request.pack()) == request
    assert Request(setup=True).also(request).first == first
    assert request.also(Request(setup=True)).first == first
    report = RobotReport(3, True, count=9, goal=4, goal_state=2, first=first)
    assert RobotReport.unpack(report.pack()) == report
    assert len(report.pack()) == len(RobotReport(3, True, count=9, goal=4).pack()) + 1
    lacks = replace(report, lacks=first)
    assert RobotReport.unpack(lacks.pack()) == lacks


@pytest.mark.parametrize('payload', ['40', '4001ff', '0120', '80'])
def test_a_request_of_another_length_is_refused(payload):
    with pytest.raises(PayloadError):
        Request.unpack(bytes.fromhex(payload))


def test_a_report_without_the_choice_that_it_announces_is_refused():
    for flag in (16, 32):
        with pytest.raises(PayloadError):
            RobotReport.unpack(bytes([0, flag, 0]))
