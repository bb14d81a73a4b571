"""Areas of an image; needs no network."""

import cv2
import numpy as np
from numpy.typing import NDArray


def connected_to_top(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the part of an area, bool (h, w), that reaches the upper border through itself."""
    _, parts = cv2.connectedComponents(area.astype(np.uint8), connectivity=4)
    reached = np.zeros(parts.max() + 1, bool)
    reached[parts[0]] = True
    return np.asarray(reached[parts] & area)
