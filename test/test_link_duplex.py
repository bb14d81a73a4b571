"""Two directions on one channel: never both at once, by turns, and nobody starves."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_channel import frame, greatest_age, stamp_of, stream

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.radio import profiles
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.channel import Channel, share_air

RATE, MTU, TURN = 16_000.0, 128, 0.3


class Recorded(Channel):
    """A channel that notes when it was on air, in a list that it shares with the other one."""

    def __init__(self, talks, **more):
        super().__init__(RATE, mtu=MTU, **more)
        self.talks = talks

    def _launch(self, left, datagram, data):
        self.talks.append((left - self.sender.pacer.air_s(len(data)), left, self))
        super()._launch(left, datagram, data)


def pair(turnaround_s=TURN, **more):
    """Two channels that share the air; the third value notes who was on air from when to when."""
    talks = []
    down, up = Recorded(talks, **more), Recorded(talks, **more)
    share_air((down, up), turnaround_s)
    return down, up, talks


def drive(down, up, offers, until):
    """Offer (time, channel, payload, class) and poll at events; what came, as (time, channel)."""
    came = []

    def poll(now):
        for channel in (down, up):
            came.extend((now, channel, received) for received in channel.poll(now))

    for when, channel, payload, traffic_class in [
        *sorted(offers, key=lambda o: o[0]),
        (until, *3 * [None]),
    ]:
        for _ in range(100_000):
            events = [e for c in (down, up) if (e := c.next_event()) is not None]
            event = min(events, default=math.inf)
            if event > when:
                break
            poll(max(event, down._now, up._now))
        else:
            raise AssertionError('the channels ask to be polled for ever')
        poll(when)
        if channel is not None:
            channel.offer(payload, when, traffic_class)
    return came


def both(down, up, frames, commands):
    return [(t, down, p, k) for t, p, k in frames] + [(t, up, p, k) for t, p, k in commands]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(50, 900),
    every=st.floats(0.05, 1.5),
    command_every=st.floats(0.05, 2.0),
    turn=st.sampled_from([0.0, 0.1, 0.3]),
    loss=st.sampled_from([0.0, 0.3]),
)
def test_they_never_talk_at_once_and_both_get_through(size, every, command_every, turn, loss):
    down, up, talks = pair(turn)
    down.sender.set_fec(loss)
    until = 20.0
    frames = stream(size, every, until)
    commands = stream(20, command_every, until, TrafficClass.COMMAND)
    came = drive(down, up, both(down, up, frames, commands), until + 3)
    for (_, end, before), (start, _, after) in itertools.pairwise(talks):
        assert start >= end + (turn if before is not after else 0.0) - 1e-6
    cycle = 2 * turn + down.frame_s(size) + up.frame_s(20)
    for channel in (down, up):
        times = [now for now, c, _ in came if c is channel]
        # A newer payload takes the place of one that waits.
        period = every if channel is down else command_every
        assert len(times) >= 0.45 * until / max(cycle, period)
    ages = [now - stamp_of(r) for now, c, r in came if c is up]
    assert max(ages) < cycle + down.frame_s(size) + 0.05 + turn
    if len(frames) > 5:
        shown = [(now, r) for now, c, r in came if c is down]
        assert greatest_age(shown, 0.0) < 2 * cycle + every + 0.1


def test_a_turn_costs_its_time_once():
    down, up, talks = pair()
    drive(down, up, both(down, up, [(1.0, frame(1.0, 240), TrafficClass.FRAME)], []), 5.0)
    assert talks[0][0] == pytest.approx(1.0 + TURN)
    assert talks[-1][1] == pytest.approx(1.0 + TURN + down.frame_s(240))
    # A busy talker keeps the air, and an overloaded link carries all it can.
    talks.clear()
    offers = both(down, up, stream(240, 0.02, 30.0, begin=6.0), [])
    came = drive(down, up, offers, 40.0)
    assert sum(end - start for start, end, _ in talks) > 0.97 * 24.0
    assert len(came) > 0.9 * 24.0 / down.frame_s(240)


def test_a_command_waits_for_one_payload_and_one_turn():
    down, up, _ = pair()
    offers = both(
        down, up, stream(900, 0.05, 20.0), [(10.0, frame(10.0, 20), TrafficClass.COMMAND)]
    )
    ((arrival, _, _),) = [one for one in drive(down, up, offers, 25.0) if one[1] is up]
    assert arrival - 10.0 < down.frame_s(900) + TURN + up.frame_s(20) + 1e-3


def test_frames_are_whole_though_they_wait_for_their_turn():
    down, up, _ = pair()
    offers = both(down, up, stream(300, 0.2, 30.0), stream(20, 0.1, 30.0, TrafficClass.COMMAND))
    frames = [r for _, c, r in drive(down, up, offers, 35.0) if c is down]
    assert len(frames) > 25 and not any(r.truncated for r in frames[1:])


def test_windows_close_both_ways():
    times = Schedule([(2.0, RATE), (5.0, 0.0)])
    down, up, talks = pair(schedule=times)
    offers = both(down, up, stream(200, 0.3, 20.0), stream(20, 0.25, 20.0, TrafficClass.COMMAND))
    drive(down, up, offers, 22.0)
    assert len(talks) >= 15
    assert all(start % 7.0 < 2.0 and end % 7.0 <= 2.0 + 1e-6 for start, end, _ in talks)


def test_what_is_not_possible_is_refused():
    with pytest.raises(ValueError, match='turnaround_s'):
        share_air((Channel(1.0), Channel(1.0)), -1.0)
    profile = profiles.load('vhf_cnr_25k')
    assert (profile.duplex, profile.turnaround) == ('half', 0.3)
    content = {'title': 'x', 'path_model': 'none', 'distance': '1 m', 'max_rate': '1 kbps'}
    fields = {k: {'value': v, 'source': 'x'} for k, v in content.items() if k != 'title'}
    fields |= {'title': 'x', 'turnaround': {'value': '1 s', 'source': 'x'}}
    with pytest.raises(ValueError, match='half'):
        profiles.from_mapping('x', fields)


def test_reports_that_count_their_turns_leave_the_air_to_frames():
    def frames_with_reports(every):
        down, up, _ = pair()
        reports = stream(14, every, 40.0, TrafficClass.REPORT) if every else []
        came = drive(down, up, both(down, up, stream(300, 0.05, 40.0), reports), 42.0)
        return sum(channel is down for _, channel, _ in came)

    often, alone = frames_with_reports(1.0), frames_with_reports(None)
    assert often < 0.5 * alone
    assert frames_with_reports(20 * (2 * TURN + 0.014)) > 0.9 * alone
