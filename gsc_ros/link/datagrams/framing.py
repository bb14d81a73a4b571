"""
Datagrams: the one format that crosses the air, its fragments and their reassembly.

A datagram is a header of 7 bytes around a fragment of a payload, big-endian::

    byte 0      version (3 bits) | traffic class (5 bits)
    bytes 1-2   session of the sender
    bytes 3-4   number of the payload within its class, camera and session, modulo 65536
    byte 5      end (1 bit) | cut (1 bit) | camera (3 bits) | 0 (3 bits)
    byte 6      index of this fragment
    ...         the fragment
    last 4      CRC-32 of all before it, started from a constant of this format

That is version 3, which keeps damage out and nobody who means harm; `security.py` has version 4.
Versions 1 and 2 are those of older releases: they are refused by name.

A *session* is one run of a sender: another one at every start and every time its clock begins
anew. Numbers count within it. What belongs together, as a frame and its setup, is of one session.
The reassembler follows one session at a time. When another begins, the one before is over for
good: what still comes of it is dropped, so that nothing old is mixed with what is new.

A payload is a *prefix code*: its leading bytes are of use alone. So the receiver hands
up either the whole or the longest unbroken beginning, never anything that was not checked. The
last fragment is marked (`end`), and whether the sender left off a tail (`cut`): there is no count,
because a sender may decide to stop while a payload is on its way. Order is kept on a radio: a
datagram of a newer payload means that no more of an older one will come.

A frame may be *protected*: behind its last fragment comes parity (`erasure.py`), from which lost
fragments are restored. Two more traffic classes mark that: 4 is a frame's last fragment that has
parity behind it, 5 is parity. Fragments of a protected frame are equally long but for the last.
Parity has an index of its own, `end` on the last of it, `cut` as the frame's end has it, and the
number of bytes that it protects (uint16) before its own. A protected frame waits for its parity
when something is missing; any other is handed up as soon as its end came.
"""

import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from gsc_ros.link.datagrams import erasure
from gsc_ros.link.datagrams.seals import (
    CHECKSUM,
    OVERHEAD,
    PLACE,
    VERSION_SHIFT,
    FramingError,
    Opened,
    Seal,
)
from gsc_ros.link.radio.airtime import MAX_MTU, MIN_MTU

MAX_FRAGMENTS = 256
MAX_SESSION = 0xFFFF
MAX_CAMERA = 7
_CLASS = 0x1F
_END, _CUT, _CAMERA_SHIFT, _SPARE = 0x80, 0x40, 3, 0x07
_PROTECTED, _PARITY = 4, 5  # traffic classes, both of frames
SIZE = struct.Struct('>H')
PARITY_HEAD_BYTES = SIZE.size
MAX_PROTECTED_BYTES = 0xFFFF  # of a payload: the size is a uint16


class TrafficClass(IntEnum):
    """Kinds of payload, most urgent first."""

    STOP = 0
    COMMAND = 1
    SETUP = 2
    FRAME = 3
    REQUEST = 6
    REPORT = 7
    GOAL = 8
    TELEMETRY = 10
    STILL = 11


# Classes whose payloads are of one of several cameras; the others are of the robot as a whole.
PER_CAMERA = frozenset(
    (
        TrafficClass.SETUP,
        TrafficClass.FRAME,
        TrafficClass.REQUEST,
        TrafficClass.REPORT,
        TrafficClass.TELEMETRY,
        TrafficClass.STILL,
    )
)

# A class and a camera: numbers of payloads count within one.
Stream = tuple[TrafficClass, int]
PayloadId = tuple[TrafficClass, int, int]  # class, camera, number

# Traffic classes that later releases will use.
RESERVED = {9: 'POSE'}


def claims_stop(data: bytes, skip: int = 0) -> bool:
    """
    Whether a datagram says that it is of a STOP, before anything of it is proven.

    ``skip``: bytes of another protocol's header before it.
    """
    return len(data) > skip and data[skip] & _CLASS == TrafficClass.STOP


def random_session() -> int:
    """Draw the number of a session, for senders that cannot note which ones they had."""
    return secrets.randbelow(0x100) << 8 | 1 + secrets.randbelow(0xFF)


def is_session(number: int) -> bool:
    """Whether a number can be that of a session: 1 to 65535, the low byte not 0."""
    return 0 < number <= MAX_SESSION and number & 0xFF != 0


@dataclass(frozen=True)
class Datagram:
    """
    One fragment and its place; `end`: it is the last; `cut`: a tail was left off behind it.

    protected: parity comes behind this end; parity: it is some (both of frames only). session: of
    the sender; camera: 0 to 7.
    """

    traffic_class: TrafficClass
    number: int
    index: int
    fragment: bytes
    end: bool = False
    cut: bool = False
    protected: bool = False
    parity: bool = False
    session: int = 1
    camera: int = 0

    def __post_init__(self) -> None:
        if (self.protected or self.parity) and self.traffic_class is not TrafficClass.FRAME:
            raise ValueError(f'only frames have parity, not {self.traffic_class.name}')

    def pack(self, seal: Seal = CHECKSUM) -> bytes:
        """Return the bytes for the air."""
        code = _PARITY if self.parity else _PROTECTED if self.protected else self.traffic_class
        first = seal.version << VERSION_SHIFT | code
        flags = _END * self.end | _CUT * self.cut | self.camera << _CAMERA_SHIFT
        place = PLACE.pack(self.session, self.number, flags, self.index)
        return seal.close(bytes([first]), place + self.fragment)

    @classmethod
    def unpack(cls, data: bytes, seal: Seal = CHECKSUM) -> 'Datagram':
        """Read and check a datagram; raises FramingError for anything else."""
        return cls.of(seal.open(data))

    @classmethod
    def of(cls, opened: Opened) -> 'Datagram':
        """Read a datagram that was proven; raises FramingError for one that cannot be."""
        if len(opened.rest) <= PLACE.size:
            raise FramingError('a datagram needs a fragment')
        code = opened.first[0] & _CLASS
        protected, parity = code == _PROTECTED, code == _PARITY
        if code in RESERVED:
            raise FramingError(f'class {RESERVED[code]} is not used yet')
        if not (protected or parity or code in TrafficClass._value2member_map_):
            raise FramingError(f'unknown class {code}')
        traffic_class = TrafficClass.FRAME if protected or parity else TrafficClass(code)
        session, number, flags, index = PLACE.unpack_from(opened.rest)
        fragment = bytes(opened.rest[PLACE.size :])
        if flags & _SPARE:
            raise FramingError('bits are set that this version does not use')
        if not is_session(session):
            raise FramingError(f'there is no session {session}')
        if parity and index >= erasure.max_parity(ProtectedPayload.of(fragment).count):
            raise FramingError(f'there is no parity {index} of such a payload')
        return cls(
            traffic_class,
            number,
            index,
            fragment,
            end=bool(flags & _END),
            cut=bool(flags & _CUT),
            protected=protected,
            parity=parity,
            session=session,
            camera=flags >> _CAMERA_SHIFT & MAX_CAMERA,
        )


@dataclass(frozen=True)
class ProtectedPayload:
    """What parity protects: a payload of `size` bytes in fragments of `step`."""

    size: int
    step: int

    @classmethod
    def of(cls, fragment: bytes) -> 'ProtectedPayload':
        """Read it from a fragment of parity; raises FramingError."""
        if len(fragment) <= SIZE.size:
            raise FramingError('parity needs bytes behind the size')
        return cls(SIZE.unpack_from(fragment)[0], len(fragment) - SIZE.size)

    @property
    def count(self) -> int:
        return -(-self.size // self.step)

    def fits(self, index: int, part: bytes, end: bool) -> bool:
        """Whether a fragment of data can be of this payload."""
        last = self.count - 1
        if index < last:
            return not end and len(part) == self.step
        return index == last and end and len(part) == self.size - last * self.step


def check_mtu(mtu: int) -> None:
    """Raise ValueError unless `mtu` is a possible datagram size in bytes."""
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise ValueError(f'mtu must be {MIN_MTU} to {MAX_MTU} bytes, got {mtu}')


def check_camera(camera: int, traffic_class: TrafficClass) -> None:
    """Raise ValueError unless payloads of this class can be of this camera."""
    if camera and traffic_class not in PER_CAMERA:
        raise ValueError(f'{traffic_class.name} is of the robot, and not of camera {camera}')
    if not 0 <= camera <= MAX_CAMERA:
        raise ValueError(f'camera must be 0 to {MAX_CAMERA}, got {camera}')


def check_payload(size: int, mtu: int, overhead: int = OVERHEAD) -> None:
    """Raise ValueError unless a payload of `size` bytes goes into datagrams of `mtu` bytes."""
    check_mtu(mtu)
    if not 0 < size <= max_payload(mtu, overhead):
        raise ValueError(
            f'payload must have 1 to {max_payload(mtu, overhead)} bytes at mtu {mtu}, got {size}'
        )


def max_payload(mtu: int, overhead: int = OVERHEAD) -> int:
    """Greatest payload in bytes that goes into datagrams of `mtu` bytes."""
    return MAX_FRAGMENTS * (mtu - overhead)


def air_bytes(payload_bytes: int, mtu: int, overhead: int = OVERHEAD) -> int:
    """Bytes on air of a payload: itself and the overhead of its fragments."""
    return payload_bytes + overhead * fragment_count(payload_bytes, mtu, overhead)


def fragment_count(payload_bytes: int, mtu: int, overhead: int = OVERHEAD) -> int:
    """How many datagrams a payload needs."""
    return -(-payload_bytes // (mtu - overhead))


def fragments(
    payload: bytes,
    traffic_class: TrafficClass,
    number: int,
    mtu: int,
    overhead: int = OVERHEAD,
    session: int = 1,
) -> Iterator[Datagram]:
    """
    Split a payload into datagrams of at most `mtu` bytes, most important bytes first.

    Raises ValueError for an empty payload or one above `max_payload`.
    """
    check_payload(len(payload), mtu, overhead)
    step = mtu - overhead
    for at in range(0, len(payload), step):
        end = at + step >= len(payload)
        part = payload[at : at + step]
        yield Datagram(traffic_class, number & 0xFFFF, at // step, part, end, session=session)


def parity(payload: bytes, step: int, count: int) -> list[bytes]:
    """
    Return `count` fragments of parity for a payload that goes in fragments of `step` bytes.

    Each has `step` + 2 bytes. Raises ValueError for a payload above 65535 bytes, and for more
    parity than there is.
    """
    if len(payload) > MAX_PROTECTED_BYTES:
        raise ValueError(f'parity protects up to {MAX_PROTECTED_BYTES} bytes, got {len(payload)}')
    data = [payload[at : at + step] for at in range(0, len(payload), step)]
    return [SIZE.pack(len(payload)) + part for part in erasure.parity(data, count)]
