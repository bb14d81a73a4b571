"""A camera's image with its ground truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.perception.hazards import Limits


@dataclass(frozen=True)
class View:
    """
    The camera's image with its ground truth.

    ``rgb`` uint8 (H, W, 3); ``depth`` float32 (H, W), metres along the camera's Z, +inf for sky;
    ``segmentation`` uint8 (H, W) ids of ``gsc_ros.labels``, 255 where no class applies;
    ``heights`` float32 (H, W), metres over the ground right below, 0 on it, NaN for sky;
    ``things`` int32 (H, W), which thing a pixel shows, -1 for sky.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]
    heights: NDArray[np.float32]
    things: NDArray[np.int32]

    @classmethod
    def untold(cls, rgb: NDArray[np.uint8]) -> 'View':
        """Make a view without the truth: its maps are empty."""
        none = (0, 0)
        return cls(
            rgb,
            np.empty(none, np.float32),
            np.empty(none, np.uint8),
            np.empty(none, np.float32),
            np.empty(none, np.int32),
        )

    def hazards(self, limits: Limits | None = None) -> NDArray[np.bool_]:
        """Return what is in the way, bool (H, W): higher than a limit and nearer than one."""
        limits = limits or Limits()
        with np.errstate(invalid='ignore'):
            high = (self.heights > limits.above_m) & (self.heights < limits.below_m)
        return high & (self.depth < limits.within_m)
