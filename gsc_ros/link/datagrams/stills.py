"""
A still, one whole image, in parts that cross the link one by one and may be asked for again.

A still is a stamp (8 bytes, ns), a CRC-32 of stamp and file (4 bytes), and an image file. It goes
in parts of one datagram each: number of the request (1 byte), tag (2 bytes: the CRC's low half, so
that parts of two images do not mix), index and count of the parts (2 bytes each), and its bytes.
All parts but the last are equally long.
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from gsc_ros.link.datagrams.payloads import PayloadError

MOST_BYTES = 16384  # of an image file
_HEAD = struct.Struct('>QI')
_STAMP = struct.Struct('>Q')
_PART = struct.Struct('>BHHH')
PART_HEAD_BYTES = _PART.size
_MOST = MOST_BYTES + _HEAD.size
_ASK, _FIRST = struct.Struct('>B'), struct.Struct('>H')
_MOST_MAP = 16  # bytes of the bitmap of an ask


@dataclass(frozen=True)
class Still:
    """An image file, 1 to :data:`MOST_BYTES` bytes, and the stamp of its image, ns."""

    stamp_ns: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.data) <= MOST_BYTES:
            raise ValueError(f'a still has 1 to {MOST_BYTES} bytes, got {len(self.data)}')
        if not 0 <= self.stamp_ns < 1 << 64:
            raise ValueError(f'a stamp is a time after 1970, got {self.stamp_ns} ns')

    def parts(self, number: int, room: int) -> list['Part']:
        """Return its parts for payloads of ``room`` bytes."""
        step = room - PART_HEAD_BYTES
        if step < 1:
            raise ValueError(f'a part of a still needs {PART_HEAD_BYTES + 1} bytes, got {room}')
        check = _check(self.stamp_ns, self.data)
        whole = _HEAD.pack(self.stamp_ns, check) + self.data
        cut = [whole[at : at + step] for at in range(0, len(whole), step)]
        return [Part(number, check & 0xFFFF, i, len(cut), one) for i, one in enumerate(cut)]

    @classmethod
    def unpack(cls, whole: bytes) -> 'Still':
        """Read what the parts are together; raises PayloadError."""
        try:
            stamp_ns, check = _HEAD.unpack_from(whole)
            still = cls(stamp_ns, whole[_HEAD.size :])
        except (struct.error, ValueError) as error:
            raise PayloadError(f'not a still: {error}') from None
        if check != _check(stamp_ns, still.data):
            raise PayloadError('not a still: its CRC does not fit')
        return still


@dataclass(frozen=True)
class Part:
    """A part of a still; ``number`` 1 to 255, of the request."""

    number: int
    tag: int
    index: int
    count: int
    data: bytes

    def pack(self) -> bytes:
        """Return the bytes for the air."""
        return _PART.pack(self.number, self.tag, self.index, self.count) + self.data

    @classmethod
    def unpack(cls, payload: bytes) -> 'Part':
        """Read a part; raises PayloadError, also where its still would be too large."""
        try:
            number, tag, index, count = _PART.unpack_from(payload)
            part = cls(number, tag, index, count, payload[_PART.size :])
        except struct.error as error:
            raise PayloadError(f'not a part of a still: {error}') from None
        if not part.number or not part.data or part.index >= part.count:
            raise PayloadError('not a part of a still: no number, no content or a bad index')
        # The others are as long, or longer where this is the last, which has a byte at least.
        size = len(part.data)
        last = size if part.index == part.count - 1 else 1
        if size * (part.count - 1) + last > _MOST:
            raise PayloadError(f'a still of over {MOST_BYTES} bytes')
        return part


@dataclass(frozen=True)
class StillAsk:
    """
    What the ground asks for: a new still, or what is missing of the one of this number.

    missing: indices, ascending, of which as many are sent as a bitmap of 16 bytes holds; empty:
    nothing has come. ``covers``: up to which index, exclusive, it states what is missing.
    """

    number: int
    missing: tuple[int, ...] = ()
    covers: int = 0

    @classmethod
    def of(cls, number: int, missing: Iterable[int]) -> 'StillAsk':
        """Make one of as many indices as fit."""
        wanted = sorted(missing)
        if not wanted:
            return cls(number)
        span = 8 * _MOST_MAP
        kept = tuple(i for i in wanted if i < wanted[0] + span)
        return cls(number, kept, wanted[0] + 8 * ((kept[-1] - wanted[0]) // 8 + 1))

    def pack(self) -> bytes:
        """Return the bytes."""
        head = _ASK.pack(self.number)
        if not self.missing:
            return head
        first = self.missing[0]
        bits = sum(1 << (i - first) for i in self.missing)
        size = (self.covers - first) // 8
        return head + _FIRST.pack(first) + bits.to_bytes(size, 'little')

    @classmethod
    def unpack(cls, data: bytes) -> 'StillAsk':
        """Read one; raises PayloadError."""
        try:
            (number,) = _ASK.unpack_from(data)
            rest = data[_ASK.size :]
            if not number:
                raise ValueError('its number is 0')
            if not rest:
                return cls(number)
            (first,) = _FIRST.unpack_from(rest)
            bitmap = rest[_FIRST.size :]
            if not 0 < len(bitmap) <= _MOST_MAP or not bitmap[0] & 1 or not bitmap[-1]:
                raise ValueError('a bitmap of another length or form')
        except (struct.error, ValueError) as error:
            raise PayloadError(f'no ask for a still: {error}') from None
        bits = int.from_bytes(bitmap, 'little')
        missing = tuple(first + i for i in range(8 * len(bitmap)) if bits >> i & 1)
        return cls(number, missing, first + 8 * len(bitmap))


def format_of(data: bytes) -> str | None:
    """Return the format of a file by its first bytes; None for neither AVIF nor WebP."""
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        return 'webp'
    return 'avif' if data[4:12] in (b'ftypavif', b'ftypavis') else None


def _check(stamp_ns: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_STAMP.pack(stamp_ns)))
