"""Binary maps in the stream: where in an image something holds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder

Cdf = tuple[int, int, int]


def _walk(shape: tuple[int, ...], code: Callable[[int, int, Cdf], int]) -> list[list[int]]:
    """
    Code the cells of a map (rows, columns) in their order; returns their bits.

    ``code``: is given row, column and cdf of a cell and returns its bit. The cdf counts the cells
    before, by how many of the cells to the left and above are set.
    """
    counts = [[1, 1] for _ in range(3)]
    above, rows = [0] * shape[1], []
    for y in range(shape[0]):
        row: list[int] = []
        left = 0
        for x in range(shape[1]):
            mine = counts[left + above[x]]
            left = code(y, x, (0, mine[0], mine[0] + mine[1]))
            mine[left] += 2
            row.append(left)
        above = row
        rows.append(row)
    return rows


def write_map(encoder: RangeEncoder, cells: NDArray[np.bool_]) -> None:
    """Write a map bool (rows, columns)."""
    bits = cells.astype(int).tolist()

    def code(y: int, x: int, cdf: Cdf) -> int:
        bit: int = bits[y][x]
        encoder.encode(bit, cdf)
        return bit

    _walk(cells.shape, code)


def read_map(decoder: RangeDecoder, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a map bool of a shape (rows, columns)."""
    return np.array(_walk(shape, lambda y, x, cdf: decoder.decode(cdf)), bool).reshape(shape)
