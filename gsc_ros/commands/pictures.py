"""Picture files in and out, as the commands need them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_EXACT = ('.png', '.tif', '.tiff')  # formats that give back the values that were written


def _read(path: Path) -> NDArray | None:
    """Pixels as they are in the file, None if it holds no picture; checks that there is a file."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    try:
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f'{path}: a picture too large to be read; scale it first') from error


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """
    Read a picture as uint8 (H, W, 3) RGB: grey is repeated, alpha dropped, 16 bits are scaled.

    Raises ``FileNotFoundError``, or ``ValueError`` for a file that is no picture or holds NaN or
    Inf.
    """
    pixels = _read(path)
    if pixels is None:
        raise ValueError(f'{path}: not a picture that can be read (PNG, JPEG, WebP, TIFF, ...)')
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype in (np.float32, np.float64):
        if not np.isfinite(pixels).all():
            raise ValueError(f'{path}: holds NaN or Inf; repair it first')
        pixels = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise ValueError(f'{path}: pixels of {pixels.dtype}; give 8 or 16 bits, or floats in 0..1')
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB; raises ``ValueError`` for a suffix that names no format."""
    write(path, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def write(path: Path, pixels: NDArray) -> None:
    """Write pixels as OpenCV has them; raises ``ValueError`` when that cannot be done."""
    try:
        good = cv2.imwrite(str(path), pixels)
    except cv2.error as error:
        raise ValueError(f'{path}: no picture format of that name (try .png)') from error
    if not good:
        raise ValueError(f'{path}: cannot be written')


def write_exact(path: Path, values: NDArray) -> None:
    """
    Write a map whose values mean something, such as class ids.

    Raises ``ValueError`` for formats that would change them, as JPEG does.
    """
    if path.suffix.lower() not in _EXACT:
        raise ValueError(f'{path}: would not keep the values exactly; name it .png')
    write(path, values)


def read_depth(path: Path) -> NDArray[np.float32]:
    """
    Read depth as float32 (H, W) metres: .npy in metres, or 16-bit PNG in mm (0 unknown).

    Raises ``FileNotFoundError``, or ``ValueError`` for a file that holds something else.
    """
    if path.suffix == '.npy':
        return _read_array(path)
    pixels = _read(path)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(f'{path}: depth is a 16-bit grey PNG in millimetres, or .npy in metres')
    metres = pixels.astype(np.float32) / np.float32(1000)
    metres[pixels == 0] = np.nan
    return metres


def _read_array(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    try:
        # Not np.load: that also takes archives and advises to unpickle what is neither.
        with path.open('rb') as file:
            metres = np.lib.format.read_array(file, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header is parsed as Python and may raise anything
        raise ValueError(f'{path}: not an array that np.save has written') from error
    if metres.ndim != 2 or metres.dtype.kind not in 'fiu':
        raise ValueError(
            f'{path}: holds {metres.dtype} of shape {metres.shape}; '
            'give an array (height, width) of metres'
        )
    return metres.astype(np.float32)


def write_depth(path: Path, metres: NDArray[np.float32]) -> None:
    """
    Write depth: .npy keeps metres, NaN and inf; anything else is 16 bits in millimetres.

    Of 16 bits, 0 is unknown or nothing in range, and 65535 is 65.535 m or more. Raises
    ``ValueError`` for formats that cannot hold that.
    """
    if path.suffix == '.npy':
        np.save(path, metres)
        return
    known = np.isfinite(metres)
    millimetres = np.clip(np.where(known, metres, 0) * 1000, 0, 65535)
    write_exact(path, millimetres.round().astype(np.uint16))
