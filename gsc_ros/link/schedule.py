"""When a link is open, and at which rate: passes of a satellite, windows of a jammer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gsc_ros.link import budget
from gsc_ros.link.profiles import Profile

# Of a boundary this close (s) it is the later side that counts: floating-point times.
_EPSILON_S = 1e-6


@dataclass(frozen=True)
class Schedule:
    """
    Rates over explicit time: stretches that repeat for ever from time zero on.

    stretches: seconds and bits a second (0: closed) of each. Raises ValueError for stretches that
    are not longer than zero and rates that are not finite and at least zero.
    """

    stretches: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        for seconds, rate in self.stretches:
            if not seconds > _EPSILON_S:
                raise ValueError(f'a stretch must be longer than {_EPSILON_S} s, got {seconds}')
            if not 0.0 <= rate < float('inf'):
                raise ValueError(f'rate_bps must be finite and at least 0, got {rate}')

    @classmethod
    def constant(cls, rate_bps: float) -> 'Schedule':
        """Make the schedule of a link that is always the same."""
        return cls(((math.inf, rate_bps),))

    @property
    def rates(self) -> list[float]:
        """All rates but zero, slowest first."""
        return sorted({rate for _, rate in self.stretches if rate})

    def at(self, now: float) -> tuple[float, float]:
        """Return the rate (bit/s) at a time, and the time when the stretch ends (s)."""
        return next(self._from(now))

    def opens(self, now: float) -> float:
        """Return when the link is open next (s): now, or later; infinite for never."""
        if not self.rates:
            return math.inf
        for rate, end in self._from(now):
            if rate:
                return now
            now = end
        raise AssertionError('stretches repeat for ever')

    def closes(self, now: float) -> float:
        """Return when a link that is open closes (s); infinite for never."""
        if all(rate for _, rate in self.stretches):
            return math.inf
        for rate, end in self._from(now):
            if not rate:
                return now
            now = end
        raise AssertionError('stretches repeat for ever')

    def _from(self, now: float) -> Iterator[tuple[float, float]]:
        """Yield rate and end of the stretch at a time, and of those that follow."""
        if math.isinf(self.stretches[0][0]):
            yield self.stretches[0][1], math.inf
            return
        period = sum(seconds for seconds, _ in self.stretches)
        turn = math.floor(now / period)
        while True:
            end = turn * period
            for seconds, rate in self.stretches:
                end += seconds
                if end > now + _EPSILON_S:
                    yield rate, end
            turn += 1


def of(profile: Profile, scale: float = 1.0) -> Schedule:
    """
    Work out when a profile's link is open and at which rate, times ``scale``.

    Time zero is the beginning of a pass, or of a jammer's silence.
    """
    rate = budget.compute(profile).rate_bps * scale
    if profile.pass_period:
        rest = profile.pass_period - profile.pass_length
        return Schedule(((profile.pass_length, rate), (rest, 0.0)))
    if profile.jam_period:
        quiet = budget.compute(profile.without_jammer())
        rest = profile.jam_period - profile.jam_length
        return Schedule(((rest, quiet.rate_bps * scale), (profile.jam_length, rate)))
    return Schedule.constant(rate)
