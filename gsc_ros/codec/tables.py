"""
Frequency tables of the symbols: integers learned once and shipped, so that every machine agrees.

A table of counts becomes nested lists of cumulative counts, indexed by context, as the range coder
wants them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from gsc_ros.codec.rangecoder import MAX_TOTAL
from gsc_ros.models.tokenizer import LEVELS, RELIEF_LEVELS
from gsc_ros.perception.labels import NUM_CLASSES

OUTSIDE = NUM_CLASSES  # the neighbour beyond the border
RELIEF_OUTSIDE = RELIEF_LEVELS
WEIGHTS = 'tables.safetensors'

Counts = dict[str, NDArray[np.uint16]]


def shapes() -> dict[str, tuple[int, ...]]:
    """Shape of every table of counts; the last axis is the symbol, those before it the context."""
    edge = NUM_CLASSES + 1
    out: dict[str, tuple[int, ...]] = {
        'coarse': (edge, edge, NUM_CLASSES),  # left, above
        'relief': (RELIEF_LEVELS + 1, RELIEF_LEVELS + 1, RELIEF_LEVELS),  # left, above
        'fine': (NUM_CLASSES, edge, edge, NUM_CLASSES),  # parent, left, above
    }
    for level, channels in enumerate(LEVELS):
        for channel, n in enumerate(channels):
            # class under the token, bucketed mean of the known neighbours (0 = none known)
            out[f'tokens.{level}.{channel}'] = (NUM_CLASSES, 2 * n, n)
    return out


@dataclass
class Tables:
    """
    Cumulative counts by context: ``coarse[left][above]``, ``relief[left][above]``,
    ``fine[parent][left][above]``, ``tokens[level][channel][class][context]``.
    """

    coarse: list
    relief: list
    fine: list
    tokens: list

    @classmethod
    def of_counts(cls, counts: Counts) -> 'Tables':
        """
        Make tables of counts (uint16, every one >= 1, each context's sum <= 65536).

        Raises ``ValueError`` for missing tables, wrong shapes or counts out of range.
        """
        cumulative = {}
        for name, shape in shapes().items():
            table = counts.get(name)
            if table is None or table.shape != shape:
                found = 'missing' if table is None else f'of shape {table.shape}'
                raise ValueError(f'table {name} is {found}, must be {shape}: retrain the tables')
            wide = table.astype(np.int64)
            if wide.min() < 1 or wide.sum(-1).max() > MAX_TOTAL:
                raise ValueError(f'table {name}: counts must be >= 1 and sum to <= {MAX_TOTAL}')
            sums = np.zeros((*shape[:-1], shape[-1] + 1), np.int64)
            sums[..., 1:] = wide.cumsum(-1)
            cumulative[name] = sums.tolist()
        tokens = [
            [cumulative[f'tokens.{level}.{channel}'] for channel in range(len(channels))]
            for level, channels in enumerate(LEVELS)
        ]
        return cls(cumulative['coarse'], cumulative['relief'], cumulative['fine'], tokens)

    @classmethod
    def uniform(cls) -> 'Tables':
        """Make tables that expect nothing, for untrained codecs."""
        return cls.of_counts({name: np.ones(shape, np.uint16) for name, shape in shapes().items()})

    @classmethod
    def load(cls, path: Path) -> 'Tables':
        """Read trained tables; raises ``FileNotFoundError`` or ``ValueError`` with the remedy."""
        if not path.is_file():
            raise FileNotFoundError(
                f'{path}: no such tables; reinstall gsc_ros or name their folder'
            )
        try:
            counts = load_file(path)
        except SafetensorError as error:
            raise ValueError(f'{path}: not a tables file of gsc_ros ({error})') from error
        return cls.of_counts(counts)


def save(path: Path, counts: Counts) -> Path:
    """Write counts; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(counts, path)
    return path
