"""One end of a real link in explicit time: pacing, windows, what is ours."""

import pytest

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.end import End

FRAME = bytes(range(200))


def pair(rate_bps=8000.0, mtu=60):
    times = Schedule.constant(rate_bps)
    return End(times, mtu), End(times, mtu)


def carry(robot, ground, now, lost=lambda: False):
    """Bring what is due from one end to the other; returns what is complete there."""
    out = []
    for data in robot.outgoing(now):
        if not lost():
            out += ground.push(data, now)[1]
    return out + ground.expire(now)


def test_an_end_paces_what_it_is_offered():
    robot, ground = pair(rate_bps=8000.0)
    robot.offer(FRAME, 0.0)
    at = []
    for step in range(400):
        now = step / 1000
        at += [now] * len(carry(robot, ground, now))
    # 5 datagrams, the last of 15 bytes: it begins when the others have gone.
    assert at == [pytest.approx(0.24, abs=0.002)]


def test_an_end_that_was_held_up_does_not_flood_the_radio():
    robot, _ = pair(rate_bps=8000.0)
    robot.offer(FRAME * 10, 0.0)
    assert len(list(robot.outgoing(60.0))) <= 3  # a tenth of a second's worth


def test_an_end_keeps_the_windows_of_its_schedule():
    times = Schedule([(2.0, 8000.0, 0.5), (3.0, 0.0), (1.0, 4000.0, 0.25), (4.0, 0.0)])
    robot, ground = End(times, 60, delay_s=9.0), End(times, 60)
    sent, stamps = [], []
    for step in range(30_000):
        now = step / 1000
        if step % 250 == 7:
            robot.offer(now.hex().encode().ljust(94), now)
        for data in robot.outgoing(now):
            sent.append(now)
            for received in ground.push(data, now)[1]:
                stamps.append((now, float.fromhex(received.payload[:30].split()[0].decode())))
    assert len(sent) == 72  # of four frames a second, two datagrams each, in 9 s
    assert all(now % 10 <= 2.0 or 5.0 <= now % 10 <= 6.0 for now in sent)
    # The first image of a window was taken while or just before it opened.
    for opens in (5.0, 10.0, 15.0, 20.0, 25.0):
        now, stamp = next(one for one in stamps if one[0] > opens)
        assert now - stamp < 0.25 + 2 * 8 * 116 / 4000
    for now, delay in ((20.5, 0.5), (25.5, 0.25), (23.0, 9.0)):
        list(robot.outgoing(now))
        assert robot.delay_s == delay


def test_what_is_not_ours_is_kept_apart_from_what_is():
    robot, ground = pair()
    robot.offer(b'x', 0.0, TrafficClass.COMMAND)
    (data,) = robot.outgoing(0.0)
    assert ground.push(b'?' + data, 0.0) == (False, [])
    ours, (received,) = ground.push(data, 0.0)
    assert ours and received.payload == b'x'
    assert ground.received_bytes == len(data)
