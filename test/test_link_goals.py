"""Goals over the link: bytes, what is repeated, what the robot follows, and what ends it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.goals import Goal, GoalState, Place
from gsc_ros.link.datagrams.payloads import PayloadError, RobotReport
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.command_gate import CommandGate, Now, Origin, Refusal
from gsc_ros.link.traffic.goals import GoalKeeper, GoalSender, GroundSilence, silence_limit_s

NOW_US = 1_700_000_000_000_000
PLACE = Place(1000 * NOW_US - 1_300_000_001, 4.25, -1.5, 0.4)


class Up:
    """A link that keeps what is offered; a payload takes 0.01 s."""

    turn_s = 0.0

    def __init__(self):
        self.sent, self.waiting = [], None
        self.sender = self

    def waiting_payload(self, _traffic_class):
        return self.waiting

    def air_s(self, _size, _traffic_class):
        return 0.01

    def offer(self, payload, now, traffic_class):
        assert traffic_class is TrafficClass.GOAL
        self.sent.append((now, Goal.unpack(payload, NOW_US)))


@given(
    st.integers(1, 255),
    st.integers(0, 255),
    st.floats(-327, 327),
    st.floats(-327, 327),
    st.floats(-math.pi, math.pi),
)
def test_goals_are_read_as_they_were_made(number, robot, x, y, yaw):
    goal = Goal(NOW_US, number, Place(PLACE.stamp_ns, x, y, yaw), robot)
    assert len(goal.pack()) == 19
    read = Goal.unpack(goal.pack(), NOW_US + 5_000_000)
    assert (read.stamp_us, read.number, read.robot) == (NOW_US, number, robot)
    assert read.place.stamp_ns == PLACE.stamp_ns  # exactly
    assert read.place.x == pytest.approx(x, abs=0.0051)
    assert read.place.y == pytest.approx(y, abs=0.0051)
    turned = (read.place.yaw - yaw + math.pi) % math.tau - math.pi
    assert abs(turned) <= math.pi / 256 + 1e-9


def test_the_end_of_goals_is_short_and_read():
    end = Goal(NOW_US, 7, None, 3)
    assert len(end.pack()) == 8 and Goal.unpack(end.pack(), NOW_US) == end


@given(st.binary(max_size=24))
def test_what_is_no_goal_is_refused(data):
    try:
        goal = Goal.unpack(data, NOW_US)
    except PayloadError:
        assert (
            len(data) not in (8, 19)
            or not data[7]
            or abs(int.from_bytes(data[14:16], 'big', signed=True)) == 0x8000
            or abs(int.from_bytes(data[16:18], 'big', signed=True)) == 0x8000
        )
    else:
        assert len(data) in (8, 19) and goal.number


@pytest.mark.parametrize('x', [math.nan, math.inf, 328.0, -1e9])
def test_places_that_cannot_be_sent_are_refused(x):
    with pytest.raises(ValueError):
        Place(0, x, 0.0)
    with pytest.raises(ValueError):
        Place(0, 0.0, 0.0, math.nan)


def test_reports_carry_the_goal():
    for report in (
        RobotReport(3, True, 0.0, 12, -1.5, True, 200, GoalState.ACTIVE),
        RobotReport(goal=1, goal_state=GoalState.REACHED),
    ):
        assert RobotReport.unpack(report.pack()) == report
    assert len(RobotReport().pack()) == 3


def run(sender, until, now=0.0):
    while sender.next_deadline is not None and sender.next_deadline <= until:
        now = max(now, sender.next_deadline)
        sender.step(now)


def test_a_goal_is_repeated_shortly_and_an_end_until_it_is_answered():
    up = Up()
    sender = GoalSender(up, 41)
    assert sender.text == 'none'
    sender.give(PLACE, NOW_US, 3, 0.0)
    run(sender, 100.0)
    assert 2 <= len(up.sent) <= 3 and up.sent[-1][0] < 0.7
    assert up.sent[0][1].number == 42 and sender.text == 'goal sent, no answer yet'
    sender.on_report(42, GoalState.ACTIVE)
    assert sender.text == 'active'
    sender.on_report(41, GoalState.REACHED)  # of another one
    assert sender.text == 'active'
    sender.give(None, NOW_US + 1, 3, 10.0)
    run(sender, 20.0)
    assert len(up.sent) > 20
    sender.on_report(43, GoalState.CANCELLED)
    assert sender.next_deadline is None and sender.text == 'cancelled'


def test_a_stop_takes_back_a_goal_that_waits():
    up = Up()
    sender = GoalSender(up, 0)
    sender.give(PLACE, NOW_US, 3, 0.0)
    sender.forget()
    run(sender, 10.0)
    assert not up.sent


def test_a_goal_that_waits_for_the_air_is_known():
    up = Up()
    sender = GoalSender(up, 0)
    up.waiting = b'goal'
    assert not sender.waits
    sender.give(PLACE, NOW_US, 3, 0.0)
    assert sender.waits
    up.waiting = None
    assert not sender.waits
    up.waiting = b'end'
    sender.give(None, NOW_US, 3, 1.0)
    assert not sender.waits  # it may go


def test_a_robot_that_begins_anew_has_no_goal():
    up = Up()
    sender = GoalSender(up, 0)
    sender.give(PLACE, NOW_US, 3, 0.0)
    sender.on_report(1, GoalState.ACTIVE)
    sender.on_robot_session()
    assert sender.text == 'forgotten' and sender.next_deadline is None
    sender.on_robot_session()
    assert sender.text == 'forgotten', 'until something ends it'
    sender.on_stop_held()
    assert sender.text == 'none'
    sender.give(None, NOW_US, 3, 1.0)
    sender.on_robot_session()
    assert sender.next_deadline == 1.0  # an end is for every session


@pytest.mark.parametrize('over', [GoalState.REACHED, GoalState.CANCELLED, GoalState.REFUSED])
def test_a_goal_that_was_over_is_not_forgotten(over):
    sender = GoalSender(Up(), 0)
    sender.give(PLACE, NOW_US, 3, 0.0)
    sender.on_report(1, over)
    sender.on_robot_session()
    assert sender.text == 'none'


def test_an_end_or_another_goal_takes_the_place_of_a_forgotten_one():
    for place, text in ((PLACE, 'goal sent'), (None, 'end sent')):
        sender = GoalSender(Up(), 0)
        sender.give(PLACE, NOW_US, 3, 0.0)
        sender.on_robot_session()
        sender.give(place, NOW_US, 3, 1.0)
        assert sender.text == text


def test_the_number_of_a_run_before_is_not_taken_again():
    sender = GoalSender(Up(), 5)
    sender.on_report(6, GoalState.REACHED)
    sender.give(PLACE, NOW_US, 3, 0.0)
    assert sender.text == 'goal sent'
    sender.on_report(6, GoalState.REACHED)
    assert sender.text == 'goal sent'


def test_the_robot_follows_a_goal_once_and_ends_it():
    keeper = GoalKeeper()
    goal = Goal(NOW_US, 5, PLACE)
    assert keeper.judge(goal, True) and keeper.followed
    assert not keeper.judge(goal, True)  # a repeat
    keeper.progress(GoalState.ACTIVE)
    assert keeper.cancel() and keeper.state is GoalState.CANCELLED and not keeper.cancel()
    keeper.progress(GoalState.ACTIVE)  # late news of navigation
    assert keeper.state is GoalState.CANCELLED
    assert not keeper.judge(Goal(NOW_US, 6, PLACE), False) and keeper.state is GoalState.REFUSED
    assert keeper.judge(Goal(NOW_US, 7, PLACE), True)
    assert not keeper.judge(Goal(NOW_US, 8, None), True)
    assert (keeper.number, keeper.state) == (8, GoalState.CANCELLED)


def gate():
    made = CommandGate(1.0, 0.5)
    made.reset(0x0103)
    return made


def origin(order):
    return Origin(9, None, 0, order)


def test_a_goal_has_to_pass_what_a_command_has_to_pass():
    judge = gate()
    now = Now(NOW_US, 100.0)
    assert judge.goal(origin(1), 4, NOW_US, now) is Refusal.ADDRESS
    assert judge.goal(origin(1), 3, NOW_US - 2_000_000, now) is Refusal.LATE
    assert gate().goal(origin(2), 3, NOW_US + 2_000_000, now) is Refusal.FUTURE
    assert judge.goal(origin(3), 3, NOW_US, now) is None
    assert not judge.moving  # goals have no deadline: navigation drives
    assert judge.command(origin(4), 3, NOW_US + 1, True, now) is None
    # Given before the robot was driven by hand, and come after that.
    assert judge.goal(origin(5), 3, NOW_US, now) is Refusal.ORDER


def test_no_goal_is_followed_under_a_stop_or_from_before_it():
    judge = gate()
    now = Now(NOW_US, 100.0)
    judge.stop(origin(5), 1, NOW_US, now)
    assert judge.goal(origin(6), 3, NOW_US + 1, now) is Refusal.STOP
    assert judge.release(origin(7), 2, 3, NOW_US + 10, now) is None
    assert judge.goal(origin(4), 3, NOW_US + 11, now) is Refusal.ORDER  # withheld
    assert judge.goal(origin(8), 3, NOW_US + 5, now) is Refusal.ORDER
    assert judge.goal(origin(9), 3, NOW_US + 12, now) is None


def test_a_goal_that_was_withheld_is_not_followed_after_its_end():
    judge = gate()
    now = Now(NOW_US, 100.0)
    judge.end_goals(origin(8), NOW_US, now)
    assert judge.goal(origin(7), 3, NOW_US + 1, now) is Refusal.ORDER
    assert judge.goal(origin(9), 3, NOW_US + 2, now) is None


def test_without_a_seal_the_stamp_of_an_end_decides():
    judge, plain = gate(), Origin(9, 1)
    now = Now(NOW_US, 100.0)
    judge.end_goals(plain, NOW_US - 5_000_000, now)  # by a clock that is wrong
    judge.end_goals(plain, NOW_US, now)
    assert judge.goal(plain, 3, NOW_US - 1, now) is Refusal.ORDER
    assert judge.goal(plain, 3, NOW_US + 1, now) is None


def test_a_silence_counts_while_the_link_is_open():
    silence = GroundSilence()
    silence.heard(10.0)
    assert silence.lasts_s(25.0) == 15.0
    for now in (30.0, 500.0, 1000.0):  # closed; what is sent when it opens takes its light time
        silence.closed(now, delay_s=700.0)
        assert silence.lasts_s(now) == 0.0
    assert silence.lasts_s(1700.0) == 0.0 and silence.lasts_s(1740.0) == 40.0
    silence.heard(1741.0)
    assert silence.lasts_s(1741.5) == 0.5


def test_the_limit_of_a_silence_follows_reports_and_outages():
    assert silence_limit_s(0.0, 1.0, 0.0) == 30.0
    assert silence_limit_s(0.0, 12.0, 0.0) == 2 * (3 * 12 + 2)
    assert silence_limit_s(0.0, 1.0, 36_000.0) == 36_030.0
    assert silence_limit_s(5.0, 12.0, 36_000.0) == 5.0


@pytest.mark.parametrize(
    ('intervals', 'longest'),
    [
        ([(None, 100.0)], 0.0),
        ([(None, 0.0)], math.inf),
        ([(10.0, 100.0), (20.0, 0.0), (5.0, 0.0), (3.0, 50.0), (7.0, 0.0)], 25.0),
        ([(10.0, 0.0), (20.0, 9.0), (16.0, 0.0)], 26.0),  # they repeat
    ],
)
def test_the_longest_outage_of_a_schedule(intervals, longest):
    assert Schedule(intervals).longest_closed_s == longest
