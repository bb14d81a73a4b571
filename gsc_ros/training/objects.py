"""
Stage `objects`: the probability that a region of the class map is an object, fitted to truth.

On frames with true classes the regions that perception finds are compared with the truth: a region
is right where its group of classes covers at least three tenths of the labelled part of its box.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.networks import OBJECTS
from gsc_ros.evaluation.datasets import Frame
from gsc_ros.evaluation.objects import RIGHT, covered
from gsc_ros.models.objects import ObjectNet
from gsc_ros.models.weights import FOLDER, save
from gsc_ros.perception.model import PerceptionModel
from gsc_ros.perception.regions import GROUP_OF, GROUPS, find_regions
from gsc_ros.training.trust import with_truth

_LEAST = 40  # regions of a group, or it stays uncalibrated
_STEPS = 200
_DECAY = 1e-3


def collect(frames: Iterable[Frame], perception: PerceptionModel) -> NDArray[np.float32]:
    """
    Judge the regions that perception finds in frames with true classes.

    Returns float32 (N, 4): probability of the class, share of the image, group, right or not.
    """
    rows = []
    for frame in tqdm(list(frames), unit='frame'):
        if frame.segmentation is None:
            continue
        rgb, truth = frame.rgb(), frame.segmentation()
        small = cv2.resize(rgb, coding_size(rgb.shape[1], rgb.shape[0]), cv2.INTER_AREA)
        view = perception.predict(small)
        assert view.confidence is not None
        for region in find_regions(view.classes, view.metres, view.confidence):
            share = covered(region.class_id, region.box, truth)
            if share is not None:
                group = GROUP_OF[region.class_id]
                rows.append((region.confidence, region.area, group, share >= RIGHT))
    return np.array(rows, np.float32).reshape(-1, 4)


def fit(examples: NDArray[np.float32]) -> ObjectNet:
    """Fit the network to examples (N, 4) of :func:`collect`; raises ``ValueError`` for too few."""
    confidence, area, group, right = torch.from_numpy(examples).unbind(1)
    counts = torch.bincount(group.long(), minlength=len(GROUPS))
    known = counts >= _LEAST
    if not known.any():
        raise ValueError('no truth was found: give --data with true classes of people, vehicles')
    net = ObjectNet(len(GROUPS))
    with torch.no_grad():
        net.weights[known] = 0
    used = known[group.long()]
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=_STEPS)

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = net(confidence[used], area[used], group[used].long())
        entropy = functional.binary_cross_entropy_with_logits(logits, right[used])
        total = entropy + _DECAY * net.weights[known].square().mean()
        total.backward()
        return total

    optimiser.step(loss)
    return net.eval()


def first_halves(frames: Sequence[Frame]) -> list[Frame]:
    """Keep the first half of each sequence, and every second still: the others are for tests."""
    sequences: dict[str, list[Frame]] = {}
    for frame in frames:
        sequences.setdefault(frame.sequence, []).append(frame)
    stills = sequences.pop('', [])
    halves = [mine[: len(mine) // 2] for mine in sequences.values()]
    return [*stills[::2], *(frame for mine in halves for frame in mine)]


def train(data: Sequence[Path], output: Path, weights: Path | None = None) -> Path:
    """
    Judge regions in frames with true classes, fit, write ``objects.safetensors``.

    The frames are the first halves of the split ``val``: on those that perception was trained on
    it is more certain than elsewhere.
    """
    frames = first_halves(with_truth(data, None, 'val'))
    net = fit(collect(frames, PerceptionModel.load(weights or FOLDER)))
    return save(output / OBJECTS, net.state_dict(), net.config)
