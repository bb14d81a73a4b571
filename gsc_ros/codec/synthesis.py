"""From symbols to the deterministic prediction, which both ends can work out."""

import numpy as np
import torch

from gsc_ros.codec.planes import TOKENS, FrameSymbols
from gsc_ros.models.tokenizer import (
    LEVELS,
    UNKNOWN_CLASS,
    UNKNOWN_RELIEF,
    Synthesis,
    Tokenizer,
    from_symbols,
)


def synthesise(tokenizer: Tokenizer, symbols: FrameSymbols) -> Synthesis:
    """Run the predictor on what was received, a batch of one."""
    tokens, masks = [], []
    for name, n in zip(TOKENS, LEVELS, strict=True):
        grid = torch.from_numpy(symbols.planes[name].astype(np.int64))[None]
        tokens.append(from_symbols(grid, n))
        masks.append(torch.from_numpy(symbols.received(name)).float()[None, None])
    coarse, fine, relief = (
        symbols.planes[name][0].astype(np.int64) for name in ('coarse', 'fine', 'relief')
    )
    layout = np.where(fine < 0, coarse.repeat(2, 0).repeat(2, 1), fine)
    layout[layout < 0] = UNKNOWN_CLASS
    relief = np.where(relief < 0, UNKNOWN_RELIEF, relief)
    return tokenizer.predictor(
        tokens, masks, torch.from_numpy(layout)[None], torch.from_numpy(relief)[None]
    )
