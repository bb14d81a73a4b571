"""Orbits against published figures, and the passes of a relay."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.orbit import BODIES, Body, Orbit

DAY = 86_400.0
TEN_DEGREES = math.radians(10.0)
MARS = Orbit(BODIES['mars'], 300e3, math.radians(92.6), math.radians(18.4))

# Body, altitude in km, period in minutes as published, and how far off it may be.
PERIODS = [
    ('earth', 408.0, 92.6, 0.003),  # International Space Station
    # Mars Reconnaissance Orbiter, 255 x 320 km and about 112 min: over the poles, where the radius
    # is 20 km less than at the equator.
    ('mars', 287.5, 112.0, 0.015),
    ('earth', 35_786.0, 1436.07, 1e-4),  # geostationary: a sidereal day
]


@pytest.mark.parametrize(('body', 'altitude', 'minutes', 'off'), PERIODS)
def test_periods_are_the_published_ones(body, altitude, minutes, off):
    found = Orbit(BODIES[body], altitude * 1e3, 0.0, 0.0).period_s / 60
    assert found == pytest.approx(minutes, rel=off)


def test_the_slant_range_is_the_textbook_one():
    ground, height = MARS.body.radius_m, MARS.altitude_m
    assert MARS.range_at(math.pi / 2) == pytest.approx(height)
    # At the horizon: Pythagoras.
    assert MARS.range_at(0.0) == pytest.approx(math.sqrt(height * (2 * ground + height)))
    # By the law of sines, from sin(nadir angle) = R / a cos(elevation).
    nadir = math.asin(ground / (ground + height) * math.cos(TEN_DEGREES))
    gamma = math.pi / 2 - TEN_DEGREES - nadir
    by_sines = ground * math.sin(gamma) / math.sin(nadir)
    assert MARS.range_at(TEN_DEGREES) == pytest.approx(by_sines)


@given(st.floats(0, 10 * DAY))
def test_elevation_and_range_belong_together(now):
    look = MARS.look(now)
    assert MARS.altitude_m <= look.range_m <= MARS.radius_m + MARS.body.radius_m
    assert MARS.range_at(look.elevation) == pytest.approx(look.range_m, rel=1e-6)


def test_an_overhead_pass_lasts_as_long_as_the_textbook_says():
    still = Body(BODIES['earth'].gravity_m3_s2, BODIES['earth'].radius_m, 1e12)
    orbit = Orbit(still, 408e3, 0.0, 0.0)  # along the equator, over a site on it
    passes = orbit.passes(3 * orbit.period_s, TEN_DEGREES)
    nadir = math.asin(still.radius_m / orbit.radius_m * math.cos(TEN_DEGREES))
    gamma = math.pi / 2 - TEN_DEGREES - nadir
    assert len(passes) == 4  # in view at time zero and at the end of the span
    first, second, *_, last = passes
    assert second.end - second.start == pytest.approx(orbit.period_s * gamma / math.pi, abs=0.01)
    assert (first.start, last.end) == (0.0, 3 * orbit.period_s)
    assert second.best.elevation == pytest.approx(math.pi / 2, abs=1e-3)
    assert second.best.range_m == pytest.approx(408e3, rel=1e-4)


def test_a_geostationary_relay_stays_where_it_is():
    geo = Orbit(BODIES['earth'], 35_786e3, 0.0, math.radians(52.0))
    looks = [geo.look(hour * 3600.0) for hour in range(0, 24, 6)]
    # tan(elevation) = (cos gamma - R / a) / sin gamma at 52 degrees from under the satellite.
    for look in looks:
        cosine, sine = math.cos(math.radians(52.0)), math.sin(math.radians(52.0))
        tangent = (cosine - 6378.1 / 42_164.1) / sine
        assert look.elevation == pytest.approx(math.atan(tangent), abs=1e-4)
    (only,) = geo.passes(DAY, TEN_DEGREES)
    assert (only.start, only.end) == (0.0, DAY)


def test_a_low_relay_of_mars_comes_a_few_times_a_sol_for_minutes():
    passes = MARS.passes(DAY, TEN_DEGREES)
    assert 2 <= len(passes) <= 4
    assert all(60 < p.end - p.start < 10 * 60 for p in passes)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(sorted(BODIES)),
    st.floats(250e3, 2000e3),
    st.floats(0, math.pi),
    st.floats(-math.pi / 2, math.pi / 2),
    st.floats(0.0, 0.8),
)
def test_passes_are_in_order_and_begin_and_end_at_the_least_elevation(
    body, altitude, inclination, latitude, least
):
    orbit = Orbit(BODIES[body], altitude, inclination, latitude, 1.0)
    span = 6 * 3600.0
    end = 0.0
    for p in orbit.passes(span, least):
        assert end <= p.start < p.end <= span
        end = p.end
        for edge in (p.start, p.end):
            if 0.0 < edge < span:
                assert orbit.look(edge).elevation == pytest.approx(least, abs=1e-4)
        middle = orbit.look((p.start + p.end) / 2)
        assert p.best.elevation >= middle.elevation - 1e-4
        assert p.best.elevation >= least - 1e-9


def test_a_relay_over_the_equator_is_never_seen_from_the_pole():
    assert Orbit(BODIES['mars'], 300e3, 0.0, math.pi / 2).passes(DAY, 0.0) == []


def test_an_orbit_in_the_ground_is_refused():
    with pytest.raises(ValueError, match='altitude above 0'):
        Orbit(BODIES['mars'], 0.0, 0.0, 0.0)
