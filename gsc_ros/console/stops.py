"""
The STOP button: one press stops, two deliberate steps release.

A STOP is published again until the link has taken it over; from then on the link repeats it until
the robot holds it. A release is published exactly once: a second one could release a STOP that
somebody else gives in between. Times are s of a monotonic clock.
"""

import secrets
from enum import IntEnum

_AGAIN_S = 0.25
_SOONEST_S = 0.4  # a double click is one action, not two
_LATEST_S = 10.0


class State(IntEnum):
    """What the link states of the stop; values as in LinkStatus."""

    NONE = 0
    SENT = 1
    HELD = 2


class StopButton:
    """``pressed``: a STOP was given here, and the link has not taken it over yet."""

    def __init__(self) -> None:
        self.pressed = False
        self._again_s = 0.0
        self._asked: tuple[str, int, float] | None = None

    def stop(self, now: float) -> None:
        """Note that a STOP is published now."""
        self.pressed = True
        self._again_s = now + _AGAIN_S
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

    def ask_release(self, viewer: int, now: float) -> str:
        """Begin a release; returns the token that the second step has to bring."""
        token = secrets.token_urlsafe(8)
        self._asked = token, viewer, now
        return token

    def release(self, token: str, viewer: int, now: float) -> str:
        """Return why a release may not be published; empty: once, and then :meth:`clear`."""
        asked, self._asked = self._asked, None
        if asked is None or asked[1] != viewer or not _same(asked[0], token):
            return 'the STOP is kept: press Release again, and then confirm'
        passed_s = now - asked[2]
        if not _SOONEST_S <= passed_s <= _LATEST_S:
            return f'the STOP is kept: confirm between {_SOONEST_S:g} and {_LATEST_S:g} s later'
        return ''

    def clear(self) -> None:
        """Note that a release is published now."""
        self.pressed = False


def _same(a: str, b: str) -> bool:
    """Compare tokens; as bytes, since texts beyond ASCII are refused with an exception."""
    return secrets.compare_digest(a.encode(), b.encode('utf-8', 'surrogatepass'))
