"""
Which velocity commands a robot executes, when it is stopped, and the STOP latch.

A command runs only if all of this holds:

1. it is addressed to this session of the robot (by the session's low byte, never 0);
2. it was sent after every command that was considered before it: by the count of its seal, and
   under a key that no other has superseded; without a seal by its session and number, and in a
   session that no other has superseded;
3. its stamp is later than that of the last one that ran, and of a STOP whose stamp can be right;
   the same stamp is a repeat, which is dropped silently;
4. by the wall clocks of both ends it is not older than the limit beyond what an idle link takes,
   and not that far in the future;
5. by the monotonic clock it is not later than the limit beyond the fastest of its session: a
   clock that is set back opens no door for what was withheld;
6. no STOP is held.

Everything is pure: the times are arguments. A robot that moves has to be stopped `timeout_s` after
the last command that ran, by the monotonic clock (:attr:`CommandGate.next_deadline`).
"""

from collections import Counter
from enum import Enum
from typing import NamedTuple

from gsc_ros.link.traffic.command_times import CommandTimes, Lateness

# By how much the clocks of both ends may run apart, s/s.
DRIFT = 200e-6
_NUMBERS = 1 << 16
# After a silence of so many seconds numbers may have come round: stamps decide then.
_NUMBERS_S = 60.0
_RETIRED = 64  # sessions that are remembered


class Refusal(Enum):
    """Why a command does not run."""

    ADDRESS = 'for another session of the robot'
    ORDER = 'older than one that came before'
    REPEAT = 'a repeat'
    LATE = 'too late by the wall clock'
    FUTURE = 'from the future: the clocks of both ends differ'
    DELAYED = 'held up on its way, by the monotonic clock'
    STOP = 'a STOP is held'


class Origin(NamedTuple):
    """
    Where a message is from.

    session: of the sender; number: of the payload within its class, modulo 65536; key, order:
    which key opened it, and its count under that key; order None: there is no seal.
    """

    session: int
    number: int | None
    key: int = 0
    order: int | None = None


class Now(NamedTuple):
    """
    When a message came.

    wall_us: the clock that stamps are compared with; monotonic_s: one that is never set; idle_s:
    how long the message takes over an idle link; steady: False where stamps are simulated time,
    which passes at any pace, so that rule 5 cannot hold.
    """

    wall_us: int
    monotonic_s: float
    idle_s: float = 0.0
    steady: bool = True


class _Order:
    """The newest message; none that was sent before it is accepted."""

    def __init__(self) -> None:
        self._sealed: tuple[int, int] | None = None
        self._keys: set[int] = set()  # superseded
        self._plain: tuple[int, int | None] | None = None
        self._sessions: dict[int, None] = {}  # superseded, the oldest first
        self._at_s = 0.0  # of the newest without a seal

    def advance(self, origin: Origin, monotonic_s: float) -> bool:
        """Take a message that is newer than all before; False for one that is not."""
        if origin.order is None:
            return self._advance_plain(origin.session, origin.number, monotonic_s)
        if origin.key in self._keys:
            return False
        if self._sealed is not None:
            key, order = self._sealed
            if origin.key == key and origin.order <= order:
                return False
            if origin.key != key:
                self._keys.add(key)
        self._sealed = origin.key, origin.order
        return True

    def _advance_plain(self, session: int, number: int | None, monotonic_s: float) -> bool:
        if session in self._sessions:
            return False
        if self._plain is not None:
            current, newest = self._plain
            if session != current:
                self._sessions[current] = None
                if len(self._sessions) > _RETIRED:
                    del self._sessions[next(iter(self._sessions))]
            elif number is None:  # of another class: the stamps decide
                return True
            elif newest is not None:
                ahead = (number - newest) % _NUMBERS
                may_be_round = ahead and monotonic_s >= self._at_s + _NUMBERS_S
                if not (0 < ahead < _NUMBERS // 2 or may_be_round):
                    return False
        self._plain, self._at_s = (session, number), monotonic_s
        return True


class _Stops:
    """
    The newest STOP or release of every key, or session where there is no seal.

    No key supersedes another here: a STOP that is too old only stops.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[bool, int], tuple[int, float]] = {}  # and when it came

    def advance(self, origin: Origin, monotonic_s: float) -> bool:
        """Take a message that is newer than those of its kind; False for one that is not."""
        sealed = origin.order is not None
        key = sealed, origin.key if sealed else origin.session
        number = (origin.order if sealed else origin.number) or 0
        before = self._newest.pop(key, None)
        if before is not None:
            newest, at_s = before
            ahead = number - newest if sealed else (number - newest) % _NUMBERS
            may_be_round = not sealed and ahead and monotonic_s >= at_s + _NUMBERS_S
            is_newer = ahead > 0 if sealed else 0 < ahead < _NUMBERS // 2
            if not (is_newer or may_be_round):
                self._newest[key] = before
                return False
        self._newest[key] = number, monotonic_s
        if len(self._newest) > _RETIRED:
            del self._newest[next(iter(self._newest))]
        return True


class _Ground:
    """One session of the ground, and the fastest way of its messages."""

    def __init__(self, session: int) -> None:
        self.session = session
        # From a stamp to its arrival, by two clocks that differ, and when that was.
        self._fastest: tuple[float, float] | None = None

    def delay_s(self, stamp_us: int, monotonic_s: float) -> float:
        """Take a message in; return how much longer it took than the fastest, s."""
        took_s = monotonic_s - stamp_us * 1e-6
        if self._fastest is not None:
            fastest_s, at_s = self._fastest
            delay_s = took_s - (fastest_s + DRIFT * (monotonic_s - at_s))
            if delay_s >= 0:
                return delay_s
        self._fastest = took_s, monotonic_s
        return 0.0


class CommandGate:
    """
    Accepts commands or refuses them with a reason; decides when the robot has to be stopped.

    max_age_s, timeout_s: see the module; both may be changed at any time. ``session``: the robot's
    own, see :meth:`reset`. ``moving``: the last command that ran moves the robot. ``held``: a STOP
    is. ``acknowledged``: number of the last STOP or release that was done, 0 for none. ``ran`` and
    ``refused`` count commands. ``times``: which of the last ones, and of releases, were refused
    for their time.
    """

    def __init__(self, max_age_s: float, timeout_s: float) -> None:
        self.max_age_s, self.timeout_s = max_age_s, timeout_s
        self.session = 0
        self.moving = self.held = False
        self.acknowledged = 0
        self.ran = 0
        self.refused: Counter[Refusal] = Counter()
        self._ran_at = 0.0
        self._stamp_us: int | None = None  # of the last that ran
        self._commands, self._stops = _Order(), _Stops()
        self._ground = _Ground(0)
        self._delay_s = 0.0  # of the last one, by the monotonic clock
        self.times = CommandTimes()

    def reset(self, session: int) -> None:
        """Take only what is addressed to this session (1..65535) of the robot from now on."""
        self.session = session
        self._stamp_us = None  # the clocks may have been set
        self.times.clear()

    @property
    def next_deadline(self) -> float | None:
        """When the robot has to be stopped (s, monotonic), or None."""
        return self._ran_at + self.timeout_s if self.moving else None

    def halt(self) -> None:
        """Note that the robot was stopped, for whatever reason."""
        self.moving = False

    def expire(self, monotonic_s: float) -> bool:
        """Count the robot as stopped when it has to be now; return whether that is so."""
        deadline = self.next_deadline
        if deadline is None or monotonic_s < deadline:
            return False
        self.moving = False
        return True

    def command(
        self, origin: Origin, robot: int, stamp_us: int, moves: bool, now: Now
    ) -> Refusal | None:
        """
        Judge a command; None: it runs.

        robot: low byte of the session that it is addressed to; moves: whether any of its
        velocities is not zero.
        """
        refusal = self._judge(origin, robot, stamp_us, now)
        lateness = self._lateness(refusal, stamp_us, now)
        if refusal is None or lateness is not None:
            self.times.add(now.monotonic_s, lateness)
        if refusal is None and self.held:
            refusal = Refusal.STOP
        if refusal is not None:
            self.refused[refusal] += 1
            return refusal
        self._stamp_us = stamp_us
        self._ran_at, self.moving = now.monotonic_s, moves
        self.ran += 1
        return None

    def stop(self, origin: Origin, number: int, stamp_us: int, now: Now) -> bool:
        """
        Hold a STOP, whatever its age, session and clocks; False for one that is not newer than
        the last STOP or release.
        """
        if not self._stops.advance(origin, now.monotonic_s):
            return False
        self.held, self.moving = True, False
        self.acknowledged = number
        self._note_stamp(stamp_us, now)
        return True

    def _note_stamp(self, stamp_us: int, now: Now) -> None:
        """Have nothing run that was given before, where the stamp can be right."""
        if abs(now.wall_us - stamp_us) * 1e-6 <= self.max_age_s + now.idle_s:
            self._stamp_us = max(stamp_us, self._stamp_us or stamp_us)

    def release(
        self, origin: Origin, number: int, robot: int, stamp_us: int, now: Now
    ) -> Refusal | None:
        """Let go of a STOP; None: done. A release has to pass what a command has to pass."""
        if not self._stops.advance(origin, now.monotonic_s):
            return Refusal.ORDER
        # Without a seal its number is not comparable with those of commands.
        among = origin if origin.order is not None else origin._replace(number=None)
        refusal = self._judge(among, robot, stamp_us, now)
        if (lateness := self._lateness(refusal, stamp_us, now)) is not None:
            self.times.add(now.monotonic_s, lateness)
        if refusal is None:
            self._stamp_us = stamp_us
            self.held = False
            self.acknowledged = number
        return refusal

    def goal(self, origin: Origin, robot: int, stamp_us: int, now: Now) -> Refusal | None:
        """
        Judge a goal; None: the robot may go there. It has to pass what a command has to pass, and
        so one that was given before the last command does not.
        """
        # Without a seal its number is not comparable with those of commands.
        among = origin if origin.order is not None else origin._replace(number=None)
        refusal = self._judge(among, robot, stamp_us, now)
        if refusal is None and self.held:
            refusal = Refusal.STOP
        if refusal is None:
            self._stamp_us = stamp_us
        return refusal

    def end_goals(self, origin: Origin, stamp_us: int, now: Now) -> None:
        """
        Note the end of all goals: none that was sent before it is accepted, by the seal's count,
        and by its stamp where that can be right.
        """
        if origin.order is not None:
            self._commands.advance(origin, now.monotonic_s)
        self._note_stamp(stamp_us, now)

    def _lateness(self, refusal: Refusal | None, stamp_us: int, now: Now) -> Lateness | None:
        """Return by how much a command is refused for its time; None where it is not."""
        late_s = (now.wall_us - stamp_us) * 1e-6 - now.idle_s
        # A clock that was set back makes stamps older than those before.
        for_time = refusal in (Refusal.LATE, Refusal.FUTURE, Refusal.DELAYED)
        if not for_time and not (refusal is Refusal.ORDER and abs(late_s) > self.max_age_s):
            return None
        if now.steady and self._delay_s > self.max_age_s:
            return Lateness(self._delay_s, held_up=True)
        return Lateness(late_s)

    def _judge(self, origin: Origin, robot: int, stamp_us: int, now: Now) -> Refusal | None:
        """Apply the rules but for the last."""
        self._delay_s = 0.0
        if not robot or robot != self.session & 0xFF:
            return Refusal.ADDRESS
        if self._stamp_us is not None and stamp_us <= self._stamp_us:
            return Refusal.REPEAT if stamp_us == self._stamp_us else Refusal.ORDER
        if not self._commands.advance(origin, now.monotonic_s):
            return Refusal.ORDER
        if origin.session != self._ground.session:
            self._ground = _Ground(origin.session)
        self._delay_s = self._ground.delay_s(stamp_us, now.monotonic_s)
        age_s = (now.wall_us - stamp_us) * 1e-6
        if age_s - now.idle_s > self.max_age_s:
            return Refusal.LATE
        if age_s < -self.max_age_s:
            return Refusal.FUTURE
        if now.steady and self._delay_s > self.max_age_s:
            return Refusal.DELAYED
        return None
