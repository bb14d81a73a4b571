"""
The STOP button: one press stops, two deliberate steps release.

A STOP is published again until the link has taken it over; from then on the link repeats it until
the robot holds it. A release is published exactly once: a second one could release a STOP that
somebody else gives in between. The two steps of a release are for one and the same STOP. Times are
s of a monotonic clock.
"""

import math
import secrets
from enum import IntEnum
from typing import NamedTuple

_AGAIN_S = 0.25
_SOONEST_S = 0.4  # a double click is one action, not two
_LATEST_S = 10.0
_CROSSING_S = 5.0  # a STOP heard so soon after a release may be from before it: the STOP counts


class State(IntEnum):
    """What the link states of the stop; values as in LinkStatus."""

    NONE = 0
    SENT = 1
    HELD = 2


class _Asked(NamedTuple):
    """The first step of a release: by whom, when (s), and what was in force."""

    token: str
    viewer: int
    at_s: float
    shown: State


class StopButton:
    """
    ``pressed``: a STOP was given here, and the link has not taken it over yet. ``given``: how many
    STOPs were given, here or elsewhere.
    """

    def __init__(self) -> None:
        self.pressed = False
        self.given = 0
        self._again_s = 0.0
        self._asked: _Asked | None = None
        self._released_s = -math.inf

    def stop(self, now: float) -> None:
        """Note that a STOP is published now."""
        self.pressed = True
        self._again_s = now + _AGAIN_S
        self._released_s = -math.inf  # it follows the release, and what is heard may be this one
        self._note()

    def hear(self, now: float) -> bool:
        """
        Note that somebody published a STOP, as far as it is not one from here. Returns whether to
        publish it again, as a release from here may have undone it.
        """
        if self.pressed:
            return False
        if now - self._released_s <= _CROSSING_S:
            self.stop(now)
            return True
        self._note()
        return False

    def _note(self) -> None:
        self.given += 1
        self._asked = None

    def in_force(self, state: State) -> bool:
        """Whether the robot is, or is about to be, stopped."""
        return self.pressed or state != State.NONE

    def step(self, state: State, now: float) -> bool:
        """Return whether to publish the STOP again."""
        if self.pressed and state != State.NONE:
            self.pressed = False
        if not self.pressed or now < self._again_s:
            return False
        self._again_s = now + _AGAIN_S
        return True

    def next_deadline(self) -> float | None:
        """Return when to step next (s), or None."""
        return self._again_s if self.pressed else None

    def ask_release(self, viewer: int, state: State, now: float) -> str:
        """Begin a release of what the link states; returns what the second step has to bring."""
        self._asked = _Asked(secrets.token_urlsafe(8), viewer, now, self._shown(state))
        return self._asked.token

    def release(self, token: str, viewer: int, state: State, now: float) -> str:
        """Return why a release may not be published; empty: once, and then :meth:`clear`."""
        asked, self._asked = self._asked, None
        if asked is None or asked.viewer != viewer or not _same(asked.token, token):
            return 'the STOP is kept: press Release again, and then confirm'
        if not _goes_on(asked.shown, self._shown(state)):
            return 'the STOP is kept: it is another one; press Release again, and then confirm'
        passed_s = now - asked.at_s
        if not _SOONEST_S <= passed_s <= _LATEST_S:
            return f'the STOP is kept: confirm between {_SOONEST_S:g} and {_LATEST_S:g} s later'
        return ''

    def _shown(self, state: State) -> State:
        """Return the state, with what was pressed here counted as sent."""
        return max(state, State.SENT if self.pressed else State.NONE)

    def clear(self, now: float) -> None:
        """Note that a release is published now."""
        self.pressed = False
        self._released_s = now


def _goes_on(before: State, now: State) -> bool:
    """Whether a state is of the STOP that was in a state before, or of none."""
    return now in (State.NONE, before) or (before, now) == (State.SENT, State.HELD)


def _same(a: str, b: str) -> bool:
    """Compare tokens; as bytes, since texts beyond ASCII are refused with an exception."""
    return secrets.compare_digest(a.encode(), b.encode('utf-8', 'surrogatepass'))
