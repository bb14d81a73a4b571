"""From symbols to the deterministic prediction, which both ends can work out."""

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec.planes import TOKENS, FrameSymbols
from gsc_ros.models.tokenizer import (
    LEVELS,
    UNKNOWN_CLASS,
    UNKNOWN_DEPTH,
    Synthesis,
    Tokenizer,
    from_symbols,
)


def synthesise(tokenizer: Tokenizer, *frames: FrameSymbols) -> Synthesis:
    """Run the predictor on what was received of frames of one size, as a batch."""

    def grids(name: str) -> NDArray[np.int64]:
        return np.stack([symbols.planes[name] for symbols in frames]).astype(np.int64)

    tokens, masks = [], []
    for name, n in zip(TOKENS, LEVELS, strict=True):
        tokens.append(from_symbols(torch.from_numpy(grids(name)), n))
        received = np.stack([symbols.received(name) for symbols in frames])
        masks.append(torch.from_numpy(received).float()[:, None])
    coarse, fine, coarse_depth = (grids(name)[:, 0] for name in ('coarse', 'fine', 'coarse_depth'))
    layout = np.where(fine < 0, coarse.repeat(2, 1).repeat(2, 2), fine)
    layout[layout < 0] = UNKNOWN_CLASS
    coarse_depth = np.where(coarse_depth < 0, UNKNOWN_DEPTH, coarse_depth)
    return tokenizer.predictor(
        tokens, masks, torch.from_numpy(layout), torch.from_numpy(coarse_depth)
    )
