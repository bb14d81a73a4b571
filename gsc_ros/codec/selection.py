"""
Dynamic selection: of the plane in which the budget ends, send the blocks that matter most.

The encoder predicts as the receiver would, once without the plane and once with all of it, and
sends first the blocks where that lowers the error of latent and layout most, weighted by what is
there: a person's block before one of sky. In the same way a delta frame leaves alone, of the
blocks that changed, those where saying it anew helps least.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec.analysis import Analysed
from gsc_ros.codec.planes import BY_NAME, TOKENS, UNKNOWN, FrameSymbols, Plane, blocks_of
from gsc_ros.codec.skip_mask import find_skip_mask
from gsc_ros.codec.streams import completed
from gsc_ros.codec.synthesis import synthesise
from gsc_ros.models.tokenizer import Tokenizer

_WRONG_CLASS = 4.0  # a wrong cell of the layout, in squared errors of the latent
_MAP_SHARE = 0.93  # of what fitted without a map of the blocks still fits beside one
# How much of what changed a delta frame may say, and where so little did that all of it fits.
_SAID = (1.0, 0.5, 0.25)
_FEW = 0.1  # of all blocks
_INTEREST = 16.0  # an error in a region of interest, in errors elsewhere

# Left, top, right, bottom of a part of the image, in shares of its width and height, 0..1.
Region = tuple[float, float, float, float]


def interest(region: Region, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """
    Return how much more an error weighs on a grid of a shape (rows, columns).

    Cells count that the region touches. Raises ``ValueError`` for a region that is empty or not
    within the image.
    """
    left, top, right, bottom = region
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(f'a region lies within 0..1 and is not empty, got {region}')
    rows, columns = shape
    weights = np.ones(shape)
    inside = (
        slice(int(top * rows), math.ceil(bottom * rows)),
        slice(int(left * columns), math.ceil(right * columns)),
    )
    weights[inside] = _INTEREST
    return weights


def errors(
    found: Analysed, tokenizer: Tokenizer, *frames: FrameSymbols
) -> list[NDArray[np.float64]]:
    """Compute weighted errors of what a receiver makes of frames, by block of the 1/64 grid."""
    fine = found.symbols.planes['fine'][0].astype(np.int64)
    out = synthesise(tokenizer, *frames)
    true = found.latent / tokenizer.latent_std
    wrong = (out.latent - true).square().mean(1).double().numpy()
    classes = torch.nn.functional.avg_pool2d(out.segmentation, 2).argmax(1).numpy()
    wrong = (wrong + _WRONG_CLASS * (classes != fine)) * found.importance
    return [blocks_of(error, BY_NAME['fine']) for error in wrong]


def choose(
    found: Analysed,
    plane: Plane,
    coded: FrameSymbols,
    reference: FrameSymbols | None,
    tokenizer: Tokenizer,
) -> NDArray[np.bool_] | None:
    """
    Choose blocks of the plane in which coding ended: bool (H/64, W/64), None where none help.

    ``coded``: what of ``found`` fitted without a choice; ``reference``: of a delta frame.
    """
    name = plane.name
    share = float(coded.received(name).mean()) * _MAP_SHARE
    without, whole = ({**coded.planes} for _ in range(2))
    without[name] = np.full_like(without[name], UNKNOWN)
    whole[name] = found.symbols.planes[name]
    if name in coded.skip_mask:
        still = coded.skip_mask[name]
        without[name][:, still] = coded.planes[name][:, still]
        whole[name] = np.where(still, coded.planes[name], whole[name])
    before, after = (FrameSymbols(coded.caption, planes) for planes in (without, whole))
    if reference is not None:
        before, after = completed(before, reference), completed(after, reference)
    without_it, with_it = errors(found, tokenizer, before, after)
    gain = without_it - with_it
    count = round(share * gain.size)
    if not 0 < count < gain.size:
        return None
    blocks = np.zeros(gain.shape, bool)
    blocks.flat[np.argsort(-gain, axis=None, kind='stable')[:count]] = True
    return blocks


def skip_masks(
    found: Analysed, reference: FrameSymbols, tokenizer: Tokenizer
) -> list[NDArray[np.bool_]]:
    """
    Propose blocks that a delta frame says nothing of: bool (H/64, W/64) each.

    First those that stand still, then more and more of the others: where a scene moves, the coarse
    planes of all that changed would leave no room for anything finer.
    """
    still = find_skip_mask(found.symbols, reference)
    changed = int((~still).sum())
    if changed <= _FEW * still.size:
        return [still]
    nothing = FrameSymbols.unknown(reference.size)
    said = {n: g for n, g in found.symbols.planes.items() if n not in TOKENS[1:]}
    stale, fresh = (
        completed(FrameSymbols(None, {**nothing.planes, **planes}), reference)
        for planes in ({}, said)
    )
    before, after = errors(found, tokenizer, stale, fresh)
    order = np.argsort(np.where(still, np.inf, after - before), axis=None, kind='stable')
    maps = []
    for share in _SAID:
        skip_mask = np.ones(still.shape, bool)
        skip_mask.flat[order[: round(share * changed)]] = False
        maps.append(skip_mask)
    return maps
