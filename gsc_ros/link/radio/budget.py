"""
The closed-form link budget: from a profile's physics to rate and delay.

The arithmetic is the usual one of the deep-space handbooks (DSN 810-005; CCSDS 401.0-B): received
carrier over noise density, less what the code needs and what is kept in hand, is the bit rate::

    C/N0 = EIRP - path loss - other losses + G/T - k
    R    = 10^((C/N0 - (Eb/N0)required - margin - implementation loss) / 10)

then stepped down to the radio's own rates. Nothing here is random and nothing depends on time.
"""

import math
from dataclasses import dataclass, replace

from gsc_ros.link.radio import units
from gsc_ros.link.radio.airtime import lora_rate_bps
from gsc_ros.link.radio.profile import Profile

BOLTZMANN_DB = 10 * math.log10(1.380649e-23)
REFERENCE_TEMPERATURE_K = 290.0


@dataclass(frozen=True)
class Line:
    """One line of a budget: what, how much (already in the unit shown), and where it is from."""

    label: str
    value: float
    unit: str
    note: str = ''


@dataclass(frozen=True)
class Budget:
    """
    A computed link budget; `print` it to read it line by line.

    rate_bps is what the radio runs at (0 when the link does not close), computed_rate_bps what the
    physics would carry before the radio's own steps and cap. delay_s is one way, without
    serialisation. margin_db is what is left at rate_bps beyond the margin asked for. rate_bps is
    that of the bits; what full datagrams make of it is `carried_bps`.
    """

    profile: Profile
    lines: tuple[Line, ...]
    carrier_to_noise_dbhz: float
    computed_rate_bps: float
    rate_bps: float
    margin_db: float
    delay_s: float

    @property
    def excess_db(self) -> float:
        """By how much the signal is above the threshold at `rate_bps`, dB: all margins."""
        return self.margin_db + self.profile.margin

    def datagram_s(self, size: int) -> float:
        """Time on air of a datagram of so many bytes, preamble and header included, s."""
        return self.profile.on_air.bits(size) / self.rate_bps if self.closes else math.inf

    @property
    def carried_bps(self) -> float:
        """Bits a second of full datagrams, preamble, header and the gap behind them included."""
        mtu = int(self.profile.mtu)
        return 8 * mtu / (self.datagram_s(mtu) + self.profile.packet_gap)

    @property
    def closes(self) -> bool:
        """Whether the link carries anything at all."""
        return self.rate_bps > 0

    def __str__(self) -> str:
        head = f'{self.profile.name}: {self.profile.title}'
        # Adding 0.0 turns the -0.0 of an absent loss into 0.0.
        rows = [
            f'  {line.label:<32}{line.value + 0.0:>10.2f} {line.unit:<6} {line.note}'.rstrip()
            for line in self.lines
        ]
        if not self.closes:
            rows.append('  THE LINK DOES NOT CLOSE: shorten the path or lower the rate')
        return '\n'.join([head, *rows])


def free_space_loss_db(distance_m: float, frequency_hz: float) -> float:
    """Loss in dB between isotropic antennas in free space, 20 log10(4 pi d f / c)."""
    return 20 * math.log10(4 * math.pi * distance_m * frequency_hz / units.SPEED_OF_LIGHT_M_S)


def two_ray_loss_db(
    distance_m: float, frequency_hz: float, heights_m: tuple[float, float]
) -> float:
    """
    Plane-earth loss in dB, 40 log10 d - 20 log10(h1 h2), and never less than free space.

    Source: Rappaport, Wireless Communications, 2nd ed., eq. 4.53; good beyond the crossover
    distance, before which free space is the larger loss.
    """
    plane_earth = 40 * math.log10(distance_m) - 20 * math.log10(heights_m[0] * heights_m[1])
    return max(plane_earth, free_space_loss_db(distance_m, frequency_hz))


def log_distance_loss_db(
    distance_m: float, frequency_hz: float, exponent: float, reference_m: float
) -> float:
    """
    Log-distance loss in dB: free space up to the reference distance, 10 n log10 beyond it.

    Source: Rappaport, Wireless Communications, 2nd ed., eq. 4.68.
    """
    near = free_space_loss_db(min(distance_m, reference_m), frequency_hz)
    return near + 10 * exponent * math.log10(max(distance_m / reference_m, 1.0))


def path_loss_db(profile: Profile, distance: float | None = None) -> float:
    """Path loss in dB by a profile's own `path_model`, over its distance or another one."""
    distance = profile.distance if distance is None else distance
    frequency = profile.frequency
    if profile.path_model == 'two_ray':
        first, second = profile.antenna_heights
        return two_ray_loss_db(distance, frequency, (first, second))
    if profile.path_model == 'log_distance':
        assert profile.path_exponent is not None and profile.path_reference is not None
        return log_distance_loss_db(
            distance, frequency, profile.path_exponent, profile.path_reference
        )
    return free_space_loss_db(distance, frequency)


def gain_over_temperature(profile: Profile) -> float:
    """G/T of the receiver in dB/K, given or from gain and noise temperature or noise figure."""
    if profile.g_over_t is not None:
        return profile.g_over_t
    assert profile.receive_gain is not None
    if profile.noise_temperature is not None:
        return profile.receive_gain - 10 * math.log10(profile.noise_temperature)
    # An antenna that sees the warm ground: T0 F is the noise of antenna and receiver together.
    assert profile.noise_figure is not None
    noise = 10 * math.log10(REFERENCE_TEMPERATURE_K) + profile.noise_figure
    return profile.receive_gain - noise


def jammer_over_noise_db(profile: Profile) -> float:
    """
    Return J/N of a profile's jammer in dB: received in the bandwidth, over the receiver's noise.

    Barrage noise as in Poisel, Modern Communications Jamming Principles and Techniques, ch. 3: it
    adds to the noise as power does, C / (N0 + J0).
    """
    assert profile.jammer_eirp is not None and profile.bandwidth is not None
    assert profile.receive_gain is not None
    received = profile.jammer_eirp - path_loss_db(profile, profile.jammer_distance)
    # Gain less G/T is the noise temperature.
    noise = profile.receive_gain - gain_over_temperature(profile) + BOLTZMANN_DB
    return received + profile.receive_gain - noise - 10 * math.log10(profile.bandwidth)


def compute(profile: Profile, distance_m: float | None = None) -> Budget:
    """
    Compute the budget of a profile, at another distance when one is given.

    Raises ValueError when the distance is out of the range of `Profile.distance`.
    """
    if distance_m is not None:
        profile = replace(profile, distance=distance_m)
    delay = _delay_s(profile)
    if profile.path_model == 'none':
        assert profile.max_rate is not None
        rate = profile.max_rate
        wire = (_rate_line('rate', rate, 'a wire'), _delay_line(profile, delay))
        return Budget(profile, wire, math.inf, rate, rate, math.inf, delay)

    eirp, eirp_lines = _eirp(profile)
    loss = path_loss_db(profile)
    g_over_t = gain_over_temperature(profile)
    cn0 = eirp - loss - profile.other_losses + g_over_t - BOLTZMANN_DB
    rise, jammer_lines = _jammer(profile, cn0)
    cn0 -= rise
    rates = _radio_rates(profile)
    computed, rate, margin, threshold = _rate(profile, cn0, rates)
    computed_note = (
        'steps ' + ' '.join(units.show(step, 'rate') for step in rates) if rates else ''
    )
    lines = (
        *eirp_lines,
        Line('EIRP', eirp, 'dBW'),
        Line(
            f'path loss, {profile.path_model.replace("_", " ")}',
            -loss,
            'dB',
            f'{units.show(profile.distance, "length")} at {_hz(profile.frequency)}',
        ),
        Line('other losses', -profile.other_losses, 'dB'),
        Line('receiver G/T', g_over_t, 'dB/K'),
        Line('Boltzmann', -BOLTZMANN_DB, 'dB'),
        *jammer_lines,
        Line('C/N0', cn0, 'dBHz'),
        threshold,
        Line('margin kept', profile.margin, 'dB'),
        Line('implementation loss', profile.implementation_loss, 'dB'),
        _rate_line('rate the physics carries', computed, computed_note),
        _rate_line('rate of the radio', rate),
        *_datagram_lines(profile, rate),
        Line('left over at this rate', margin, 'dB'),
        _delay_line(profile, delay),
        *_window_lines(profile),
    )
    return Budget(profile, lines, cn0, computed, rate, margin, delay)


def _jammer(profile: Profile, cn0: float) -> tuple[float, tuple[Line, ...]]:
    """Return by how much the jammer raises the noise, dB, and the lines on it."""
    if profile.jammer_eirp is None:
        return 0.0, ()
    assert profile.jammer_distance is not None and profile.bandwidth is not None
    over_noise = jammer_over_noise_db(profile)
    rise = 10 * math.log10(1 + 10 ** (over_noise / 10))
    to_signal = over_noise - (cn0 - 10 * math.log10(profile.bandwidth))
    far = units.show(profile.jammer_distance, 'length')
    return rise, (
        Line('J/S', to_signal, 'dB', f'{profile.jammer_eirp:g} dBW at {far}'),
        Line('noise raised by the jammer', -rise, 'dB'),
    )


def _rate(
    profile: Profile, cn0: float, rates: tuple[float, ...]
) -> tuple[float, float, float, Line]:
    """
    Return the rate that C/N0 (dBHz) carries and the radio's (bit/s), and the margin left (dB).

    The last value is the line on the threshold. ``rates``: the radio's own, slowest first.
    """
    kept = profile.margin + profile.implementation_loss
    if profile.required_ebn0 is not None:
        code = '' if profile.code == 'none' else profile.code
        threshold = Line('required Eb/N0', profile.required_ebn0, 'dB', code)
        usable = cn0 - kept - profile.required_ebn0
        computed = 10 ** (usable / 10)
        rate = _step_down(computed, rates, profile.max_rate)
        return computed, rate, usable - 10 * math.log10(rate or rates[0]), threshold
    assert profile.bandwidth is not None
    snr = cn0 - 10 * math.log10(profile.bandwidth) - kept
    modes = _modes(profile)
    computed = max((step for step, needed in modes if needed <= snr), default=0.0)
    rate = _step_down(computed, rates, profile.max_rate)
    needed = dict(modes).get(rate, modes[0][1])
    threshold = Line('required SNR', needed, 'dB', f'in {_hz(profile.bandwidth)}')
    return computed, rate, snr - needed, threshold


def _eirp(profile: Profile) -> tuple[float, tuple[Line, ...]]:
    if profile.eirp is not None:
        return profile.eirp, ()
    assert profile.transmit_power is not None
    power = profile.transmit_power
    lines = (
        Line('transmit power', power, 'dBW', f'{10 ** (power / 10):.3g} W'),
        Line('transmit antenna gain', profile.transmit_gain, 'dBi'),
        Line('transmit losses', -profile.transmit_loss, 'dB'),
    )
    return power + profile.transmit_gain - profile.transmit_loss, lines


def _radio_rates(profile: Profile) -> tuple[float, ...]:
    if profile.lora_spreading_factor is None:
        return tuple(sorted(profile.rates))
    assert profile.bandwidth is not None and profile.lora_coding_rate is not None
    return (
        lora_rate_bps(
            int(profile.lora_spreading_factor), profile.bandwidth, profile.lora_coding_rate
        ),
    )


def _modes(profile: Profile) -> tuple[tuple[float, float], ...]:
    """Rates and the SNR each needs, slowest first."""
    if len(profile.required_snr) == 1:
        return tuple((rate, profile.required_snr[0]) for rate in _radio_rates(profile))
    return tuple(sorted(zip(profile.rates, profile.required_snr, strict=True)))


def _step_down(rate: float, steps: tuple[float, ...], cap: float | None) -> float:
    """Return the highest rate that radio and physics both allow; 0 when there is none."""
    capped = rate if cap is None else min(rate, cap)
    if not steps:
        return capped
    return max((step for step in steps if step <= capped), default=0.0)


def _delay_s(profile: Profile) -> float:
    way = profile.distance + profile.extra_distance
    return way / units.SPEED_OF_LIGHT_M_S + profile.extra_delay


def _rate_line(label: str, rate: float, note: str = '') -> Line:
    value, unit = units.show(rate, 'rate').split()
    return Line(label, float(value), unit, note)


def _delay_line(profile: Profile, delay: float) -> Line:
    extra = units.show(profile.extra_delay, 'time') if profile.extra_delay else ''
    return _time_line('one-way delay', delay, f'of it {extra} in the radios' if extra else '')


def _datagram_lines(profile: Profile, rate: float) -> list[Line]:
    """Return the lines on what full datagrams make of the rate, where that is not the same."""
    mtu, gap = int(profile.mtu), profile.packet_gap
    bits = profile.on_air.bits(mtu)
    if not rate or (bits == 8 * mtu and not gap):
        return []
    ahead = ', with preamble and header' if bits > 8 * mtu else ''
    lines = [_time_line('a full datagram', bits / rate, f'{mtu} B{ahead}')]
    if gap:
        lines.append(_time_line('gap behind it', gap))
    return [*lines, _rate_line('rate of full datagrams', 8 * mtu / (bits / rate + gap))]


def _time_line(label: str, seconds: float, note: str = '') -> Line:
    value, unit = units.show(seconds, 'time').split()
    return Line(label, float(value), unit, note)


def _window_lines(profile: Profile) -> list[Line]:
    lines = []
    if profile.duplex == 'half':
        lines.append(_time_line('turn-around', profile.turnaround, 'half duplex'))
    for label, windows, period in (
        ('passes last', profile.pass_windows, profile.pass_period),
        ('the jammer is on for', profile.jam_windows, profile.jam_period),
    ):
        if period:
            length = sum(end - start for start, end in windows)
            lines.append(_time_line(label, length, f'of {units.show(period, "time")}'))
    return lines


def _hz(frequency: float) -> str:
    return units.show(frequency, 'frequency')
