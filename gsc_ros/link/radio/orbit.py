"""
A relay on a circular orbit, seen from a place on the ground: elevation, slant range, passes.

Two bodies: a spherical body that turns and a relay that it alone attracts. The angle between the
two at the centre of the body, ``gamma``, determines everything (Wertz and Larson, Space Mission
Analysis and Design, 3rd ed., section 5.3; from memory, not opened)::

    range          = sqrt(R^2 + a^2 - 2 R a cos gamma)
    sin(elevation) = (a cos gamma - R) / range

Flattening, air drag and the turning of the orbit's plane are left out: good for passes of the
right number, length and height, not for the date of one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

# Of a rise or set it is known to this much, s.
_TOLERANCE_S = 1e-3
# Samples of an orbit in search of passes; a pass shorter than a step can be missed.
_SAMPLES = 400


@dataclass(frozen=True)
class Body:
    """What a relay goes round: gravity (m^3/s^2), radius (m), sidereal rotation (s)."""

    gravity_m3_s2: float
    radius_m: float
    rotation_s: float


# NASA planetary fact sheets (NSSDCA), equatorial radii; the digits of the gravities beyond the
# sheets', and all of the Moon's line, are from memory, not opened.
BODIES = {
    'earth': Body(398_600.44e9, 6378.1e3, 23.9345 * 3600),
    'mars': Body(42_828.37e9, 3396.2e3, 24.6229 * 3600),
    'moon': Body(4902.8e9, 1738.1e3, 655.72 * 3600),
}


@dataclass(frozen=True)
class View:
    """The relay from the ground: elevation (rad, -pi/2 to pi/2) and slant range (m)."""

    elevation: float
    range_m: float


@dataclass(frozen=True)
class Pass:
    """The relay is above the least elevation from start to end (s); its best view between."""

    start: float
    end: float
    best: View


@dataclass(frozen=True)
class Orbit:
    """
    A circular orbit and a site, lengths in m and angles in rad.

    altitude_m: above the radius; inclination: 0 to pi; latitude: of the site; node: how far east
    of the orbit's ascending node the site is at time zero, when the relay is at that node.
    Raises ValueError for an orbit in the ground.
    """

    body: Body
    altitude_m: float
    inclination: float
    latitude: float
    node: float = 0.0

    def __post_init__(self) -> None:
        if not self.altitude_m > 0:
            raise ValueError(f'an orbit has an altitude above 0 m, got {self.altitude_m}')

    @property
    def radius_m(self) -> float:
        """Distance of the relay from the centre of the body."""
        return self.body.radius_m + self.altitude_m

    @property
    def period_s(self) -> float:
        """Time of one orbit, 2 pi sqrt(a^3 / mu): Kepler's third law."""
        return 2 * math.pi * math.sqrt(self.radius_m**3 / self.body.gravity_m3_s2)

    def view(self, now: float) -> View:
        """Return where the relay is seen at a time (s)."""
        along = 2 * math.pi * now / self.period_s
        # Both as unit vectors; x is the direction of the ascending node, z the body's axis.
        turned = self.node + 2 * math.pi * now / self.body.rotation_s
        x = math.cos(along) * math.cos(self.latitude) * math.cos(turned)
        across = math.cos(self.inclination) * math.cos(self.latitude) * math.sin(turned)
        up = math.sin(self.inclination) * math.sin(self.latitude)
        return self._view(x + math.sin(along) * (across + up))

    def range_at(self, elevation: float) -> float:
        """Slant range in m at an elevation in rad: the greatest of a pass down to there."""
        ground, radius = self.body.radius_m, self.radius_m
        height = ground * math.sin(elevation)
        return math.sqrt(radius**2 - ground**2 + height**2) - height

    def passes(self, span_s: float, least_elevation: float) -> list[Pass]:
        """Find the passes above an elevation (rad) from time zero to the span; cut to it."""

        def above(now: float) -> bool:
            return self.view(now).elevation >= least_elevation

        step = min(self.period_s, self.body.rotation_s) / _SAMPLES
        found = []
        start = 0.0 if above(0.0) else None
        before = 0.0
        while before < span_s:
            now = min(before + step, span_s)
            if above(now) and start is None:
                start = _bisect(above, before, now)
            elif not above(now) and start is not None:
                found.append(self._pass(start, _bisect(above, now, before)))
                start = None
            before = now
        if start is not None:
            found.append(self._pass(start, span_s))
        return found

    def _view(self, cos_gamma: float) -> View:
        ground, radius = self.body.radius_m, self.radius_m
        square = ground**2 + radius**2 - 2 * ground * radius * cos_gamma
        distance = math.sqrt(max(square, self.altitude_m**2))
        sine = (radius * cos_gamma - ground) / distance
        return View(math.asin(max(-1.0, min(1.0, sine))), distance)

    def _pass(self, start: float, end: float) -> Pass:
        """Climb from the best sample to the top of a pass."""
        step = (end - start) / _SAMPLES
        top = max((start + i * step for i in range(_SAMPLES + 1)), key=self._height)
        low, high = max(start, top - step), min(end, top + step)
        while high - low > _TOLERANCE_S:
            third = (high - low) / 3
            if self._height(low + third) < self._height(high - third):
                low += third
            else:
                high -= third
        return Pass(start, end, self.view((low + high) / 2))

    def _height(self, now: float) -> float:
        return self.view(now).elevation


def _bisect(above: Callable[[float], bool], low: float, high: float) -> float:
    """Return the end of the visible side between a time below the horizon and one above it."""
    while abs(high - low) > _TOLERANCE_S:
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return high
