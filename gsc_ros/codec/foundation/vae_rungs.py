"""
Rungs: the working sizes and steps of the quantiser that a frame chooses from.

A budget is best spent on a small image or a coarse step; which of the two is fixed by this ladder.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

# Most blocks of an image, and the step as a share of the mean spread of the coefficients. One byte
# a frame names the rung; append only.
LADDER = (
    (2, 4.0), (4, 3.0), (6, 2.8), (12, 2.8), (12, 2.0), (20, 2.0), (30, 2.0), (30, 1.4), (48, 1.4),
    (48, 1.0), (80, 1.0), (120, 0.8), (120, 0.4), (120, 0.2), (120, 0.1),
)  # fmt: skip
CLASSES = 4  # of blocks, by how much there is in them


def working_size(width: int, height: int, cell: int, most: int) -> tuple[int, int]:
    """
    Return the working size (W, H) of an image: multiples of ``cell``, ``most`` cells at most.

    As :func:`gsc_ros.codec.grid.coding_size`: near the aspect ratio, and no side has more cells
    than the image fills.
    """
    most_x, most_y = max(-(-width // cell), 1), max(-(-height // cell), 1)
    best: tuple[float, int, int] | None = None
    for x in range(1, min(most_x, most) + 1):
        for y in range(1, min(most_y, most // x) + 1):
            bent = abs(log((x * height) / (y * width)))
            cost = 2 * bent - 0.5 * log(x * y)
            if best is None or cost < best[0]:
                best = cost, x, y
    assert best is not None
    return best[1] * cell, best[2] * cell


@dataclass(frozen=True)
class Rung:
    """
    How the coefficients of a working size are coded.

    ``cells``: blocks at most; ``step``: of the quantiser, in coefficients; ``edges``: float64 (3),
    energies of a block between its classes, in squares of the step; ``counts``: how often each
    class is; ``means``: uint8 (C), groups of the means (what is left of their prediction);
    ``left``, ``up``: int (C), sixteenths by which the neighbours predict a mean; ``details``:
    uint8 (classes, C * 15), groups of the other coefficients; ``order``: int (C * 15), their order
    in a block.
    """

    cells: int
    step: float
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    means: NDArray[np.uint8]
    left: NDArray[np.int64]
    up: NDArray[np.int64]
    details: NDArray[np.uint8]
    order: NDArray[np.int64]

    @property
    def class_cdf(self) -> tuple[int, ...]:
        """The cdf of a block's class."""
        return 0, *np.cumsum(self.counts).tolist()


def predicted(
    mean: NDArray[np.int64], y: int, x: int, left: int, up: int
) -> int:  # the same whole numbers at both ends
    """Predict a block's mean of one channel from those before it: int64 (rows, columns)."""
    if y and x:
        return (left * int(mean[y, x - 1]) + up * int(mean[y - 1, x]) + 8) >> 4
    if x or y:
        near = int(mean[y, x - 1]) if x else int(mean[y - 1, x])
        return ((left + up) * near + 8) >> 4
    return 0


def importance_order(
    classes: NDArray[np.int64], region: tuple[int, int, int, int] | None
) -> list[tuple[int, int]]:
    """
    Return the blocks (row, column) in the order in which they are sent.

    Blocks of the ``region`` (first row, behind the last, first column, behind the last) come
    first, then those with more in them, then those nearer to the middle of the image. It follows
    from whole numbers that both ends have.
    """
    rows, columns = classes.shape

    def rank(place: tuple[int, int]) -> tuple[int, int, int, int, int]:
        y, x = place
        inside = region is not None and (region[0] <= y < region[1] and region[2] <= x < region[3])
        off = ((2 * y + 1 - rows) * columns) ** 2 + ((2 * x + 1 - columns) * rows) ** 2
        return -int(inside), -int(classes[y, x]), off, y, x

    return sorted(((y, x) for y in range(rows) for x in range(columns)), key=rank)
