"""
What is inside the payloads: a frame with its acquisition stamp, the camera, a command, a stop, a
request, and a report of either end on what it received.

A frame carries 9 bytes beside its coded stream: 48 bits of the stamp, 16 of the sequence and the
number of the *setup* it belongs to. The setup holds what seldom changes (frame_id, intrinsics, the
full stamp and sequence to count from) and crosses once, on change and now and then again, so that
the far end rebuilds stamp, frame_id and camera_info exactly, whatever the clocks say. A frame and
its setup are of one session of the robot (`framing.py`).
"""

import math
import secrets
import struct
import zlib
from dataclasses import dataclass, replace

from gsc_ros.link.datagrams.framing import Class

STAMP_BITS = 48
SEQUENCE_BITS = 16
# What builtin_interfaces/Time holds, ns: seconds in an int32, up to 2038.
MAX_STAMP_NS = (1 << 31) * 10**9 - 1
MAX_NAME_BYTES = 255
MAX_DISTORTION_COEFFICIENTS = 14
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_FRAME = struct.Struct('>BHIH')
FRAME_OVERHEAD = _FRAME.size
_SETUP = struct.Struct('>BqI')
_CAMERA = struct.Struct('>HH7HBBB')
# Far above the largest camera there can be; a bound for what a damaged setup may unpack to.
_MAX_CAMERA_BYTES = 1024
COMMAND_STAMP_BITS = 48  # of microseconds: 8.9 years
MAX_VELOCITY = 32.767  # m/s or rad/s
_VELOCITY_STEPS = 1000  # in a m/s or rad/s
_COMMAND = struct.Struct('>HIB6h')
_STOP = struct.Struct('>HIBBB')
_REPORT = struct.Struct('>BHHBB')
_ROBOT_REPORT = struct.Struct('>BBB')
_COUNT = struct.Struct('>I')
REPORT_BYTES = _REPORT.size + _COUNT.size
ROBOT_REPORT_BYTES = _ROBOT_REPORT.size + _COUNT.size
_LATCHED = 1
_BURST_STEPS = 8
NO_FRAME = 0xFFFF  # number of the last frame, before there was one
_ASKS_KEY, _ASKS_REGION, _ASKS_SETUP = 1, 2, 4
# A setup goes with these frames after a change, and with every 32nd from then on.
_SETUP_FRAMES = frozenset((0, 2, 8))
_SETUP_EVERY = 32
_SETUPS = 128  # numbers


class PayloadError(ValueError):
    """A payload that this version cannot read."""


def unwrap(low: int, bits: int, reference: int) -> int:
    """Return the integer next to `reference` whose lowest `bits` bits are `low`."""
    span = 1 << bits
    return reference + (low - reference + span // 2) % span - span // 2


@dataclass(frozen=True)
class Camera:
    """
    The content of a sensor_msgs/CameraInfo except its stamp. K, R, P row-major as there.

    An uncalibrated camera has zeros for `k` and `p`, as CameraInfo says.
    """

    frame_id: str = ''
    width: int = 0
    height: int = 0
    distortion_model: str = ''
    d: tuple[float, ...] = ()
    k: tuple[float, ...] = (0.0,) * 9
    r: tuple[float, ...] = _IDENTITY
    p: tuple[float, ...] = (0.0,) * 12
    # binning_x, binning_y, roi x_offset, y_offset, height, width, do_rectify
    window: tuple[int, ...] = (0,) * 7

    def __post_init__(self) -> None:
        sizes = {'k': 9, 'r': 9, 'p': 12, 'window': 7}
        for name, size in sizes.items():
            if len(getattr(self, name)) != size:
                raise ValueError(
                    f'{name} must have {size} numbers, got {len(getattr(self, name))}'
                )
        if len(self.d) > MAX_DISTORTION_COEFFICIENTS:
            raise ValueError(
                f'd must have at most {MAX_DISTORTION_COEFFICIENTS} numbers, got {len(self.d)}'
            )
        for name in ('frame_id', 'distortion_model'):
            if len(getattr(self, name).encode()) > MAX_NAME_BYTES:
                raise ValueError(f'{name} must have at most {MAX_NAME_BYTES} bytes')
        for name in ('width', 'height', 'window'):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not 0 <= number <= 0xFFFF:
                    raise ValueError(f'{name} must be 0 to 65535, got {number}')
        if not all(math.isfinite(x) for x in (*self.d, *self.k, *self.r, *self.p)):
            raise ValueError('d, k, r and p must be finite')


@dataclass(frozen=True)
class Setup:
    """What frames of one setup share. `number` 0..127; stamp (ns) and sequence to count from."""

    number: int
    stamp_ns: int
    sequence: int
    camera: Camera

    def pack(self) -> bytes:
        """Return the bytes for the air; deflate takes out zeros and what K and P share."""
        camera = self.camera
        numbers = (*camera.k, *camera.p, *camera.r, *camera.d)
        names = [name.encode() for name in (camera.distortion_model, camera.frame_id)]
        body = _CAMERA.pack(
            camera.width, camera.height, *camera.window, len(camera.d), *map(len, names)
        )
        body += struct.pack(f'>{len(numbers)}d', *numbers) + b''.join(names)
        packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        head = _SETUP.pack(self.number, self.stamp_ns, self.sequence)
        return head + packer.compress(body) + packer.flush()

    @classmethod
    def unpack(cls, payload: bytes) -> 'Setup':
        """Read a setup; raises PayloadError."""
        try:
            number, stamp, sequence = _SETUP.unpack_from(payload)
            unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            body = unpacker.decompress(payload[_SETUP.size :], _MAX_CAMERA_BYTES)
            width, height, *window, d_size, model_size, name_size = _CAMERA.unpack_from(body)
            numbers = struct.unpack_from(f'>{9 + 12 + 9 + d_size}d', body, _CAMERA.size)
            text = body[_CAMERA.size + 8 * len(numbers) :]
            if len(text) != model_size + name_size or not unpacker.eof:
                raise ValueError('its end is not where it should be')
            if not 0 <= stamp <= MAX_STAMP_NS:
                raise ValueError(f'a stamp is 0 to {MAX_STAMP_NS} ns, got {stamp}')
            camera = Camera(
                frame_id=text[model_size:].decode(),
                width=width,
                height=height,
                distortion_model=text[:model_size].decode(),
                d=numbers[30:],
                k=numbers[:9],
                r=numbers[21:30],
                p=numbers[9:21],
                window=tuple(window),
            )
        except (struct.error, zlib.error, ValueError) as error:
            raise PayloadError(f'not a setup: {error}') from error
        return cls(number, stamp, sequence, camera)


@dataclass(frozen=True)
class Frame:
    """A coded frame with its exact acquisition stamp (ns), sequence (uint32) and camera."""

    stamp_ns: int
    sequence: int
    camera: Camera
    data: bytes


class FrameSender:
    """
    Robot side: turns frames into payloads and says when a setup has to go first.

    ``number``: of the first setup, 0..127; None for a random one.
    """

    def __init__(self, number: int | None = None) -> None:
        self._number = secrets.randbelow(_SETUPS) if number is None else number % _SETUPS
        self._setup: Setup | None = None
        self._repeat = False
        self._stamp_ns = 0
        self._sequence = 0
        self._begun_at = 0
        self._shown_at = -1

    def pack(self, frame: Frame, frames_sent: int) -> list[tuple[Class, bytes]]:
        """
        Payloads for a frame in the order to offer them.

        frames_sent: how many frames have gone on air so far. Setups are counted by frames that
        were really sent, so that offering far more than the link carries does not waste it on
        setups.
        """
        self._renew(frame, frames_sent)
        assert self._setup is not None
        payloads = []
        since = frames_sent - self._begun_at
        due = since in _SETUP_FRAMES or since % _SETUP_EVERY == 0
        if self._repeat or (due and self._shown_at != since):
            self._repeat = False
            self._shown_at = since
            fresh = replace(self._setup, stamp_ns=frame.stamp_ns, sequence=frame.sequence)
            payloads.append((Class.SETUP, fresh.pack()))
        low = frame.stamp_ns & ((1 << STAMP_BITS) - 1)
        head = _FRAME.pack(
            self._setup.number, low >> 32, low & 0xFFFFFFFF, frame.sequence & 0xFFFF
        )
        return [*payloads, (Class.FRAME, head + frame.data)]

    def repeat_setup(self) -> None:
        """Let the next frame go behind its setup: the far end may not have it."""
        self._repeat = True

    def _renew(self, frame: Frame, frames_sent: int) -> None:
        """Begin a new setup when the camera changed or the counts left what few bits can tell."""
        setup = self._setup
        same = (
            setup is not None
            and setup.camera == frame.camera
            and abs(frame.stamp_ns - self._stamp_ns) < 1 << (STAMP_BITS - 2)
            and abs(frame.sequence - self._sequence) < 1 << (SEQUENCE_BITS - 2)
        )
        self._stamp_ns, self._sequence = frame.stamp_ns, frame.sequence
        if not same:
            number = self._number if setup is None else (setup.number + 1) % _SETUPS
            self._setup = Setup(number, frame.stamp_ns, frame.sequence, frame.camera)
            self._begun_at = frames_sent
            self._shown_at = -1


class FrameReceiver:
    """
    Ground side: rebuilds frames. `undescribed` counts those that came without their setup.

    ``session``: of the robot, as the datagrams have it. A frame needs a setup of its own session.
    """

    def __init__(self) -> None:
        self.undescribed = 0
        self._setup: Setup | None = None
        self._session = 0

    def setup(self, payload: bytes, session: int = 0) -> None:
        """Take a setup; raises PayloadError."""
        self._setup, self._session = Setup.unpack(payload), session

    def frame(self, payload: bytes, session: int = 0) -> Frame | None:
        """Rebuild a frame; None when its setup is not known (yet). Raises PayloadError."""
        if len(payload) <= _FRAME.size:
            raise PayloadError('a frame needs data behind its stamp')
        number, high, low, sequence = _FRAME.unpack_from(payload)
        setup = self._setup
        if setup is None or (session, number) != (self._session, setup.number):
            self.undescribed += 1
            return None
        frame = Frame(
            unwrap(high << 32 | low, STAMP_BITS, setup.stamp_ns),
            unwrap(sequence, SEQUENCE_BITS, setup.sequence) & 0xFFFFFFFF,
            setup.camera,
            payload[_FRAME.size :],
        )
        if not 0 <= frame.stamp_ns <= MAX_STAMP_NS:
            raise PayloadError(f'a stamp is 0 to {MAX_STAMP_NS} ns, got {frame.stamp_ns}')
        # The next frame counts from this one.
        self._setup = replace(setup, stamp_ns=frame.stamp_ns, sequence=frame.sequence)
        return frame


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


# Left, top, right, bottom of a part of the image, in shares of its width and height, 0..1.
Region = tuple[float, float, float, float]
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Request:
    """
    What the ground asks of the robot: one byte, and four for a region in steps of 1/255.

    ``key_frame``: send one that stands alone; ``region``: tell most of this part of the image,
    of `WHOLE` for no part; None: as before; ``setup``: send the setup before the next frame.
    """

    key_frame: bool = False
    region: Region | None = None
    setup: bool = False

    def __post_init__(self) -> None:
        if not (self.key_frame or self.region or self.setup):
            raise ValueError('a request asks for something')
        if self.region is not None:
            left, top, right, bottom = self.region
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError(f'a region lies within 0..1 and is not empty, got {self.region}')

    def also(self, other: 'Request') -> 'Request':
        """Return both as one; the region is the other's, if it has one."""
        return Request(
            self.key_frame or other.key_frame,
            other.region or self.region,
            self.setup or other.setup,
        )

    def pack(self) -> bytes:
        """Return the bytes. A region grows to the next step."""
        flags = _ASKS_KEY * self.key_frame | _ASKS_REGION * (self.region is not None)
        flags |= _ASKS_SETUP * self.setup
        if self.region is None:
            return bytes([flags])
        edges = [round(255 * share, 6) for share in self.region]
        left, top = (min(math.floor(edge), 254) for edge in edges[:2])
        right, bottom = map(math.ceil, edges[2:])
        return bytes([flags, left, top, max(right, left + 1), max(bottom, top + 1)])

    @classmethod
    def unpack(cls, payload: bytes) -> 'Request':
        """Read a request; raises PayloadError for anything else."""
        try:
            flags, *edges = payload
            unknown = flags & ~(_ASKS_KEY | _ASKS_REGION | _ASKS_SETUP)
            if unknown or len(edges) != 4 * bool(flags & _ASKS_REGION):
                raise ValueError('unknown flags or another length')
            region = None
            if edges:
                left, top, right, bottom = (edge / 255 for edge in edges)
                region = left, top, right, bottom
            return cls(bool(flags & _ASKS_KEY), region, bool(flags & _ASKS_SETUP))
        except ValueError as error:
            raise PayloadError(f'not a request: {payload[:8].hex()} ({error})') from None


@dataclass(frozen=True)
class Report:
    """
    What the ground has received: 7 bytes, and 4 with the count.

    newest: number of the last frame that came, `NO_FRAME` before the first; shown: how many came
    so far; both modulo 65536, and of the session of the robot whose low byte is ``robot`` (0: none
    came yet). loss: share of datagrams lost lately, 0..1, in steps of 1/255; burst: mean length of
    a run of losses, 1 to 32 datagrams, in steps of 1/8. count: the greatest count that came under
    the ground's first key, None where datagrams have none.
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
    What the robot has received: 3 bytes, and 4 with the count.

    stop: number of the last stop or release that it obeyed, 0 for none; latched: whether it holds
    a stop. loss: share of the commands lost lately, 0..1, in steps of 1/255. count: the greatest
    count that came under the robot's first key, None where datagrams have none.
    """

    stop: int = 0
    latched: bool = False
    loss: float = 0.0
    count: int | None = None

    def pack(self) -> bytes:
        """Return the bytes."""
        body = _ROBOT_REPORT.pack(self.stop, _LATCHED * self.latched, round(self.loss * 255))
        return body + _pack_count(self.count)

    @classmethod
    def unpack(cls, payload: bytes) -> 'RobotReport':
        """Read a report of the robot; raises PayloadError for anything else."""
        try:
            stop, flags, loss = _ROBOT_REPORT.unpack(payload[: _ROBOT_REPORT.size])
            count = _unpack_count(payload[_ROBOT_REPORT.size :])
        except struct.error as error:
            raise PayloadError(f'not a report of the robot: {error}') from None
        if flags & ~_LATCHED:
            raise PayloadError(f'not a report of the robot: unknown flags {flags:#x}')
        return cls(stop, bool(flags & _LATCHED), loss / 255, count)


def _pack_count(count: int | None) -> bytes:
    return b'' if count is None else _COUNT.pack(count)


def _unpack_count(data: bytes) -> int | None:
    """Read a count, or None where there is none; raises struct.error for another length."""
    return int(_COUNT.unpack(data)[0]) if data else None
