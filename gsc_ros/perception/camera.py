"""The camera as geometry needs it: in shares of its image, so that any size of it serves."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Where no camera_info came: a horizontal field of view of 70 degrees.
DEFAULT_FOCAL = 0.714


@dataclass(frozen=True)
class Camera:
    """
    A pinhole camera.

    ``fx``, ``cx``: focal length and principal point, in widths of the image; ``fy``, ``cy``: in
    heights; ``height_m``: of the camera over the ground, None where it is not known, as it is
    not where none above 0 is stated. Raises ``ValueError`` for a focal length or a principal point
    that cannot be.
    """

    fx: float
    fy: float
    cx: float = 0.5
    cy: float = 0.5
    height_m: float | None = None

    def __post_init__(self) -> None:
        """Refuse what would make NaN of points; a height that cannot be is none."""
        for name, focal in (('fx', self.fx), ('fy', self.fy)):
            if not 0 < focal < math.inf:
                raise ValueError(f'camera with {name} {focal}: give a number of more than 0')
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise ValueError(f'camera with cx {self.cx}, cy {self.cy}: give finite numbers')
        if self.height_m is not None and not 0 < self.height_m < math.inf:
            object.__setattr__(self, 'height_m', None)

    @classmethod
    def assumed(cls, width: int, height: int, height_m: float | None = None) -> 'Camera':
        """Assume a field of view of 70 degrees across an image of this size in pixels."""
        return cls(DEFAULT_FOCAL, DEFAULT_FOCAL * width / height, height_m=height_m)

    @classmethod
    def of_hfov(cls, degrees: float, aspect: float, height_m: float | None = None) -> 'Camera':
        """
        Make one of a horizontal field of view, and of an image ``aspect`` as wide as high.

        Raises ``ValueError`` also for a field of view outside 0..180 degrees.
        """
        if not 0 < degrees < 180:
            raise ValueError(f'field of view of {degrees} degrees: give one within 0..180')
        focal = 0.5 / math.tan(math.radians(degrees) / 2)
        return cls(focal, focal * aspect, height_m=height_m)

    def points(self, metres: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points (h, w, 3) of a depth map (h, w) in metres: x right, y down, z ahead."""
        rows, columns = metres.shape
        x = ((np.arange(columns) + 0.5) / columns - self.cx) / self.fx
        y = ((np.arange(rows) + 0.5) / rows - self.cy) / self.fy
        z = metres.astype(np.float64)
        return np.stack([x[None, :] * z, y[:, None] * z, z], -1)
