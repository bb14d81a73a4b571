"""What a generator is given beside the prediction: words of the caption, and seeded noise."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gsc_ros.codec.caption import token_ids
from gsc_ros.codec.types import ReceivedFrame


def words(frames: Sequence[ReceivedFrame], device: torch.device) -> Tensor:
    """Return the captions as words for the flow: int64 (N, words, fields)."""
    ids = np.stack([token_ids(frame.symbols.caption) for frame in frames])
    return torch.from_numpy(ids).to(device)


def noise(frames: Sequence[ReceivedFrame], like: Tensor) -> Tensor:
    """
    Return standard normal noise of the shape and on the device of ``like`` (N, ...), float32.

    It is seeded by each frame's sequence number, and the same on every machine.
    """
    shape = tuple(like.shape[1:])
    drawn = [
        np.random.default_rng(frame.header.sequence).standard_normal(shape, np.float32)
        for frame in frames
    ]
    return torch.from_numpy(np.stack(drawn)).to(like.device)
