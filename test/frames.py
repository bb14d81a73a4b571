"""Random frames of symbols, for the tests of what goes on air."""

import numpy as np

from gsc_ros.codec.caption import BEARINGS, DISTANCES, SCENES, THINGS, Caption, Thing
from gsc_ros.codec.layout import coarse_of
from gsc_ros.codec.streams import FrameSymbols
from gsc_ros.codec.tables import Tables, shapes
from gsc_ros.models.tokenizer import LEVELS, RELIEF_LEVELS
from gsc_ros.perception.labels import NUM_CLASSES


def random_symbols(seed: int, size: tuple[int, int]) -> FrameSymbols:
    """Make a frame of a working size; layouts come in patches, as real ones do."""
    rng = np.random.default_rng(seed)
    symbols = FrameSymbols.unknown(size)
    rows, columns = symbols.fine.shape
    patches = rng.integers(0, NUM_CLASSES, (rows // 4 + 1, columns // 4 + 1))
    symbols.fine = np.kron(patches, np.ones((4, 4)))[:rows, :columns].astype(np.uint8)
    symbols.coarse = coarse_of(symbols.fine)
    symbols.relief = rng.integers(0, RELIEF_LEVELS, symbols.relief.shape).astype(np.uint8)
    symbols.tokens = [
        np.stack([rng.integers(0, n, t.shape[1:]) for n in levels]).astype(np.int8)
        for levels, t in zip(LEVELS, symbols.tokens, strict=True)
    ]
    things = tuple(
        Thing(*(int(rng.integers(len(names))) for names in (THINGS, BEARINGS, DISTANCES)))
        for _ in range(rng.integers(0, 6))
    )
    symbols.caption = Caption(int(rng.integers(len(SCENES))), things)
    return symbols


def uneven_tables(seed: int = 7) -> Tables:
    """Make tables with counts from 1 to 999, so that every slot has another width."""
    rng = np.random.default_rng(seed)
    return Tables.of_counts(
        {name: rng.integers(1, 1000, shape).astype(np.uint16) for name, shape in shapes().items()}
    )
