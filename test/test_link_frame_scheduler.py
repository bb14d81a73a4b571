"""When images are encoded: the link stays busy, and no frame waits for it and loses its end."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_link_channel import frame

from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.frame_scheduler import FrameScheduler, LinkCapacity, frame_budget


def capacity_of(channel):
    sender = channel.sender
    return LinkCapacity(
        channel.rate_bps, sender.mtu, sender.seal.overhead, sender.pacer.fixed_s, sender.parity
    )


@given(
    size=st.integers(40, 2000),
    rate=st.sampled_from([75.0, 9600.0, 1e6]),
    mtu=st.sampled_from([50, 203, 1115]),
    gap=st.sampled_from([0.0, 0.13]),
)
def test_it_knows_how_long_a_frame_is_on_air(size, rate, mtu, gap):
    channel = Channel(rate, mtu=mtu, gap_s=gap)
    capacity = capacity_of(channel)
    frame_s = channel.frame_s(size + FRAME_OVERHEAD)
    assert capacity.frame_s(size) == pytest.approx(frame_s, rel=1e-6)
    assert capacity.fitting(frame_s * 1.000001, 4000) == size
    assert capacity.fitting(frame_s * 1.000001, size - 10) == size - 10
    channel.sender.set_fec(0.2)
    channel.offer(bytes(size + FRAME_OVERHEAD), 0.0)
    protected = capacity_of(channel).frame_s(size)
    assert protected == pytest.approx(channel.frame_s(size + FRAME_OVERHEAD), rel=0.2)


def drive(channel, period, encode_s, seconds, max_rate=60.0, jitter=0.0):
    """A camera, an encoder and a link; (offered at, image of) and what came."""
    scheduler, source = FrameScheduler(), random.Random(1)
    scheduler.set_capacity(0.0, capacity_of(channel))
    images = [k * period + jitter * period * source.random() for k in range(int(seconds / period))]
    offers, came, now = [], [], 0.0
    while True:
        begin = max(now, scheduler.next_deadline(encode_s, max_rate))
        fresh = [at for at in images if at <= begin and (not offers or at > offers[-1][1])]
        if not fresh:  # wait for the camera
            later = [at for at in images if at > begin]
            if not later:
                break
            now = later[0]
            continue
        scheduler.on_begun(begin)
        now = max(begin + encode_s * (0.9 + 0.1 * source.random()), scheduler.free_at)
        came += channel.poll(now)
        channel.offer(frame(fresh[-1], 300 + FRAME_OVERHEAD), now)
        scheduler.on_sent(now, 300)
        offers.append((now, fresh[-1]))
    return offers, came + channel.poll(now + 1000)


@settings(max_examples=80, deadline=None)
@given(
    frame_ms=st.integers(20, 3000),
    period=st.sampled_from([0.033, 0.1, 0.2, 1.0]),
    encode_s=st.sampled_from([0.02, 0.19]),
    jitter=st.sampled_from([0.0, 0.05]),
    gap=st.sampled_from([0.0, 0.01]),
)
@example(frame_ms=260, period=0.2, encode_s=0.19, jitter=0.0, gap=0.0)
def test_the_link_stays_busy_and_no_frame_loses_its_end(frame_ms, period, encode_s, jitter, gap):
    payload = 300 + FRAME_OVERHEAD
    count = -(-payload // 120)
    rate = 8 * (payload + 8 * count) / max(1e-3 * frame_ms - gap * count, 0.01)
    channel = Channel(rate, mtu=128, gap_s=gap)
    full_s = channel.frame_s(payload)
    seconds = max(40 * full_s, 20 * period)
    offers, came = drive(channel, period, encode_s, seconds, jitter=jitter)
    assert not any(r.truncated for r in came)
    assert len(came) == len(offers)
    stats = channel.statistics(seconds)
    assert stats.stale == 0
    if full_s > 1.05 * (1 + jitter) * period and full_s > 1.05 * encode_s:
        busy = (stats.sent_bytes * 8 / rate + stats.packets_sent * gap) / offers[-1][0]
        assert busy > 0.88
    # Coding takes the newest image there is, while the camera runs.
    ages = [offered - at for offered, at in offers if offered < seconds - period]
    assert max(ages) <= encode_s + (1 + jitter) * period + 0.001


def test_a_camera_out_of_step_costs_no_air():
    """Five images a second, 0.26 s on air: it is all used, by frames of full size."""
    channel = Channel(8 * 342 / 0.26, mtu=128)
    _, came = drive(channel, 0.2, 0.19, 60.0)
    assert len(came) / 60 == pytest.approx(1 / 0.26, rel=0.05)


@pytest.mark.parametrize(('period', 'jitter'), [(1 / 30, 0.2), (0.2, 0.1), (0.2, 0.0)])
def test_a_fast_link_has_the_rate_that_was_asked_for(period, jitter):
    offers, _ = drive(Channel(1e6), period, 0.02, 30.0, max_rate=5.0, jitter=jitter)
    assert len(offers) / 30 == pytest.approx(5.0, rel=0.08)


def test_a_slow_link_has_smaller_frames_down_to_the_least():
    capacity = LinkCapacity(75.0, 128, 8)
    size = frame_budget(capacity, 40, 300, 0.1)
    assert 40 < size < 90 and capacity.frame_s(size) <= 10.0 < capacity.frame_s(size + 1)
    assert frame_budget(LinkCapacity(10.0), 40, 300, 0.1) == 40
    assert frame_budget(capacity, 40, 300, 0.0) == frame_budget(None, 40, 300, 0.1) == 300
    assert frame_budget(LinkCapacity(1e5), 40, 300, 0.1) == 300


def test_a_change_of_rate_is_taken_up_at_once():
    scheduler, slow, fast = FrameScheduler(), LinkCapacity(100.0), LinkCapacity(1e5)
    assert scheduler.next_deadline(0.2, 60.0) <= 0.0  # no link has published anything
    scheduler.set_capacity(0.0, slow)
    scheduler.on_sent(0.0, 300)
    assert scheduler.next_deadline(0.2, 60.0) == pytest.approx(25.0, abs=0.6)
    scheduler.set_capacity(2.0, fast)
    assert scheduler.next_deadline(0.0, 60.0) == pytest.approx(2.0, abs=0.03)
    scheduler.set_capacity(3.0, LinkCapacity(0.0))
    assert scheduler.next_deadline(0.0, 60.0) is None
    scheduler.set_capacity(4.0, None)
    assert scheduler.next_deadline(0.0, 60.0) < 4.0


def test_a_query_changes_nothing():
    """Asked once or often, the scheduler takes a change of rate up in the same way."""
    answers = []
    for queries in (0, 50):
        scheduler = FrameScheduler()
        scheduler.set_capacity(0.0, LinkCapacity(100.0))
        scheduler.on_begun(0.0)
        scheduler.on_sent(0.1, 300)
        for _ in range(queries):
            scheduler.next_deadline(0.2, 5.0)
        scheduler.set_capacity(8.0, LinkCapacity(1000.0))
        answers.append((scheduler.free_at, scheduler.next_deadline(0.2, 5.0)))
    assert answers[0] == answers[1]
