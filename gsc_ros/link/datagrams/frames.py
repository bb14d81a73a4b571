"""
Frames on air: the coded frame with its acquisition stamp, and the setup that describes it.

A frame carries 9 bytes beside its coded stream: 48 bits of the stamp, 16 of the sequence and the
number of the *setup* it belongs to. The setup holds what seldom changes (frame_id, intrinsics, the
full stamp and sequence to count from) and crosses once, on change and now and then again, so that
the far end rebuilds stamp, frame_id and camera_info exactly, whatever the clocks show. A frame and
its setup are of one session of the robot (`framing.py`).

Of several cameras each has frames and setups of its own. Their setups carry the camera's name, so
that two ends with different lists of cameras show no camera as another one.
"""

import math
import secrets
import struct
import zlib
from dataclasses import dataclass, replace

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import PayloadError, unwrap

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
# A setup goes with these frames after a change, and with every 32nd from then on.
_SETUP_FRAMES = frozenset((0, 2, 8))
_SETUP_EVERY = 32
_SETUPS = 128  # numbers


@dataclass(frozen=True)
class Camera:
    """
    The content of a sensor_msgs/CameraInfo except its stamp. K, R, P row-major as there.

    An uncalibrated camera has zeros for `k` and `p`, as in CameraInfo.
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
    """
    What frames of one setup share. `number` 0..127; stamp (ns) and sequence to count from.

    name: of the camera on the link; empty where it is the only one.
    """

    number: int
    stamp_ns: int
    sequence: int
    camera: Camera
    name: str = ''

    def pack(self) -> bytes:
        """Return the bytes for the air; deflate takes out zeros and what K and P share."""
        camera = self.camera
        numbers = (*camera.k, *camera.p, *camera.r, *camera.d)
        names = [name.encode() for name in (camera.distortion_model, camera.frame_id)]
        body = _CAMERA.pack(
            camera.width, camera.height, *camera.window, len(camera.d), *map(len, names)
        )
        body += struct.pack(f'>{len(numbers)}d', *numbers) + b''.join(names) + self.name.encode()
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
            frame_id_end = model_size + name_size
            if len(text) < frame_id_end or not unpacker.eof:
                raise ValueError('its end is not where it should be')
            if not 0 <= stamp <= MAX_STAMP_NS:
                raise ValueError(f'a stamp is 0 to {MAX_STAMP_NS} ns, got {stamp}')
            camera = Camera(
                frame_id=text[model_size:frame_id_end].decode(),
                width=width,
                height=height,
                distortion_model=text[:model_size].decode(),
                d=numbers[30:],
                k=numbers[:9],
                r=numbers[21:30],
                p=numbers[9:21],
                window=tuple(window),
            )
            name = text[frame_id_end:].decode()
        except (struct.error, zlib.error, ValueError) as error:
            raise PayloadError(f'not a setup: {error}') from error
        return cls(number, stamp, sequence, camera, name)


@dataclass(frozen=True)
class Frame:
    """A coded frame with its exact acquisition stamp (ns), sequence (uint32) and camera."""

    stamp_ns: int
    sequence: int
    camera: Camera
    data: bytes


class FrameSender:
    """
    Robot side: turns frames into payloads, with a setup first where one has to go.

    ``number``: of the first setup, 0..127; None for a random one. ``name``: of the camera, as of
    :class:`Setup`.
    """

    def __init__(self, number: int | None = None, name: str = '') -> None:
        self._name = name
        self._number = secrets.randbelow(_SETUPS) if number is None else number % _SETUPS
        self._setup: Setup | None = None
        self._repeat = False
        self._stamp_ns = 0
        self._sequence = 0
        self._begun_at = 0
        self._shown_at = -1

    def pack(self, frame: Frame, frames_sent: int) -> list[tuple[TrafficClass, bytes]]:
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
            payloads.append((TrafficClass.SETUP, fresh.pack()))
        low = frame.stamp_ns & ((1 << STAMP_BITS) - 1)
        head = _FRAME.pack(
            self._setup.number, low >> 32, low & 0xFFFFFFFF, frame.sequence & 0xFFFF
        )
        return [*payloads, (TrafficClass.FRAME, head + frame.data)]

    def repeat_setup(self) -> None:
        """Let the next frame go behind its setup: the far end may not have it."""
        self._repeat = True

    def _renew(self, frame: Frame, frames_sent: int) -> None:
        """Begin a new setup when the camera changed or counts left the range of their bits."""
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
            self._setup = Setup(number, frame.stamp_ns, frame.sequence, frame.camera, self._name)
            self._begun_at = frames_sent
            self._shown_at = -1


class FrameReceiver:
    """
    Ground side: rebuilds frames. `undescribed` counts those that came without their setup.

    ``session``: of the robot, as the datagrams have it. A frame needs a setup of its own session.
    ``name``: of the camera, as of :class:`Setup`.
    """

    def __init__(self, name: str = '') -> None:
        self._name = name
        self.undescribed = 0
        self._setup: Setup | None = None
        self._session = 0

    def setup(self, payload: bytes, session: int = 0) -> None:
        """Take a setup; raises PayloadError, also for that of a camera with another name."""
        setup = Setup.unpack(payload)
        if setup.name != self._name:
            raise PayloadError(
                f'the robot has {_called(setup.name)} where this end has {_called(self._name)}: '
                'give both ends the same cameras'
            )
        self._setup, self._session = setup, session

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


def _called(name: str) -> str:
    return f'camera {name!r}' if name else 'one camera without a name'
