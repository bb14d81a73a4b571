"""
Who drives, how fast, and when the robot is told to stop.

The driver holds a key or the stick: the browser then sends the input many times a second. The
robot is told zero as soon as

* the driver lets go, gives the wheel back or leaves;
* nothing came from the driver's browser for ``heartbeat_s``;
* driving is locked: the image is stale, or a STOP is in force.

After the last two the driver has to let go before anything moves again. An input that was held up
on its way is not followed. Growing speeds are ramped, falling ones are not.

Times are s of a monotonic clock. This module decides what to publish; the link and the guard stop
the robot as well when commands end, whatever happens here.
"""

import math
from dataclasses import dataclass

Velocity = tuple[float, float]  # m/s ahead, rad/s to the left
ZERO: Velocity = (0.0, 0.0)
# A zero is published so many times, as a thin link may lose some.
_ZEROS = 5
_LEAST_SPACE_S = 0.05
_DRIFT = 2e-4  # of the browser's clock, s/s
_LATE_S = 0.4


@dataclass(frozen=True)
class Limits:
    """
    What the driver may ask for: m/s, rad/s, m/s2, rad/s2, commands a second.

    ``heartbeat_s``: time without a word of the driver's browser after which the robot is told to
    stop; ``idle_s``: time without driving after which another may take the wheel.
    """

    linear: float = 0.5
    angular: float = 0.6
    linear_ramp: float = 0.5
    angular_ramp: float = 1.5
    rate: float = 5.0
    heartbeat_s: float = 0.5
    idle_s: float = 60.0


class Drive:
    """
    Holds the wheel and the velocity. ``driver``: who has the wheel, None for nobody.

    ``commanded``: the velocity that was published last. ``must_release``: the driver has to let go
    first. ``timeouts``: how often the browser fell silent while it drove; ``late``: inputs that
    were held up on their way and not followed.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.driver: int | None = None
        self.commanded: Velocity = ZERO
        self.must_release = False
        self.timeouts = self.late = 0
        self._target: Velocity = ZERO
        self._heard_s = self._drove_s = 0.0
        self._published_s = -math.inf
        self._stepped_s = -math.inf
        self._zeros = 0
        self._new = False
        self._fastest: tuple[float, float] | None = None  # way from the browser, and when

    def take(self, viewer: int, now: float) -> str:
        """Give the wheel to a viewer; returns why not, empty for done."""
        if self.driver == viewer:
            return ''
        if self.driver is not None:
            idle_s = now - self._drove_s
            if self._target != ZERO or idle_s < self.limits.idle_s:
                left_s = max(1.0, self.limits.idle_s - idle_s)
                return (
                    f'viewer {self.driver} drives: ask them to give the wheel back, or wait '
                    f'{left_s:.0f} s of their not driving'
                )
        self._let_go()
        self.driver = viewer
        self._drove_s = self._heard_s = now
        self._fastest = None
        self.must_release = False
        return ''

    def leave(self, viewer: int) -> None:
        """Take the wheel from a viewer who gives it back, or is gone."""
        if self.driver == viewer:
            self._let_go()
            self.driver = None

    def take_input(self, viewer: int, ahead: float, left: float, sent_s: float, now: float) -> str:
        """
        Take an input of the driver: shares -1..1 of the limits; returns why not, empty for done.

        ``sent_s``: when the browser sent it, by its own clock.
        """
        if viewer != self.driver:
            return 'take the wheel first'
        if self._is_late(sent_s, now):
            self.late += 1
            self._let_go()
            self.must_release = True
            return 'the way from the browser is too slow: let go, and try again'
        self._heard_s = now
        target = self._velocity(ahead, left)
        if target == ZERO:
            self.must_release = False
        elif self.must_release:
            return 'let go first'
        if target != ZERO or self._target != ZERO:
            self._drove_s = now
        if target != self._target:
            self._new = True
            if target == ZERO:
                self._zeros = _ZEROS
        self._target = target
        return ''

    def halt(self) -> None:
        """Tell the robot to stop, and have the driver let go first."""
        if self._target != ZERO:
            self.must_release = True
        self._let_go()

    def step(self, now: float, locked: str) -> Velocity | None:
        """
        Return the velocity to publish now, or None.

        ``locked``: why nobody may drive, empty where one may.
        """
        if self._target != ZERO:
            if now >= self._heard_s + self.limits.heartbeat_s:  # as in next_deadline
                self.timeouts += 1
                self.halt()
            elif locked:
                self.halt()
        moving = self._target != ZERO
        if not moving and not self._zeros:
            self._stepped_s = now
            return None
        period_s = 1 / self.limits.rate
        # A change goes at once; a zero that stops the robot does not wait at all.
        space_s = _LEAST_SPACE_S if self._new else period_s
        stops = not moving and self.commanded != ZERO
        if not stops and now < self._published_s + space_s:
            return None
        if moving:
            rests = self.commanded == ZERO  # the time before is none of growing
            passed_s = _LEAST_SPACE_S if rests else min(now - self._stepped_s, 2 * period_s)
            self.commanded = self._ramped(passed_s)
        else:
            self.commanded = ZERO
            self._zeros -= 1
        self._stepped_s = self._published_s = now
        self._new = False
        return self.commanded

    def next_deadline(self) -> float | None:
        """Return when to step next (s); None: when something changes."""
        if self._target == ZERO and not self._zeros:
            return None
        space_s = _LEAST_SPACE_S if self._new else 1 / self.limits.rate
        at = self._published_s + space_s
        if self._target != ZERO:
            at = min(at, self._heard_s + self.limits.heartbeat_s)
        return at

    def _velocity(self, ahead: float, left: float) -> Velocity:
        """Return the velocity of an input within the limits."""
        linear, angular = (min(max(share, -1.0), 1.0) + 0.0 for share in (ahead, left))
        return linear * self.limits.linear, angular * self.limits.angular

    def _ramped(self, passed_s: float) -> Velocity:
        ramps = self.limits.linear_ramp, self.limits.angular_ramp
        parts = zip(self.commanded, self._target, ramps, strict=True)
        linear, angular = (ramp(speed, target, most * passed_s) for speed, target, most in parts)
        return linear, angular

    def _let_go(self) -> None:
        if self._target != ZERO or self.commanded != ZERO:
            self._zeros = _ZEROS
            self._new = True
        self._target = ZERO

    def _is_late(self, sent_s: float, now: float) -> bool:
        """Whether an input took much longer than the fastest one of this driver."""
        took_s = now - sent_s
        if self._fastest is not None:
            fastest_s, at_s = self._fastest
            late_s = took_s - (fastest_s + _DRIFT * (now - at_s))
            if late_s > 0:
                return late_s > _LATE_S
        self._fastest = took_s, now
        return False


def ramp(speed: float, target: float, most: float) -> float:
    """Return the next speed: it grows by ``most`` at most, and falls at once."""
    if speed * target < 0:
        speed = 0.0  # it turns round through rest
    if abs(target) <= abs(speed):
        return target
    return math.copysign(min(abs(target), abs(speed) + most), target)
