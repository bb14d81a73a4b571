"""Binary maps in the stream: where in an image something holds."""

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder


class _Counts:
    """Adaptive counts of a map's cells, by how many cells to the left and above are set."""

    def __init__(self, cells: NDArray[np.bool_]) -> None:
        self._cells = cells
        self._counts = [[1, 1] for _ in range(3)]

    def at(self, y: int, x: int) -> list[int]:
        """Return the counts [not set, set] for a cell; only the cells before it are used."""
        cells = self._cells
        return self._counts[int(y > 0 and cells[y - 1, x]) + int(x > 0 and cells[y, x - 1])]


def _cdf(counts: list[int]) -> tuple[int, int, int]:
    return 0, counts[0], counts[0] + counts[1]


def write_map(encoder: RangeEncoder, cells: NDArray[np.bool_]) -> None:
    """Write a map bool (rows, columns)."""
    model = _Counts(cells)
    for y, x in np.ndindex(*cells.shape):
        counts, bit = model.at(y, x), int(cells[y, x])
        encoder.encode(bit, _cdf(counts))
        counts[bit] += 2


def read_map(decoder: RangeDecoder, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a map bool of a shape (rows, columns)."""
    cells = np.zeros(shape, bool)
    model = _Counts(cells)
    for y, x in np.ndindex(*shape):
        counts = model.at(y, x)
        bit = decoder.decode(_cdf(counts))
        counts[bit] += 2
        cells[y, x] = bit
    return cells
