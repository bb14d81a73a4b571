"""From logits in whole numbers to the cdfs of a range coder, the same on every machine."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

BIT = 16  # of a logit
# 2**11 * 2**(-k / 16), rounded.
_OCTAVE = (
    2048, 1961, 1878, 1798, 1722, 1649, 1579, 1512, 1448, 1387, 1328, 1272, 1218, 1166, 1117, 1069,
)  # fmt: skip
# Counts of a symbol k sixteenths of a bit below the likeliest; 1 for any further below.
_COUNTS = [_OCTAVE[k % BIT] >> k // BIT for k in range(11 * BIT)]


def cdf(logits: Sequence[int]) -> list[int]:
    """Logits in sixteenths of a bit -> cumulative counts [0, c1, c1 + c2, ..., total]."""
    most = max(logits)
    least = most - len(_COUNTS)
    return list(accumulate([_COUNTS[most - x] if x > least else 1 for x in logits], initial=0))


_BY_DISTANCE = np.array([*_COUNTS, 1], np.int64)


def _cdfs(logits: NDArray[np.int64]) -> NDArray[np.int64]:
    below = logits.max(1, keepdims=True) - logits
    tables = np.zeros((len(logits), logits.shape[1] + 1), np.int64)
    np.cumsum(_BY_DISTANCE[np.minimum(below, len(_COUNTS))], 1, out=tables[:, 1:])
    return tables


def cdfs(logits: NDArray[np.int64]) -> list[list[int]]:
    """
    Make the :func:`cdf` tables of many rows of logits (n, k) at once.

    For a single row plain Python is the faster.
    """
    rows: list[list[int]] = _cdfs(logits).tolist()
    return rows


def slots(logits: NDArray[np.int64], symbols: NDArray[np.integer]) -> list[list[int]]:
    """
    Return what each of the symbols (n) takes of its :func:`cdf`: start, end and total.

    ``logits``: (n, k), a row for each symbol.
    """
    tables, rows = _cdfs(logits), np.arange(len(logits))
    found: list[list[int]] = np.stack(
        [tables[rows, symbols], tables[rows, symbols + 1], tables[:, -1]], 1
    ).tolist()
    return found
