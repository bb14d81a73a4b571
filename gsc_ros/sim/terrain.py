"""Ground that is not flat: a square grid of heights, drawn as triangles."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.sim.textures import noise

CELLS = 257  # points of the grid a side


@dataclass(frozen=True, eq=False)
class Terrain:
    """
    Heights float32 (N, N), m, rows along y and columns along x, over ``extent`` metres a side.

    The grid is centred on the origin.
    """

    heights: NDArray[np.float32]
    extent: float

    def at(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the heights at places, m; beyond the grid those of its rim."""
        last = self.heights.shape[0] - 1
        u = np.clip((np.asarray(x, np.float64) / self.extent + 0.5) * last, 0, last - 1e-6)
        v = np.clip((np.asarray(y, np.float64) / self.extent + 0.5) * last, 0, last - 1e-6)
        i, j = v.astype(int), u.astype(int)
        a, b = v - i, u - j
        h00, h01 = self.heights[i, j], self.heights[i, j + 1]
        h10, h11 = self.heights[i + 1, j], self.heights[i + 1, j + 1]
        # MuJoCo cuts a cell along the diagonal from its low corner to its high one.
        low = h00 + b * (h01 - h00) + a * (h11 - h01)
        high = h00 + a * (h10 - h00) + b * (h11 - h10)
        return np.asarray(np.where(b >= a, low, high), np.float64)


def rolling(
    rng: np.random.Generator,
    extent: float,
    relief: float,
    hills: float = 26.0,
    octaves: tuple[int, ...] = (4, 8, 16, 64),
) -> Terrain:
    """Make terrain: gentle where the robot drives (``relief``, m), hills (m) around."""
    field = relief * noise(rng, 256, octaves, 0.45)
    field = np.asarray(cv2.copyMakeBorder(field, 0, 1, 0, 1, cv2.BORDER_REPLICATE))
    axis = np.linspace(-1, 1, CELLS)
    radius = np.hypot(*np.meshgrid(axis, axis))
    around = 1 + 0.6 * cv2.resize(noise(rng, 256, (4, 8)), (CELLS, CELLS))
    field += np.clip(radius - 0.62, 0, None) ** 1.5 * hills * np.clip(around, 0.2, None)
    return Terrain((field - field.min()).astype(np.float32), extent)
