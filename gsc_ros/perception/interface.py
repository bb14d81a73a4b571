"""The interface of perception at either end: the embedded network and foundation models alike."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.perception.model import Prediction

EMBEDDED = 'embedded'
TASKS = ('depth', 'classes', 'objects')


class Perception(Protocol):
    """What finds depth, classes and objects in an image."""

    def predict(self, rgb: NDArray[np.uint8], stride: int = 8) -> Prediction:
        """
        See an image uint8 (H, W, 3), its sides multiples of 32.

        ``stride``: pixels a side of a cell of the maps, a divisor of 32. Classes that are not in
        ``gsc_ros.labels`` are 255; depth is in metres, NaN where unknown and +inf in the sky.
        """
        ...
