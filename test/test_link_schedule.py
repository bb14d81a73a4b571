"""Rates over time, and what a channel does with the windows of a link."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_channel import frame, greatest_age, run, stamp_of, stream

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.radio import profiles, schedule
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.channel import Channel

PASSES = Schedule(((480.0, 8000.0), (1000.0, 0.0)))
JAMMED = Schedule(((40.0, 10_000.0), (20.0, 1000.0)))


@settings(deadline=None)
@given(st.floats(0, 1e7), st.sampled_from([PASSES, JAMMED]))
def test_stretches_repeat_for_ever(now, times):
    period = sum(one.seconds for one in times.intervals)
    rate, end = times.at(now)
    assert now < end <= now + period
    assert rate in {one.rate_bps for one in times.intervals}
    assert times.at(now + period)[0] == rate or end - now < 1e-3 or period - (end - now) < 1e-3
    opens = times.opens(now)
    assert now <= opens <= now + period
    assert times.at(opens)[0] > 0
    closes = times.closes(opens)
    assert closes > opens if any(not one.rate_bps for one in times.intervals) else closes is None


def test_a_constant_link_never_changes():
    times = Schedule.constant(2400.0)
    assert times.at(1e9) == (2400.0, None)
    assert (times.opens(5.0), times.closes(5.0)) == (5.0, None)
    assert Schedule.constant(0.0).opens(5.0) is None


@pytest.mark.parametrize('bad', [((0.0, 1.0),), ((1.0, -1.0),), ((1.0, math.nan),)])
def test_impossible_stretches_are_refused(bad):
    with pytest.raises(ValueError, match=r'interval|rate_bps'):
        Schedule(bad)


def test_profiles_have_their_passes_and_their_jammer():
    relay = schedule.of(profiles.load('mars_uhf_relay'))
    assert relay.at(0.0)[0] > 0 and relay.at(481.0)[0] == 0
    assert relay.opens(481.0) == pytest.approx(12.33 * 3600)
    mesh = schedule.of(profiles.load('uhf_manet_jammed'), scale=0.5)
    assert [mesh.at(t)[0] for t in (0.0, 39.0, 41.0, 61.0)] == [2.7e6, 2.7e6, 1.35e6, 2.7e6]
    assert schedule.of(profiles.load('vhf_cnr_25k')).at(7.0) == (16e3, None)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'pass_period': 10.0, 'pass_length': 10.0}, 'pass_length must be'),
        ({'pass_period': 10.0}, 'pass_length must be'),
        ({'jam_period': 10.0, 'jam_length': 5.0}, 'needs a jammer'),
    ],
)
def test_impossible_windows_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(profiles.load('moon_dte_s_13m'), **change)


def test_a_window_shorter_than_a_datagram_is_refused():
    with pytest.raises(ValueError, match='too short for a datagram'):
        Channel(1.0, mtu=128, schedule=Schedule(((1.0, 800.0), (1.0, 0.0))))


@settings(deadline=None, max_examples=50)
@given(st.floats(0.2, 3.0), st.sampled_from([50, 128, 1115]), st.integers(150, 1500))
def test_nothing_passes_outside_the_windows_and_the_first_frame_after_is_fresh(period, mtu, size):
    times = Schedule(((30.0, 8000.0), (30.0, 0.0)))
    channel = Channel(0.0, 1.0, mtu, schedule=times)
    frame_s = channel.frame_s(size)
    arrivals = list(run(channel, stream(size, period, 150.0), 200.0))
    assert arrivals
    shown = []
    for now, received in arrivals:
        left = now - 1.0
        if not received.truncated:
            assert left % 60 <= 30 + 1e-3
        shown.append((left // 60, now, stamp_of(received)))
    for turn in (1, 2):
        _, now, stamp = next(s for s in shown if s[0] == turn)
        assert now - stamp <= frame_s + 1.0 + 0.01
    # Nothing is lost but what an outage cut off, and all is counted.
    found = channel.statistics(200.0)
    assert found.offered == found.sent + found.stale
    assert found.sent == found.delivered + found.lost


def test_a_frame_that_waits_for_a_window_is_the_newest():
    channel = Channel(0.0, schedule=Schedule(((10.0, 8000.0), (10.0, 0.0))), mtu=200)
    offers = [(t, frame(t, 150), TrafficClass.FRAME) for t in (11.0, 15.0, 19.95)]
    ((now, received),) = run(channel, offers, 40.0)
    assert stamp_of(received) == 19.95
    # It waited for 0.05 s: of the tail so much is left off.
    assert received.truncated
    assert now <= 19.95 + channel.frame_s(150)
    assert channel.statistics(40.0).stale == 2


def test_commands_wait_for_the_window():
    channel = Channel(0.0, schedule=Schedule(((10.0, 8000.0), (10.0, 0.0))), mtu=200)
    ((now, received),) = run(channel, [(12.0, frame(12.0, 20), TrafficClass.COMMAND)], 40.0)
    assert received.traffic_class is TrafficClass.COMMAND
    assert now == pytest.approx(20.0 + channel.frame_s(20))


def test_a_jammer_slows_frames_and_their_age_stays_bounded():
    channel = Channel(0.0, 0.5, 128, schedule=JAMMED)
    arrivals = list(run(channel, stream(300, 0.1, 300.0), 320.0))
    slowest = 8 * (300 + 3 * 8) / 1000.0
    assert greatest_age(arrivals, 10.0) <= 2 * slowest + 0.5 + 0.2
    assert channel.sender.rate_at(41.0)[0] == pytest.approx(1000.0)
    assert channel.sender.rate_at(41.0)[1] == 60.0
    fast = sum(now % 60 < 40 for now, _ in arrivals)
    assert fast > 10 * (len(arrivals) - fast)


def test_a_day_of_relay_passes_leaves_nothing_behind():
    times = schedule.of(profiles.load('mars_uhf_relay'))
    channel = Channel(0.0, 0.005, 2048, schedule=times)
    day = 24.66 * 3600
    arrivals = list(run(channel, stream(300, 5.0, day), day + 60))
    # Two passes of 480 s, a frame each 5 s.
    assert 190 <= len(arrivals) <= 194
    found = channel.statistics(day + 60)
    assert found.offered == found.sent + found.stale + (found.queue_bytes > 0)
    assert not channel._air and len(channel._open) <= 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 1e4)), min_size=1, max_size=5),
    st.floats(-1e4, 1e4),
    st.floats(0, 1e3),
)
def test_time_zero_can_be_moved(intervals, at, now):
    times = Schedule(intervals)
    moved = times.beginning(at)
    period = sum(one.seconds for one in times.intervals)
    assert sum(one.seconds for one in moved.intervals) == pytest.approx(period, abs=1e-6)
    near = [times.interval(at + now + by).rate_bps for by in (-1e-4, 0.0, 1e-4)]
    assert moved.interval(now).rate_bps in near


def test_a_constant_link_has_no_time_zero():
    assert Schedule.constant(5.0).beginning(7.0) == Schedule.constant(5.0)


def test_a_start_is_read_with_its_zone():
    assert schedule.start_of('2026-11-28T12:00:00Z') == 1_795_867_200
    assert schedule.start_of('2026-11-28T13:00:00+01:00') == 1_795_867_200
    for text in ('', 'noon', '2026-11-28T12:00:00', '2026-11-28', 'Z', '12:00:00Z'):
        with pytest.raises(ValueError, match='not a time'):
            schedule.start_of(text)
