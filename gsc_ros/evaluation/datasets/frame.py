"""One frame of a dataset and how its files are read. Truth is loaded when it is asked for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros import image_files
from gsc_ros.evaluation.metrics import Box
from gsc_ros.perception.camera import Camera


@dataclass(frozen=True)
class Frame:
    """
    An image and the truth there is about it, each truth a callable that loads, or None.

    ``segmentation``: uint8 (H, W) train ids of ``perception.labels``, 255 unlabelled or ignored.
    ``depth``: float32 (H, W) metres along the optical axis, NaN unknown.
    ``boxes``: (x0, y0, x1, y1, score 1, COCO class 0..79) in pixels.
    ``hazards``: bool (H, W), what is in the way. ``heights``: float32 (H, W) metres over the
    ground, NaN unknown. ``camera``: that of the image, where it is known.
    All raise ``ValueError`` for files that are missing, damaged or of another format.
    """

    name: str  # unique in the dataset, without slashes: a file name's stem
    image: Path
    sequence: str = ''  # frames of one video share it and follow one another; '' a still
    fps: float = 0.0  # of the sequence; 0 unknown
    segmentation: Callable[[], NDArray[np.uint8]] | None = None
    depth: Callable[[], NDArray[np.float32]] | None = None
    boxes: Callable[[], list[Box]] | None = None
    hazards: Callable[[], NDArray[np.bool_]] | None = None
    heights: Callable[[], NDArray[np.float32]] | None = None
    camera: Camera | None = None  # None: not known

    def rgb(self) -> NDArray[np.uint8]:
        """Read the image as uint8 (H, W, 3); ``ValueError`` when it cannot be read whole."""
        return read_rgb(self.image)


def at_height(frame: Frame, metres: float) -> Frame:
    """Return a frame whose camera is so high over the ground, unless another height is known."""
    if frame.camera is None or frame.camera.height_m is not None:
        return frame
    return replace(frame, camera=replace(frame.camera, height_m=metres))


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as `image_files.read_rgb` does; ``ValueError`` when it is missing."""
    try:
        return image_files.read_rgb(path)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error}); fetch the file again') from error


def _read_map(path: Path) -> NDArray:
    try:
        return image_files.read_map(path)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error}); fetch the file again') from error


def read_ids(path: Path, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read a grey or indexed map, uint8 (H, W), through a table of 256 ids."""
    ids = _read_map(path)
    if ids.dtype != np.uint8:
        raise ValueError(f'{path}: class ids are 8 bits, grey or indexed, not 16')
    return table[ids]


def read_depth(path: Path, per_metre: float) -> NDArray[np.float32]:
    """Read 16-bit grey depth as float32 (H, W) metres; 0 is unknown and becomes NaN."""
    code = _read_map(path)
    if code.dtype != np.uint16:
        raise ValueError(f'{path}: depth is 16 bits of grey, not 8')
    metres = code.astype(np.float32)
    metres[metres == 0] = np.nan
    return metres / np.float32(per_metre)


def gridded(truth: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bring depth, which may be sparse, to a grid (h, w): a depth of each cell, NaN for none."""
    y, x = np.nonzero(np.isfinite(truth) & (truth > 0))
    grid = np.full(shape, np.nan, np.float32)
    grid[y * shape[0] // truth.shape[0], x * shape[1] // truth.shape[1]] = truth[y, x]
    return grid


def images(folder: Path, pattern: str = '*') -> list[Path]:
    """List the image files of a folder that match, sorted; hidden ones are left out."""
    found = folder.glob(pattern)
    suffixes = image_files.SUFFIXES
    return sorted(p for p in found if p.suffix.lower() in suffixes and not p.name.startswith('.'))


def name_of(image: Path, root: Path) -> str:
    """Name an image by its path below ``root``, without slashes and suffix."""
    return '_'.join(image.relative_to(root).with_suffix('').parts)


def stills(files: Iterable[Path], root: Path) -> list[Frame]:
    """Make frames without truth."""
    return [Frame(name_of(p, root), p) for p in files]
