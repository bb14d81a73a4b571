"""What every source of images gives."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.transforms import Transform


@dataclass(frozen=True)
class CameraFrame:
    """
    An image with its camera.

    ``rgb`` uint8 (H, W, 3); ``k`` float64 (3, 3), pixels; ``depth`` float32 (H, W) in metres,
    +inf for nothing in range, and ``segmentation`` uint8 (H, W) where the source knows the truth.
    ``age_s``: how long ago it was taken, by the source's own time stamps; ``fresh``: whether it is
    another image than the last time; ``next_s``: when the next one comes, of a source that has
    times of its own. ``base``: where the robot is in its odometry frame; ``mount``: where the
    optical frame is on the robot; None where the source does not know. ``k1``: radial distortion,
    as camera_info has it. ``others``: of the robot's other cameras, at the same moment.
    """

    rgb: NDArray[np.uint8]
    k: NDArray[np.float64]
    depth: NDArray[np.float32] | None = None
    segmentation: NDArray[np.uint8] | None = None
    age_s: float = 0.0
    fresh: bool = True
    next_s: float | None = None
    base: Transform | None = None
    mount: Transform | None = None
    k1: float = 0.0
    others: 'tuple[CameraFrame, ...]' = ()


class Source(Protocol):
    """A camera."""

    skipped: int  # images that could not be read, packets that are damaged

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """
        Give the next image, ``seconds`` after the last; None at the end.

        ``command``: velocity (m/s ahead, rad/s to the left), None for the source's own will;
        ``truth``: whether depth and segmentation are wanted.
        """
        ...

    def close(self) -> None:
        """Let go of files and windows."""
        ...


def guessed_k(width: int, height: int, hfov_deg: float) -> NDArray[np.float64]:
    """
    Guess the camera matrix of an unknown camera by its horizontal field of view.

    The principal point is the image's centre and pixels are square. Raises ``ValueError`` for a
    field of view outside 10..170 degrees.
    """
    if not 10 <= hfov_deg <= 170:
        raise ValueError(f'hfov_deg {hfov_deg} is outside 10..170 degrees')
    focal = width / 2 / math.tan(math.radians(hfov_deg) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
