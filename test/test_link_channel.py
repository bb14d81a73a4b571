"""The channel in simulated time: rate, loss, bounded age, order, bounded memory."""

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams import framing, seals
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.radio import budget, profiles
from gsc_ros.link.radio.losses import GilbertElliott, GilbertElliottModel
from gsc_ros.link.traffic.channel import Channel


def frame(stamp, size):
    """A payload with the time at which it was made."""
    return struct.pack('>d', stamp) + bytes(size - 8)


def stamp_of(received):
    return struct.unpack_from('>d', received.payload)[0]


def run(channel, offers, until):
    """Drive a channel by its own events; yields (arrival time, what was received)."""
    for when, payload, traffic_class in [*offers, (until, b'', None)]:
        while (event := channel.next_event()) is not None and event <= when:
            now = max(event, channel._now)
            for received in channel.poll(now):
                yield now, received
        if traffic_class is not None:
            channel.offer(payload, when, traffic_class)


def stream(size, period, until, traffic_class=TrafficClass.FRAME, begin=0.0):
    times = itertools.takewhile(
        lambda t: t < until, (begin + i * period for i in itertools.count())
    )
    return [(t, frame(t, size), traffic_class) for t in times]


def greatest_age(arrivals, after):
    """Greatest age that a shown frame reaches, over all replacements later than `after`."""
    ages = []
    shown = None
    for now, received in arrivals:
        if received.traffic_class is not TrafficClass.FRAME:
            continue
        if shown is not None and now > after:
            ages.append(now - shown)
        shown = stamp_of(received)
    return max(ages)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(120, 1200),
    rate=st.sampled_from([300.0, 2400.0, 10_240.0]),
    mtu=st.sampled_from([50, 128, 203, 1115]),
    gap=st.sampled_from([0.0, 0.13]),
    delay=st.sampled_from([0.0, 1.28, 750.0]),
    overload=st.floats(3.0, 30.0),
    setups=st.booleans(),
)
def test_the_shown_frame_stays_under_two_frame_times(
    size, rate, mtu, gap, delay, overload, setups
):
    """The link carries 1/overload of what is offered; urgent payloads in between do no harm."""
    channel = Channel(rate, delay, mtu, gap_s=gap)
    frame_s = channel.frame_s(size)
    until = 30 * frame_s
    offers = stream(size, frame_s / overload, until)
    if setups:
        offers = sorted(
            offers + stream(max(8, size // 3), 7.3 * frame_s, until, TrafficClass.SETUP),
            key=lambda offer: offer[0],
        )
    arrivals = list(run(channel, offers, until + delay + 2 * frame_s))
    assert greatest_age(arrivals, 0.0) < 2 * frame_s + delay
    frames = [r for _, r in arrivals if r.traffic_class is TrafficClass.FRAME]
    assert len(frames) >= 25
    assert all(len(r.payload) >= size * 0.25 for r in frames)


def test_sixty_seconds_at_a_tenth_of_the_offered_rate():
    channel = Channel(10_240.0, delay_s=1.28, mtu=1115)
    frame_s = channel.frame_s(300)
    offers = stream(300, frame_s / 10, 60.0)
    arrivals = list(run(channel, offers, 70.0))
    assert greatest_age(arrivals, 0.0) < 2 * frame_s + 1.28
    stats = channel.statistics(70.0)
    assert stats.offered == len(offers) == stats.sent + stats.stale
    assert stats.delivered == stats.sent == len(arrivals)
    assert stats.queue_bytes == 0 and stats.lost == 0
    # The air is used: all but the half-frame or so at either end.
    assert stats.sent_bytes * 8 / 10_240.0 == pytest.approx(60.0, abs=2 * frame_s)


def test_an_unloaded_link_cuts_nothing():
    channel = Channel(10_000.0, delay_s=0.5, mtu=100)
    frame_s = channel.frame_s(300)
    arrivals = list(run(channel, stream(300, 1.01 * frame_s, 30.0), 40.0))
    assert all(not r.truncated and len(r.payload) == 300 for _, r in arrivals)
    stats = channel.statistics(40.0)
    assert stats.offered == stats.delivered and stats.stale == stats.truncated == 0
    for now, received in arrivals:
        stamp = stamp_of(received)
        assert now - stamp == pytest.approx(frame_s + 0.5, abs=1e-5)


def test_a_setup_in_front_does_not_cut_the_frame_behind_it():
    channel = Channel(1000.0, mtu=1115)
    channel.offer(bytes(50), 0.0, TrafficClass.SETUP)
    channel.offer(frame(0.0, 200), 0.0)
    received = [r for _, r in run(channel, [], 20.0)]
    assert [(r.traffic_class, len(r.payload), r.truncated) for r in received] == [
        (TrafficClass.SETUP, 50, False),
        (TrafficClass.FRAME, 200, False),
    ]


def test_nothing_waits_through_an_outage():
    """After a long hold by urgent traffic the first frame is the newest, the others are stale."""
    channel = Channel(1000.0, mtu=1115)
    channel.offer(bytes(1000), 0.0, TrafficClass.COMMAND)
    for step in range(80):
        channel.offer(frame(step * 0.1, 100), step * 0.1, TrafficClass.FRAME)
    busy_until = (1000 + seals.OVERHEAD) * 8 / 1000
    received = [r for _, r in run(channel, [], 20.0) if r.traffic_class is TrafficClass.FRAME]
    assert [stamp_of(r) for r in received] == [7.9]
    assert channel.statistics(20.0).stale == 79
    assert busy_until == pytest.approx(8.088)


def test_a_frame_that_waited_longer_than_max_age_is_stale():
    channel = Channel(1000.0, mtu=1115, max_age_s=0.1)
    channel.offer(bytes(50), 0.0, TrafficClass.COMMAND)
    channel.offer(frame(0.0, 200), 0.0)
    assert [r.traffic_class for _, r in run(channel, [], 20.0)] == [TrafficClass.COMMAND]
    assert channel.statistics(20.0).stale == 1


def test_commands_go_between_the_fragments_of_a_frame():
    channel = Channel(1000.0, mtu=50)
    channel.offer(frame(0.0, 400), 0.0)
    assert channel.poll(0.1) == []
    channel.offer(b'stop', 0.1, TrafficClass.COMMAND)
    order = [(now, r.traffic_class) for now, r in run(channel, [], 20.0)]
    assert [traffic_class for _, traffic_class in order] == [
        TrafficClass.COMMAND,
        TrafficClass.FRAME,
    ]
    assert order[0][0] == pytest.approx((50 + 4 + seals.OVERHEAD) * 8 / 1000)


def test_a_tail_that_would_come_too_late_is_left_off_when_a_newer_frame_waits():
    channel = Channel(1000.0, mtu=50)
    frame_s = channel.frame_s(400)
    channel.offer(frame(0.0, 400), 0.0)
    channel.poll(0.1)
    channel.offer(bytes(200), 0.1, TrafficClass.COMMAND)
    channel.offer(frame(0.2, 400), 0.2)
    frames = [(t, r) for t, r in run(channel, [], 20.0) if r.traffic_class is TrafficClass.FRAME]
    assert frames[0][1].truncated and 0 < len(frames[0][1].payload) < 400
    # Having waited for so long, the newer one is cut to the quarter that is always sent.
    assert frames[0][0] <= frame_s + 1e-6
    assert frames[1][1].truncated and len(frames[1][1].payload) == 100
    assert channel.statistics(20.0).delivered == 2
    assert frames[1][0] < 2 * frame_s


def test_the_rate_is_never_exceeded_and_fully_used():
    channel = Channel(8000.0, mtu=200)
    arrivals = list(run(channel, stream(1000, 0.1, 30.0), 40.0))
    got = sum(framing.air_bytes(len(r.payload), 200) for _, r in arrivals)
    assert 0.95 * 30.0 <= got * 8 / 8000.0 <= 30.0 + channel.frame_s(1000)


def test_polling_late_changes_nothing():
    model = GilbertElliottModel.from_mean(0.2, 3.0)
    offers = stream(300, 0.13, 20.0)

    def outcome(polls):
        channel = Channel(16_000.0, 0.3, 60, loss=model, seed=4)
        out = []
        for when, payload, traffic_class in sorted([*offers, *((t, None, None) for t in polls)],
                                           key=lambda o: o[0]):  # fmt: skip
            if traffic_class is None:
                out += channel.poll(when)
            else:
                channel.offer(payload, when, traffic_class)
        return out + channel.poll(30.0)

    assert outcome([]) == outcome([0.01 * i for i in range(2000)])


def test_the_same_seed_loses_the_same():
    model = GilbertElliottModel.from_mean(0.3, 4.0)

    def outcome(seed):
        channel = Channel(1e6, 0.0, 60, loss=model, seed=seed)
        return [(t, r) for t, r in run(channel, stream(200, 0.05, 20.0), 25.0)]

    assert outcome(1) == outcome(1)
    assert outcome(1) != outcome(2)


def test_losses_are_counted_and_truncate():
    channel = Channel(1e6, 0.1, 61, loss=GilbertElliottModel.from_mean(0.2), seed=3)
    arrivals = list(run(channel, stream(200, 0.05, 100.0), 110.0))
    stats = channel.statistics(110.0)
    assert stats.sent == stats.offered == 2000
    assert stats.delivered == len(arrivals) and stats.delivered + stats.lost == 2000
    # A frame of four fragments lives if its first does, and is whole if all do.
    assert stats.delivered / 2000 == pytest.approx(0.8, abs=0.03)
    assert stats.truncated / stats.delivered == pytest.approx(1 - 0.8**3, abs=0.04)
    assert stats.packets_lost / stats.packets_sent == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ('start', 'end', 'bad', 'good'),
    [(0.02, 0.25, 1.0, 0.0), (0.05, 0.10, 1.0, 0.0), (0.03, 0.25, 0.8, 0.01)],
)
def test_bursts_follow_the_theory(start, end, bad, good):
    model = GilbertElliottModel(start, end, bad, good)
    # A single run of a million packets scatters by up to 0.9 %: so it is the mean of some.
    count, gone, runs = 1_000_000, 0, 0
    for seed in range(11, 17):
        chain, before = GilbertElliott(model, seed), False
        for _ in range(count):
            lost = chain.lost()
            gone += lost
            runs += lost and not before
            before = lost
    assert gone / (6 * count) == pytest.approx(model.mean_loss, rel=0.01)
    if (bad, good) == (1.0, 0.0):
        assert gone / runs == pytest.approx(model.mean_burst, rel=0.01)


def test_what_gets_through_is_the_rate_less_overhead_and_losses():
    model = GilbertElliottModel(0.05, 0.5)
    channel = Channel(1e6, mtu=200, loss=model, seed=2)
    payload, count = bytes(189), 50_000
    step_s = 1.0001 * channel.frame_s(189)  # so that rounding makes no frame stale
    for number in range(count):
        channel.offer(payload, number * step_s)
        channel.poll(number * step_s)
    channel.poll(count * step_s)
    through = 8 * 189 * channel.statistics(count * step_s).delivered / (count * step_s)
    assert through == pytest.approx(1e6 * 189 / 200 * (1 - model.mean_loss), rel=0.01)


@pytest.mark.parametrize('name', profiles.known())
def test_an_overloaded_profile_uses_its_air(name):
    """All but headers and gaps, which frames need, carries frames."""
    result = budget.compute(profiles.load(name))
    profile = result.profile
    mtu, gap = int(profile.mtu), profile.packet_gap
    channel = Channel(result.rate_bps, 0.0, mtu, gap_s=gap, on_air=profile.on_air)
    frame_s = channel.frame_s(300)
    until = 60 * frame_s
    arrivals = list(run(channel, stream(300, frame_s / 7, until), until + 2 * frame_s))
    stats = channel.statistics(until + 2 * frame_s)
    assert channel.sender.sent_s >= 0.95 * until
    payload = sum(len(r.payload) for _, r in arrivals)
    assert payload == stats.sent_bytes - seals.OVERHEAD * stats.packets_sent


@settings(deadline=None)
@given(st.floats(0.0, 0.9), st.floats(1.0, 50.0))
def test_from_mean_gives_the_mean(loss, burst):
    try:
        model = GilbertElliottModel.from_mean(loss, burst)
    except ValueError:
        assert loss / (1 - loss) > burst
        return
    assert model.mean_loss == pytest.approx(loss, abs=1e-9)
    assert model.mean_burst == pytest.approx(burst)


def test_a_link_that_loses_all_delivers_nothing_and_counts_it():
    channel = Channel(1e5, 0.1, 100, loss=GilbertElliottModel.from_mean(1.0), seed=0)
    assert list(run(channel, stream(200, 0.1, 10.0), 12.0)) == []
    stats = channel.statistics(12.0)
    assert stats.sent == stats.lost == 100 and stats.packets_lost == stats.packets_sent


def test_a_closed_link_sends_nothing_and_holds_one_frame():
    channel = Channel(0.0, 0.1, 100)
    for step in range(1000):
        channel.offer(frame(step * 0.1, 100), step * 0.1)
    assert channel.poll(1000.0) == [] and channel.next_event() is None
    stats = channel.statistics(1000.0)
    assert stats.stale == 999 and stats.queue_bytes == 122 and stats.sent == 0


def test_memory_stays_bounded_over_a_simulated_day():
    model = GilbertElliottModel.from_mean(0.3, 3.0)
    channel = Channel(2000.0, 750.0, 100, loss=model, seed=5)
    in_air = 750.0 * 2000.0 / 8 / 50
    for second in range(0, 86_400, 4):
        channel.offer(frame(second, 400), float(second))
        channel.poll(float(second))
        assert len(channel._air) <= in_air and len(channel._open) <= in_air
        assert channel.receiver.held_bytes <= 400
    stats = channel.statistics(86_400.0)
    assert stats.queue_bytes <= 2 * framing.air_bytes(400, 100)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'rate_bps': -1.0}, 'rate_bps'),
        ({'rate_bps': float('nan')}, 'rate_bps'),
        ({'rate_bps': 1.0, 'delay_s': -1.0}, 'delay_s'),
        ({'rate_bps': 1.0, 'mtu': 49}, 'mtu'),
        ({'rate_bps': 1.0, 'gap_s': -1.0}, 'gap_s'),
        ({'rate_bps': 1.0, 'max_age_s': 0.0}, 'max_age_s'),
    ],
)
def test_impossible_channels_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Channel(**arguments)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: GilbertElliottModel(start=1.5), 'start'),
        (lambda: GilbertElliottModel.from_mean(1.5), 'loss'),
        (lambda: GilbertElliottModel.from_mean(0.1, 0.5), 'burst'),
        (lambda: GilbertElliottModel.from_mean(0.9, 1.0), 'bursts of at least 9'),
    ],
)
def test_impossible_losses_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_offers_are_checked_and_time_runs_forward():
    channel = Channel(1000.0, mtu=50)
    for size in (0, framing.max_payload(50) + 1):
        with pytest.raises(ValueError, match='payload must have'):
            channel.offer(bytes(size), 0.0)
    channel.poll(2.0)
    with pytest.raises(ValueError, match='backwards'):
        channel.poll(1.0)


def test_a_key_frame_that_waits_keeps_its_place_while_it_is_fresh():
    channel = Channel(8000.0, mtu=1115)
    frame_s = channel.frame_s(300)
    first, key, delta, other = (frame(float(n), 300) for n in range(4))
    channel.offer(first, 0.0)
    channel.poll(0.0)
    channel.offer(key, 0.1 * frame_s, is_keyframe=True)
    channel.offer(delta, 0.2 * frame_s)
    assert channel.statistics(0.2 * frame_s).stale == 1
    out = [r for _, r in run(channel, [], 5.0)]
    assert [stamp_of(r) for r in out] == [0.0, 1.0]
    # A newer key frame takes its place, and when it is stale so does any frame.
    for later, newer_is_firm, shown in ((0.2, True, 3.0), (0.9, False, 3.0)):
        channel = Channel(8000.0, mtu=1115)
        channel.offer(first, 0.0)
        channel.poll(0.0)
        channel.offer(key, 0.05 * frame_s, is_keyframe=True)
        channel.offer(other, later * frame_s, is_keyframe=newer_is_firm)
        out = [r for _, r in run(channel, [], 5.0)]
        assert [stamp_of(r) for r in out] == [0.0, shown]
        stats = channel.statistics(5.0)
        assert (stats.offered, stats.sent, stats.stale) == (3, 2, 1)
