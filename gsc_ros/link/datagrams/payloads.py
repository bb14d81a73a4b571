"""
What is inside the small payloads: a command, a stop, a request, and a report of either end on what
it received. Frames and their setups are in `frames.py`.
"""

import math
import struct
from dataclasses import dataclass

from gsc_ros.region import Region

COMMAND_STAMP_BITS = 48  # of microseconds: 8.9 years
MAX_VELOCITY = 32.767  # m/s or rad/s
_VELOCITY_STEPS = 1000  # in a m/s or rad/s
_COMMAND = struct.Struct('>HIB6h')
_STOP = struct.Struct('>HIBBB')
_REPORT = struct.Struct('>BHHBB')
_ROBOT_REPORT = struct.Struct('>BBB')
_COUNT = struct.Struct('>I')
_LATENESS = struct.Struct('>h')
_GOAL = struct.Struct('>BB')
# With everything that they may hold.
REPORT_BYTES = _REPORT.size + _COUNT.size
ROBOT_REPORT_BYTES = _ROBOT_REPORT.size + _LATENESS.size + _GOAL.size + _COUNT.size
_LATCHED, _LATE, _HELD_UP, _HAS_GOAL, _HAS_FIRST, _LACKS = 1, 2, 4, 8, 16, 32
_REPORT_FLAGS = 2 * _LACKS - 1
_LATE_STEPS = 10  # in a second
_BURST_STEPS = 8
NO_FRAME = 0xFFFF  # number of the last frame, before there was one
_ASKS_KEY, _ASKS_REGION, _ASKS_SETUP, _ASKS_BUDGET, _ASKS_RATE, _ASKS_STILL = 1, 2, 4, 8, 16, 32
_ASKS_FIRST = 64
_REQUEST_FLAGS = 2 * _ASKS_FIRST - 1
NO_CAMERA = 0xFF  # comes first
_WORD = struct.Struct('>H')
_RATE_STEPS = 100  # in a frame a second
MOST_RATE = 600.0  # frames a second


class PayloadError(ValueError):
    """A payload that this version cannot read."""


def unwrap(low: int, bits: int, reference: int) -> int:
    """Return the integer next to `reference` whose lowest `bits` bits are `low`."""
    span = 1 << bits
    return reference + (low - reference + span // 2) % span - span // 2


# Linear x, y, z in m/s and angular x, y, z in rad/s.
Velocity = tuple[float, float, float, float, float, float]


def _stamp_us(high: int, low: int, now_us: int) -> int:
    return unwrap(high << 32 | low, COMMAND_STAMP_BITS, now_us)


@dataclass(frozen=True)
class Command:
    """
    A velocity command, always 19 bytes.

    stamp_us: when it was given, by the operator's clock, in microseconds. velocity: linear x, y, z
    (m/s) and angular x, y, z (rad/s), in steps of 0.001 and within 32.767 both ways. robot: the
    low byte of the robot's session as the ground last received it, 0 for none yet.
    """

    stamp_us: int
    velocity: Velocity
    robot: int = 0

    def pack(self) -> bytes:
        """Return the bytes for the air; raises ValueError for a velocity out of range."""
        if not all(abs(x) <= MAX_VELOCITY for x in self.velocity):  # also when not a number
            raise ValueError(
                f'a velocity must be within -{MAX_VELOCITY} to {MAX_VELOCITY} m/s or rad/s, '
                f'got {self.velocity}'
            )
        low = self.stamp_us & ((1 << COMMAND_STAMP_BITS) - 1)
        steps = (round(x * _VELOCITY_STEPS) for x in self.velocity)
        return _COMMAND.pack(low >> 32, low & 0xFFFFFFFF, self.robot, *steps)

    @classmethod
    def unpack(cls, payload: bytes, now_us: int) -> 'Command':
        """Read a command; its stamp is the one next to `now_us`. Raises PayloadError."""
        try:
            high, low, robot, *steps = _COMMAND.unpack(payload)
        except struct.error as error:
            raise PayloadError(f'not a command: {error}') from error
        x, y, z, rx, ry, rz = (step / _VELOCITY_STEPS for step in steps)
        if min(steps) < -MAX_VELOCITY * _VELOCITY_STEPS:
            raise PayloadError(f'not a command: a velocity is below -{MAX_VELOCITY}')
        return cls(_stamp_us(high, low, now_us), (x, y, z, rx, ry, rz), robot)


@dataclass(frozen=True)
class Stop:
    """
    The operator's stop, or its release: 9 bytes.

    stamp_us, robot: as of a :class:`Command`. number: 1 to 255, another one for each new stop or
    release, by which the robot acknowledges it. stop: False for a release.
    """

    stamp_us: int
    number: int
    stop: bool = True
    robot: int = 0

    def pack(self) -> bytes:
        """Return the bytes for the air."""
        low = self.stamp_us & ((1 << COMMAND_STAMP_BITS) - 1)
        return _STOP.pack(low >> 32, low & 0xFFFFFFFF, self.robot, self.number, self.stop)

    @classmethod
    def unpack(cls, payload: bytes, now_us: int) -> 'Stop':
        """Read a stop; its stamp is the one next to `now_us`. Raises PayloadError."""
        try:
            high, low, robot, number, stop = _STOP.unpack(payload)
        except struct.error as error:
            raise PayloadError(f'not a stop: {error}') from error
        if not number or stop > 1:
            raise PayloadError(f'not a stop: number {number}, {stop}')
        return cls(_stamp_us(high, low, now_us), number, bool(stop), robot)


@dataclass(frozen=True)
class Request:
    """
    What the ground asks of the robot: one byte, four for a region in steps of 1/255, two each for
    a budget and a rate, one for the camera that comes first, and up to 19 for a still, as
    :class:`stills.StillAsk` packs them.

    ``key_frame``: send one that stands alone; ``region``: of interest from now on, the whole image
    for none; None: as before; ``setup``: send the setup before the next frame; ``budget``: bytes
    of a frame from now on, 1 to 65535; ``rate``: frames a second at most from now on, 0.01 to 600
    in steps of 0.01; None: as before; ``first``: number of the camera that comes first from now
    on, `NO_CAMERA` for none; None: as before. All else is asked of the camera that the datagram
    names.
    """

    key_frame: bool = False
    region: Region | None = None
    setup: bool = False
    budget: int | None = None
    rate: float | None = None
    still: bytes | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        values = self.region, self.budget, self.rate, self.still or None, self.first
        if not (self.key_frame or self.setup or any(one is not None for one in values)):
            raise ValueError('a request asks for something')
        if self.budget is not None and not 0 < self.budget <= 0xFFFF:
            raise ValueError(f'a budget has 1 to 65535 bytes, got {self.budget}')
        if self.rate is not None and not 1 / _RATE_STEPS <= self.rate <= MOST_RATE:  # nor NaN
            raise ValueError(f'a rate is 0.01 to {MOST_RATE:g} frames a second, got {self.rate}')
        if self.first is not None and not 0 <= self.first <= NO_CAMERA:
            raise ValueError(f'a camera has a number from 0 to {NO_CAMERA}, got {self.first}')

    def also(self, other: 'Request') -> 'Request':
        """Return both as one; all but flags are the other's, if it has them."""
        return Request(
            self.key_frame or other.key_frame,
            other.region or self.region,
            self.setup or other.setup,
            self.budget if other.budget is None else other.budget,
            self.rate if other.rate is None else other.rate,
            self.still if other.still is None else other.still,
            self.first if other.first is None else other.first,
        )

    def pack(self) -> bytes:
        """Return the bytes. A region grows to the next step."""
        flags = _ASKS_KEY * self.key_frame | _ASKS_REGION * (self.region is not None)
        flags |= _ASKS_SETUP * self.setup
        rest = b''
        if self.region is not None:
            edges = [round(255 * share, 6) for share in self.region]
            left, top = (min(math.floor(edge), 254) for edge in edges[:2])
            right, bottom = map(math.ceil, edges[2:])
            rest += bytes([left, top, max(right, left + 1), max(bottom, top + 1)])
        if self.budget is not None:
            flags |= _ASKS_BUDGET
            rest += _WORD.pack(self.budget)
        if self.rate is not None:
            flags |= _ASKS_RATE
            rest += _WORD.pack(round(self.rate * _RATE_STEPS))
        if self.first is not None:
            flags |= _ASKS_FIRST
            rest += bytes([self.first])
        if self.still:
            flags |= _ASKS_STILL
            rest += self.still
        return bytes([flags]) + rest

    @classmethod
    def unpack(cls, payload: bytes) -> 'Request':
        """Read a request; raises PayloadError for anything else."""
        try:
            flags, rest = payload[0], payload[1:]
            sizes = {_ASKS_REGION: 4, _ASKS_BUDGET: 2, _ASKS_RATE: 2, _ASKS_FIRST: 1}
            size = sum(size for flag, size in sizes.items() if flags & flag)
            still = rest[size:] if flags & _ASKS_STILL else None
            rest = rest[: len(rest) - len(still or b'')]
            if flags & ~_REQUEST_FLAGS or len(rest) != size or still == b'':
                raise ValueError('unknown flags or another length')
            region = budget = rate = None
            if flags & _ASKS_REGION:
                region, rest = Region(*(edge / 255 for edge in rest[:4])), rest[4:]
            if flags & _ASKS_BUDGET:
                budget, rest = _WORD.unpack(rest[: _WORD.size])[0], rest[_WORD.size :]
            if flags & _ASKS_RATE:
                rate, rest = _WORD.unpack(rest[: _WORD.size])[0] / _RATE_STEPS, rest[_WORD.size :]
            first = rest[0] if flags & _ASKS_FIRST else None
            key_frame, setup = bool(flags & _ASKS_KEY), bool(flags & _ASKS_SETUP)
            return cls(key_frame, region, setup, budget, rate, still, first)
        except (ValueError, IndexError) as error:
            raise PayloadError(f'not a request: {payload[:8].hex()} ({error})') from None


@dataclass(frozen=True)
class Report:
    """
    What the ground has received: 7 bytes, and 4 with the count.

    newest: number of the last frame that came, `NO_FRAME` before the first; shown: how many came
    so far; both modulo 65536, and of the session of the robot whose low byte is ``robot`` (0: none
    came yet). loss: share of datagrams lost recently, 0..1, in steps of 1/255; burst: mean
    length of a run of losses, 1 to 32 datagrams, in steps of 1/8. count: the greatest count that
    came under the ground's first key, None where datagrams have none.
    """

    newest: int
    shown: int
    loss: float
    burst: float = 1.0
    robot: int = 0
    count: int | None = None

    def pack(self) -> bytes:
        """Return the bytes."""
        burst = min(255, round((self.burst - 1) * _BURST_STEPS))
        body = _REPORT.pack(
            self.robot, self.newest & 0xFFFF, self.shown & 0xFFFF, round(self.loss * 255), burst
        )
        return body + _pack_count(self.count)

    @classmethod
    def unpack(cls, payload: bytes) -> 'Report':
        """Read a report; raises PayloadError for anything else."""
        try:
            robot, newest, shown, loss, burst = _REPORT.unpack(payload[: _REPORT.size])
            count = _unpack_count(payload[_REPORT.size :])
        except struct.error as error:
            raise PayloadError(f'not a report: {error}') from None
        return cls(newest, shown, loss / 255, 1 + burst / _BURST_STEPS, robot, count)


@dataclass(frozen=True)
class RobotReport:
    """
    What the robot has received: 3 bytes, 2 more where it refuses commands, 2 more once a goal
    came, 1 more of a robot with several cameras, 1 more where it lacks one, 4 more with a count.

    stop: number of the last stop or release that it obeyed, 0 for none; latched: whether it holds
    a stop. loss: share of the commands lost recently, 0..1, in steps of 1/255. count: the greatest
    count that came under the robot's first key, None where datagrams have none. late_s: by how
    much most commands are too late, so that it refuses them (below 0: ahead), in steps of 0.1 s
    and within 3,276 s; None where it does not; held_up: by its monotonic clock. goal: number of
    the last goal, 0 for none yet; goal_state: 0 to 255, what became of it. first: number of the
    camera that comes first, `NO_CAMERA` for none; None where there is but one. lacks: number of
    a camera of which something was asked and that the robot does not have, else None.
    """

    stop: int = 0
    latched: bool = False
    loss: float = 0.0
    count: int | None = None
    late_s: float | None = None
    held_up: bool = False
    goal: int = 0
    goal_state: int = 0
    first: int | None = None
    lacks: int | None = None

    def pack(self) -> bytes:
        """Return the bytes."""
        flags, lateness, goal, first, lacks = _LATCHED * self.latched, b'', b'', b'', b''
        if self.late_s is not None:
            flags |= _LATE | _HELD_UP * self.held_up
            steps = round(_LATE_STEPS * self.late_s)
            lateness = _LATENESS.pack(max(-0x7FFF, min(steps, 0x7FFF)))
        if self.goal:
            flags |= _HAS_GOAL
            goal = _GOAL.pack(self.goal, self.goal_state)
        if self.first is not None:
            flags |= _HAS_FIRST
            first = bytes([self.first])
        if self.lacks is not None:
            flags |= _LACKS
            lacks = bytes([self.lacks])
        body = _ROBOT_REPORT.pack(self.stop, flags, round(self.loss * 255))
        return body + lateness + goal + first + lacks + _pack_count(self.count)

    @classmethod
    def unpack(cls, payload: bytes) -> 'RobotReport':
        """Read a report of the robot; raises PayloadError for anything else."""
        try:
            stop, flags, loss = _ROBOT_REPORT.unpack(payload[: _ROBOT_REPORT.size])
            rest, late_s = payload[_ROBOT_REPORT.size :], None
            if flags & _LATE:
                late_s = _LATENESS.unpack(rest[: _LATENESS.size])[0] / _LATE_STEPS
                rest = rest[_LATENESS.size :]
            goal, goal_state = 0, 0
            if flags & _HAS_GOAL:
                goal, goal_state = _GOAL.unpack(rest[: _GOAL.size])
                rest = rest[_GOAL.size :]
            first = lacks = None
            if flags & _HAS_FIRST:
                first, rest = rest[0], rest[1:]
            if flags & _LACKS:
                lacks, rest = rest[0], rest[1:]
            # A newer robot says more: what follows is not known here, and the stop counts.
            count = None if flags & ~_REPORT_FLAGS else _unpack_count(rest)
        except (struct.error, IndexError) as error:
            raise PayloadError(f'not a report of the robot: {error}') from None
        held_up = bool(flags & _HELD_UP)
        latched = bool(flags & _LATCHED)
        return cls(
            stop, latched, loss / 255, count, late_s, held_up, goal, goal_state, first, lacks
        )


def _pack_count(count: int | None) -> bytes:
    return b'' if count is None else _COUNT.pack(count)


def _unpack_count(data: bytes) -> int | None:
    """Read a count, or None where there is none; raises struct.error for another length."""
    return int(_COUNT.unpack(data)[0]) if data else None
