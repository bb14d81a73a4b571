"""What the ends report to each other, and what each works out of that."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_link_end import FRAME, carry, pair

from gsc_ros.link.datagrams import erasure
from gsc_ros.link.datagrams.payloads import NO_FRAME, PayloadError, Report
from gsc_ros.link.radio.losses import GilbertElliott, GilbertElliottModel
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.reports import (
    Feedback,
    FrameStats,
    GroundReportTimer,
    LossEstimator,
    ReceiverStats,
)


def test_both_ends_learn_the_loss_and_what_became_of_the_frames():
    rng = np.random.default_rng(5)
    robot, ground = pair(rate_bps=80_000.0)
    receiver_stats, frames = ReceiverStats(ground.receiver), FrameStats()
    feedback = Feedback(robot.sender.session & 0xFF)
    lost = sent = 0

    def fate():
        nonlocal lost, sent
        gone = rng.random() < 0.2
        sent, lost = sent + 1, lost + gone
        return gone

    for step in range(3000):
        now = step / 20
        robot.offer(FRAME, now)
        for received in carry(robot, ground, now, fate):
            frames.on_frame(received.number, received.session)
        if step % 100 == 99:
            receiver_stats.update()
            feedback.on_report(Report.unpack(receiver_stats.report(frames).pack()))
    assert feedback.loss == pytest.approx(receiver_stats.estimate.loss, abs=0.005)
    assert receiver_stats.estimate.loss == pytest.approx(lost / sent, abs=0.12)
    stats = robot.sent_statistics(now, feedback.delivered, feedback.lost)
    # The frame that is on its way is neither.
    assert 0 <= stats.sent - stats.delivered - stats.lost <= 2
    assert stats.delivered == frames.received


def test_a_ground_that_starts_anew_is_counted_on():
    feedback = Feedback(7)
    for ground, newest, shown in ((1, 99, 90), (1, 109, 100), (2, 119, 5), (2, 129, 15)):
        feedback.on_report(Report(newest, shown, 0.1, robot=7), ground)
    assert (feedback.delivered, feedback.lost) == (90 + 10 + 5 + 10, 10 + 0 + 5 + 0)
    # One that has not received a frame yet, and one that means a robot before this one.
    feedback.on_report(Report(NO_FRAME, 0, 0.0, robot=7), 3)
    feedback.on_report(Report(5000, 4000, 0.9, robot=8), 3)
    assert (feedback.delivered, feedback.lost, feedback.loss) == (115, 15, 0.0)
    feedback.on_report(Report(131, 1, 0.0, robot=7), 3)
    assert (feedback.delivered, feedback.lost) == (116, 16)
    feedback.on_report(Report(130, 16, 0.0, robot=7), 3)  # an older one
    assert (feedback.delivered, feedback.lost) == (116, 16)


def test_frames_of_a_robot_that_starts_anew_are_counted_on():
    _, ground = pair()
    receiver_stats, frames = ReceiverStats(ground.receiver), FrameStats()
    robot = End(Schedule.constant(1e6), 60, session=0x0107)
    assert receiver_stats.report(frames) == Report(NO_FRAME, 0, 0.0)
    for step in range(20):
        now = float(step)
        if step == 10:
            robot = End(Schedule.constant(1e6), 60, session=0x0209)
        robot.offer(FRAME[:30], now)
        for received in carry(robot, ground, now, lambda step=step: step in (3, 13)):
            frames.on_frame(received.number, received.session)
        receiver_stats.update()
        if step == 10:
            assert receiver_stats.report(frames, 5) == Report(
                0, 1, pytest.approx(0.1, abs=0.01), 1.0, 9, 5
            )
    report = receiver_stats.report(frames)
    assert (frames.received, frames.lost) == (18, 2)
    assert (report.newest, report.shown, report.robot) == (9, 9, 9)


def test_a_frame_of_no_use_is_reported_as_lost():
    robot, ground = pair()
    stats, frames = ReceiverStats(ground.receiver), FrameStats()
    feedback = Feedback(robot.sender.session & 0xFF)
    session = robot.sender.session
    robot.offer(FRAME, 0.0)
    carry(robot, ground, 0.0)
    for number, lost in enumerate((True, False, True, False)):
        frames.on_frame(number, session, lost)
    assert (frames.received, frames.lost) == (2, 2)
    feedback.on_report(stats.report(frames))
    assert (feedback.delivered, feedback.lost) == (2, 2)


def of_a_channel(loss, seed):
    """Yield what is lost of three datagrams at a time, and in how many runs."""
    chain, before = GilbertElliott(GilbertElliottModel.from_mean(loss), seed), False
    while True:
        gone = [chain.lost() for _ in range(3)]
        gaps = sum(now and not then for then, now in itertools.pairwise([before, *gone]))
        before = gone[-1]
        yield 3, sum(gone), gaps


@pytest.mark.parametrize('loss', [0.21, 0.3, 0.5])
def test_a_loss_is_reported_after_tens_of_datagrams_and_so_is_its_end(loss):
    late, ended, reported = [], [], []
    for seed in range(40):
        seen, channel = LossEstimator(), of_a_channel(loss, seed)
        for _ in range(300):
            seen.add(3, 0, 0)
        assert seen.loss == 0.0
        datagrams = 0
        while seen.loss < 0.75 * loss:
            seen.add(*next(channel))
            datagrams += 3
        late.append(datagrams)
        for step in range(250):
            seen.add(*next(channel))
            if step >= 100:
                reported.append(seen.loss)
        datagrams = 0
        while seen.loss > 0.25 * loss:
            seen.add(3, 0, 0)
            datagrams += 3
        ended.append(datagrams)
    assert np.median(late) <= 30 and np.median(ended) <= 75
    # While it stays the estimate is steady.
    assert np.mean(reported) == pytest.approx(loss, abs=0.02) and np.std(reported) < 0.06


def test_parity_follows_a_loss_that_begins():
    """Frames of three datagrams: 0.35 is worth parity, and 0.21, when reported late, not."""
    assert (erasure.how_many(3, 0.21, 1.3), erasure.how_many(3, 0.35, 1.5)) == (0, 1)
    begun = []
    for seed in range(20):
        chain = GilbertElliott(GilbertElliottModel.from_mean(0.35), seed)
        robot, ground = pair(rate_bps=80_000.0, mtu=128)
        receiver_stats = ReceiverStats(ground.receiver)
        for step in range(160):
            now = step / 10
            robot.offer(bytes(309), now)
            for _ in range(3):
                carry(robot, ground, now, chain.lost if step >= 100 else lambda: False)
            receiver_stats.update()
            seen = receiver_stats.estimate
            if erasure.how_many(3, round(seen.loss, 2), round(seen.burst, 1)):
                begun.append(step - 100)
                break
    assert len(begun) >= 18 and min(begun) >= 0
    assert np.median(begun) <= 15  # frames


def test_a_report_of_a_changed_loss_goes_early_at_the_cost_of_the_next():
    times, went, loss = GroundReportTimer(), [], 0.0
    for step in range(12_000):
        now = step / 100
        if step % 700 == 699:
            loss = 0.3 - loss
        if now >= times.next_deadline or times.is_early(now, loss):
            times.on_sent(now, 12.0, loss)
            went.append(now)
    assert len(went) <= 1 + 120 / 12 + 1
    gaps = np.diff(went)
    assert gaps.min() < 7.0 and gaps.min() >= 3.0


@given(
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.floats(0, 1),
    st.floats(1, 1e6),
    st.none() | st.integers(0, 2**32 - 1),
)
def test_reports_cross(newest, shown, loss, burst, count):
    made = Report(newest, shown, loss, burst, 9, count)
    report = Report.unpack(made.pack())
    assert (report.robot, report.count) == (9, count) and len(made.pack()) == (
        7 if count is None else 11
    )
    assert report.burst == pytest.approx(min(burst, 1 + 255 / 8), abs=1 / 16)
    assert (report.newest, report.shown) == (newest, shown)
    assert report.loss == pytest.approx(loss, abs=1 / 255)


@given(st.binary(max_size=20).filter(lambda b: len(b) not in (7, 11)))
def test_what_is_no_report_is_refused(payload):
    with pytest.raises(PayloadError):
        Report.unpack(payload)


def test_losses_that_chance_brings_in_runs_are_forgotten_soon():
    """At a loss of 0.5 runs of two are chance, and do not make the end of the losses doubtful."""
    forgotten = 0
    for seed in range(40):
        rng, seen, before = random.Random(seed), LossEstimator(), False
        for number in range(200 + 24):
            lost = number < 200 and rng.random() < 0.5
            seen.add(1, lost, lost and not before)
            before = lost
        forgotten += seen.loss < 0.1
    assert forgotten >= 28
