"""
The operator's end of driving: commands, their repetition, and stops until they are acknowledged.

Time is explicit: every call takes it in s, and `next_deadline` returns when to call `step`.
"""

import math
from collections import deque
from collections.abc import Callable
from enum import Enum

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import RobotReport, Stop
from gsc_ros.link.traffic.port import LinkPort

WINDOW_S = 10.0
# A command is repeated until it is lost less often than this, but not when it has become old.
_WANTED_LOSS = 0.01
_LEAST_LOSS = 0.02
_MOST_REPEATS = 3
_LEAST_SPACE_S = 0.1
_MAX_REPEAT_AGE_S = 0.7
# A stop is repeated in half of the air at first, and then in an eighth of it.
_FAST_STOPS = 20
_FAST_SHARE, _SHARE = 1 / 2, 1 / 8


class CommandSender:
    """
    Sends commands over ``up``, the newest one, and repeats it where the robot reports losses.

    ``offered`` counts the operator's commands, ``dropped`` those of them that a newer one replaced
    before they left, and that were not sent because the robot is stopped.
    """

    def __init__(self, up: LinkPort) -> None:
        self._up = up
        self.offered = self.dropped = 0
        self.loss = 0.0  # of commands, as the robot reports it
        self._stamp_us: int | None = None  # of the last one
        self._last = b''
        self._unrepeated = False  # the last one has gone once at most
        self._given_at = 0.0
        self._left = 0  # repeats
        self._repeat_at: float | None = None
        self._history: deque[tuple[float, bool]] = deque()  # when, whether another did not fit

    def next_stamp(self, given_us: int) -> int:
        """Return the stamp of a command that was given then, later than those before it."""
        self._stamp_us = given_us if self._stamp_us is None else max(given_us, self._stamp_us + 1)
        return self._stamp_us

    def send(self, payload: bytes, now: float) -> None:
        """Send a command that the operator gives now."""
        replaced = (
            self._unrepeated
            and self._up.sender.waiting_payload(TrafficClass.COMMAND) == self._last
        )
        self.offered += 1
        self.dropped += replaced
        # One that was replaced where the air was free, or at one moment, was merely given again.
        pacer = self._up.sender.pacer
        crowded = replaced and pacer.free_at > now > self._given_at
        self._history.append((now, crowded))
        while not now - WINDOW_S <= self._history[0][0] <= now:
            self._history.popleft()
        self._up.offer(payload, now, TrafficClass.COMMAND)
        self._last, self._unrepeated, self._given_at = payload, True, now
        self._left = repeats(self.loss)
        self._plan(now)

    def refuse(self, now: float) -> None:
        """Count a command that is not sent, as the robot is stopped."""
        self.offered += 1
        self.dropped += 1
        self.cancel_repeats()
        self.forget()

    def forget(self) -> None:
        """Forget what did not fit, as beside a STOP or its release: that is no advice."""
        self._history.clear()

    def cancel_repeats(self) -> None:
        """Do not repeat the last command any more."""
        self._left, self._repeat_at = 0, None

    @property
    def next_deadline(self) -> float | None:
        """When a command is repeated next (s); None: not at all."""
        return self._repeat_at

    def step(self, now: float) -> None:
        """Repeat the last command when it is time."""
        if self._repeat_at is None or now < self._repeat_at:
            return
        if self._up.sender.waiting_payload(TrafficClass.COMMAND) is None:
            self._up.offer(self._last, now, TrafficClass.COMMAND)
            self._unrepeated = False
            self._left -= 1
        self._plan(now)

    def advice(self, now: float) -> str:
        """Return how many of the last seconds' commands did not fit, and how many do; or empty."""
        recent = [(at, one) for at, one in self._history if now - WINDOW_S <= at <= now]
        count = len(recent)
        replaced = sum(one for _, one in recent)
        # Of the commands: who gives none for a while has not given them more slowly.
        span_s = recent[-1][0] - recent[0][0] if recent else 0.0
        if replaced < 2 or span_s < WINDOW_S / 2:
            return ''
        # The last one has yet to leave.
        most = max(0.1, math.floor(10 * (count - replaced - 1) / span_s) / 10)
        return f'{replaced} of {count} commands did not fit: send at most {most:g} a second'

    def _plan(self, now: float) -> None:
        """Choose when to repeat: spaced, so that one run of losses does not take them all."""
        took_s = self._up.turn_s + self._up.sender.air_s(len(self._last), TrafficClass.COMMAND)
        at = now + max(_LEAST_SPACE_S, 2 * took_s)
        is_new = at <= self._given_at + _MAX_REPEAT_AGE_S
        self._repeat_at = at if self._left and is_new else None


def repeats(loss: float) -> int:
    """Return how often a command is repeated at a loss of 0..1."""
    if loss < _LEAST_LOSS:
        return 0
    if loss >= 1.0:
        return _MOST_REPEATS
    sent = math.ceil(math.log(_WANTED_LOSS) / math.log(loss) - 1e-9)
    return min(max(1, sent - 1), _MOST_REPEATS)


class StopState(Enum):
    """What is known of the operator's stop; values as in LinkStatus."""

    NONE = 0
    SENT = 1
    HELD = 2


class StopSender:
    """
    Sends the operator's stop, and its release, over ``up`` until the robot acknowledges it.

    Each has a number of its own. A stop is in force until it is released: it is sent again when
    the robot reports that it holds none, as after its restart. So is one that the robot holds when
    this end begins.

    ``turns_s``: time of the turn-arounds there and back; ``number``: 0..255, not the one that this
    end had when it ran before, as the robot may still acknowledge that.
    """

    def __init__(self, up: LinkPort, turns_s: Callable[[], float], number: int) -> None:
        self._up, self._turns_s = up, turns_s
        self._number = number
        self._wanted: bool | None = None  # a stop, or a release
        self._inherited = False  # the robot held the stop before this end began
        self._acknowledged = False
        self._held: bool | None = None  # as the robot reported last
        self._send_at: float | None = None
        self._since = 0.0  # when what is wanted was given
        self._tries = 0

    @property
    def wanted(self) -> bool:
        """Whether the operator stops the robot."""
        return self._wanted is True

    @property
    def state(self) -> StopState:
        """What is known of the stop."""
        if self._wanted and not self._acknowledged:
            return StopState.SENT
        return StopState.HELD if self._held else StopState.NONE

    @property
    def next_deadline(self) -> float | None:
        """When to send next (s); None: there is nothing to send."""
        return self._send_at

    def trouble(self, now: float) -> str:
        """Return what the robot has not acknowledged; empty when it has."""
        if self._wanted is None or self._acknowledged:
            return ''
        what = 'STOP' if self._wanted else 'release of the STOP'
        return f'the robot has not acknowledged the {what} for {now - self._since:.1f} s'

    def want(self, stop: bool, now: float) -> None:
        """Stop the robot, or release it."""
        if not stop and not self._wanted and self._held is False:
            return  # there is nothing to release
        if self._inherited or stop != self._wanted or (self._acknowledged and self._held != stop):
            self._wanted = stop
            self._renew(now)

    def on_robot_session(self, now: float) -> None:
        """Note that the robot began a new session, and holds no stop."""
        self._held = None
        if self._wanted:
            self._renew(now)

    def on_report(self, report: RobotReport, now: float) -> None:
        """Take over what the robot reports."""
        self._held = report.latched
        if self._wanted is None or self._inherited:
            # Not to be taken for the acknowledgement of one to come.
            self._number = report.stop
            self._inherited = self._acknowledged = report.latched
            self._wanted = True if report.latched else None
        elif report.stop == self._number and report.latched == self._wanted:
            self._acknowledged, self._send_at = True, None
        elif self._wanted and self._acknowledged and not report.latched:
            self._renew(now)

    def step(self, now: float, stamp_us: int, robot: int) -> None:
        """Send a stop or release when it is time; stamp_us, robot: as of a :class:`Stop`."""
        if self._send_at is None or now < self._send_at:
            return
        payload = Stop(stamp_us, self._number, self.wanted, robot).pack()
        self._up.offer(payload, now, TrafficClass.STOP)
        self._tries += 1
        took_s = self._up.sender.air_s(len(payload), TrafficClass.STOP) + self._turns_s()
        share = _FAST_SHARE if self._tries < _FAST_STOPS else _SHARE
        self._send_at = now + max(_LEAST_SPACE_S, took_s / share)

    def _renew(self, now: float) -> None:
        self._number = self._number % 255 + 1
        self._acknowledged = self._inherited = False
        self._send_at = self._since = now
        self._tries = 0
