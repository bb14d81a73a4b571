"""Images and maps as the commands write them, and depth as they read it."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.image_files import read_map

_EXACT = ('.png', '.tif', '.tiff')  # formats that give back the values that were written


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB; raises ``ValueError`` for a suffix that names no format."""
    write(path, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def write(path: Path, pixels: NDArray) -> None:
    """Write pixels as OpenCV has them; raises ``ValueError`` when that cannot be done."""
    try:
        good = cv2.imwrite(str(path), pixels)
    except cv2.error as error:
        raise ValueError(f'{path}: no image format of that name (try .png)') from error
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
    pixels = read_map(path)
    if pixels.dtype != np.uint16:
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
