"""Random frames of symbols and an uneven prior, for the tests of what goes on air."""

from functools import lru_cache

import numpy as np
import torch

from gsc_ros.codec.caption import BEARINGS, DISTANCES, OBJECT_KINDS, SCENES, Caption, SceneObject
from gsc_ros.codec.layout import coarse_of
from gsc_ros.codec.planes import PLANES, FrameSymbols
from gsc_ros.codec.prior import Prior, all_shapes
from gsc_ros.codec.streams import Plan, StreamReader, StreamWriter
from gsc_ros.labels import NUM_CLASSES


def random_symbols(seed: int, size: tuple[int, int]) -> FrameSymbols:
    """Make a frame of a working size; layouts come in patches, as real ones do."""
    rng = np.random.default_rng(seed)
    symbols = FrameSymbols.unknown(size)
    for plane in PLANES:
        grid = symbols.planes[plane.name]
        for channel, n in enumerate(plane.levels):
            grid[channel] = rng.integers(0, n, grid.shape[1:])
    fine = symbols.planes['fine']
    rows, columns = fine.shape[1:]
    patches = rng.integers(0, NUM_CLASSES, (rows // 4 + 1, columns // 4 + 1))
    fine[0] = np.kron(patches, np.ones((4, 4)))[:rows, :columns]
    symbols.planes['coarse'] = coarse_of(torch.from_numpy(fine)).numpy()
    objects = tuple(
        SceneObject(
            *(int(rng.integers(len(names))) for names in (OBJECT_KINDS, BEARINGS, DISTANCES))
        )
        for _ in range(rng.integers(0, 6))
    )
    symbols.caption = Caption(int(rng.integers(len(SCENES))), objects)
    return symbols


def moved(symbols: FrameSymbols, seed: int, share: float) -> FrameSymbols:
    """Change a share of a frame's blocks, as motion does."""
    rng = np.random.default_rng(seed)
    other = random_symbols(seed + 1000, symbols.size)
    change = rng.random(symbols.planes['coarse_depth'].shape[1:]) < share
    planes = {}
    for plane in PLANES:
        factor = 4 >> plane.log2_stride
        where = change.repeat(factor, 0).repeat(factor, 1)
        planes[plane.name] = np.where(
            where, other.planes[plane.name], symbols.planes[plane.name]
        ).astype(np.int8)
    return FrameSymbols(symbols.caption, planes)


@lru_cache(maxsize=2)
def uneven_prior(seed: int = 7) -> Prior:
    """Make a prior of random integer weights, so that every symbol has odds of its own."""
    rng = np.random.default_rng(seed)
    return Prior.of_weights(
        {name: rng.integers(-7, 8, shape).astype(np.int16) for name, shape in all_shapes().items()}
    )


def encode(symbols, prior, most_bytes, reference=None, **plan):
    """Write a frame; returns its stream, and what of the symbols it holds."""
    return StreamWriter(symbols, prior, Plan(most_bytes, **plan), reference).write()


def decode(data, size, prior, reference=None, **header):
    """Read a frame's symbols from its stream or a prefix of it."""
    return StreamReader(data, size, prior, reference, **header).read()
