"""Budgets against published figures, and profiles that are refused."""

import argparse
import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.commands import link_budget
from gsc_ros.link.radio import budget, codes, profiles, units

AU = units.ASTRONOMICAL_UNIT_M

# Profile, distance (None: its own), rate in bit/s from .. to, one-way delay in s from .. to. The
# ranges are the published figures, widened only by the digits that they are printed with.
PUBLISHED = [
    # MSL: 160-500 bps or faster into 34 m; closed form by hand 21.3, 3.4 and 1.08 kbps.
    ('mars_dte_hga_34m', 0.6 * AU, 21.2e3, 21.5e3, 299, 301),
    ('mars_dte_hga_34m', None, 3.35e3, 3.45e3, 12.4 * 60, 12.6 * 60),
    ('mars_dte_hga_34m', 2.67 * AU, 1.075e3, 1.085e3, 22.1 * 60, 22.3 * 60),
    # MSL: 800-3000 bps or faster into 70 m.
    ('mars_dte_hga_70m', None, 5.45e3, 5.65e3, 22.1 * 60, 22.3 * 60),
    # MSL low-gain: about 10 bps at the worst distance.
    ('mars_dte_lga_34m', None, 9, 11, 22.1 * 60, 22.3 * 60),
    # Electra: 8 to 2048 kbps in a pass.
    ('mars_uhf_relay', 300e3, 2.048e6, 2.048e6, 0.0009, 0.0011),
    ('mars_uhf_relay', None, 8e3, 2.048e6, 0.004, 0.006),
    # The same radios: the edge of a pass, some 1000 km away, and overhead.
    ('mars_uhf_relay_orbit', None, 8e3, 2.048e6, 0.003, 0.004),
    ('mars_uhf_relay_orbit', 300e3, 2.048e6, 2.048e6, 0.0009, 0.0011),
    ('moon_dte_x_34m', None, 217e3, 223e3, 1.28, 1.29),
    ('moon_dte_s_13m', None, 9.5e3, 10.5e3, 1.28, 1.29),
    # MIL-STD-188-181 modes; 0.26 s a satellite hop.
    ('uhf_satcom_25k', None, 56e3, 56e3, 0.255, 0.265),
    ('vhf_cnr_25k', None, 16e3, 16e3, 0.1, 0.5),
    ('lora_915_fhss', None, 10.9e3, 11.0e3, 0.0, 0.001),
    # STANAG 4539: 75 to 9600 bps, interleavers of 0.12 to 8.64 s; by hand 16.2 dB: 3200 bps.
    ('hf_skywave_3k', None, 3200, 3200, 0.12, 8.64),
    # Mesh radios: 12 Mbps down to 0.5 Mbps, then nothing.
    ('uhf_manet_jammed', None, 2.7e6, 2.7e6, 0.0015, 0.010),
    ('uhf_manet_jammed', 10e3, 0.0, 0.0, 0.0015, 0.010),
    ('ideal', None, 1e9, 1e9, 0.0, 0.0),
]


@pytest.mark.parametrize(('name', 'distance', 'slow', 'fast', 'near', 'far'), PUBLISHED)
def test_computed_figures_are_the_published_ones(name, distance, slow, fast, near, far):
    result = budget.compute(profiles.load(name), distance)
    assert slow <= result.rate_bps <= fast
    assert near <= result.delay_s + result.profile.turnaround <= far


# What stands in a standard's table or on a datasheet, written down from there a second time.
OFDM_DBM = {6: -82, 9: -81, 12: -79, 18: -77, 24: -74, 36: -70, 48: -66, 54: -65}  # IEEE 802.11
SERIAL_TONE_DB = {  # MIL-STD-188-110B, tables XX and C-XVI, two paths; as its profile, from memory
    75: 2, 150: 5, 300: 7, 600: 7, 1200: 11, 2400: 18,
    3200: 14, 4800: 20, 6400: 23, 8000: 28, 9600: 33,
}  # fmt: skip


def test_thresholds_are_those_of_the_tables():
    hf = profiles.load('hf_skywave_3k')
    assert dict(zip(hf.rates, hf.required_snr, strict=True)) == SERIAL_TONE_DB
    # ITU-R P.372, rural: c - d log10 f with c = 67.2, d = 27.7.
    assert hf.noise_figure == pytest.approx(67.2 - 27.7 * math.log10(hf.frequency / 1e6), abs=0.05)
    mesh = profiles.load('uhf_manet_jammed')
    thermal = -174 + 10 * math.log10(20e6)
    found = dict(zip(mesh.rates, mesh.required_snr, strict=True))
    for mbps, dbm in OFDM_DBM.items():
        assert found[round(mbps * 1e6 * 3 / 20)] == pytest.approx(dbm - thermal - 15, abs=0.05)
    # Semtech SX1276/77/78/79, table 13: -5 dB at SF6, 2.5 dB less for each factor more.
    lora = profiles.load('lora_915_fhss')
    assert lora.required_snr == (-5 - 2.5 * (lora.lora_spreading_factor - 6),)


@pytest.mark.parametrize(
    ('name', 'eirp', 'g_over_t'),
    [
        # MSL: 15 W, 25.5 or 5 dBi less 1 dB; 34 m: 68.24 dBi at 30 K, 70 m: 74.55 dBi at 25 K.
        ('mars_dte_hga_34m', 36.3, 53.5),
        ('mars_dte_hga_70m', 36.3, 60.6),
        ('mars_dte_lga_34m', 15.8, 53.5),
        # Electra-Lite: 8.5 W.
        ('mars_uhf_relay', 9.3, -26.4),
        ('uhf_satcom_25k', 26.0, -18.0),
        ('moon_dte_x_34m', 9.0, 44.8),
        ('moon_dte_s_13m', 6.0, 23.0),
    ],
)
def test_ends_are_as_strong_as_their_sources_state(name, eirp, g_over_t):
    lines = {line.label: line.value for line in budget.compute(profiles.load(name)).lines}
    assert lines['EIRP'] == pytest.approx(eirp, abs=0.06)
    assert lines['receiver G/T'] == pytest.approx(g_over_t, abs=0.06)


def test_no_threshold_is_better_than_its_code():
    """At the reference of one bit in 100,000 and up to 1.3 dB above it."""
    seen = 0
    for name in profiles.known():
        profile = profiles.load(name)
        if profile.required_ebn0 is None or profile.code == 'none':
            continue
        curve = codes._threshold_db(codes.CODES[profile.code])
        assert -0.01 <= profile.required_ebn0 - curve <= 1.3, name
        seen += 1
    assert seen >= 7
    vhf = profiles.load('vhf_cnr_25k')  # its SNR as Eb/N0
    ebn0 = vhf.required_snr[0] + 10 * math.log10(vhf.bandwidth / vhf.rates[0])
    assert 0 <= ebn0 - codes._threshold_db(codes.CODES['fsk']) <= 1.3


def test_every_profile_has_a_published_figure():
    assert {row[0] for row in PUBLISHED} == set(profiles.known())


def test_lora_sensitivity_and_goodput_are_the_measured_ones():
    profile = profiles.load('lora_915_fhss')
    noise_dbm = -174 + 10 * math.log10(profile.bandwidth) + profile.noise_figure
    assert noise_dbm + profile.required_snr[0] == pytest.approx(-121.5, abs=0.1)
    link = budget.compute(profile)
    for packet, goodput in ((203, 700), (243, 810)):
        second = link.datagram_s(packet) + profile.packet_gap
        assert packet / second == pytest.approx(goodput, rel=0.05)


def test_illustrative_bursts_have_their_mean_loss():
    for name, loss in (
        ('vhf_cnr_25k', 0.074),
        ('lora_915_fhss', 0.107),
        ('uhf_manet_jammed', 1 / 3),
    ):
        profile = profiles.load(name)
        share = profile.burst_start / (profile.burst_start + profile.burst_end)
        assert share == pytest.approx(loss, abs=0.0005)


def test_a_jammer_takes_the_rate_and_then_the_link():
    profile = profiles.load('uhf_manet_jammed')
    assert budget.compute(profile.without_jammer()).rate_bps == 5.4e6
    rates = [
        budget.compute(replace(profile, jammer_distance=far)).rate_bps
        for far in (2e3, 5e3, 8e3, 20e3, 200e3)
    ]
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == (0.0, 5.4e6)
    # By hand: 10 dBW + 2 dBi - 80.1 dB - 30 log10(80) over kTB and 6 dB in 3 MHz.
    assert budget.jammer_over_noise_db(profile) == pytest.approx(8.1, abs=0.2)
    text = str(budget.compute(profile))
    assert 'J/S' in text and 'noise raised by the jammer' in text
    assert 'the jammer is on for' in text and 'of 60 s' in text


def test_a_rate_set_takes_the_fastest_whose_own_threshold_is_met():
    profile = profiles.load('hf_skywave_3k')
    # 3200 bps of the newer waveform needs less than the 2400 bps of the older.
    for power, rate in ((7, 75), (10, 150), (12, 600), (16, 1200), (19, 3200), (38, 9600)):
        result = budget.compute(replace(profile, transmit_power=float(power)))
        assert result.rate_bps == rate, power
        assert result.margin_db >= 0


def test_a_budget_reads_line_by_line_and_adds_up():
    result = budget.compute(profiles.load('moon_dte_s_13m'))
    text = str(result)
    for label in ('EIRP', 'path loss', 'G/T', 'C/N0', 'required Eb/N0', 'margin', 'delay'):
        assert label in text
    lines = {line.label: line.value for line in result.lines}
    total = (
        lines['EIRP']
        + lines['path loss, free space']
        + lines['other losses']
        + lines['receiver G/T']
        + lines['Boltzmann']
    )
    assert total == pytest.approx(lines['C/N0'])


def test_a_link_that_is_too_long_does_not_close():
    result = budget.compute(profiles.load('vhf_cnr_25k'), 40e3)
    assert not result.closes and result.rate_bps == 0 and result.margin_db < 0
    assert 'DOES NOT CLOSE' in str(result)


def test_free_space_loss_of_the_textbook():
    # 1 km at 1 GHz is 92.45 dB, the constant of ITU-R P.525.
    assert budget.free_space_loss_db(1e3, 1e9) == pytest.approx(92.45, abs=0.01)


@given(st.floats(1.0, 1e5), st.floats(1.1, 10.0))
def test_paths_lose_more_with_distance_and_never_less_than_free_space(distance, factor):
    for loss in (
        lambda d: budget.two_ray_loss_db(d, 50e6, (2.0, 3.0)),
        lambda d: budget.log_distance_loss_db(d, 915e6, 3.5, 1.0),
    ):
        assert loss(distance * factor) > loss(distance)
    assert budget.two_ray_loss_db(distance, 50e6, (2.0, 3.0)) >= budget.free_space_loss_db(
        distance, 50e6
    )


def test_doubling_the_distance_in_space_quarters_the_rate():
    profile = profiles.load('moon_dte_x_34m')
    near, far = (budget.compute(profile, d).rate_bps for d in (2e8, 4e8))
    assert near / far == pytest.approx(4.0)


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ValueError, match='moon_dte_s_13m'):
        profiles.load('moon_base')


def test_a_profile_of_ones_own_is_a_path(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text((profiles._directory() / 'moon_dte_s_13m.yaml').read_text())
    assert replace(profiles.load(file), name='moon_dte_s_13m') == profiles.load('moon_dte_s_13m')


GOOD = {
    'title': 'a link',
    'frequency': {'value': '2 GHz', 'source': 'x'},
    'distance': {'value': '10 km', 'source': 'x'},
    'eirp': {'value': '0 dBW', 'source': 'x'},
    'g_over_t': {'value': '-20 dB/K', 'source': 'x'},
    'required_ebn0': {'value': '5 dB', 'source': 'x'},
}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'frequency': {'value': '2 km', 'source': 'x'}}, 'frequency: expected a frequency'),
        ({'frequency': {'value': '2 GHz'}}, 'frequency must be'),
        ({'frequency': {'value': '2 GHz', 'source': ''}}, 'frequency must be'),
        ({'distance': {'value': '-1 km', 'source': 'x'}}, 'distance must be 0 to'),
        ({'distance': {'value': '.nan km', 'source': 'x'}}, 'distance: expected'),
        ({'distance': {'value': '0 m', 'source': 'x'}}, 'distance must be above 0'),
        ({'mtu': {'value': '49 B', 'source': 'x'}}, 'mtu must be 50'),
        ({'rate': {'value': '5 kbps', 'source': 'x'}}, 'unknown field rate'),
        ({'transmit_power': {'value': '5 W', 'source': 'x'}}, 'exactly one of eirp'),
        ({'required_snr': {'value': ['5 dB'], 'source': 'x'}}, 'exactly one of required_ebn0'),
        ({'jammer_eirp': {'value': '5 W', 'source': 'x'}}, 'jammer_distance'),
        ({'path_model': {'value': 'tunnel', 'source': 'x'}}, 'path_model must be one of'),
        ({'path_model': {'value': 'two_ray', 'source': 'x'}}, 'antenna_heights'),
        ({'rates': {'value': '5 kbps', 'source': 'x'}}, 'rates: expected a list'),
        ({'title': None, 'distance': None}, 'distance is missing'),
    ],
)
def test_bad_profiles_are_refused_by_field(change, message):
    content = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    if 'title' in change:
        content['title'] = 'a link'
    with pytest.raises(ValueError, match=message):
        profiles.from_mapping('mine', content)


@pytest.mark.parametrize('content', [None, [], 'text', 3])
def test_a_profile_is_a_mapping(content):
    with pytest.raises(ValueError, match='mapping'):
        profiles.from_mapping('mine', content)


def test_a_file_that_is_no_yaml_is_refused(tmp_path):
    file = tmp_path / 'bad.yaml'
    file.write_bytes(b'\xff\xfe: [')
    with pytest.raises(ValueError, match='cannot read'):
        profiles.load(file)
    with pytest.raises(ValueError, match='cannot read'):
        profiles.load(tmp_path / 'absent.yaml')


@given(st.floats(1e-6, 1e6))
def test_powers_meet_in_dbw(watts):
    assert units.parse(f'{watts!r} W', 'power') == pytest.approx(
        units.parse(f'{10 * math.log10(watts) + 30!r} dBm', 'power'), abs=1e-9
    )


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text):
    for dimension in units.DIMENSIONS:
        with contextlib.suppress(ValueError):
            assert math.isfinite(units.parse(text, dimension))


def command(*arguments):
    parser = argparse.ArgumentParser()
    link_budget.add_parser(parser.add_subparsers())
    return link_budget.run(parser.parse_args(['link-budget', *arguments]))


def test_the_command_prints_a_budget(capsys):
    assert command('mars_dte_hga_34m', '--distance', '0.6 AU', '--frame', '402', '--sources') == 0
    out = capsys.readouterr().out
    for text in ('0.6 AU', 'C/N0', '21.', 'a frame of 402 B', 'DSN 810-005'):
        assert text in out


def test_the_command_lists_every_profile(capsys):
    assert command('--list') == 0
    out = capsys.readouterr().out
    assert all(name in out for name in profiles.known())


def test_the_gap_behind_a_frame_is_no_time_on_air(capsys):
    assert command('lora_915_fhss', '--frame', '20') == 0
    assert 'a frame of 20 B: 41.09 ms on air, shown 41.09 ms after' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere'], 'known: '),
        ([], '--list'),
        (['ideal', '--distance', '5 GHz'], 'expected a length'),
        (['moon_dte_s_13m', '--distance', '1e9 AU'], 'distance must be'),
        (['moon_dte_s_13m', '--frame', '0'], '1 byte'),
    ],
)
def test_the_command_names_what_is_wrong(capsys, arguments, message):
    assert command(*arguments) == 2
    assert message in capsys.readouterr().err
