"""Who goes first: stops before everything, and no stream of commands starves the rest."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_channel import frame, run, stamp_of, stream
from test_link_duplex import drive

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import Command, Report, Request, Stop
from gsc_ros.link.radio import budget, profiles
from gsc_ros.link.traffic.background import CLASSES as BACKGROUND
from gsc_ros.link.traffic.channel import Channel, share_air
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.sender import Sender
from gsc_ros.region import Region

COMMAND = Command(10**15, (0.5, 0.0, 0.0, 0.0, 0.0, 0.1), 7).pack()
STOP = Stop(10**15, 3, True, 7).pack()
REPORT = Report(7, 7, 0.1, 1.0, 7, 1234).pack()
REQUEST = Request(key_frame=True, region=Region(0.0, 0.0, 0.5, 0.5)).pack()


def order(sender, now=1e3):
    return [datagram.traffic_class for _, datagram, _ in sender.advance(now)]


def test_a_stop_goes_before_everything_and_between_fragments():
    for begun in TrafficClass:
        sender = Sender(Pacer(8000.0), 50)
        sender.offer(bytes(200), 0.0, begun)
        assert [one[1].traffic_class for one in sender.advance(0.0)] == [begun]
        for traffic_class in TrafficClass:
            sender.offer(bytes(20), 0.0, traffic_class)
        sent = order(sender)
        if begun is TrafficClass.STOP:  # the newer one waits for the end of the older one
            assert sent[:6] == [TrafficClass.STOP] * 6
        else:
            assert sent[0] is TrafficClass.STOP and sent.count(TrafficClass.STOP) == 1


def test_a_stop_waits_for_one_datagram_and_no_longer():
    source = random.Random(4)
    for _ in range(200):
        sender = Sender(Pacer(2400.0), 128)
        for traffic_class in (
            TrafficClass.COMMAND,
            TrafficClass.FRAME,
            TrafficClass.REQUEST,
            TrafficClass.REPORT,
        ):
            sender.offer(bytes(source.randint(1, 400)), 0.0, traffic_class)
        at = source.uniform(0.0, 3.0)
        list(sender.advance(at))
        sender.offer(STOP, at, TrafficClass.STOP)
        left, datagram, _ = sender.send_next(10.0)
        assert datagram.traffic_class is TrafficClass.STOP
        assert (
            left - at
            <= sender.pacer.air_s(128) + sender.air_s(len(STOP), TrafficClass.STOP) + 1e-6
        )


def test_commands_still_go_between_the_fragments_of_a_frame_and_are_never_two():
    sender = Sender(Pacer(8000.0), 50)
    sender.offer(bytes(200), 0.0, TrafficClass.FRAME)
    assert order(sender, 0.0) == [TrafficClass.FRAME]
    for _ in range(3):
        sender.offer(COMMAND, 0.0, TrafficClass.COMMAND)
    assert order(sender)[:3] == [TrafficClass.COMMAND, TrafficClass.FRAME, TrafficClass.FRAME]
    count = sender.counts[TrafficClass.COMMAND]
    assert (count.offered, count.sent, count.stale) == (3, 1, 2)


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([300.0, 2400.0, 16_000.0]),
    gap=st.sampled_from([0.0, 0.13]),
    every=st.floats(0.05, 3.0),
    traffic_class=st.sampled_from([TrafficClass.COMMAND, TrafficClass.FRAME]),
    size=st.integers(19, 600),
    background=st.lists(
        st.tuples(
            st.floats(0.0, 60.0), st.sampled_from([TrafficClass.REQUEST, TrafficClass.REPORT])
        ),
        max_size=12,
    ),
)
def test_nothing_in_the_background_waits_long(rate, gap, every, traffic_class, size, background):
    """Behind what is on air, as much of others as its own air and a payload; so the one before."""
    channel = Channel(rate, mtu=128, gap_s=gap)
    small = {TrafficClass.REQUEST: REQUEST, TrafficClass.REPORT: REPORT}
    offers = stream(size, every, 60.0, traffic_class)
    offers += [(when, small[kind], kind) for when, kind in background]
    own = max(channel.sender.air_s(len(data), kind) for kind, data in small.items())
    most = 3 * channel.sender.air_s(size, traffic_class) + 4 * own + 1e-6
    waiting = {}
    for now, received in run(channel, sorted(offers, key=lambda o: o[0]), 60.0 + most):
        if received.traffic_class in BACKGROUND:
            waiting.setdefault(received.traffic_class, []).append(now)
    for when, kind in background:
        assert any(when <= now <= when + most for now in waiting[kind])


def test_half_of_the_air_is_theirs_while_they_wait_and_no_more():
    channel = Channel(8000.0, mtu=128)
    offers = stream(19, 0.01, 60.0, TrafficClass.COMMAND) + [
        (when, frame(when, 19), TrafficClass.REPORT) for when, _, _ in stream(19, 0.01, 60.0)
    ]
    list(run(channel, sorted(offers, key=lambda o: o[0]), 60.0))
    counts = channel.sender.counts
    commands, reports = counts[TrafficClass.COMMAND].sent, counts[TrafficClass.REPORT].sent
    assert commands / (commands + reports) == pytest.approx(0.5, abs=0.01)
    # What did not fit is known.
    count = counts[TrafficClass.COMMAND]
    assert 0 <= count.offered - count.sent - count.stale <= 1 < 1000 < count.stale


def test_nothing_is_saved_for_later():
    """Commands that nobody waited behind give no credit to a crowd that comes after."""
    sender = Sender(Pacer(8000.0), 128)
    for step in range(200):
        sender.offer(COMMAND, step * 0.01, TrafficClass.COMMAND)
        list(sender.advance(step * 0.01))
    for traffic_class in (TrafficClass.COMMAND, TrafficClass.REQUEST, TrafficClass.REPORT):
        sender.offer(COMMAND, 2.5, traffic_class)
    assert order(sender) == [TrafficClass.COMMAND, TrafficClass.REQUEST, TrafficClass.REPORT]


@pytest.mark.parametrize(
    ('name', 'commands_s', 'every_s'),
    [('vhf_cnr_25k', 2.0, 12.0), ('lora_915_fhss', 10.0, 3.0), ('hf_skywave_3k', 10.0, 3.0)],
)
@pytest.mark.parametrize('half', [False, True])
def test_requests_and_reports_get_through_while_the_operator_drives(
    name, commands_s, every_s, half
):
    result = budget.compute(profiles.load(name))
    profile = result.profile
    mtu, gap, on_air = int(profile.mtu), profile.packet_gap, profile.on_air
    down, up = (Channel(result.rate_bps, 0.0, mtu, gap_s=gap, on_air=on_air) for _ in range(2))
    if half:
        share_air((down, up), profile.turnaround)
    until = 120.0
    offers = [
        (t, up, COMMAND, TrafficClass.COMMAND) for t, _, _ in stream(8, 1 / commands_s, until)
    ]
    for traffic_class, payload in ((TrafficClass.REQUEST, REQUEST), (TrafficClass.REPORT, REPORT)):
        offers += [
            (t, up, payload, traffic_class) for t, _, _ in stream(8, every_s, until, begin=2.0)
        ]
    offers += [(t, down, p, k) for t, p, k in stream(300, 0.05, until)]
    offers += [(t, down, REPORT, TrafficClass.REPORT) for t, _, _ in stream(8, every_s, until)]
    came = drive(down, up, offers, until + 10.0)
    for channel, traffic_class in (
        (up, TrafficClass.REQUEST),
        (up, TrafficClass.REPORT),
        (down, TrafficClass.REPORT),
    ):
        offered = [t for t, c, _, k in offers if (c, k) == (channel, traffic_class)]
        arrived = [t for t, c, r in came if (c, r.traffic_class) == (channel, traffic_class)]
        assert len(arrived) == len(offered)
        waits = [then - when for when, then in zip(offered, arrived, strict=True)]
        assert max(waits) < 3.5
    # The rest goes to commands, the newest each time.
    commands = [t for t, c, r in came if r.traffic_class is TrafficClass.COMMAND]
    count = up.sender.counts[TrafficClass.COMMAND]
    assert count.stale == count.offered - len(commands)
    assert len(commands) > 0.6 * until * min(commands_s, 1.2 if half else commands_s / 2)


def overloaded(divisible, size=300):
    """Frames at three times the rate, with commands in between; what came, as (time, received)."""
    channel = Channel(2400.0, mtu=60)
    frames = [(when, data) for when, data, _ in stream(size, 0.45, 60.0)]
    commands = [(when, COMMAND) for when, _, _ in stream(8, 0.9, 60.0, begin=0.2)]
    came, now = [], 0.0
    for when, data in sorted(frames + commands):
        while (event := channel.next_event()) is not None and event <= when:
            now = max(event, now)
            came += [(now, one) for one in channel.poll(now)]
        is_frame = len(data) == size
        traffic_class = TrafficClass.FRAME if is_frame else TrafficClass.COMMAND
        channel.offer(data, when, traffic_class, divisible=divisible)
    return channel, [(at, one) for at, one in came if one.traffic_class is TrafficClass.FRAME]


def test_an_indivisible_frame_is_never_cut():
    _, cut = overloaded(divisible=True)
    whole_channel, whole = overloaded(divisible=False)
    assert any(one.truncated for _, one in cut)
    assert len(whole) > 20 and not any(one.truncated for _, one in whole)
    assert all(len(one.payload) == 300 for _, one in whole)
    # It leaves one frame time later at most, commands apart.
    frame_s = whole_channel.frame_s(300)
    assert max(at - stamp_of(one) for at, one in whole) < 2.6 * frame_s
    counts = whole_channel.sender.counts[TrafficClass.FRAME]
    assert 0 <= counts.offered - counts.stale - counts.sent <= 1


def test_an_indivisible_frame_gives_up_its_parity_and_no_data():
    sender = Sender(Pacer(2400.0), 60)
    sender.set_fec(0.3)
    sender.offer(bytes(300), 0.0, TrafficClass.FRAME, divisible=False)
    first = sender.send_next(0.0)[1]
    sender.offer(bytes(49), 0.1, TrafficClass.COMMAND)
    sender.offer(bytes(300), 0.1, TrafficClass.FRAME)  # the next one waits for it
    sent = [first, *(one for _, one, _ in sender.advance(100.0))]
    own = [one for one in sent if one.number == 0 and one.traffic_class is TrafficClass.FRAME]
    data, parity = ([one for one in own if one.parity is flag] for flag in (False, True))
    assert sum(len(one.fragment) for one in data) == 300
    assert data[-1].end and not any(one.cut for one in own)
    plain = Sender(Pacer(2400.0), 60)
    plain.set_fec(0.3)
    plain.offer(bytes(300), 0.0, TrafficClass.FRAME, divisible=False)
    alone = [one for _, one, _ in plain.advance(100.0)]
    assert len(parity) < sum(one.parity for one in alone)
