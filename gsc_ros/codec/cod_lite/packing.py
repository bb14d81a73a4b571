"""Tokens of a fixed length as bytes: how many fit, in which order, and what a cut leaves."""

from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 256  # tokens; a byte says how many
MISSING = -1


@lru_cache(maxsize=256)
def working_size(
    width: int, height: int, tokens: int, stride: int, unit: int
) -> tuple[int, int] | None:
    """
    Return the largest working size (W, H) with at most so many tokens; None where none fits.

    ``stride``: pixels a side of a token; ``unit``: sides are multiples of it, and of ``stride``.
    The aspect ratio is kept as near as the grid allows, and no side is larger than the image's,
    rounded up.
    """
    each = unit // stride  # tokens a side of a unit
    most_x, most_y = (min(-(-side // unit), MAX_SIDE // each) for side in (width, height))
    best: tuple[float, int, int] | None = None
    for x in range(1, most_x + 1):
        fits = min(most_y, tokens // (x * each * each))
        ideal = x * height / width
        for y in {min(max(int(ideal) + more, 1), fits) for more in (0, 1)}:
            if y < 1:
                continue
            bent = abs(log((x * height) / (y * width)))
            # A little distortion is better than many fewer tokens.
            cost = bent - 0.5 * log(x * y)
            if best is None or cost < best[0]:
                best = (cost, x, y)
    return None if best is None else (best[1] * unit, best[2] * unit)


@lru_cache(maxsize=64)
def order(rows: int, columns: int) -> NDArray[np.int64]:
    """
    Return the order in which the cells of a grid are sent: int64 (rows * columns).

    Every beginning of it lies spread over the whole grid, as in an ordered dither (Bayer, 1973).
    """
    y, x = np.mgrid[:rows, :columns]
    rank = np.zeros((rows, columns), np.int64)
    for bit in range((MAX_SIDE - 1).bit_length()):
        rank = rank << 2 | ((x ^ y) >> bit & 1) << 1 | (y >> bit & 1)
    return np.argsort(rank, axis=None, kind='stable')


def pack(tokens: NDArray[np.int64], bits: int) -> bytes:
    """Pack tokens int64 (rows, columns), 0..2**bits - 1; the last byte is filled up with zeros."""
    values = tokens.ravel()[order(*tokens.shape)]
    planes = values[:, None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(planes.astype(np.uint8)).tobytes()


def packed_bytes(count: int, bits: int) -> int:
    """Return how many bytes so many tokens take."""
    return -(-count * bits // 8)


def unpack(data: bytes, shape: tuple[int, int], bits: int) -> NDArray[np.int64]:
    """
    Read tokens int64 (rows, columns); :data:`MISSING` where their bytes are not there.

    Bytes beyond the tokens are not looked at.
    """
    count = shape[0] * shape[1]
    planes = np.unpackbits(np.frombuffer(data, np.uint8))
    here = min(len(planes) // bits, count)
    values = planes[: here * bits].reshape(here, bits).astype(np.int64)
    tokens = np.full(count, MISSING, np.int64)
    tokens[order(*shape)[:here]] = values @ (1 << np.arange(bits - 1, -1, -1))
    return tokens.reshape(shape)
