"""The physics of one radio link: the fields of a profile, their ranges, and what they need."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from gsc_ros.link.radio import airtime, units
from gsc_ros.link.radio.codes import CODES
from gsc_ros.link.radio.orbit import BODIES, Orbit

ORBIT_BODIES = ('none', *BODIES)
PACKETS = ('none', 'ccsds')
DUPLEXES = ('full', 'half')
PATH_MODELS = ('free_space', 'two_ray', 'log_distance', 'none')
REQUIRED: Any = object()


def _quantity(
    dimension: str, low: float, high: float, default: Any = REQUIRED, many: bool = False
) -> Any:
    """Declare a field: its dimension and range in base units (see `units.DIMENSIONS`)."""
    metadata = {'dimension': dimension, 'low': low, 'high': high, 'many': many}
    return field(metadata=metadata, **({} if default is REQUIRED else {'default': default}))


def _choice(choices: tuple[str, ...], default: str) -> Any:
    return field(default=default, metadata={'choices': choices})


@dataclass(frozen=True, kw_only=True)
class Profile:
    """
    One radio link. Fields are in base units (Hz, m, s, dBW, dB, K, bit/s, bytes, degrees).

    Exactly one of `eirp` and (`transmit_power` + `transmit_gain` - `transmit_loss`) is given, one
    of `g_over_t` and (`receive_gain` with `noise_temperature` or `noise_figure`), and one of
    `required_ebn0` and (`required_snr` in `bandwidth`). A field that is absent is None.
    """

    name: str
    title: str
    notes: str = ''
    sources: Mapping[str, str] = field(default_factory=dict)

    # Path
    path_model: str = _choice(PATH_MODELS, 'free_space')
    frequency: float = _quantity('frequency', 1e6, 1e11, 1e9)
    distance: float = _quantity('length', 0.0, 1e13)
    extra_distance: float = _quantity('length', 0.0, 1e13, 0.0)
    other_losses: float = _quantity('ratio', 0.0, 100.0, 0.0)
    antenna_heights: tuple[float, ...] = _quantity('length', 0.1, 1e4, (), many=True)
    path_exponent: float | None = _quantity('number', 2.0, 6.0, None)
    path_reference: float | None = _quantity('length', 0.1, 1e4, None)

    # Transmitter
    eirp: float | None = _quantity('power', -60.0, 120.0, None)
    transmit_power: float | None = _quantity('power', -60.0, 70.0, None)
    transmit_gain: float = _quantity('gain', -20.0, 90.0, 0.0)
    transmit_loss: float = _quantity('ratio', 0.0, 30.0, 0.0)

    # Receiver
    g_over_t: float | None = _quantity('sensitivity', -80.0, 80.0, None)
    receive_gain: float | None = _quantity('gain', -20.0, 90.0, None)
    noise_temperature: float | None = _quantity('temperature', 1.0, 1e7, None)
    noise_figure: float | None = _quantity('ratio', 0.0, 60.0, None)

    # Jammer
    jammer_eirp: float | None = _quantity('power', -60.0, 120.0, None)
    jammer_distance: float | None = _quantity('length', 1.0, 1e9, None)

    # When: a pass of pass_length begins every pass_period; the jammer is on for the last
    # jam_length of every jam_period (0: always). In the place of a length, a table of windows.
    pass_period: float = _quantity('time', 0.0, 1e8, 0.0)
    pass_length: float = _quantity('time', 0.0, 1e8, 0.0)
    pass_starts: tuple[float, ...] = _quantity('time', 0.0, 1e8, (), many=True)
    pass_ends: tuple[float, ...] = _quantity('time', 0.0, 1e8, (), many=True)
    jam_period: float = _quantity('time', 0.0, 1e8, 0.0)
    jam_length: float = _quantity('time', 0.0, 1e8, 0.0)
    jam_starts: tuple[float, ...] = _quantity('time', 0.0, 1e8, (), many=True)
    jam_ends: tuple[float, ...] = _quantity('time', 0.0, 1e8, (), many=True)

    # When, from an orbit: a relay on a circular orbit, seen from a site above min_elevation. The
    # site is site_node east of the ascending node at time zero, when the relay is at that node.
    # The passes of orbit_span come again and again.
    orbit_body: str = _choice(ORBIT_BODIES, 'none')
    orbit_altitude: float | None = _quantity('length', 1e4, 1e9, None)
    orbit_inclination: float | None = _quantity('angle', 0.0, 180.0, None)
    orbit_span: float = _quantity('time', 60.0, 1e7, 86_400.0)
    site_latitude: float | None = _quantity('angle', -90.0, 90.0, None)
    site_node: float = _quantity('angle', -360.0, 360.0, 0.0)
    min_elevation: float = _quantity('angle', 0.0, 89.0, 10.0)

    # How far over time: a table, linear in between, that begins again at its end.
    range_times: tuple[float, ...] = _quantity('time', 0.0, 1e9, (), many=True)
    ranges: tuple[float, ...] = _quantity('length', 1.0, 1e13, (), many=True)

    # Modulation and coding
    required_ebn0: float | None = _quantity('ratio', -1.6, 40.0, None)
    required_snr: tuple[float, ...] = _quantity('ratio', -30.0, 40.0, (), many=True)
    bandwidth: float | None = _quantity('frequency', 1.0, 1e10, None)
    margin: float = _quantity('ratio', 0.0, 40.0, 0.0)
    implementation_loss: float = _quantity('ratio', 0.0, 20.0, 0.0)
    code: str = _choice(('none', *CODES), 'none')
    rates: tuple[float, ...] = _quantity('rate', 1e-3, 1e11, (), many=True)
    max_rate: float | None = _quantity('rate', 1e-3, 1e11, None)
    lora_spreading_factor: float | None = _quantity('number', 5, 12, None)
    lora_coding_rate: float | None = _quantity('number', 0.5, 0.8, None)
    lora_preamble: float = _quantity('number', 6, 65_535, 8)

    # Packets
    packets: str = _choice(PACKETS, 'none')
    mtu: float = _quantity('size', airtime.MIN_MTU, airtime.MAX_MTU, 1115)
    duplex: str = _choice(DUPLEXES, 'full')
    turnaround: float = _quantity('time', 0.0, 60.0, 0.0)
    packet_gap: float = _quantity('time', 0.0, 60.0, 0.0)
    extra_delay: float = _quantity('time', 0.0, 7200.0, 0.0)
    burst_start: float = _quantity('number', 0.0, 1.0, 0.0)
    burst_end: float = _quantity('number', 0.0, 1.0, 1.0)
    loss_good: float = _quantity('number', 0.0, 1.0, 0.0)
    loss_bad: float = _quantity('number', 0.0, 1.0, 1.0)

    def without_jammer(self) -> 'Profile':
        """Return the same link in the jammer's silence."""
        return replace(
            self,
            jammer_eirp=None,
            jammer_distance=None,
            jam_period=0.0,
            jam_length=0.0,
            jam_starts=(),
            jam_ends=(),
        )

    @property
    def pass_windows(self) -> tuple[tuple[float, float], ...]:
        """Begin and end (s) of the passes in `pass_period`."""
        table = tuple(zip(self.pass_starts, self.pass_ends, strict=True))
        return table or ((0.0, self.pass_length),)

    @property
    def jam_windows(self) -> tuple[tuple[float, float], ...]:
        """Begin and end (s) of the jamming in `jam_period`."""
        table = tuple(zip(self.jam_starts, self.jam_ends, strict=True))
        return table or ((self.jam_period - self.jam_length, self.jam_period),)

    @property
    def on_air(self) -> airtime.OnAir:
        """What a datagram takes on air besides its bytes; then comes `packet_gap`."""
        if self.lora_spreading_factor is None:
            return airtime.PLAIN
        assert self.bandwidth is not None and self.lora_coding_rate is not None
        return airtime.lora(
            int(self.lora_spreading_factor),
            self.bandwidth,
            self.lora_coding_rate,
            self.lora_preamble,
        )

    @property
    def orbit(self) -> Orbit | None:
        """The relay's orbit, when there is one."""
        if self.orbit_body == 'none':
            return None
        assert self.orbit_altitude is not None and self.orbit_inclination is not None
        assert self.site_latitude is not None
        return Orbit(
            BODIES[self.orbit_body],
            self.orbit_altitude,
            math.radians(self.orbit_inclination),
            math.radians(self.site_latitude),
            math.radians(self.site_node),
        )

    def __post_init__(self) -> None:
        for spec in physical_fields():
            _check(self, spec)
        self._check_times()
        self._check_combinations()

    def _check_times(self) -> None:
        orbit = (self.orbit_altitude, self.orbit_inclination, self.site_latitude)
        given = [value is not None for value in orbit]
        if any(given) != (self.orbit_body != 'none') or any(given) != all(given):
            raise ValueError(
                f'{self.name}: an orbit has orbit_body, orbit_altitude, orbit_inclination and '
                'site_latitude'
            )
        times = self.range_times
        if len(times) != len(self.ranges) or len(times) == 1:
            raise ValueError(f'{self.name}: give two or more range_times, and ranges for each')
        if (times and times[0] != 0) or any(a >= b for a, b in pairwise(times)):
            raise ValueError(f'{self.name}: range_times must begin at 0 s and rise')
        ways = (self.orbit_body != 'none', bool(times), bool(self.pass_period or self.jam_period))
        if sum(ways) > 1:
            raise ValueError(
                f'{self.name}: give one of an orbit, a table of ranges, and pass_period or '
                'jam_period'
            )

    def _check_windows(self, what: str) -> None:
        period, length, starts, ends = (
            getattr(self, f'{what}_{part}') for part in ('period', 'length', 'starts', 'ends')
        )
        if not starts and not ends:
            if (period or length) and not 0 < length < period:
                raise ValueError(
                    f'{self.name}: {what}_length must be above 0 and below {what}_period'
                )
            return
        if length or len(starts) != len(ends):
            raise ValueError(
                f'{self.name}: give {what}_length, or as many {what}_starts as {what}_ends'
            )
        times = [time for window in zip(starts, ends, strict=True) for time in window]
        if any(a >= b for a, b in pairwise(times)) or times[-1] > period:
            raise ValueError(
                f'{self.name}: {what}_starts and {what}_ends must rise by turns, up to '
                f'{what}_period'
            )

    def _check_combinations(self) -> None:
        if self.turnaround and self.duplex == 'full':
            raise ValueError(f'{self.name}: turnaround is for duplex: half')
        if self.path_model == 'none':
            if self.max_rate is None:
                raise ValueError(f'{self.name}: a profile without a path needs max_rate')
            return
        if self.distance <= 0:
            raise ValueError(f'{self.name}: distance must be above 0 m')
        _exactly_one(self, 'eirp', 'transmit_power')
        if self.g_over_t is None:
            if self.receive_gain is None:
                raise ValueError(f'{self.name}: give g_over_t, or receive_gain and a noise')
            _exactly_one(self, 'noise_temperature', 'noise_figure')
        _exactly_one(self, 'required_ebn0', 'required_snr')
        if self.required_snr:
            if self.bandwidth is None:
                raise ValueError(f'{self.name}: required_snr needs its bandwidth')
            if not self.rates and self.lora_spreading_factor is None:
                raise ValueError(f'{self.name}: required_snr needs the rates it holds for')
            if len(self.required_snr) not in (1, len(self.rates)):
                raise ValueError(f'{self.name}: give one required_snr, or one for each of rates')
        if (self.jammer_eirp is None) != (self.jammer_distance is None):
            raise ValueError(f'{self.name}: a jammer has jammer_eirp and jammer_distance')
        for what in ('pass', 'jam'):
            self._check_windows(what)
        if self.jam_period and (self.pass_period or self.jammer_eirp is None):
            raise ValueError(f'{self.name}: jam_period needs a jammer, and no pass_period')
        if self.jammer_eirp is not None and None in (self.bandwidth, self.receive_gain):
            raise ValueError(f'{self.name}: a jammer needs bandwidth and receive_gain')
        if self.path_model == 'two_ray' and len(self.antenna_heights) != 2:
            raise ValueError(f'{self.name}: two_ray needs two antenna_heights')
        if self.path_model == 'log_distance' and None in (self.path_exponent, self.path_reference):
            raise ValueError(f'{self.name}: log_distance needs path_exponent and path_reference')
        if self.lora_spreading_factor is not None:
            self._check_lora()

    def _check_lora(self) -> None:
        if self.lora_coding_rate is None or self.bandwidth is None:
            raise ValueError(f'{self.name}: LoRa needs lora_coding_rate and bandwidth')
        if self.lora_spreading_factor != round(self.lora_spreading_factor or 0):
            raise ValueError(f'{self.name}: lora_spreading_factor is a whole number')
        if all(abs(4 / k - self.lora_coding_rate) > 0.01 for k in (5, 6, 7, 8)):
            raise ValueError(f'{self.name}: lora_coding_rate is 4/5, 4/6, 4/7 or 4/8, as a number')
        if self.mtu > airtime.LORA_MAX_BYTES:
            raise ValueError(f'{self.name}: mtu of LoRa is at most {airtime.LORA_MAX_BYTES} B')


def physical_fields() -> Iterator[Field[Any]]:
    """Yield the fields that have a dimension or choices."""
    return (spec for spec in fields(Profile) if spec.metadata)


def _exactly_one(profile: Profile, first: str, second: str) -> None:
    given = [getattr(profile, name) not in (None, ()) for name in (first, second)]
    if given[0] == given[1]:
        raise ValueError(f'{profile.name}: give exactly one of {first} and {second}')


def _check(profile: Profile, spec: Field[Any]) -> None:
    value = getattr(profile, spec.name)
    if choices := spec.metadata.get('choices'):
        if value not in choices:
            raise ValueError(
                f'{profile.name}: {spec.name} must be one of {", ".join(choices)}, got {value!r}'
            )
        return
    if value is None:
        return
    low, high = spec.metadata['low'], spec.metadata['high']
    for number in value if spec.metadata['many'] else (value,):
        if not (math.isfinite(number) and low <= number <= high):
            unit = next(iter(units.DIMENSIONS[spec.metadata['dimension']]))
            raise ValueError(
                f'{profile.name}: {spec.name} must be {low:g} to {high:g} {unit}'.rstrip()
                + f', got {number:g}'
            )
