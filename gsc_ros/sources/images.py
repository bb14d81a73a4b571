"""
Images of a folder, in natural order.

A KITTI raw drive (``image_02/data`` with ``calib_cam_to_cam.txt`` in the drive's or the day's
folder) is recognised and brings its calibration.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.image_files import SUFFIXES, read_rgb
from gsc_ros.sources.source import CameraFrame, guessed_k

_KITTI = Path('image_02') / 'data'


def natural(path: Path) -> list[int | str]:
    """Sort key under which frame 2 comes before frame 10."""
    return [int(p) if p.isdigit() else p for p in re.split(r'(\d+)', path.name.lower())]


@dataclass(frozen=True)
class Calibration:
    """A camera matrix (3, 3) in pixels, and the (width, height) of its images."""

    k: NDArray[np.float64]
    size: tuple[float, float]

    def at(self, width: int, height: int) -> NDArray[np.float64]:
        """Return K for images that were resized to another size."""
        factors = np.array([width / self.size[0], height / self.size[1], 1.0])
        return self.k * factors[:, None]


def kitti_calibration(folder: Path) -> Calibration | None:
    """Read the left colour camera's (P_rect_02, S_rect_02) beside a KITTI raw drive, if there."""
    for parent in list(folder.parents)[:4]:
        file = parent / 'calib_cam_to_cam.txt'
        if file.is_file():
            lines = (line.partition(':') for line in file.read_text().splitlines())
            values = {name: text.split() for name, _, text in lines}
            if {'P_rect_02', 'S_rect_02'} <= values.keys():
                k = np.array(values['P_rect_02'], np.float64).reshape(3, 4)[:, :3]
                width, height = map(float, values['S_rect_02'])
                return Calibration(k, (width, height))
    return None


class Images:
    """
    The images of a folder.

    ``loop`` starts again at the end. A file that is damaged or no image is left out, counted each
    time in ``skipped`` and named once in ``log``. Raises ``ValueError`` when the folder holds no
    images.
    """

    def __init__(
        self,
        path: str | Path,
        loop: bool = True,
        hfov_deg: float = 70.0,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise ValueError(f'path {str(path)!r} is not a folder: give one that holds images')
        if (folder / _KITTI).is_dir():
            folder = folder / _KITTI
        self.files = sorted(
            (f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES), key=natural
        )
        if not self.files:
            raise ValueError(
                f'path {str(path)!r} holds no images: give a folder of {", ".join(SUFFIXES)}'
            )
        self.skipped = 0
        self._loop, self._hfov, self._log = loop, hfov_deg, log
        self._named: set[Path] = set()  # files that the log has named
        self._doubted = False
        self._calibration = kitti_calibration(folder / 'x')
        self._next = 0

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """Read the next image that can be read; None at the end, or when none can be."""
        for _ in range(len(self.files)):
            if self._next >= len(self.files):
                if not self._loop:
                    return None
                self._next = 0
            file = self.files[self._next]
            self._next += 1
            try:
                rgb = read_rgb(file, self._doubt)
            except (OSError, ValueError) as error:
                self.skipped += 1
                if file not in self._named:
                    self._named.add(file)
                    self._log(f'{error}; it is skipped')
                continue
            height, width = rgb.shape[:2]
            if self._calibration is not None:
                return CameraFrame(rgb, self._calibration.at(width, height))
            return CameraFrame(rgb, guessed_k(width, height, self._hfov))
        return None

    def _doubt(self, text: str) -> None:
        """Log the first doubtful file: what a camera writes oddly it writes so every time."""
        if not self._doubted:
            self._doubted = True
            self._log(f'{text} (others alike are not named)')

    def close(self) -> None:
        """Nothing is held open."""
