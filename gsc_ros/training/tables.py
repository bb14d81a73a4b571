"""Stage `tables`: count the symbols of the corpus, for the range coder."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gsc_ros.codec import tables
from gsc_ros.codec.networks import load_robot
from gsc_ros.codec.streams import FrameSymbols
from gsc_ros.codec.tables import Counts, Tables
from gsc_ros.training import corpus, loop

_TOTAL = 1 << 14  # of a context's counts: fine enough, and well below the coder's limit
_TRUST = 4.0  # of a parent's estimate, in observations


class Counter:
    """Stands in for the coder on a walk over a frame and notes which slot is asked for."""

    def __init__(self) -> None:
        self.found: dict[int, NDArray[np.int64]] = {}
        self.bits = 0.0

    def code(self, symbol: int, row: '_Row | range') -> int:
        """Count a symbol of a table's row (uniform ones are not learned)."""
        if isinstance(row, _Row):
            row.counts[symbol] += 1
        return symbol


class _Row:
    """One context of a table under count."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.counts = counts


def _rows(array: NDArray[np.int64]) -> list:
    """Nest rows as the walk indexes them."""
    return [_Row(a) if a.ndim == 1 else _rows(a) for a in array]


def count(frames: Iterable[FrameSymbols]) -> dict[str, NDArray[np.int64]]:
    """Count the symbols of frames by table and context, int64 in the tables' shapes."""
    from gsc_ros.codec.streams import _Walk, size_of

    raw = {name: np.zeros(shape, np.int64) for name, shape in tables.shapes().items()}
    levels = [
        [_rows(raw[f'tokens.{level}.{channel}']) for channel in range(len(channels))]
        for level, channels in enumerate(tables.LEVELS)
    ]
    recording = Tables(_rows(raw['coarse']), _rows(raw['relief']), _rows(raw['fine']), levels)
    for symbols in frames:
        out = FrameSymbols.unknown(size_of(symbols))
        _Walk(Counter(), recording, symbols, out).run()  # type: ignore[arg-type]
    return raw


def smooth(counts: NDArray[np.int64], depth: int) -> NDArray[np.float64]:
    """
    Estimate probabilities of the last axis, each context backed by its parents.

    A context's parent is the same without its last ``depth`` conditions, one after the other.
    """
    if counts.ndim == 1:
        return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    if depth == 0:
        parent = np.full(counts.shape, 1 / counts.shape[-1])
    else:
        summed = counts.sum(axis=-2)
        parent = np.broadcast_to(smooth(summed, depth - 1)[..., None, :], counts.shape)
    total = counts.sum(-1, keepdims=True)
    return (counts + _TRUST * parent) / (total + _TRUST)


def integers(probabilities: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Turn probabilities into counts >= 1 that sum to about 2**14."""
    symbols = probabilities.shape[-1]
    scaled = 1 + np.floor(probabilities * (_TOTAL - symbols))
    return scaled.astype(np.uint16)


def learn(frames: Iterable[FrameSymbols]) -> Counts:
    """Learn tables from frames."""
    raw = count(frames)
    return {name: integers(smooth(table, table.ndim - 1)) for name, table in raw.items()}


def train(
    data: Path,
    settings: loop.Settings,
    weights: Path,
    simulated: Path | None = None,
    seed: int = 0,
) -> Path:
    """Learn tables from the whole corpus, each picture also mirrored; returns the file's path."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    robot, _ = load_robot(weights)

    def frames() -> Iterable[FrameSymbols]:
        for sample in tqdm(corpus.load(data, simulated=simulated), unit='picture'):
            for rgb in (sample.rgb, sample.rgb[:, ::-1]):
                yield robot.analyse(np.ascontiguousarray(rgb))[0]

    return tables.save(settings.output / tables.WEIGHTS, learn(frames()))
