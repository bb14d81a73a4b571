"""Which commands run: the rules one by one, and against an adversary who owns the link."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.traffic.command_gate import DRIFT, CommandGate, Now, Origin, Refusal

ROBOT = 0x1234
LOW = ROBOT & 0xFF
WALL_US = 1_700_000_000_000_000
AGE_S, TIMEOUT_S = 1.0, 0.5


class Trial:
    """A gate, a ground with the right clock, and a link that takes no time."""

    def __init__(self, sealed=True, **options):
        self.gate = CommandGate(**{'max_age_s': AGE_S, 'timeout_s': TIMEOUT_S} | options)
        self.gate.reset(ROBOT)
        self.sealed, self.count = sealed, 0
        self.seconds = 0.0

    def now(self, wall_s=0.0, **options):
        return Now(WALL_US + round((self.seconds + wall_s) * 1e6), self.seconds, **options)

    def origin(self, session=7, key=0, count=None):
        self.count = self.count + 1 if count is None else count
        return Origin(session, self.count % 65536, key, self.count if self.sealed else None)

    def send(self, age_s=0.0, origin=None, robot=LOW, moves=True, **now):
        """Send a command that was given `age_s` ago."""
        self.seconds += 0.01
        stamp_us = WALL_US + round((self.seconds - age_s) * 1e6)
        return self.gate.command(origin or self.origin(), robot, stamp_us, moves, self.now(**now))

    def stop(self, age_s=0.0, origin=None, number=1):
        self.seconds += 0.01
        stamp_us = WALL_US + round((self.seconds - age_s) * 1e6)
        return self.gate.stop(origin or self.origin(), number, stamp_us, self.now())

    def release(self, age_s=0.0, origin=None, robot=LOW, number=2):
        self.seconds += 0.01
        stamp_us = WALL_US + round((self.seconds - age_s) * 1e6)
        return self.gate.release(origin or self.origin(), number, robot, stamp_us, self.now())


@pytest.fixture(params=[True, False], ids=['sealed', 'plain'])
def trial(request):
    return Trial(request.param)


def test_what_comes_in_time_and_in_order_runs(trial):
    assert [trial.send() for _ in range(100)] == [None] * 100
    assert trial.gate.ran == 100 and not trial.gate.refused


def test_only_what_is_addressed_to_this_session_runs(trial):
    assert trial.send(robot=0) is Refusal.ADDRESS
    assert trial.send(robot=LOW + 1) is Refusal.ADDRESS
    trial.gate.reset(ROBOT + 1)
    assert trial.send() is Refusal.ADDRESS
    assert trial.send(robot=LOW + 1) is None
    trial.gate.reset(0x1200)  # a session whose low byte says nothing
    assert trial.send(robot=0) is Refusal.ADDRESS


def test_what_was_withheld_does_not_run_after_a_newer_one(trial):
    withheld = [trial.origin() for _ in range(16)]
    assert trial.send() is None
    assert {trial.send(origin=origin) for origin in withheld} == {Refusal.ORDER}


def test_a_command_that_was_too_late_is_newer_than_what_was_sent_before(trial):
    before = trial.origin()
    assert trial.send(age_s=1.5) is Refusal.LATE
    assert trial.send(origin=before) is Refusal.ORDER


def test_a_repeat_is_dropped_and_is_no_news(trial):
    assert trial.send() is None
    ran_at, second, repeat = trial.gate.next_deadline, trial.origin(), trial.origin()
    assert trial.send(age_s=0.01, origin=repeat) is Refusal.REPEAT
    assert trial.gate.next_deadline == ran_at
    assert trial.send(origin=second) is None


def test_an_older_stamp_does_not_run_whatever_its_order(trial):
    assert trial.send() is None
    assert trial.send(age_s=0.05) is Refusal.ORDER


def test_age_counts_from_what_an_idle_link_takes(trial):
    assert trial.send(age_s=1.5, idle_s=0.6) is None
    assert trial.send(age_s=1.5, idle_s=0.4) is Refusal.LATE
    assert trial.send(age_s=-0.9) is None
    assert trial.send(age_s=-1.1) is Refusal.FUTURE


def test_a_clock_that_is_set_back_opens_no_door(trial):
    assert trial.send(age_s=0.1) is None
    withheld = trial.origin()
    trial.seconds += 3600.0
    # The robot's wall clock is set back by the same hour: by it the command is fresh.
    assert trial.send(age_s=3600.0, origin=withheld, wall_s=-3600.0) is Refusal.DELAYED


@pytest.mark.parametrize(('more_s', 'refusal'), [(-0.1, None), (0.1, Refusal.DELAYED)])
def test_the_monotonic_clock_leaves_room_for_drift(trial, more_s, refusal):
    assert trial.send() is None
    trial.seconds += 10_000.0
    assert trial.send(age_s=AGE_S + DRIFT * 10_000 + more_s, idle_s=9.0) is refusal


def test_simulated_time_passes_at_any_pace(trial):
    for _ in range(5):
        trial.seconds += 100.0
        stamp = WALL_US + round(trial.seconds * 1e4)
        now = Now(stamp, trial.seconds, steady=False)
        assert trial.gate.command(trial.origin(), LOW, stamp, True, now) is None


@pytest.mark.parametrize(
    ('ground_s', 'late_s', 'words'), [(3.0, -3.0, '3.0 s ahead'), (-2.0, 2.0, '2.0 s late')]
)
def test_clocks_that_differ_are_named_with_by_how_much(trial, ground_s, late_s, words):
    """The ground's clock is so many seconds ahead."""
    for _ in range(2):
        trial.send(age_s=-ground_s)
    assert trial.gate.times.trouble(trial.seconds) == ''  # too few to be sure
    for _ in range(18):
        trial.send(age_s=-ground_s)
    refused, of, lateness = trial.gate.times.refused(trial.seconds)
    assert (refused, of, lateness.held_up) == (20, 20, False)
    assert lateness.late_s == pytest.approx(late_s)
    trouble = trial.gate.times.trouble(trial.seconds)
    assert '20 of 20 commands are refused' in trouble and words in trouble
    assert 'the clocks of both ends differ' in trouble and 'NTP' in trouble
    assert trial.gate.times.trouble(trial.seconds + 11.0) == ''  # it is over
    trial.gate.reset(ROBOT)
    assert trial.gate.times.refused(trial.seconds) is None


def test_a_clock_that_is_set_back_amid_commands_is_named(trial):
    for _ in range(10):
        assert trial.send() is None
    for _ in range(20):
        assert trial.send(age_s=20.0) is Refusal.ORDER
    assert 'the clocks of both ends differ' in trial.gate.times.trouble(trial.seconds)


def test_a_release_that_is_refused_for_its_time_names_the_clocks(trial):
    trial.stop()
    for _ in range(3):
        assert trial.release(age_s=-3.0) is Refusal.FUTURE
    assert '3.0 s ahead: the clocks of both ends differ' in trial.gate.times.trouble(trial.seconds)


def test_what_is_held_up_on_its_way_is_no_matter_of_clocks(trial):
    assert trial.send() is None
    for _ in range(20):
        trial.seconds += 0.01
        trial.send(age_s=2.5)  # a stamp beyond that of the first
        trial.seconds += 0.2
    trouble = trial.gate.times.trouble(trial.seconds)
    assert 'held up on their way by 2.5 s' in trouble and 'clocks of both' not in trouble


def test_some_late_commands_among_others_are_no_trouble(trial):
    for _ in range(10):
        trial.send()
        trial.send(age_s=1.5)
    assert trial.gate.times.refused(trial.seconds) is None


def test_a_new_session_of_the_ground_begins_anew(trial):
    assert trial.send(age_s=0.1) is None
    trial.seconds += 5.0
    # Another host with another way to the robot.
    assert trial.send(age_s=4.0, idle_s=3.5, origin=trial.origin(8)) is None
    assert trial.send(age_s=3.9, idle_s=3.5, origin=trial.origin(8)) is None


def test_a_session_that_was_superseded_never_comes_back():
    trial = Trial(sealed=False)
    assert trial.send(origin=trial.origin(7)) is None
    assert trial.send(origin=trial.origin(8)) is None
    assert trial.send(origin=trial.origin(7)) is Refusal.ORDER
    assert trial.send(origin=trial.origin(8)) is None


def test_a_key_that_was_superseded_never_comes_back():
    trial = Trial()
    assert trial.send(origin=trial.origin(7, key=0, count=100)) is None
    assert trial.send(origin=trial.origin(8, key=1, count=3)) is None
    assert trial.send(origin=trial.origin(7, key=0, count=200)) is Refusal.ORDER
    assert trial.send(origin=trial.origin(8, key=1, count=4)) is None


@pytest.mark.parametrize('other', [{'session': 8}, {'session': 8, 'key': 1}])
def test_what_an_older_ground_sent_neither_runs_nor_supersedes(other):
    trial = Trial(sealed='key' in other)
    assert trial.send() is None
    assert trial.send(age_s=0.5, origin=trial.origin(**other)) is Refusal.ORDER
    assert trial.send() is None


def test_numbers_wrap():
    trial = Trial(sealed=False)
    trial.count = 65530
    assert {trial.send() for _ in range(20)} == {None}


def test_an_outage_may_skip_any_number(trial):
    assert trial.send() is None and trial.stop() and trial.release() is None
    old = trial.origin()
    trial.seconds += 3600.0
    trial.count += 40_000
    assert trial.send() is None
    assert trial.stop(number=3) and trial.release(number=4) is None
    # The stamp of what was sent before it tells.
    assert trial.send(age_s=3600.0, origin=old) is Refusal.ORDER


def test_a_robot_that_moves_is_stopped_after_the_last_command_that_ran(trial):
    gate = trial.gate
    assert gate.next_deadline is None and not gate.expire(1e9)
    trial.send()
    at = trial.seconds
    trial.seconds += 0.3
    trial.send(age_s=1.2)  # too late: it counts for nothing
    assert gate.next_deadline == pytest.approx(at + TIMEOUT_S)
    assert not gate.expire(at + TIMEOUT_S - 0.001)
    assert gate.expire(at + TIMEOUT_S) and not gate.moving
    assert not gate.expire(at + TIMEOUT_S)
    trial.send(moves=False)
    assert gate.next_deadline is None


def test_a_stop_holds_until_it_is_released(trial):
    gate = trial.gate
    trial.send()
    assert trial.stop(number=5)
    assert gate.held and not gate.moving and gate.acknowledged == 5
    assert trial.send() is Refusal.STOP
    before = trial.origin()
    assert trial.release(number=6) is None
    assert not gate.held and gate.acknowledged == 6
    assert trial.send(age_s=0.02, origin=before) is Refusal.ORDER
    assert trial.send() is None


@pytest.mark.parametrize('age_s', [-1e6, 1e6, 1.5, 1e9])
def test_a_stop_is_obeyed_whatever_its_age_and_session(trial, age_s):
    trial.send()
    assert trial.stop(age_s=age_s, origin=trial.origin(99, key=3))
    assert trial.gate.held
    assert trial.release() is None  # its stamp tells nothing


def test_an_old_stop_and_an_old_release_do_nothing(trial):
    old_stop, old_release = trial.origin(), trial.origin()
    assert trial.stop()
    assert trial.release(origin=old_release) is Refusal.ORDER
    assert trial.gate.held
    assert trial.release() is None
    assert not trial.stop(origin=old_stop)
    assert not trial.gate.held


@pytest.mark.parametrize(
    ('wrong', 'refusal'),
    [
        ({'robot': 0}, Refusal.ADDRESS),
        ({'age_s': 1.5}, Refusal.LATE),
        ({'age_s': -1.5}, Refusal.FUTURE),
        ({'age_s': 2.5}, Refusal.ORDER),  # given before the stop
    ],
)
def test_a_release_passes_what_a_command_passes(trial, wrong, refusal):
    assert trial.stop()
    trial.seconds += 2.0
    assert trial.release(**wrong) is refusal
    assert trial.gate.held and trial.gate.acknowledged == 1
    assert trial.release(origin=trial.origin(8)) is None


def test_a_stop_outlives_a_new_session_of_the_robot(trial):
    trial.stop()
    trial.gate.reset(ROBOT + 1)
    assert trial.send(robot=LOW + 1) is Refusal.STOP


def test_no_key_keeps_a_stop_out():
    """A STOP that was withheld since before a change of keys does not lock the operator out."""
    trial = Trial()
    assert trial.stop(origin=trial.origin(7, key=0))
    assert trial.stop(origin=trial.origin(6, key=1, count=50))
    assert trial.release(origin=trial.origin(7, key=0)) is None
    assert trial.stop(origin=trial.origin(7, key=0))


# The adversary


@dataclass
class Sent:
    """A command on its way, and the truth about it."""

    index: int
    origin: Origin
    robot: int
    stamp_us: int
    at_s: float
    steps_s: float  # forward steps of the ground's clock up to then


class World:
    """
    Robot, ground, their clocks, and somebody who owns the link between them.

    The seal proves who sent what; nothing else is taken for granted: what was delivered once may
    be delivered again, at any time, also to a robot that has begun anew.
    """

    def __init__(self, seed, sealed, kind):
        self.random = random.Random(seed)
        self.sealed, self.kind = sealed, kind
        self.true_s = 1000.0
        self.robot_wall_s = self.ground_wall_s = 1_700_000_000.0
        self.robot_boot_s = 0.0
        self.steps_s = 0.0
        self.counts, self.key, self.number = {}, 0, 0
        self.ground_session = self.robot_session = 0
        self.sent, self.ran = [], []
        self.keys_used = 1
        self.begin_ground()
        self.begin_robot(True)

    def new_session(self, *last):
        while True:
            session = self.random.randrange(1, 65536)
            if session & 0xFF and all(session & 0xFF != one & 0xFF for one in last):
                return session

    def begin_ground(self):
        self.ground_session = self.new_session(self.ground_session)
        self.number = self.random.randrange(65536)
        self.known_robot = 0  # until something comes down

    def begin_robot(self, process):
        self.robot_session = self.new_session(self.robot_session)
        if process:
            self.gate = CommandGate(AGE_S, TIMEOUT_S)
            self.robot_boot_s = self.true_s
            self.least_s = {}
        self.gate.reset(self.robot_session)

    def pass_time(self):
        passed = self.random.choice((0.001, 0.05, 0.1, 0.5, 2.0))
        self.true_s += passed
        self.robot_wall_s += passed * (1 + self.random.uniform(-5e-5, 5e-5))
        self.ground_wall_s += passed * (1 + self.random.uniform(-5e-5, 5e-5))

    def disturb(self):
        """Step clocks, restart ends, change keys."""
        chance = self.random.random()
        step = self.random.choice((0.3, 1.5, 60.0, 3600.0, 281_474.976710656))
        if chance < 0.2:
            self.robot_wall_s += step
        elif chance < 0.4:
            self.robot_wall_s -= step
            self.begin_robot(False)
        elif chance < 0.5:
            self.ground_wall_s += step
            self.steps_s += step
        elif chance < 0.6:
            self.ground_wall_s -= step
            self.begin_ground()
        elif chance < 0.7:
            self.begin_robot(True)
        elif chance < 0.8:
            self.begin_ground()
        elif chance < 0.85 and self.sealed:
            self.key, self.keys_used = self.keys_used, self.keys_used + 1
            self.begin_ground()
        elif chance < 0.95:  # both clocks are put right
            offset = self.random.choice((0.0, 0.0, 0.2, -0.2))
            if self.ground_wall_s > self.robot_wall_s + offset:
                self.begin_ground()
            else:
                self.steps_s += self.robot_wall_s + offset - self.ground_wall_s
            self.ground_wall_s = self.robot_wall_s + offset

    def send(self):
        if self.random.random() < 0.9:
            self.known_robot = self.robot_session & 0xFF
        count = self.counts[self.key] = self.counts.get(self.key, 0) + 1
        self.number += 1
        origin = Origin(
            self.ground_session, self.number % 65536, self.key, count if self.sealed else None
        )
        stamp_us = round(self.ground_wall_s * 1e6)
        sent = Sent(len(self.sent), origin, self.known_robot, stamp_us, self.true_s, self.steps_s)
        self.sent.append(sent)
        return sent

    def deliver(self, sent):
        now = Now(round(self.robot_wall_s * 1e6), self.true_s - self.robot_boot_s)
        took_s = self.true_s - sent.at_s - sent.steps_s  # a step ahead hides a delay
        refusal = self.gate.command(sent.origin, sent.robot, sent.stamp_us, True, now)
        key = sent.origin.session, sent.origin.key
        # The gate may hold against a command what it has seen of its session.
        seen = refusal in (None, Refusal.LATE, Refusal.FUTURE, Refusal.DELAYED, Refusal.STOP)
        if seen:
            self.least_s[key] = min(took_s, self.least_s.get(key, took_s))
        if refusal is None:
            assert abs(self.robot_wall_s - sent.stamp_us * 1e-6) <= AGE_S + 1e-3
            assert took_s - self.least_s[key] <= AGE_S + DRIFT * self.true_s + 1e-3
            assert not self.ran or sent.index > max(self.ran), 'twice, or after a newer one'
            self.ran.append(sent.index)
        return refusal

    def step(self):
        self.pass_time()
        if self.random.random() < 0.01:
            self.disturb()
        sent = self.send()
        if self.kind == 'quiet':
            self.deliver(sent)
            return
        if self.random.random() < 0.6:  # else it is withheld
            self.deliver(sent)
        while self.random.random() < 0.5:
            back = self.random.choice((2, 5, 16, 300, len(self.sent)))
            self.deliver(self.random.choice(self.sent[-back:]))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), sealed=st.booleans())
def test_an_adversary_makes_no_command_run_twice_or_late_or_after_a_newer_one(seed, sealed):
    """100 runs of 1,000 commands, each delivered never, once or often."""
    world = World(seed, sealed, 'hostile')
    for _ in range(1000):
        world.step()


def test_commands_run_in_spite_of_an_adversary():
    """In most worlds; in some the clocks differ for all of the time."""
    worlds = [World(seed, bool(seed % 2), 'hostile') for seed in range(10)]
    for _ in range(1000):
        for world in worlds:
            world.step()
    assert sum(bool(world.ran) for world in worlds) > 5


@pytest.mark.parametrize('sealed', [True, False])
def test_a_link_without_an_adversary_lets_commands_through(sealed):
    world = World(1, sealed, 'quiet')
    world.disturb = lambda: None
    for _ in range(2000):
        world.step()
    assert len(world.ran) > 1700  # nine of ten are addressed at first, all from then on
