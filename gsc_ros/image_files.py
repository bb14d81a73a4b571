"""
Image files: one reader for commands, sources, datasets and training.

A file is read whole or refused. What OpenCV and Pillow hand out of a JPEG that is damaged inside
is grey or shifted from the damage on, without a word: so every JPEG is also decoded strictly, at
an eighth of its size, and every chunk of a PNG is compared with its CRC. A JPEG has no checksum:
damage of a few bytes after which the codes happen to fit again stays unknown.
"""

import io
import re
import warnings
from collections.abc import Callable
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
    try:
        simplejpeg.decode_jpeg(data, 'GRAY', min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        message = str(error)
        surplus = _SURPLUS.search(message)
        if surplus and int(surplus[1]) <= _FEW:
            return f'{message}: damaged, or of a webcam that writes so'
        if not _HARMLESS.search(message):
            raise
    return ''


def _damaged(path: Path, error: Exception) -> str:
    return f'{path}: cannot be read, damaged or cut off ({error}); fetch the file again'
