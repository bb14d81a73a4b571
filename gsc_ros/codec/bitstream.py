"""
The packed frame: a header of nine bytes or a little more, typed sections if any, and one stream.

Layout of version 5, big-endian::

    1 byte   version (4 bits), frame type (1 bit), a region comes first (1 bit), notes on the image
             come before all (1 bit), sections follow the header (1 bit)
    2 bytes  fingerprint of the weights
    1 byte   sequence number, modulo 256
    1 byte   preset (2 bits); size (6 bits): a common one by number, or 63 and then
    3 bytes  width - 1, height - 1 (12 bits each)
    1 byte   depth code: the scene's median depth, logarithmic; 0 = unknown
    1 byte   of a delta frame: sequence number of its reference
    1 byte   CRC-8 of the header so far, so that a frame cut short still proves its header
    2 bytes  CRC-16 of the header so far and all that follows it
    sections, each:
    1 byte   another section follows (1 bit), id (7 bits)
    1 byte   length, 0..127, or 128 + its high byte and then
    1 byte   its low byte
    content
    stream

The CRCs of a delta frame go on from the CRC-16 of its reference: a decoder that has another frame
of that number notices. New kinds of section need no new version: a reader passes on the sections
that it does not know.
"""

import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType

from gsc_ros.codec import presets

VERSION = 5
KEY, DELTA = 0, 1
HEADER_BYTES = 9  # of a key frame of a common size
MIN_BUDGET = 40  # bytes of a frame
MAX_STREAM = 0xFFFF  # bytes behind the header
MAX_SECTION = 0x7FFF  # bytes of its content
MAX_SECTION_ID = 127

# Sizes that take one byte, 63 at most: never reorder, only append.
SIZES = (
    (480, 360), (640, 480), (640, 360), (320, 240), (1280, 720), (1920, 1080), (1280, 960),
    (800, 600), (1024, 768), (848, 480), (960, 540), (1242, 375), (1024, 512), (2048, 1024),
    (320, 160), (320, 180), (416, 320), (512, 384), (512, 512), (640, 400), (672, 376), (720, 480),
    (720, 576), (752, 480), (768, 512), (512, 768), (1280, 1024), (1280, 800), (1440, 1080),
    (1600, 900), (1600, 1200), (1920, 1200), (64, 64), (128, 128), (160, 120), (256, 256),
    (224, 224), (424, 240), (480, 270), (480, 640), (360, 640), (720, 1280), (1080, 1920),
    (1440, 900), (2560, 1440), (3840, 2160), (1226, 370), (1241, 376), (1600, 1600), (2592, 1944),
)  # fmt: skip
_ANY_SIZE = 63
_SEED = 0xFFFF
_NEAREST, _RANGE = 0.5, 400.0


class Section(IntEnum):
    """
    Ids of the typed sections; others may come from newer senders.

    ``SCENE``: kind of scene; ``OBJECTS``; ``PSEUDO_WORDS``: conditioning of a generator; ``HCI``:
    data of the human-computer interface; ``POSE``: of the camera.
    """

    SCENE = 1
    OBJECTS = 2
    PSEUDO_WORDS = 3
    HCI = 4
    POSE = 5


Sections = Mapping[int, bytes]  # content by id
NO_SECTIONS: Sections = MappingProxyType({})


class BitstreamError(ValueError):
    """A stream that cannot be decoded, and what to do about it."""


class MissingReferenceError(BitstreamError):
    """A delta frame whose reference is not here: a key frame is needed."""


@dataclass(frozen=True)
class FrameHeader:
    """
    What stands before a frame's stream; ``sequence`` is modulo 256 on air.

    ``reference``: sequence number of the reference of a delta frame; ``crc``: of the whole frame
    and ``sectioned``: whether sections follow, both filled in by :func:`pack`; ``region``: whether
    a region of the image comes first; ``noted``: whether the stream begins with notes on the
    image.
    """

    preset: str
    fingerprint: int
    sequence: int
    width: int
    height: int
    depth_code: int = 0
    reference: int | None = None
    crc: int = 0
    region: bool = False
    noted: bool = False
    sectioned: bool = False

    @property
    def frame_type(self) -> int:
        """KEY or DELTA."""
        return KEY if self.reference is None else DELTA

    def reference_of(self, sequence: int) -> int:
        """Whole number of the reference of frame ``sequence``; of a key frame its own."""
        return sequence - ((sequence - (self.reference or 0)) % 256 if self.frame_type else 0)

    @property
    def bytes(self) -> int:
        """Length on air, without sections."""
        wide = 0 if (self.width, self.height) in SIZES else 3
        return HEADER_BYTES + wide + self.frame_type


def depth_code(metres: float) -> int:
    """Code a median depth in 254 logarithmic steps from 0.5 to 200 m; 0 where it is unknown."""
    if not math.isfinite(metres) or metres <= 0:
        return 0
    code = 1 + round(254 * math.log(metres / _NEAREST) / math.log(_RANGE))
    return min(max(code, 1), 255)


def depth_of_code(code: int) -> float:
    """Metres of a depth code; NaN for 0."""
    return _NEAREST * _RANGE ** ((code - 1) / 254) if code else math.nan


def pack_sections(sections: Sections) -> bytes:
    """
    Return the bytes of sections, in their order; none for no sections.

    Raises ``ValueError`` for an id outside 0..127 and for content of over 32767 bytes.
    """
    out = b''
    for index, (number, content) in enumerate(sections.items(), start=1):
        if not 0 <= number <= MAX_SECTION_ID:
            raise ValueError(f'section {number}: ids are 0..{MAX_SECTION_ID}')
        if len(content) > MAX_SECTION:
            raise ValueError(
                f'section {number} of {len(content)} bytes: give {MAX_SECTION} at most'
            )
        length = len(content)
        size = bytes([length]) if length < 128 else (0x8000 | length).to_bytes(2, 'big')
        more = index < len(sections)
        out += bytes([more << 7 | number]) + size + bytes(content)
    return out


def unpack_sections(data: bytes, truncated: bool = False) -> tuple[dict[int, bytes], bytes]:
    """
    Read sections, one at least; returns them by id and what follows them.

    ``truncated``: the data may end anywhere: sections that are there as a whole are returned.
    Raises :class:`BitstreamError` for data that end too early, or where an id comes twice.
    """
    sections: dict[int, bytes] = {}
    at, more = 0, True
    while more:
        long = data[at + 1 : at + 2] >= b'\x80'
        start = at + 2 + long
        size = int.from_bytes(data[at + 1 : start], 'big') & (0x7FFF if long else 0x7F)
        if len(data) < max(at + 2, start) or len(data) < start + size:
            if truncated:
                return sections, b''
            raise BitstreamError('sections do not end within the frame: its sender is broken')
        more, number = bool(data[at] >> 7), data[at] & 0x7F
        if number in sections:
            raise BitstreamError(f'section {number} comes twice: the sender is broken')
        at = start + size
        sections[Section(number) if number in set(Section) else number] = data[start:at]
    return sections, data[at:]


def pack(
    header: FrameHeader,
    stream: bytes,
    reference_crc: int = 0,
    sections: Sections = NO_SECTIONS,
) -> tuple[FrameHeader, bytes]:
    """
    Put header, sections and stream together.

    Returns the header with ``crc`` and ``sectioned`` filled in, and the frame.
    ``reference_crc``: CRC of the reference, of a delta frame. Raises ``ValueError`` for a field
    out of range.
    """
    body = pack_sections(sections) + stream
    ranges = {
        'fingerprint': (header.fingerprint, 0, 0xFFFF),
        'width': (header.width, 1, 4096),
        'height': (header.height, 1, 4096),
        'depth_code': (header.depth_code, 0, 255),
        'reference': (header.reference or 0, 0, 255),
        'length of sections and stream': (len(body), 0, MAX_STREAM),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f'{name} {value} is outside {low}..{high}')
    preset = presets.find(header.preset).code << 6
    size = (header.width, header.height)
    if size in SIZES:
        sized = bytes([preset | SIZES.index(size)])
    else:
        wide = (size[0] - 1) << 12 | (size[1] - 1)
        sized = bytes([preset | _ANY_SIZE]) + wide.to_bytes(3, 'big')
    flags = header.frame_type << 3 | header.region << 2 | header.noted << 1 | bool(sections)
    head = (
        bytes([VERSION << 4 | flags])
        + header.fingerprint.to_bytes(2, 'big')
        + bytes([header.sequence % 256])
        + sized
        + bytes([header.depth_code])
    )
    seed = _SEED
    if header.reference is not None:
        head += bytes([header.reference])
        seed = reference_crc
    head += bytes([_crc8(head, seed)])
    crc = binascii.crc_hqx(head + body, seed)
    header = replace(header, sequence=header.sequence % 256, crc=crc, sectioned=bool(sections))
    return header, head + crc.to_bytes(2, 'big') + body


def _crc8(data: bytes, seed: int) -> int:
    """CRC-8 as the high byte of CRC-16/CCITT: one polynomial serves both."""
    return binascii.crc_hqx(data, seed) >> 8


def read_header(data: bytes, check_crc: bool = False) -> FrameHeader:
    """
    Read a frame's header; ``check_crc``: and check that the frame is whole.

    CRCs are checked of key frames; of delta frames only :func:`unpack` can, with the reference at
    hand. Raises :class:`BitstreamError` with the remedy.
    """
    if len(data) < HEADER_BYTES:
        raise BitstreamError(
            f'{len(data)} bytes are no gsc frame: its header alone has {HEADER_BYTES}'
        )
    version, delta = data[0] >> 4, data[0] >> 3 & 1
    size, wide = data[4] & 63, 3 if data[4] & 63 == _ANY_SIZE else 0
    length = HEADER_BYTES + wide + delta
    damaged = 'not a gsc frame, or its header is damaged: drop it, wait for the next'
    if len(data) < length or (not delta and _crc8(data[: length - 3], _SEED) != data[length - 3]):
        raise BitstreamError(damaged)
    if version != VERSION:
        raise BitstreamError(
            f'not a gsc frame, or one of version {version} where this is version {VERSION}: '
            'install the same gsc_ros on both ends'
        )
    doubt = ', or the frame is damaged' if delta else ''
    preset = presets.find_code(data[4] >> 6)
    if preset is None:
        raise BitstreamError(
            f'preset {data[4] >> 6} is not known here: update gsc_ros on this end{doubt}'
        )
    crc = int.from_bytes(data[length - 2 : length], 'big')
    if check_crc and not delta:
        _check_whole(data, length, _SEED, crc)
    if wide:
        packed = int.from_bytes(data[5:8], 'big')
        width, height = (packed >> 12) + 1, (packed & 0xFFF) + 1
    elif size < len(SIZES):
        width, height = SIZES[size]
    else:
        raise BitstreamError(f'size {size} is not known here: update gsc_ros on this end{doubt}')
    return FrameHeader(
        preset.name,
        int.from_bytes(data[1:3], 'big'),
        data[3],
        width,
        height,
        data[5 + wide],
        data[6 + wide] if delta else None,
        crc,
        bool(data[0] >> 2 & 1),
        bool(data[0] >> 1 & 1),
        bool(data[0] & 1),
    )


def _check_whole(data: bytes, length: int, seed: int, crc: int) -> None:
    if binascii.crc_hqx(data[: length - 2] + data[length:], seed) != crc:
        raise BitstreamError(
            'frame damaged or cut short (CRC): drop it and wait for the next; pass truncated=True '
            'to decode what is there of a frame that is known to be cut'
        )


def unpack(
    data: bytes, truncated: bool = False, references: Mapping[int, int] = MappingProxyType({})
) -> tuple[FrameHeader, dict[int, bytes], bytes]:
    """
    Take a packed frame apart, into header, sections by id and stream.

    ``truncated``: accept a frame whose end was lost; only then the stream is not checked, so
    whoever cut it must have checked its parts. ``references``: CRCs by sequence number of the
    frames that a delta frame may refer to. Raises :class:`MissingReferenceError` for a delta frame
    without its reference and :class:`BitstreamError` for anything else that is no whole frame.
    """
    header = read_header(data)
    head, stream = data[: header.bytes - 2], data[header.bytes :]
    sections: dict[int, bytes] = {}
    seed = _SEED
    if header.reference is not None:
        if header.reference not in references:
            raise MissingReferenceError(
                f'delta frame {header.sequence} refers to frame {header.reference}, '
                'which is not here: wait for a key frame'
            )
        seed = references[header.reference]
        if _crc8(head[:-1], seed) != head[-1]:
            raise BitstreamError(
                'header damaged, or its reference is another frame than the one here: '
                'drop it, wait for a key frame'
            )
    if not truncated:
        _check_whole(data, header.bytes, seed, header.crc)
    if header.sectioned:
        sections, stream = unpack_sections(stream, truncated)
    return header, sections, stream


def read_sections(data: bytes) -> dict[int, bytes]:
    """
    Read the sections of a frame that came, whole or cut, without its reference.

    Its CRCs are not checked: that is for data whose parts were checked on their way. Raises
    :class:`BitstreamError` for data that are no frame.
    """
    header = read_header(data)
    if not header.sectioned:
        return {}
    return unpack_sections(data[header.bytes :], truncated=True)[0]
