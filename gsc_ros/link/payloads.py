"""
What is inside the payloads: a frame with its acquisition stamp, the camera, a command, a request,
and a report of what was heard.

A frame carries 9 bytes beside its coded stream: 48 bits of the stamp, 16 of the sequence and the
number of the *setup* it belongs to. The setup holds what seldom changes (frame_id, intrinsics, the
full stamp and sequence to count from) and crosses once, on change and now and then again, so that
the far end rebuilds stamp, frame_id and camera_info exactly, whatever the clocks say.
"""

import math
import struct
import zlib
from dataclasses import dataclass, replace

from gsc_ros.link.framing import Class

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
_COMMAND = struct.Struct('>HIB')
_REPORT = struct.Struct('>HHBB')
_BURST_STEPS = 8
_ASKS_KEY, _ASKS_REGION = 1, 2
# A setup goes with these frames after a change, and with every 32nd from then on.
_SETUP_FRAMES = frozenset((0, 2, 8))
_SETUP_EVERY = 32


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


def _single(x: float) -> float:
    try:
        return float(struct.unpack('>f', struct.pack('>f', x))[0])
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Frame:
    """A coded frame with its exact acquisition stamp (ns), sequence (uint32) and camera."""

    stamp_ns: int
    sequence: int
    camera: Camera
    data: bytes


class FrameSender:
    """Robot side: turns frames into payloads and says when a setup has to go first."""

    def __init__(self) -> None:
        self._setup: Setup | None = None
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
        if (since in _SETUP_FRAMES or since % _SETUP_EVERY == 0) and self._shown_at != since:
            self._shown_at = since
            fresh = replace(self._setup, stamp_ns=frame.stamp_ns, sequence=frame.sequence)
            payloads.append((Class.SETUP, fresh.pack()))
        low = frame.stamp_ns & ((1 << STAMP_BITS) - 1)
        head = _FRAME.pack(
            self._setup.number, low >> 32, low & 0xFFFFFFFF, frame.sequence & 0xFFFF
        )
        return [*payloads, (Class.FRAME, head + frame.data)]

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
            number = 0 if setup is None else (setup.number + 1) & 0x7F
            self._setup = Setup(number, frame.stamp_ns, frame.sequence, frame.camera)
            self._begun_at = frames_sent
            self._shown_at = -1


class FrameReceiver:
    """Ground side: rebuilds frames. `undescribed` counts those that came before their setup."""

    def __init__(self) -> None:
        self.undescribed = 0
        self._setup: Setup | None = None

    def setup(self, payload: bytes) -> None:
        """Take a setup; raises PayloadError."""
        self._setup = Setup.unpack(payload)

    def frame(self, payload: bytes) -> Frame | None:
        """Rebuild a frame; None when its setup is not known (yet). Raises PayloadError."""
        if len(payload) <= _FRAME.size:
            raise PayloadError('a frame needs data behind its stamp')
        number, high, low, sequence = _FRAME.unpack_from(payload)
        setup = self._setup
        if setup is None or number != setup.number:
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


@dataclass(frozen=True)
class Command:
    """A velocity command: linear x, y, z (m/s), angular x, y, z (rad/s), and when it was given."""

    stamp_ns: int
    velocity: tuple[float, float, float, float, float, float]

    def pack(self) -> bytes:
        """Return 7 bytes and 4 for every component that is not zero (as float32)."""
        if not all(math.isfinite(_single(x)) for x in self.velocity):
            raise ValueError(f'a velocity must be finite, got {self.velocity}')
        mask = sum(1 << i for i, x in enumerate(self.velocity) if x)
        low = self.stamp_ns & ((1 << STAMP_BITS) - 1)
        moving = [x for x in self.velocity if x]
        return _COMMAND.pack(low >> 32, low & 0xFFFFFFFF, mask) + struct.pack(
            f'>{len(moving)}f', *moving
        )

    @classmethod
    def unpack(cls, payload: bytes, now_ns: int) -> 'Command':
        """Read a command; its stamp is the one next to the robot's clock. Raises PayloadError."""
        try:
            high, low, mask = _COMMAND.unpack_from(payload)
            moving = struct.unpack(f'>{mask.bit_count()}f', payload[_COMMAND.size :])
        except struct.error as error:
            raise PayloadError(f'not a command: {error}') from error
        if mask >> 6 or not all(map(math.isfinite, moving)):
            raise PayloadError('not a command: six finite components at most')
        values = iter(moving)
        x, y, z, rx, ry, rz = (next(values) if mask >> i & 1 else 0.0 for i in range(6))
        stamp = unwrap(high << 32 | low, STAMP_BITS, now_ns)
        return cls(stamp, (x, y, z, rx, ry, rz))


# Left, top, right, bottom of a part of the picture, in shares of its width and height, 0..1.
Region = tuple[float, float, float, float]
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Request:
    """
    What the ground asks of the robot: one byte, and four for a region in steps of 1/255.

    ``key_frame``: send one that stands alone; ``region``: tell most of this part of the picture,
    of `WHOLE` for no part; None: as before.
    """

    key_frame: bool = False
    region: Region | None = None

    def __post_init__(self) -> None:
        if not (self.key_frame or self.region):
            raise ValueError('a request asks for something')
        if self.region is not None:
            left, top, right, bottom = self.region
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError(f'a region lies within 0..1 and is not empty, got {self.region}')

    def also(self, other: 'Request') -> 'Request':
        """Return both as one; the region is the other's, if it has one."""
        return Request(self.key_frame or other.key_frame, other.region or self.region)

    def pack(self) -> bytes:
        """Return the bytes. A region grows to the next step."""
        flags = _ASKS_KEY * self.key_frame | _ASKS_REGION * (self.region is not None)
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
            if flags & ~(_ASKS_KEY | _ASKS_REGION) or len(edges) != 4 * bool(flags & _ASKS_REGION):
                raise ValueError('unknown flags or another length')
            region = None
            if edges:
                left, top, right, bottom = (edge / 255 for edge in edges)
                region = left, top, right, bottom
            return cls(bool(flags & _ASKS_KEY), region)
        except ValueError as error:
            raise PayloadError(f'not a request: {payload[:8].hex()} ({error})') from None


@dataclass(frozen=True)
class Report:
    """
    What the ground has heard: 6 bytes.

    newest: number of the last frame that came; shown: how many came so far; both modulo 65536.
    loss: share of datagrams lost lately, 0..1, in steps of 1/255; burst: mean length of a run of
    losses, 1 to 32 datagrams, in steps of 1/8.
    """

    newest: int
    shown: int
    loss: float
    burst: float = 1.0

    def pack(self) -> bytes:
        """Return the bytes."""
        burst = min(255, round((self.burst - 1) * _BURST_STEPS))
        return _REPORT.pack(
            self.newest & 0xFFFF, self.shown & 0xFFFF, round(self.loss * 255), burst
        )

    @classmethod
    def unpack(cls, payload: bytes) -> 'Report':
        """Read a report; raises PayloadError for anything else."""
        try:
            newest, shown, loss, burst = _REPORT.unpack(payload)
        except struct.error as error:
            raise PayloadError(f'not a report: {error}') from None
        return cls(newest, shown, loss / 255, 1 + burst / _BURST_STEPS)
