"""The skip mask: blocks of which a delta frame does not repeat what the receiver has."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.planes import BY_NAME, FrameSymbols, blocks_of, blocks_to

# By how much the symbols of a block may differ from the reference's and count as the same: camera
# noise changes some. Differences do not add up: each frame is compared with what was sent.
_CLASS_CELLS = 2  # cells of the fine layout, of 16
_LEVELS = 1  # of coarse depth and of each coarse token
_FINER = 0.3  # mean levels of a 1/32 token


def find_skip_mask(symbols: FrameSymbols, reference: FrameSymbols) -> NDArray[np.bool_]:
    """Find the blocks that look as in the reference: bool (H/64, W/64)."""
    planes, before = symbols.planes, reference.planes
    fine = BY_NAME['fine']
    moved = blocks_of((planes['fine'] != before['fine'])[0] & (before['fine'] >= 0)[0], fine)
    skip_mask = moved <= _CLASS_CELLS
    for name in ('coarse_depth', 'tokens0'):
        change = np.abs(planes[name].astype(int) - before[name]).max(0)
        skip_mask &= (change <= _LEVELS) & reference.received(name)
    middle = BY_NAME['tokens1']
    known = reference.received('tokens1')
    change = np.abs(planes['tokens1'].astype(int) - before['tokens1']).mean(0) * known
    count = np.maximum(blocks_of(known, middle), 1)
    skip_mask &= blocks_of(change, middle) / count <= _FINER
    coarse = BY_NAME['coarse']
    if symbols.applies(coarse):
        skip_mask &= blocks_of(reference.received('coarse'), coarse).astype(bool)
    return np.asarray(skip_mask)


def apply_skip_mask(
    symbols: FrameSymbols, reference: FrameSymbols, skip_mask: NDArray[np.bool_]
) -> FrameSymbols:
    """Replace the symbols of skipped blocks by the reference's, where those are known."""
    planes = {}
    for name, grid in symbols.planes.items():
        if not symbols.applies(BY_NAME[name]):
            planes[name] = grid
            continue
        keep = blocks_to(skip_mask, BY_NAME[name]) & reference.received(name)
        planes[name] = np.where(keep, reference.planes[name], grid)
    return replace(symbols, planes=planes)
