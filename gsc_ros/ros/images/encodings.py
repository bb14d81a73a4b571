"""
Pixels as cameras send them -> uint8 RGB: packed, YUV, Bayer, deep and compressed forms.

Encodings are named as in sensor_msgs/image_encodings.hpp. Pure functions on arrays, no ROS.
"""

import io
import math
import re
import sys
from collections.abc import Callable

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from gsc_ros.image_files import check_jpeg

MAX_SIDE = 16384

# Name -> (dtype, channels)
_NAMED: dict[str, tuple[type, int]] = {
    'mono8': (np.uint8, 1),
    'mono16': (np.uint16, 1),
    **{f'{order}8': (np.uint8, len(order)) for order in ('rgb', 'bgr', 'rgba', 'bgra')},
    **{f'{order}16': (np.uint16, len(order)) for order in ('rgb', 'bgr', 'rgba', 'bgra')},
}
# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by the first row's.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
for _pattern in _BAYER:
    _NAMED |= {f'bayer_{_pattern}8': (np.uint8, 1), f'bayer_{_pattern}16': (np.uint16, 1)}
# Two pixels share their chroma. BT.601, 16 to 235, as webcams and OpenCV take it: a message does
# not name one.
_YUV_422 = {
    'yuyv': cv2.COLOR_YUV2RGB_YUY2,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY,
}
_NAMED |= dict.fromkeys(_YUV_422, (np.uint8, 2))
# A plane of luma, then one of chroma pairs.
_YUV_420 = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}
_YUV_444 = 'nv24'
# What OpenCV has no code for: Y, U, V, 1 -> R, G, B of the same norm.
_BT601 = np.array(
    [[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]], np.float64
) @ np.array([[1, 0, 0, -16], [0, 1, 0, -128], [0, 0, 1, -128]], np.float64)
# OpenCV's types: bits, kind, channels (1 where it is left out)
_GENERIC = re.compile(r'(8U|8S|16U|16S|32S|32F|64F)C(\d*)')
_KINDS = {'U': 'u', 'S': 'i', 'F': 'f'}
_KNOWN = ', '.join([*_NAMED, *_YUV_420, _YUV_444, '8UC1', '16UC1', '32FC1'])

_JPEG = b'\xff\xd8', b'\xff\xd9'  # its beginning and end

Levels = Callable[[NDArray], tuple[float, float]]
"""What is black, and how far white is above it, in an image of other pixels than 8 bits."""


def layout(encoding: str) -> tuple[np.dtype, int]:
    """Return dtype and channels of a packed encoding; raises ``ValueError`` for others."""
    if encoding in _NAMED:
        kind, channels = _NAMED[encoding]
        return np.dtype(kind), channels
    generic = _GENERIC.fullmatch(encoding)
    if generic is None:
        raise ValueError(f'encoding {encoding!r} is not supported; publish one of {_KNOWN}')
    size, channels = generic[1], int(generic[2] or 1)
    return np.dtype(f'{_KINDS[size[-1]]}{int(size[:-1]) // 8}'), channels


def unpack(
    data: bytes, encoding: str, width: int, height: int, step: int = 0, big_endian: bool = False
) -> NDArray:
    """
    Return the pixels of a packed encoding as they are: (H, W) or (H, W, C) in its dtype.

    ``step``: bytes of a row with its padding, 0 for none. Raises ``ValueError`` for encodings that
    are not known, empty images and data shorter than the sizes promise.
    """
    dtype, channels = layout(encoding)
    row = width * channels * dtype.itemsize
    pixels = _rows(data, row, height, step or row, width).view(dtype)
    if dtype.itemsize > 1 and big_endian != (sys.byteorder == 'big'):
        pixels = pixels.byteswap()
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


def _rows(data: bytes, row: int, height: int, step: int, width: int) -> NDArray[np.uint8]:
    """Return rows of bytes (H, row) without their padding."""
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f'image of {width}x{height} pixels')
    if step < row:
        raise ValueError(f'step {step} is less than a row of {row} bytes')
    needed = step * (height - 1) + row
    if len(data) < needed:
        raise ValueError(f'{len(data)} bytes of data, {height} rows of {step} need {needed}')
    every = np.frombuffer(data, np.uint8)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(every, (height, row), (step, 1)))


def full_range(pixels: NDArray) -> tuple[float, float]:
    """
    Take the whole range of unsigned pixels, and 0 to 1 of floats (see :data:`Levels`).

    Raises ``ValueError`` for signed integers, which have no defined white.
    """
    if pixels.dtype.kind == 'u':
        return 0.0, float(2 ** (8 * pixels.itemsize))
    if pixels.dtype.kind == 'f':
        return 0.0, 1.0
    raise ValueError(
        f'{pixels.dtype} has no black and white: publish unsigned pixels, or one channel and set '
        'contrast_stretch to auto'
    )


class ContrastStretch:
    """
    What is black and white in images of more than 8 bits, held from one image to the next.

    Grey images, which thermal and infrared cameras send, use a small part of their range: from the
    ``percentile``-th percentile to the one as far from the top. These follow the scene with the
    time constant ``time_constant_s`` (s), so that the brightness does not flicker. Of colours and
    Bayer patterns black is zero, and white the range of the least number of bits, of 10, 12, 14
    and 16, that held every image so far: their colours keep. Grey floats in 0..1 stay as they are.
    """

    _LEAST = 64.0, 1.0  # range of integers and of floats: noise is not made contrast
    _BITS = 10, 12, 14, 16
    _SAMPLES = 256  # along a side, that percentiles are made of
    _SOON = 0.05  # of the time constant: least time between two images, whatever their stamps

    def __init__(self, percentile: float = 1.0, time_constant_s: float = 2.0) -> None:
        self.percentile, self.time_constant_s = percentile, time_constant_s
        self._held: NDArray[np.float64] | None = None
        self._at = 0.0
        self._dtype: np.dtype | None = None
        self._bits = self._BITS[0]

    def __call__(self, at: float, pixels: NDArray) -> tuple[float, float]:
        """Return black and the range above it (see :data:`Levels`) of the image taken ``at`` s."""
        if pixels.ndim > 2:
            return self._colour(pixels)
        if pixels.dtype != self._dtype:
            self._dtype, self._held = pixels.dtype, None
        stride = [max(1, side // self._SAMPLES) for side in pixels.shape]
        some = pixels[:: stride[0], :: stride[1]]
        is_float = pixels.dtype.kind == 'f'
        if is_float and self._held is None and some.min() >= 0 and some.max() <= 1:
            return full_range(pixels)
        found = np.percentile(some, (self.percentile, 100 - self.percentile)).astype(np.float64)
        if self._held is None:
            self._held = found
        else:
            passed = max(at - self._at, self._SOON * self.time_constant_s)
            keep = math.exp(-passed / self.time_constant_s) if self.time_constant_s > 0 else 0.0
            self._held = keep * self._held + (1 - keep) * found
        self._at = at
        low, high = map(float, self._held)
        short = max(0.0, self._LEAST[is_float] - (high - low))
        return low - short / 2, high - low + short

    def _colour(self, pixels: NDArray) -> tuple[float, float]:
        if pixels.dtype != np.uint16:
            return full_range(pixels)
        greatest = int(pixels.max())
        self._bits = max(self._bits, next(b for b in self._BITS if greatest < 1 << b))
        return 0.0, float(1 << self._bits)


def to_rgb(
    data: bytes,
    encoding: str,
    width: int,
    height: int,
    step: int = 0,
    big_endian: bool = False,
    levels: Levels = full_range,
) -> NDArray[np.uint8]:
    """
    Return an image as uint8 (H, W, 3) RGB; arguments as of :func:`unpack`.

    Planar YUV is taken as well. Raises ``ValueError`` as :func:`unpack` and :func:`colours`.
    """
    if encoding in _YUV_420:
        luma, chroma = _planes(data, width, height, step, 2)
        grown = cv2.copyMakeBorder(luma, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        rgb = cv2.cvtColorTwoPlane(grown, chroma, _YUV_420[encoding])
        return np.ascontiguousarray(rgb[:height, :width])
    if encoding == _YUV_444:
        luma, chroma = _planes(data, width, height, step, 1)
        return cv2.transform(np.dstack([luma, chroma]), _BT601)
    if encoding in _YUV_422 and width % 2:
        # The last pixel's pair may stand in the padding, or half of it be missing.
        whole = 2 * (width + 1)
        if step >= whole and len(data) >= step * (height - 1) + whole:
            even = unpack(data, encoding, width + 1, height, step)
        else:
            odd = unpack(data, encoding, width, height, step)
            even = np.concatenate([odd, odd[:, -2:-1] if width > 1 else odd], axis=1)
        return np.ascontiguousarray(colours(even, encoding)[:, :width])
    return colours(unpack(data, encoding, width, height, step, big_endian), encoding, levels)


def _planes(
    data: bytes, width: int, height: int, step: int, share: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """
    Return luma (H, W) and chroma (H/share, W/share, 2), rounded up, of two planes in a row.

    The chroma's rows have as many bytes as the luma's where ``share`` is 2, and twice as many
    where it is 1.
    """
    rows, pairs = -(-height // share), -(-width // share)
    step = step or width
    if step * height == len(data) and step * height == width * height + 2 * pairs * rows:
        step = width  # some drivers divide all bytes by the height
    luma = _rows(data, width, height, step, width)
    chroma_step = step * 2 // share
    row = min(2 * pairs, chroma_step & ~1)
    chroma = _rows(data[step * height :], row, rows, chroma_step, width).reshape(rows, -1, 2)
    return luma, cv2.copyMakeBorder(chroma, 0, 0, 0, pairs - chroma.shape[1], cv2.BORDER_REPLICATE)


def colours(pixels: NDArray, encoding: str, levels: Levels = full_range) -> NDArray[np.uint8]:
    """
    Return pixels of a packed encoding (see :func:`unpack`) as uint8 (H, W, 3) RGB.

    Grey becomes grey RGB, alpha is dropped, Bayer is interpolated, ``levels``: black and
    white in other than 8 bits. Three or four nameless channels (8UC3) are BGR by OpenCV's
    habit, floats RGB. Raises ``ValueError`` for NaN, Inf and numbers of channels without a colour.
    """
    if encoding in _YUV_422:
        return cv2.cvtColor(pixels, _YUV_422[encoding])
    if encoding.startswith('bayer_'):
        if min(pixels.shape) < 2:
            raise ValueError('a Bayer pattern has two rows and columns at least')
        pixels = cv2.cvtColor(pixels, _BAYER[encoding[6:10]])
    elif pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        raise ValueError(f'encoding {encoding!r}: {pixels.shape[2]} channels have no colour')
    if pixels.dtype != np.uint8:
        pixels = _eight_bits(pixels, levels)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    swapped = encoding.startswith(('bgr', '8UC', '16UC'))
    return np.ascontiguousarray(pixels[..., 2::-1] if swapped else pixels[..., :3])


def _eight_bits(pixels: NDArray, levels: Levels) -> NDArray[np.uint8]:
    if pixels.dtype.kind == 'f' and not np.isfinite(pixels).all():
        raise ValueError('image holds NaN or Inf: repair it before it is published')
    low, span = levels(pixels)
    # Rounded down, so that the whole range of 16 bits is a shift by 8.
    return np.clip((pixels.astype(np.float32) - low) * (256 / span), 0, 255).astype(np.uint8)


def decompress(data: bytes, form: str) -> tuple[NDArray, str]:
    """
    Return the pixels of a compressed image and the packed encoding that they have.

    ``form`` is the ``format`` of a sensor_msgs/CompressedImage: ``codec``, or as image_transport
    writes it, ``encoding; codec compressed target``. The codec is known by the data: whatever
    OpenCV or Pillow read. Raises ``ValueError`` for what cannot be read or is damaged, and for
    depth.
    """
    if 'compresseddepth' in form.lower():
        raise ValueError(
            f'format {form!r} is depth, not an image: decompress it with image_transport'
        )
    source, _, rest = (part.strip() for part in form.partition(';'))
    codec, _, target = (part.strip() for part in rest.partition(' '))
    target = target.removeprefix('compressed').strip()
    pixels, order = _read(data, form)
    kind = pixels.dtype.kind
    bits = 8 * pixels.itemsize
    if pixels.ndim == 2:
        # With a target the pattern was interpolated already.
        pattern = f'{source.rstrip("0123456789")}{bits}'
        if pattern in _NAMED and pattern.startswith('bayer_') and target in ('', source):
            return pixels, pattern
        if kind == 'u':
            return pixels, f'mono{bits}'
        return pixels, f'{bits}{"F" if kind == "f" else "S"}C1'
    channels = pixels.shape[2]
    if kind != 'u':
        return pixels, f'{bits}{"F" if kind == "f" else "S"}C{channels}'
    if target.startswith('rgb') or (codec == 'tiff' and not target and source.startswith('rgb')):
        order = 'rgb'  # image_transport wrote the channels as if they were blue, green, red
    return pixels, f'{order}{"a" if channels == 4 else ""}{bits}'


def _read(data: bytes, form: str) -> tuple[NDArray, str]:
    """Return the pixels of an image file and the order of their colours."""
    cannot = ValueError(f'compressed image of format {form!r} cannot be read: publish jpeg or png')
    if data[:2] == _JPEG[0]:
        data += _JPEG[1]  # its end, which some webcams leave out
        try:
            check_jpeg(data)
        except ValueError as error:
            raise ValueError(
                f'compressed image is damaged or cut off ({error}): is the way from the camera '
                'overloaded, or its cable bad?'
            ) from error
    try:
        # As it is: an orientation in its EXIF is not what camera_info goes by.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is not None:
        return (pixels[..., 0] if pixels.shape[2:] == (1,) else pixels), 'bgr'
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            grey = image.mode in ('L', 'F') or image.mode.startswith('I')
            return np.asarray(image if grey else image.convert('RGB')), 'rgb'
    except Exception as error:  # of many kinds, one or more a format
        raise cannot from error
