"""The relief: how far things are, one value for each 64 pixels of the working size."""

import numpy as np
from numpy.typing import NDArray

from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.models.tokenizer import RELIEF_LEVELS
from gsc_ros.perception.labels import SKY

_CELL = 8  # cells of the eye's 1/8 grid


def relief_of(metres: NDArray[np.float32], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """
    Depth float32 and class ids uint8 on the 1/8 grid (8h, 8w) -> levels 0..23, uint8 (h, w).

    A cell's level is that of its median depth on a logarithmic scale from 0.5 to 200 m; the sky
    does not count, and a cell of nothing else is as far as can be.
    """
    height, width = metres.shape
    code = np.log(np.clip(metres, NEAREST_M, FARTHEST_M) / NEAREST_M)
    code = code / np.log(FARTHEST_M / NEAREST_M) * RELIEF_LEVELS
    # NaN sorts last: the median of what is left is its middle element.
    code = np.where(classes == SKY, np.nan, code)
    blocks = code.reshape(height // _CELL, _CELL, width // _CELL, _CELL)
    cells = np.sort(blocks.transpose(0, 2, 1, 3).reshape(-1, _CELL * _CELL), axis=1)
    known = np.isfinite(cells).sum(1)
    median = cells[np.arange(len(cells)), np.maximum(known - 1, 0) // 2]
    levels = np.where(known > 0, np.nan_to_num(median), RELIEF_LEVELS)
    levels = levels.clip(0, RELIEF_LEVELS - 1).astype(np.uint8)
    return levels.reshape(height // _CELL, width // _CELL)
