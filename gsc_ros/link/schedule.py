"""
When a link is open, and at which rate: passes of a satellite, windows of a jammer.

Passes and windows are as the profile has them, or follow from an orbit or a table of ranges; then
the rate goes with the range, in steps.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from gsc_ros.link import budget
from gsc_ros.link.orbit import Pass
from gsc_ros.link.profiles import Profile

# Of a boundary this close (s) it is the later side that counts: floating-point times.
_EPSILON_S = 1e-6
# Where the range changes, the rate keeps for so long at least (s), and changes so often at most.
_STEP_S = 10.0
_STEPS = 64


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

    Time zero is the beginning of a pass, or of a jammer's silence, or that of the orbit or the
    table. In a stretch of a pass or table the rate is that of its farther end.
    """
    orbit = profile.orbit
    if orbit is not None:
        windows = [(found.start, found.end) for found in passes(profile)]
        return _over(profile, windows, lambda now: orbit.look(now).range_m, scale)
    if profile.ranges:
        return _over(profile, list(pairwise(profile.range_times)), _table(profile), scale)
    rate = budget.compute(profile).rate_bps * scale
    if profile.pass_period:
        rest = profile.pass_period - profile.pass_length
        return Schedule(((profile.pass_length, rate), (rest, 0.0)))
    if profile.jam_period:
        quiet = budget.compute(profile.without_jammer())
        rest = profile.jam_period - profile.jam_length
        return Schedule(((rest, quiet.rate_bps * scale), (profile.jam_length, rate)))
    return Schedule.constant(rate)


def passes(profile: Profile) -> list[Pass]:
    """Find the passes of a profile's orbit in its span; those below 10 s are not worth one."""
    if profile.orbit is None:
        return []
    found = profile.orbit.passes(profile.orbit_span, math.radians(profile.min_elevation))
    return [one for one in found if one.end - one.start >= _STEP_S]


def carried_bytes(schedule: Schedule, start: float, end: float) -> float:
    """Bytes that go on air between two times (s), overhead and gaps included."""
    bits = 0.0
    while start < end - _EPSILON_S:
        rate, until = schedule.at(start)
        until = min(until, end)
        bits += rate * (until - start)
        start = until
    return bits / 8


def _table(profile: Profile) -> Callable[[float], float]:
    """Range (m) over time (s) of a profile's table."""
    times, ranges = profile.range_times, profile.ranges

    def at(now: float) -> float:
        k = min(max(bisect_right(times, now), 1), len(times) - 1)
        share = (now - times[k - 1]) / (times[k] - times[k - 1])
        return ranges[k - 1] + share * (ranges[k] - ranges[k - 1])

    return at


def _over(
    profile: Profile,
    windows: list[tuple[float, float]],
    range_at: Callable[[float], float],
    scale: float,
) -> Schedule:
    """Step through windows (s) at the rates of their ranges; closed between them."""
    stretches: list[tuple[float, float]] = []

    def add(seconds: float, rate: float) -> None:
        if seconds <= _EPSILON_S:
            return
        if stretches and stretches[-1][1] == rate:
            seconds += stretches.pop()[0]
        stretches.append((seconds, rate))

    now = 0.0
    for start, end in windows:
        add(start - now, 0.0)
        count = max(1, min(_STEPS, int((end - start) / _STEP_S)))
        edges = [start + (end - start) * k / count for k in range(count + 1)]
        rates = [budget.compute(profile, range_at(edge)).rate_bps * scale for edge in edges]
        for before, after in pairwise(range(count + 1)):
            add(edges[after] - edges[before], min(rates[before], rates[after]))
        now = end
    span = profile.orbit_span if profile.orbit else now
    add(span - now, 0.0)
    return Schedule(tuple(stretches))
