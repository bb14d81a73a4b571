"""Orbits against published figures, and the passes of a relay."""

import argparse
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.commands import link_budget
from gsc_ros.link.radio import budget, profiles, schedule
from gsc_ros.link.radio.orbit import BODIES, Body, Orbit
from gsc_ros.link.traffic.channel import Channel

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
    look = MARS.view(now)
    assert MARS.altitude_m <= look.range_m <= MARS.radius_m + MARS.body.radius_m
    assert MARS.range_at(look.elevation) == pytest.approx(look.range_m, rel=1e-6)


def test_an_overhead_pass_lasts_as_long_as_in_the_textbook():
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
    looks = [geo.view(hour * 3600.0) for hour in range(0, 24, 6)]
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
                assert orbit.view(edge).elevation == pytest.approx(least, abs=1e-4)
        middle = orbit.view((p.start + p.end) / 2)
        assert p.best.elevation >= middle.elevation - 1e-4
        assert p.best.elevation >= least - 1e-9


def test_a_relay_over_the_equator_is_never_seen_from_the_pole():
    assert Orbit(BODIES['mars'], 300e3, 0.0, math.pi / 2).passes(DAY, 0.0) == []


def test_an_orbit_in_the_ground_is_refused():
    with pytest.raises(ValueError, match='altitude above 0'):
        Orbit(BODIES['mars'], 0.0, 0.0, 0.0)


RELAY = profiles.load('mars_uhf_relay_orbit')
TABLE = replace(
    profiles.load('mars_dte_hga_34m'),
    pass_period=0.0,
    pass_length=0.0,
    range_times=(0.0, 1000.0, 3000.0),
    ranges=(1e11, 2e11, 1e11),
)


def test_the_distance_of_an_orbit_is_the_edge_of_a_pass():
    assert RELAY.orbit.view(0.0).range_m > 0
    assert RELAY.distance == pytest.approx(RELAY.orbit.range_at(TEN_DEGREES))


def test_the_rate_goes_up_and_down_within_a_pass_and_is_never_beyond_the_physics():
    times = schedule.of(RELAY)
    passes = schedule.passes(RELAY)
    assert 2 <= len(passes) <= 4
    steps = 0
    for one in passes:
        seen, now = [], one.start
        while now < one.end - 1e-3:
            rate, end = times.at(now)
            end = min(end, one.end)
            seen.append(rate)
            for moment in (now, (now + end) / 2, end):
                far = RELAY.orbit.view(moment).range_m
                assert 0 < rate <= budget.compute(RELAY, far).rate_bps
            now = end
        top = seen.index(max(seen))
        assert seen[: top + 1] == sorted(seen[: top + 1])
        assert seen[top:] == sorted(seen[top:], reverse=True)
        steps = max(steps, len(seen))
        assert times.at(one.end + 1)[0] == 0
    assert steps > 1
    assert times.at(passes[0].start + RELAY.orbit_span + 1)[0] > 0


def test_a_pass_carries_what_its_stretches_add_up_to():
    times = schedule.of(RELAY)
    assert schedule.carried_bytes(times, 0.0, RELAY.orbit_span) == pytest.approx(
        sum(one.seconds * one.rate_bps for one in times.intervals) / 8
    )
    constant = schedule.Schedule.constant(800.0)
    assert schedule.carried_bytes(constant, 5.0, 15.0) == pytest.approx(1000.0)


def test_a_channel_takes_the_stretches_of_an_orbit():
    channel = Channel(0.0, 0.003, int(RELAY.mtu), schedule=schedule.of(RELAY))
    start = schedule.passes(RELAY)[0].start
    assert channel.sender.rate_at(max(0.0, start - 60.0))[0] == 0 or start < 60
    channel.offer(bytes(300), start + 1.0)
    assert channel.poll(start + 2.0)


def test_a_table_of_ranges_is_linear_in_between():
    times = schedule.of(TABLE)
    assert sum(one.seconds for one in times.intervals) == pytest.approx(3000.0)
    near, far = (budget.compute(TABLE, d).rate_bps for d in (1e11, 2e11))
    assert min(times.rates) == pytest.approx(far)
    assert near * 0.9 < max(times.rates) <= near
    # Half way out: 1.5e11 m, less a step that counts by its farther end.
    half = budget.compute(TABLE, 1.5e11).rate_bps
    assert 0.96 * half <= times.at(499.0)[0] <= half * 1.02
    assert times.at(3500.0)[0] == pytest.approx(times.at(500.0)[0])


def test_no_pass_is_a_link_that_never_opens():
    never = replace(RELAY, orbit_inclination=0.0, site_latitude=90.0)
    assert schedule.of(never).opens(0.0) is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'orbit_altitude': None}, 'an orbit has orbit_body'),
        ({'orbit_body': 'none'}, 'an orbit has orbit_body'),
        ({'orbit_body': 'pluto'}, 'orbit_body must be one of'),
        ({'pass_period': 100.0, 'pass_length': 10.0}, 'give one of an orbit'),
        ({'range_times': (0.0, 1.0)}, 'ranges for each'),
        ({'range_times': (1.0, 2.0), 'ranges': (1e6, 1e6)}, 'begin at 0'),
        ({'range_times': (0.0, 0.0), 'ranges': (1e6, 1e6)}, 'begin at 0'),
        ({'range_times': (0.0, 1.0), 'ranges': (1e6, 1e6)}, 'give one of an orbit'),
    ],
)
def test_impossible_orbits_and_tables_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RELAY, **change)


def _content(**more):
    given = {'frequency': '2 GHz', 'eirp': '0 dBW', 'g_over_t': '-20 dB/K', **more}
    given['required_ebn0'] = '5 dB'
    return {'title': 'a'} | {k: {'value': v, 'source': 'x'} for k, v in given.items()}


def test_a_distance_beside_what_it_follows_from_is_refused():
    table = {'range_times': ['0 h', '1 h'], 'ranges': ['10 km', '20 km']}
    assert profiles.from_mapping('mine', _content(**table)).distance == 20e3
    with pytest.raises(ValueError, match='leave distance out'):
        profiles.from_mapping('mine', _content(distance='10 km', **table))
    for body in ('mars', 'pluto', None):
        with pytest.raises(ValueError, match='orbit'):
            profiles.from_mapping('mine', _content(orbit_body=body))


def test_the_command_tells_the_passes(capsys):
    parser = argparse.ArgumentParser()
    link_budget.add_parser(parser.add_subparsers())
    assert link_budget.run(parser.parse_args(['link-budget', 'mars_uhf_relay_orbit'])) == 0
    out = capsys.readouterr().out
    assert 'Passes within' in out and 'nearest' in out
    assert out.count(' MB') == len(schedule.passes(RELAY))
