"""
Image files: one reader for commands, sources, datasets and training.

A file is read whole or refused. What OpenCV and Pillow hand out of a JPEG that is damaged inside
is grey or shifted from the damage on, without a word: so every JPEG is also decoded strictly, at
an eighth of its size, and every chunk of a PNG is compared with its CRC. A JPEG has no checksum.
What a decoder accepts is damaged all the same where it holds codes that no encoder writes: means
of blocks far beyond black or white, to which damage adds up, and runs of zero bytes. Damage of a
few bytes after which the codes happen to fit again stays unknown.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

SUFFIXES = (
    '.png', '.jpg', '.jpeg', '.jfif', '.webp', '.avif', '.gif', '.bmp', '.ppm', '.pgm', '.tif',
    '.tiff', '.jp2',
)  # fmt: skip

# What shows through transparent areas: black, as beyond the edge of a rectified image.
BACKGROUND = (0, 0, 0)

# Warnings of libjpeg-turbo that concern no pixel, or of kinds of JPEG that it does not know.
_HARMLESS = re.compile(
    'Unknown Adobe color transform|unknown JFIF|Invalid SOS parameters|Huffman table|arithmetic'
    '|Unsupported JPEG process|Unsupported color conversion|subsampling level'
)
_SURPLUS = re.compile(r'(\d+) extraneous bytes before marker 0xd[0-79]')
_FEW = 16  # surplus bytes in a segment that some webcams write behind a whole image

_ZEROS = bytes(32)  # so many are damage, but where zeros are codes
_BEYOND = 24  # levels that a block's mean lies outside of 0..255: encoders overshoot by fewer
_SCALE = 3 / 8  # of the quantisation, at which means far beyond 0..255 fit into 8 bits
_SEQUENTIAL = 0xC0, 0xC1
_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')  # but restarts

# EXIF's orientation (CIPA DC-008, 4.6.4) and what puts it upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Warn = Callable[[str], object]


def read_rgb(path: Path, warn: Warn = warnings.warn) -> NDArray[np.uint8]:
    """
    Read an image as uint8 (H, W, 3) RGB, upright by its EXIF orientation.

    Grey is repeated, 16 bits are divided by 256, floats of 0..1 are scaled, `BACKGROUND` shows
    through transparent areas, CMYK and palettes become RGB, colour profiles are not applied. Of
    an animation or a series it is the first image. ``warn`` is called with what leaves a doubt.

    Raises ``FileNotFoundError``, or ``ValueError`` for a file that is no image, is cut off or
    damaged inside, is too large, or holds NaN or Inf.
    """
    image = _open(path, warn)
    if not isinstance(image, Image.Image):
        return _of_floats(image, path)
    image = _upright(image, path, warn)
    if image.mode.startswith('I'):  # 16 bits, which convert() would clip
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == 'F':
        return _of_floats(np.asarray(image), path)
    try:
        if {'A', 'a'} & set(image.getbands()) or 'transparency' in image.info:
            background = Image.new('RGBA', image.size, (*BACKGROUND, 255))
            image = Image.alpha_composite(background, image.convert('RGBA'))
        return np.array(image.convert('RGB'))
    except ValueError as error:
        raise ValueError(f'{path}: pixels of mode {image.mode}; save it as RGB') from error


def _upright(image: Image.Image, path: Path, warn: Warn) -> Image.Image:
    """Turn an image by its EXIF orientation; ImageOps would fail where other tags are bad."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # EXIF of any kind of damage, in a sound image
        warn(f'{path}: EXIF data that cannot be read ({error}); taken to be upright')
        return image
    return image if turn is None else image.transpose(turn)


def read_map(path: Path) -> NDArray:
    """
    Read a map of values as they are in the file: uint8 or uint16 (H, W), grey or indexed.

    Raises ``FileNotFoundError``, or ``ValueError`` for a damaged file or one of other pixels.
    """
    image = _open(path, warnings.warn)
    mode = image.mode if isinstance(image, Image.Image) else 'floats'
    if mode in ('L', 'P'):
        return np.array(image)
    values = np.array(image)
    if not mode.startswith('I') or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f'{path}: a map has 8 or 16 bits, grey or indexed, not {mode}')
    return values.astype(np.uint16)


def _of_floats(pixels: NDArray[np.float32], path: Path) -> NDArray[np.uint8]:
    if not np.isfinite(pixels).all():
        raise ValueError(f'{path}: holds NaN or Inf; repair it first')
    rgb = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rgb if rgb.ndim == 3 else np.repeat(rgb[..., None], 3, axis=2)


def _open(path: Path, warn: Warn) -> Image.Image | NDArray[np.float32]:
    """Decode a file whole: an image, or float32 (H, W, 3) RGB where Pillow has no mode for it."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except UnidentifiedImageError as error:
        floats = _floats(data)
        if floats is None:
            raise ValueError(
                f'{path}: cannot be read, not an image (PNG, JPEG, WebP, TIFF, ...)'
            ) from error
        return floats
    except Image.DecompressionBombError as error:
        raise ValueError(f'{path}: cannot be read, too large an image; scale it first') from error
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(_damaged(path, error)) from error
    try:
        if image.format in ('JPEG', 'MPO') and (doubt := check_jpeg(data)):
            warn(f'{path}: {doubt}; it is used')
        elif image.format == 'PNG':
            Image.open(io.BytesIO(data)).verify()
    except Exception as error:  # as above
        raise ValueError(_damaged(path, error)) from error
    return image


def _floats(data: bytes) -> NDArray[np.float32] | None:
    """Colours in floats, as OpenCV reads them from TIFF and Radiance; None for anything else."""
    if not data.startswith((b'II', b'MM', b'#?')):
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # nothing in it, or too large
        return None
    if bgr is None or bgr.dtype != np.float32:
        return None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def check_jpeg(data: bytes) -> str:
    """
    Decode a JPEG strictly; return what leaves a doubt about it, or nothing.

    Raises ``ValueError`` for one that is cut off or damaged inside.
    """
    header = _read_header(data)
    end = data.find(b'\xff\xd9', header.scan)
    if not header.zeros_are_codes and data.find(_ZEROS, header.scan, end) >= 0:
        raise ValueError(f'{len(_ZEROS)} bytes of zero and more inside')
    probe, scale, most = _scaled_means(data, header)
    doubt = ''
    try:
        grey = _eighth(probe, strict=True)
    except ValueError as error:
        message = str(error)
        surplus = _SURPLUS.search(message)
        if surplus and int(surplus[1]) <= _FEW:
            doubt = f'{message}: damaged, or of a webcam that writes so'
            grey = _eighth(probe, strict=False)
        elif _HARMLESS.search(message) and not _ends_early(data, header):
            return ''
        else:
            raise
    if np.abs(grey.astype(np.float32) - 128).max() > most * scale + 1:
        raise ValueError('means of blocks are far beyond black and white')
    return doubt


def _eighth(data: bytes, strict: bool) -> NDArray[np.uint8]:
    """Decode the brightness of a JPEG at an eighth of its size: the means of its blocks."""
    return simplejpeg.decode_jpeg(
        data, 'GRAY', min_height=1, min_width=1, min_factor=8, strict=strict
    )


@dataclass
class _JpegHeader:
    """
    What the segments before a JPEG's first scan state (ITU-T T.81, annex B).

    ``steps``: where the step of the means stands, by quantisation table of 8 bits;
    ``brightness``: the table of the first component, -1 in CMYK; ``scan``: where the codes begin;
    ``single``: whether no other scan follows, nor tables, as in baseline JPEGs;
    ``zeros_are_codes``: whether an image may have a run of zero bits as codes.
    """

    steps: dict[int, int] = field(default_factory=dict)
    brightness: int = -1
    scan: int = 0
    single: bool = False
    zeros_are_codes: bool = True


def _read_header(data: bytes) -> _JpegHeader:
    """
    Read the segments before the first scan, as far as they can be read.

    Zero bits are codes where they end blocks at once, as Huffman tables made for a smooth image
    have it. By all other tables they are coefficients that are all alike: in no image, many so.
    """
    header, at = _JpegHeader(), 2
    components, sequential, first_codes = 0, False, {0: 1}  # of coefficients; 1 in usual tables
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        segment, base = data[at + 4 : end], at + 4
        if marker == 0xDB:
            _read_steps(segment, base, header.steps)
        elif marker == 0xC4:
            _read_codes(segment, first_codes)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC) and len(segment) > 8:
            components = segment[5]
            header.brightness = segment[8] if components <= 3 else -1
            sequential = marker in _SEQUENTIAL
        elif marker == 0xDA:
            header.scan = end
            if sequential and segment[:1] == bytes([components]) and len(segment) > 2:
                header.single = True
                header.zeros_are_codes = first_codes.get(segment[2] & 15, 0) & 15 == 0
            break
        at = end
    return header


def _read_steps(segment: bytes, base: int, steps: dict[int, int]) -> None:
    """Note where the steps of means stand in tables of 8 bits."""
    at = 0
    while at < len(segment):
        wide, table = segment[at] >> 4, segment[at] & 15
        steps.pop(table, None)
        if not wide and at + 65 <= len(segment):
            steps[table] = base + at + 1
        at += 1 + 64 * (1 + wide)


def _read_codes(segment: bytes, first_codes: dict[int, int]) -> None:
    """Note the symbols whose code is all zeros, by table of coefficients."""
    at = 0
    while at + 17 < len(segment):
        if segment[at] >> 4:
            first_codes[segment[at] & 15] = segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])


def _ends_early(data: bytes, header: _JpegHeader) -> bool:
    """Tell whether something else than the end of the image follows its only scan."""
    marker = _MARKER.search(data, header.scan)
    return header.single and marker is not None and marker[0] != b'\xff\xd9'


def _scaled_means(data: bytes, header: _JpegHeader) -> tuple[bytes, float, float]:
    """
    Scale means of brightness about their middle, so that those beyond 0 and 255 show.

    Returns the JPEG, the scale, which is 1 where the steps are too small for it, and how far from
    the middle means may lie, in levels.
    """
    at = header.steps.get(header.brightness)
    step = data[at] if at is not None else 0
    if at is None or step < 2:
        return data, 1.0, 255.0
    smaller = max(1, round(step * _SCALE))
    most = 128 + _BEYOND + step / 16  # half a step of eight means
    return data[:at] + bytes([smaller]) + data[at + 1 :], smaller / step, most


def _damaged(path: Path, error: Exception) -> str:
    return f'{path}: cannot be read, damaged or cut off ({error}); fetch the file again'
