"""
The class layout: a class for each cell of grids of 1/16 and 1/32 of the working size.

Maps are reduced by a fixed integer rule in which small, dangerous objects outvote the background,
so that a person two cells high does not vanish into the road around them. A cell that differs from
its neighbours costs many bits and tells little: where the network is hardly surer of it than of
its neighbours' class, it takes theirs.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.labels import LABELS, NUM_CLASSES, OTHER

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


_COST = 0.75  # of a neighbour of another class, in nats of the class's probability
_ROUNDS = 2
_KEPT = 5  # weight from which a class is never smoothed away: people and two-wheelers


def smoothed(
    fine: NDArray[np.uint8], probabilities: NDArray[np.float32], cost: float = _COST
) -> NDArray[np.uint8]:
    """
    Give cells of a fine layout (h, w) their neighbours' class where that is nearly as likely.

    ``probabilities``: of the classes, float32 (classes, 2h, 2w), 0..1; ``cost``: of a neighbour of
    another class, in nats. Iterated conditional modes of a Potts field (Besag, "On the statistical
    analysis of dirty pictures", 1986) on a checkerboard, among the classes of the layout. Cells of
    people and two-wheelers stay as they are, and none becomes one.
    """
    present = np.unique(fine)
    free = present[WEIGHTS[present] < _KEPT]
    if len(free) < 2:
        return fine
    mean = cv2.resize(
        probabilities[free].transpose(1, 2, 0), fine.shape[::-1], interpolation=cv2.INTER_AREA
    )
    if OTHER in free:  # it stands for all that is not stated
        rest = 1 - mean.sum(2) + mean[..., free == OTHER][..., 0]
        mean[..., free == OTHER] = rest[..., None]
    likely = np.log(mean.clip(1e-4) * WEIGHTS[free].astype(np.float32))
    movable = np.isin(fine, free)
    own = (fine[..., None] == free).astype(np.float32)
    colour = np.indices(fine.shape).sum(0) % 2
    for turn in range(2 * _ROUNDS):
        padded = np.pad(own, ((1, 1), (1, 1), (0, 0)))
        same = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        best = (likely + cost * same).argmax(2)
        turned = movable & (colour == turn % 2)
        own[turned] = np.eye(len(free), dtype=np.float32)[best[turned]]
    return np.where(movable, free[own.argmax(2)], fine)
