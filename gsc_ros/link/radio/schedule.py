"""
When a link is open, and at which rate: passes of a satellite, windows of a jammer.

Passes and windows are as the profile has them, or follow from an orbit or a table of ranges; then
the rate goes with the range, in steps.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from gsc_ros.link.radio import budget
from gsc_ros.link.radio.orbit import Pass
from gsc_ros.link.radio.profile import Profile

# Of a boundary this close (s) it is the later side that counts: floating-point times.
_EPSILON_S = 1e-6
# Where the range changes, the rate keeps for so long at least (s), and changes so often at most.
_STEP_S = 10.0
_STEPS = 64


class Stretch(NamedTuple):
    """
    A time in which a link is always the same.

    seconds: how long; rate_bps: 0 for closed; delay_s: one way, None for the link's own;
    excess_db: by how much the signal is above the threshold of the code (`codes.py`).
    """

    seconds: float
    rate_bps: float
    delay_s: float | None = None
    excess_db: float = math.inf


@dataclass(frozen=True)
class Schedule:
    """
    A link over explicit time: stretches that repeat for ever from time zero on.

    Raises ValueError for stretches that are not longer than zero and rates that are not finite and
    at least zero.
    """

    stretches: tuple[Stretch, ...]

    def __init__(self, stretches: Iterable[Iterable[Any]]) -> None:
        object.__setattr__(self, 'stretches', tuple(Stretch(*one) for one in stretches))
        for stretch in self.stretches:
            seconds, rate = stretch.seconds, stretch.rate_bps
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
        return sorted({stretch.rate_bps for stretch in self.stretches if stretch.rate_bps})

    def at(self, now: float) -> tuple[float, float]:
        """Return the rate (bit/s) at a time, and when it is another one (s; infinite: never)."""
        rate, until = self.stretch(now).rate_bps, math.inf
        if len(self.rates) + any(not one.rate_bps for one in self.stretches) > 1:
            for stretch, end in self._from(now):
                if stretch.rate_bps != rate:
                    break
                until = end
        return rate, until

    def stretch(self, now: float) -> Stretch:
        """Return the stretch at a time."""
        return next(self._from(now))[0]

    def opens(self, now: float) -> float:
        """Return when the link is open next (s): now, or later; infinite for never."""
        if not self.rates:
            return math.inf
        for stretch, end in self._from(now):
            if stretch.rate_bps:
                return now
            now = end
        raise AssertionError('stretches repeat for ever')

    def beginning(self, at: float) -> 'Schedule':
        """Return the same link with time zero at a time (s) of this one."""
        period = sum(stretch.seconds for stretch in self.stretches)
        if math.isinf(period):
            return self
        at %= period
        end = 0.0
        later: list[Stretch] = []
        earlier: list[Stretch] = []
        for stretch in self.stretches:
            begin, end = end, end + stretch.seconds
            if end - at > _EPSILON_S:
                later.append(stretch._replace(seconds=end - max(begin, at)))
            if at - begin > _EPSILON_S:
                earlier.append(stretch._replace(seconds=min(end, at) - begin))
        return Schedule([*later, *earlier])

    def closes(self, now: float) -> float:
        """Return when a link that is open closes (s); infinite for never."""
        if all(stretch.rate_bps for stretch in self.stretches):
            return math.inf
        for stretch, end in self._from(now):
            if not stretch.rate_bps:
                return now
            now = end
        raise AssertionError('stretches repeat for ever')

    def _from(self, now: float) -> Iterator[tuple[Stretch, float]]:
        """Yield the stretch at a time and its end, and those that follow."""
        if math.isinf(self.stretches[0].seconds):
            yield self.stretches[0], math.inf
            return
        period = sum(stretch.seconds for stretch in self.stretches)
        turn = math.floor(now / period)
        while True:
            end = turn * period
            for stretch in self.stretches:
                end += stretch.seconds
                if end > now + _EPSILON_S:
                    yield stretch, end
            turn += 1


def start_of(text: str) -> float:
    """
    Read a time in ISO 8601 with its zone, such as ``2026-11-28T12:00:00Z``: s since 1970.

    Raises ValueError for anything else.
    """
    try:
        when = datetime.fromisoformat(text.removesuffix('Z') + '+00:00' * text.endswith('Z'))
    except ValueError:
        when = datetime.min  # which has no zone
    if when.tzinfo is None:
        raise ValueError(f'{text!r} is not a time with its zone, such as 2026-11-28T12:00:00Z')
    return when.timestamp()


def of(profile: Profile, scale: float = 1.0, delay_scale: float = 1.0) -> Schedule:
    """
    Work out when a profile's link is open, and how it is then.

    The rate is times ``scale``, the delay times ``delay_scale``. Time zero is the beginning of a
    pass, or of a jammer's silence, or that of the orbit or the table. In a stretch of a pass or
    table all is as at its farther end.
    """
    return Schedule(
        one._replace(
            rate_bps=one.rate_bps * scale,
            delay_s=None if one.delay_s is None else one.delay_s * delay_scale,
        )
        for one in _stretches(profile)
    )


def _stretches(profile: Profile) -> Iterable[Stretch]:
    orbit = profile.orbit
    if orbit is not None:
        windows = [(found.start, found.end) for found in passes(profile)]
        return _over(profile, windows, lambda now: orbit.look(now).range_m)
    if profile.ranges:
        return _over(profile, list(pairwise(profile.range_times)), _table(profile))
    link = budget.compute(profile)
    if profile.pass_period:
        return _windows(profile.pass_windows, profile.pass_period, link, None)
    if profile.jam_period:
        quiet = budget.compute(profile.without_jammer())
        return _windows(profile.jam_windows, profile.jam_period, link, quiet)
    return [_stretch(math.inf, link)]


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


def _stretch(seconds: float, link: budget.Budget | None) -> Stretch:
    """Return a stretch in which a link is what its budget says; None: closed."""
    if link is None or not link.closes:
        return Stretch(seconds, 0.0)
    return Stretch(seconds, link.rate_bps, link.delay_s, link.excess_db)


def _windows(
    windows: Iterable[tuple[float, float]],
    period: float,
    within: budget.Budget,
    without: budget.Budget | None,
) -> Iterator[Stretch]:
    """Lay a link out over windows (s) in a period, and over the times between them."""
    now = 0.0
    for start, end in [*windows, (period, period)]:
        for seconds, link in ((start - now, without), (end - start, within)):
            if seconds > _EPSILON_S:
                yield _stretch(seconds, link)
        now = end


def _over(
    profile: Profile, windows: list[tuple[float, float]], range_at: Callable[[float], float]
) -> Iterator[Stretch]:
    """Step through windows (s) as the range is in them; closed between them."""
    now = 0.0
    for start, end in windows:
        if start - now > _EPSILON_S:
            yield Stretch(start - now, 0.0)
        count = max(1, min(_STEPS, int((end - start) / _STEP_S)))
        edges = [start + (end - start) * k / count for k in range(count + 1)]
        links = [budget.compute(profile, range_at(edge)) for edge in edges]
        for before, after in pairwise(range(count + 1)):
            farther = max(links[before], links[after], key=lambda link: link.delay_s)
            yield _stretch(edges[after] - edges[before], farther)
        now = end
    span = profile.orbit_span if profile.orbit else now
    if span - now > _EPSILON_S:
        yield Stretch(span - now, 0.0)
