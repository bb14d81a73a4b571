"""
The class layout: a class for each cell of grids of 1/16 and 1/32 of the working size.

Maps are reduced by a fixed integer rule in which small, dangerous objects outvote the background,
so that a person two cells high does not vanish into the road around them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.labels import LABELS, NUM_CLASSES

# Votes of one cell for its class, and its importance where not all tokens can be sent.
WEIGHTS: NDArray[np.int64] = np.full(NUM_CLASSES, 2, np.int64)
for _name, _weight in {
    'person': 6, 'rider': 6, 'bicycle': 5, 'motorcycle': 5, 'car': 4, 'truck': 4, 'bus': 4,
    'train': 4, 'other': 3, 'traffic light': 4, 'traffic sign': 4, 'pole': 3, 'fence': 3,
    'wall': 3, 'sky': 1,
}.items():  # fmt: skip
    WEIGHTS[LABELS.index(_name)] = _weight


def halve(ids: Tensor) -> Tensor:
    """
    Reduce class maps (N, 2h, 2w) of ids 0..19 to (N, h, w): the class with most votes of 2x2
    cells.

    Ties go to the lowest id.
    """
    n, height, width = ids.shape
    blocks = ids.reshape(n, height // 2, 2, width // 2, 2).transpose(2, 3).flatten(3)
    same = blocks[..., :, None] == blocks[..., None, :]
    votes = same.sum(-1) * torch.from_numpy(WEIGHTS).to(ids.device)[blocks.long()]
    none = torch.full_like(blocks, 127)
    return torch.where(votes == votes.amax(-1, keepdim=True), blocks, none).amin(-1)


def fine_of(classes: Tensor) -> Tensor:
    """Class maps (N, ., .) on the 1/8 grid -> the fine layouts on the 1/16 grid."""
    return halve(classes)


def coarse_of(fine: Tensor) -> Tensor:
    """Fine layouts (N, ., .) on the 1/16 grid -> the coarse layouts on the 1/32 grid."""
    return halve(fine)
