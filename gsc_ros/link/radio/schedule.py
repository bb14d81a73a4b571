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


class Interval(NamedTuple):
    """
    A time in which a link is always the same.

    seconds: how long, None for ever; rate_bps: 0 for closed; delay_s: one way, None for the link's
    own; excess_db: by how much the signal is above the threshold of the code (`codes.py`), None
    where that is not known.
    """

    seconds: float | None
    rate_bps: float
    delay_s: float | None = None
    excess_db: float | None = None


@dataclass(frozen=True)
class Schedule:
    """
    A link over explicit time: intervals that repeat for ever from time zero on.

    Raises ValueError for intervals that are not longer than zero and rates that are not finite and
    at least zero.
    """

    intervals: tuple[Interval, ...]

    def __init__(self, intervals: Iterable[Iterable[Any]]) -> None:
        object.__setattr__(self, 'intervals', tuple(Interval(*one) for one in intervals))
        for interval in self.intervals:
            seconds, rate = interval.seconds, interval.rate_bps
            if seconds is None and len(self.intervals) > 1:
                raise ValueError('an interval that lasts for ever must be the only one')
            if seconds is not None and not seconds > _EPSILON_S:
                raise ValueError(f'a interval must be longer than {_EPSILON_S} s, got {seconds}')
            if not 0.0 <= rate < float('inf'):
                raise ValueError(f'rate_bps must be finite and at least 0, got {rate}')

    @classmethod
    def constant(cls, rate_bps: float) -> 'Schedule':
        """Make the schedule of a link that is always the same."""
        return cls(((None, rate_bps),))

    @property
    def rates(self) -> list[float]:
        """All rates but zero, slowest first."""
        return sorted({interval.rate_bps for interval in self.intervals if interval.rate_bps})

    def at(self, now: float) -> tuple[float, float | None]:
        """Return the rate (bit/s) at a time, and when it is another one (s; None: never)."""
        rate, until = self.interval(now).rate_bps, None
        if len(self.rates) + any(not one.rate_bps for one in self.intervals) > 1:
            for interval, end in self._from(now):
                if interval.rate_bps != rate:
                    break
                until = end
        return rate, until

    def interval(self, now: float) -> Interval:
        """Return the interval at a time."""
        return next(self._from(now))[0]

    def opens(self, now: float) -> float | None:
        """Return when the link is open next (s): now, or later; None for never."""
        if not self.rates:
            return None
        return self._first(now, is_open=True)

    def beginning(self, at: float) -> 'Schedule':
        """Return the same link with time zero at a time (s) of this one."""
        period = self._period_s
        if period is None:
            return self
        at %= period
        end = 0.0
        later: list[Interval] = []
        earlier: list[Interval] = []
        for interval in self.intervals:
            begin, end = end, end + (interval.seconds or 0.0)
            if end - at > _EPSILON_S:
                later.append(interval._replace(seconds=end - max(begin, at)))
            if at - begin > _EPSILON_S:
                earlier.append(interval._replace(seconds=min(end, at) - begin))
        return Schedule([*later, *earlier])

    def closes(self, now: float) -> float | None:
        """Return when the link is closed next (s): now, or later; None for never."""
        if all(interval.rate_bps for interval in self.intervals):
            return None
        return self._first(now, is_open=False)

    @property
    def longest_closed_s(self) -> float:
        """The longest time without a rate, s; 0 for a link that is always open."""
        longest = lasts = 0.0
        for interval in (*self.intervals, *self.intervals):  # as they repeat
            lasts = 0.0 if interval.rate_bps else lasts + (interval.seconds or math.inf)
            longest = max(longest, lasts)
        return longest if self.rates else math.inf

    @property
    def _period_s(self) -> float | None:
        """After how long the intervals repeat, s; None for a link that is always the same."""
        lengths = [one.seconds for one in self.intervals if one.seconds is not None]
        return sum(lengths) if lengths else None

    def _first(self, now: float, is_open: bool) -> float | None:
        """Return when an interval that is open or not comes next, s; now where it is one."""
        at: float | None = now
        for interval, end in self._from(now):
            if bool(interval.rate_bps) is is_open:
                break
            at = end
        return at

    def _from(self, now: float) -> Iterator[tuple[Interval, float | None]]:
        """Yield the interval at a time and its end, and those that follow; None: no end."""
        period = self._period_s
        if period is None:
            yield self.intervals[0], None
            return
        turn = math.floor(now / period)
        while True:
            end = turn * period
            for interval in self.intervals:
                end += interval.seconds or 0.0
                if end > now + _EPSILON_S:
                    yield interval, end
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
    pass, or of a jammer's silence, or that of the orbit or the table. In an interval of a pass or
    table all is as at its farther end.
    """
    return Schedule(
        one._replace(
            rate_bps=one.rate_bps * scale,
            delay_s=None if one.delay_s is None else one.delay_s * delay_scale,
        )
        for one in _intervals(profile)
    )


def _intervals(profile: Profile) -> Iterable[Interval]:
    orbit = profile.orbit
    if orbit is not None:
        windows = [(found.start, found.end) for found in passes(profile)]
        return _over(profile, windows, lambda now: orbit.view(now).range_m)
    if profile.ranges:
        return _over(profile, list(pairwise(profile.range_times)), _table(profile))
    link = budget.compute(profile)
    if profile.pass_period:
        return _windows(profile.pass_windows, profile.pass_period, link, None)
    if profile.jam_period:
        unjammed = budget.compute(profile.without_jammer())
        return _windows(profile.jam_windows, profile.jam_period, link, unjammed)
    return [_interval(None, link)]


def passes(profile: Profile) -> list[Pass]:
    """Find the passes of a profile's orbit in its span; those below 10 s are left out."""
    if profile.orbit is None:
        return []
    found = profile.orbit.passes(profile.orbit_span, math.radians(profile.min_elevation))
    return [one for one in found if one.end - one.start >= _STEP_S]


def carried_bytes(schedule: Schedule, start: float, end: float) -> float:
    """Bytes that go on air between two times (s), overhead and gaps included."""
    bits = 0.0
    while start < end - _EPSILON_S:
        rate, change = schedule.at(start)
        until = end if change is None else min(change, end)
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


def _interval(seconds: float | None, link: budget.Budget | None) -> Interval:
    """Return an interval in which a link is as in its budget; None: closed."""
    if link is None or not link.closes:
        return Interval(seconds, 0.0)
    excess_db = link.excess_db if math.isfinite(link.excess_db) else None  # a wire has none
    return Interval(seconds, link.rate_bps, link.delay_s, excess_db)


def _windows(
    windows: Iterable[tuple[float, float]],
    period: float,
    within: budget.Budget,
    without: budget.Budget | None,
) -> Iterator[Interval]:
    """Lay a link out over windows (s) in a period, and over the times between them."""
    now = 0.0
    for start, end in [*windows, (period, period)]:
        for seconds, link in ((start - now, without), (end - start, within)):
            if seconds > _EPSILON_S:
                yield _interval(seconds, link)
        now = end


def _over(
    profile: Profile, windows: list[tuple[float, float]], range_at: Callable[[float], float]
) -> Iterator[Interval]:
    """Step through windows (s) as the range is in them; closed between them."""
    now = 0.0
    for start, end in windows:
        if start - now > _EPSILON_S:
            yield Interval(start - now, 0.0)
        count = max(1, min(_STEPS, int((end - start) / _STEP_S)))
        edges = [start + (end - start) * k / count for k in range(count + 1)]
        links = [budget.compute(profile, range_at(edge)) for edge in edges]
        for before, after in pairwise(range(count + 1)):
            farther = max(links[before], links[after], key=lambda link: link.delay_s)
            yield _interval(edges[after] - edges[before], farther)
        now = end
    span = profile.orbit_span if profile.orbit else now
    if span - now > _EPSILON_S:
        yield Interval(span - now, 0.0)
