"""The operator's end: commands that are repeated, stops that go on until they are acknowledged."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import ROBOT_REPORT_BYTES, Command, RobotReport, Stop
from gsc_ros.link.radio.losses import GilbertElliottModel
from gsc_ros.link.traffic.channel import Channel
from gsc_ros.link.traffic.reports import CommandLoss, RobotReportTimer, pause_s
from gsc_ros.link.traffic.teleop import CommandSender, StopSender, StopState, repeats

RATE = 16_000.0


def command(number):
    return Command(10**15 + number, (0.5, 0.0, 0.0, 0.0, 0.0, 0.0), 7).pack()


def link(loss=0.0, seed=1, **more):
    return Channel(RATE, mtu=128, loss=GilbertElliottModel.from_mean(loss), seed=seed, **more)


def drive(up, sender, every, until, step=0.01):
    """Give a command now and then; returns (when given, when received, payload)."""
    given, came = {}, []
    for tick in range(round(until / step)):
        now = tick * step
        if tick % round(every / step) == 0:
            payload = command(tick)
            given[payload] = now
            sender.send(payload, now)
        sender.step(now)
        came += [(given[r.payload], now, r.payload) for r in up.poll(now)]
    return came


def test_without_losses_each_command_goes_once():
    up = link()
    sender = CommandSender(up)
    came = drive(up, sender, 0.5, 10.0)
    assert len(came) == len({payload for *_, payload in came}) == sender.offered == 20
    assert sender.dropped == 0 and sender.advice(10.0) == ''


@pytest.mark.parametrize('loss', [0.1, 0.3, 0.5])
def test_with_losses_a_command_is_repeated_spaced_and_with_its_stamp(loss):
    up = link(loss)
    sender = CommandSender(up)
    sender.loss = loss
    came = drive(up, sender, 0.5, 200.0)
    through = len({payload for *_, payload in came})
    assert through / sender.offered >= 1 - max(0.02, 1.5 * loss ** (1 + repeats(loss)))
    assert through > 1.05 * (1 - loss) * sender.offered
    times = sorted(when for *_, when, _ in came)
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.09
    # None comes when it is old, and none after a newer one.
    assert all(when - given < 0.75 for given, when, _ in came)
    assert [given for given, *_ in came] == sorted(given for given, *_ in came)


def test_a_newer_command_ends_the_repeats_of_an_older_one():
    up = link()
    sender = CommandSender(up)
    sender.loss = 0.3
    for number in range(20):
        sender.send(command(number), number * 0.05)
        sender.step(number * 0.05)
        up.poll(number * 0.05)
    assert up.sender.counts[TrafficClass.COMMAND].offered == 20  # ten a second are repeats enough
    for step in range(300):
        sender.step(1.0 + step * 0.01)
        up.poll(1.0 + step * 0.01)
    assert up.sender.counts[TrafficClass.COMMAND].offered == 20 + repeats(0.3)
    sender.send(command(99), 5.0)
    sender.cancel_repeats()
    sender.step(9.0)
    assert up.sender.counts[TrafficClass.COMMAND].offered == 21 + repeats(0.3)


def test_what_does_not_fit_is_counted_and_the_operator_learns_what_does():
    up = Channel(300.0, mtu=128)  # a command takes 0.8 s
    sender = CommandSender(up)
    came = drive(up, sender, 0.25, 30.0)
    assert sender.offered == 120
    assert len(came) + sender.dropped == pytest.approx(120, abs=2)
    advice = sender.advice(30.0)
    assert advice.endswith('of 40 commands did not fit: send at most 1.2 a second')
    assert sender.advice(45.0) == ''  # it is over
    slower = CommandSender(Channel(300.0, mtu=128))
    drive(slower._up, slower, 1.0, 30.0)
    assert slower.dropped == 0 and slower.advice(30.0) == ''


def test_commands_given_in_bursts_fit_where_the_air_is_free():
    """The executor takes two at a time, or time stands still: no air was lacking."""
    up = Channel(1e6, mtu=128)
    sender = CommandSender(up)
    for number in range(100):
        now = number * 0.1
        sender.send(command(2 * number), now)
        sender.send(command(2 * number + 1), now + 0.001 * (number % 2))
        up.poll(now + 0.05)
    assert sender.dropped >= 50 and sender.advice(10.0) == ''


def test_commands_while_the_clock_stands_still_are_no_advice():
    up = Channel(300.0, mtu=128)
    sender = CommandSender(up)
    drive(up, sender, 1.0, 6.0)
    for number in range(50):
        sender.send(command(number), 6.0)
    assert sender.dropped >= 49 and sender.advice(6.0) == ''


def test_a_stop_leaves_no_advice_and_a_pause_does_not_lower_it():
    up = Channel(300.0, mtu=128)
    sender = CommandSender(up)
    drive(up, sender, 0.25, 10.0)
    assert 'send at most 1.' in sender.advice(10.0)
    assert 'send at most 1.' in sender.advice(14.0)
    sender.refuse(14.0)  # the robot is stopped
    assert sender.advice(14.0) == ''


def test_repeats_on_a_slow_link_are_left_out_when_they_would_be_old():
    up = Channel(300.0, mtu=128)
    sender = CommandSender(up)
    sender.loss = 0.3
    sender.send(command(0), 0.0)
    assert sender.next_deadline is None


def test_stamps_go_up_whatever_the_clock_shows():
    sender = CommandSender(link())
    assert [sender.next_stamp(t) for t in (5, 5, 3, 9, 8)] == [5, 6, 7, 9, 10]


@pytest.mark.parametrize(
    ('loss', 'times'), [(0.0, 0), (0.01, 0), (0.05, 1), (0.1, 1), (0.3, 3), (0.9, 3), (1.0, 3)]
)
def test_the_worse_the_loss_the_more_repeats(loss, times):
    assert repeats(loss) == times


class Robot:
    """What obeys stops, and reports down a link of its own."""

    def __init__(self, down, up):
        self.down, self.up = down, up
        self.number, self.held = 0, False
        self.timer = RobotReportTimer()
        self.reports = 0

    def step(self, now):
        for received in self.up.poll(now):
            if received.traffic_class is TrafficClass.STOP:
                stop = Stop.unpack(received.payload, 10**15)
                self.number, self.held = stop.number, stop.stop
                self.timer.on_stop()
        report = RobotReport(self.number, self.held)
        if now >= self.timer.next_deadline(
            report, pause_s(self.down, self.up, ROBOT_REPORT_BYTES)
        ):
            self.down.offer(report.pack(), now, TrafficClass.REPORT)
            self.timer.on_sent(report, now)
            self.reports += 1


def stopping(number=250):
    return lambda up: StopSender(up, lambda: 0.0, number)


def run(seconds, sender, robot, begin=0.0, until=lambda: False):
    """Let both ends work; returns when `until` holds, or None."""
    now = begin
    while now < begin + seconds:
        sender.step(now, 10**15 + round(now * 1e6), 7)
        robot.step(now)
        for received in robot.down.poll(now):
            sender.on_report(RobotReport.unpack(received.payload), now)
        if until():
            return now
        now = round(now + 0.01, 6)
    return None


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 0.8), st.integers(0, 1000), st.integers(0, 255))
def test_a_stop_gets_through_and_is_acknowledged_whatever_is_lost(loss, seed, number):
    down, up = link(loss, seed), link(loss, seed + 1)
    robot, sender = Robot(down, up), StopSender(up, lambda: 0.0, number)
    assert sender.state is StopState.NONE and sender.next_deadline is None
    for stop in (True, False, True):
        begin = max(down._now, up._now, 0.0)
        sender.want(stop, begin)
        assert sender.state is (StopState.SENT if stop else StopState.HELD)
        done = run(400.0, sender, robot, begin, lambda: sender.next_deadline is None)
        assert done is not None and robot.held is stop
        assert sender.state is (StopState.HELD if stop else StopState.NONE)
        assert sender.trouble(done) == ''


def test_a_lost_stop_is_repeated_fast_and_then_in_an_eighth_of_the_air():
    up = Channel(1600.0, mtu=128, loss=GilbertElliottModel.from_mean(1.0))
    air_s = up.sender.air_s(9, TrafficClass.STOP)
    sender = StopSender(up, lambda: 0.0, 3)
    sender.want(True, 0.0)
    at = []
    for step in range(6000):
        now = step / 100
        before = up.sender.counts[TrafficClass.STOP].offered
        sender.step(now, 10**15, 7)
        up.poll(now)
        at += [now] * (up.sender.counts[TrafficClass.STOP].offered - before)
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert max(gaps[:18]) == pytest.approx(2 * air_s, abs=0.011)
    assert min(gaps[20:]) == pytest.approx(8 * air_s, abs=0.011)
    assert sender.trouble(60.0) == 'the robot has not acknowledged the STOP for 60.0 s'
    due = sender.next_deadline
    sender.want(True, 60.0)  # the operator presses it again and again
    assert sender.next_deadline == due


def test_a_robot_that_restarts_is_stopped_again():
    down, up = link(), link()
    robot, sender = Robot(down, up), StopSender(up, lambda: 0.0, 3)
    sender.want(True, 0.0)
    assert run(5.0, sender, robot, 0.0, lambda: sender.state is StopState.HELD)
    first = robot.number
    robot = Robot(down, up)  # it knows of no stop
    sender.on_robot_session(6.0)
    assert sender.state is StopState.SENT
    assert run(5.0, sender, robot, 6.0, lambda: sender.state is StopState.HELD)
    assert robot.held and robot.number != first
    # Also when only its report shows it.
    robot.held = False
    robot.timer.on_ground_session()
    assert run(5.0, sender, robot, 12.0, lambda: robot.held)


def test_a_ground_that_restarts_knows_what_is_held_and_takes_nothing_for_its_own():
    down, up = link(), link()
    robot, before = Robot(down, up), StopSender(up, lambda: 0.0, 3)
    before.want(True, 0.0)
    assert run(5.0, before, robot, 0.0, lambda: before.state is StopState.HELD)
    sender = StopSender(up, lambda: 0.0, robot.number - 1)  # its next number would be the same
    robot.timer.on_ground_session()
    assert run(5.0, sender, robot, 6.0, lambda: sender.state is StopState.HELD)
    sender.want(True, 8.0)
    assert sender.state is StopState.SENT
    assert run(5.0, sender, robot, 8.0, lambda: sender.state is StopState.HELD)
    sender.want(False, 10.0)
    assert run(5.0, sender, robot, 10.0, lambda: sender.state is StopState.NONE)
    assert not robot.held


def test_a_stop_outlives_a_restart_of_the_ground_and_then_of_the_robot():
    down, up = link(), link()
    robot, before = Robot(down, up), StopSender(up, lambda: 0.0, 3)
    before.want(True, 0.0)
    assert run(5.0, before, robot, 0.0, lambda: before.state is StopState.HELD)
    sender = StopSender(up, lambda: 0.0, 77)
    robot.timer.on_ground_session()
    assert run(5.0, sender, robot, 6.0, lambda: sender.state is StopState.HELD)
    assert sender.wanted and sender.next_deadline is None
    robot = Robot(down, up)  # it knows of no stop
    sender.on_robot_session(12.0)
    assert sender.state is StopState.SENT
    assert run(5.0, sender, robot, 12.0, lambda: sender.state is StopState.HELD)
    assert robot.held


def test_a_release_that_was_on_its_way_at_a_restart_of_the_ground_counts():
    sender = StopSender(link(), lambda: 0.0, 3)
    sender.on_report(RobotReport(9, True), 0.0)
    assert sender.wanted
    sender.on_report(RobotReport(10, False), 1.0)
    assert not sender.wanted and sender.state is StopState.NONE and sender.next_deadline is None


def test_a_release_of_nothing_is_not_sent():
    up = link()
    sender = StopSender(up, lambda: 0.0, 3)
    sender.on_report(RobotReport(0, False), 0.0)
    sender.want(False, 1.0)
    assert sender.next_deadline is None and sender.state is StopState.NONE
    sender.on_report(RobotReport(9, True), 2.0)  # another ground had stopped it
    assert sender.state is StopState.HELD
    sender.want(False, 3.0)
    assert sender.next_deadline == 3.0


def test_reports_of_the_robot_keep_their_share_of_the_air():
    timer, report, pause = RobotReportTimer(), RobotReport(0, False, 0.0), 12.0
    assert timer.next_deadline(report, pause) == 0  # at the start
    timer.on_sent(report, 0.0)
    assert timer.next_deadline(report, pause) == 12.0  # nobody has been received
    timer.on_ground_session()
    assert timer.next_deadline(report, pause) == 0
    timer.on_sent(report, 0.0)
    assert timer.next_deadline(report, pause) == 120.0  # nobody commands
    timer.on_command()
    assert timer.next_deadline(report, pause) == 12.0
    stopped = RobotReport(5, True, 0.0)
    assert timer.next_deadline(stopped, pause) == 0  # that is news
    timer.on_sent(stopped, 1.0)
    timer.on_stop()  # again: the acknowledgement was lost
    assert timer.next_deadline(stopped, pause) == pytest.approx(1.0 + 12.0 / 5)
    timer.on_ground_session()
    assert timer.next_deadline(stopped, pause) == 0


@pytest.mark.parametrize('loss', [0.0, 0.2, 0.5])
def test_the_robot_sees_how_many_commands_are_lost(loss):
    rng, reported = random.Random(3), []
    seen, number = CommandLoss(), 0xFFF0
    for step in range(400):
        number = (number + 1) % 0x10000
        if rng.random() >= loss:
            seen.on_command(number, 5)
        if step > 50:
            reported.append(seen.loss)
    assert sum(reported) / len(reported) == pytest.approx(loss, abs=0.06)
    before = seen.loss
    seen.on_command(0, 6)  # another session counts anew
    assert seen.loss == before
