"""
The packed frame: a header of thirteen bytes and one progressive stream.

Layout, big-endian::

    0      version (4 bits), frame type (1 bit), preset (3 bits)
    1-2    fingerprint of the weights
    3      sequence number, modulo 256
    4-6    width - 1, height - 1 (12 bits each)
    7-8    length of the stream
    9      depth code: the scene's median depth, logarithmic; 0 = unknown
    10     CRC-8 of bytes 0-9, so that a frame cut short still proves its header
    11-12  CRC-16 of bytes 0-10 and the whole stream
"""

import binascii
import math
from dataclasses import dataclass

VERSION = 1
KEY, DELTA = 0, 1
PRESETS = ('gsc',)
HEADER_BYTES = 13
MAX_STREAM = 0xFFFF

_NEAREST, _RANGE = 0.5, 400.0


class BitstreamError(ValueError):
    """A stream that cannot be decoded, and what to do about it."""


@dataclass(frozen=True)
class FrameHeader:
    """What a frame says of itself before its stream; ``sequence`` is modulo 256 on air."""

    preset: str
    fingerprint: int
    sequence: int
    width: int
    height: int
    depth_code: int = 0
    frame_type: int = KEY
    stream_bytes: int = 0
    crc: int = 0


def depth_code(metres: float) -> int:
    """Code a median depth in 254 logarithmic steps from 0.5 to 200 m; 0 where it is unknown."""
    if not math.isfinite(metres) or metres <= 0:
        return 0
    code = 1 + round(254 * math.log(metres / _NEAREST) / math.log(_RANGE))
    return min(max(code, 1), 255)


def depth_of_code(code: int) -> float:
    """Metres of a depth code; NaN for 0."""
    return _NEAREST * _RANGE ** ((code - 1) / 254) if code else math.nan


def _crc8(data: bytes) -> int:
    """CRC-8 as the high byte of CRC-16/CCITT: one polynomial serves both."""
    return binascii.crc_hqx(data, 0xFFFF) >> 8


def pack(header: FrameHeader, stream: bytes) -> bytes:
    """
    Put header and stream together; ``stream_bytes`` and ``crc`` are filled in.

    Raises ``ValueError`` for a field out of range.
    """
    ranges = {
        'fingerprint': (header.fingerprint, 0, 0xFFFF),
        'width': (header.width, 1, 4096),
        'height': (header.height, 1, 4096),
        'depth_code': (header.depth_code, 0, 255),
        'frame_type': (header.frame_type, KEY, DELTA),
        'stream length': (len(stream), 0, MAX_STREAM),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f'{name} {value} is outside {low}..{high}')
    if header.preset not in PRESETS:
        raise ValueError(f'preset {header.preset!r} is not one of {", ".join(PRESETS)}')
    size = (header.width - 1) << 12 | (header.height - 1)
    head = (
        bytes([VERSION << 4 | header.frame_type << 3 | PRESETS.index(header.preset)])
        + header.fingerprint.to_bytes(2, 'big')
        + bytes([header.sequence % 256])
        + size.to_bytes(3, 'big')
        + len(stream).to_bytes(2, 'big')
        + bytes([header.depth_code])
    )
    head += bytes([_crc8(head)])
    crc = binascii.crc_hqx(head + stream, 0xFFFF)
    return head + crc.to_bytes(2, 'big') + stream


def unpack(data: bytes, truncated: bool = False) -> tuple[FrameHeader, bytes]:
    """
    Take a packed frame apart.

    ``truncated``: accept a frame whose end was lost; only then the stream is not checked, so
    whoever cut it must have checked its parts. Raises :class:`BitstreamError` for anything else.
    """
    if len(data) < HEADER_BYTES:
        raise BitstreamError(
            f'{len(data)} bytes are no gsc frame: its header alone has {HEADER_BYTES}'
        )
    head, stream = data[:11], data[HEADER_BYTES:]
    version = head[0] >> 4
    if _crc8(head[:10]) != head[10]:
        raise BitstreamError(
            'not a gsc frame, or its header is damaged: drop it, wait for the next'
        )
    if version != VERSION:
        raise BitstreamError(
            f'frame of version {version}, this is version {VERSION}: '
            'install the same gsc_ros on both ends'
        )
    if head[0] & 7 >= len(PRESETS):
        raise BitstreamError(f'preset {head[0] & 7} is not known here: update gsc_ros on this end')
    length = int.from_bytes(head[7:9], 'big')
    crc = int.from_bytes(data[11:13], 'big')
    if len(stream) > length:
        raise BitstreamError(
            f'{len(stream) - length} bytes too many behind the frame: framing is broken'
        )
    if len(stream) < length:
        if not truncated:
            raise BitstreamError(
                f'frame cut short ({len(stream)} of {length} bytes): pass truncated=True '
                'to decode what is there'
            )
    elif binascii.crc_hqx(head + stream, 0xFFFF) != crc:
        raise BitstreamError('frame damaged (CRC): drop it and wait for the next')
    size = int.from_bytes(head[4:7], 'big')
    header = FrameHeader(
        preset=PRESETS[head[0] & 7],
        fingerprint=int.from_bytes(head[1:3], 'big'),
        sequence=head[3],
        width=(size >> 12) + 1,
        height=(size & 0xFFF) + 1,
        depth_code=head[9],
        frame_type=head[0] >> 3 & 1,
        stream_bytes=length,
        crc=crc,
    )
    return header, stream
