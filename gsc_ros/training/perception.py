"""
Stage `perception`: the robot's classes and depth, by teachers' labels, truth and simulation.

A neck is trained on a pretrained backbone, whose later stages are trained on slowly. The layer of
the kind of scene is that of stage `kinds`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.labels import NUM_CLASSES, UNLABELLED
from gsc_ros.models.layers import channels_last
from gsc_ros.models.perception import PerceptionNet
from gsc_ros.models.weights import save
from gsc_ros.perception.model import WEIGHTS
from gsc_ros.training import corpus, loop
from gsc_ros.training.crops import Crops
from gsc_ros.training.kinds import backbone_of

SIZE = (448, 320)  # most of an image: depth depends on where in the image a thing is
_FIRST_TUNED = 3  # of the backbone's stages; those before it see edges and colours

# Small things count for more than their area: the tail of the classes is what a driver must see.
_RARE = {
    4: 1.5,
    5: 3.0,
    6: 3.0,
    7: 3.0,
    11: 4.0,
    12: 4.0,
    13: 2.0,
    14: 2.0,
    15: 2.0,
    17: 4.0,
    18: 4.0,
}


def losses(
    logits: Tensor, depth: Tensor, labels: Tensor, target: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    """
    Cross-entropy and L1 of log depth where there are labels.

    ``labels`` int64 (N, h, w), 255 unknown; ``target`` float (N, h, w), negative unknown; the
    predictions are enlarged to their size.
    """
    size = labels.shape[1:]
    logits = functional.interpolate(logits, size, mode='bilinear', align_corners=False)
    depth = functional.interpolate(depth, size, mode='bilinear', align_corners=False)[:, 0]
    known = target >= 0
    entropy = functional.cross_entropy(
        logits, labels, weight, ignore_index=UNLABELLED, reduction='sum'
    ) / (labels != UNLABELLED).sum().clamp(min=1)
    error = ((depth - target).abs() * known).sum() / known.sum().clamp(min=1)
    return {'segmentation': entropy, 'depth': error, 'loss': entropy + 10 * error}


def class_weights() -> Tensor:
    """Weights of the classes in the cross-entropy."""
    weight = torch.ones(NUM_CLASSES)
    for label, value in _RARE.items():
        weight[label] = value
    return weight


def chances(samples: Sequence[corpus.Sample]) -> NDArray[np.float64]:
    """
    Return how likely each sample is drawn: float64 (N), of sum 1.

    A folder of n images counts for the root of n, so that a long video does not outweigh all else.
    """
    folders = [str(Path(s.name).parent) for s in samples]
    _, which, counts = np.unique(folders, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(counts[which])
    return np.asarray(weight / weight.sum())


def tuned(net: PerceptionNet) -> list[nn.Parameter]:
    """
    Freeze what stays of the backbone, and return what of it is trained on.

    Its batch norms keep their statistics; the first stages, and the last layer, which the kind of
    scene alone takes, stay as they are.
    """
    backbone = net.backbone.eval().requires_grad_(False)
    return list(backbone.stages[_FIRST_TUNED:].requires_grad_(True).parameters())


def train(
    data: Path,
    settings: loop.Settings,
    simulated: Path | None = None,
    batch: int = 8,
    seed: int = 0,
    backbone: Path | None = None,
) -> Path:
    """
    Train and write ``perception.safetensors`` into the output folder; returns its path.

    ``backbone``: published weights of EfficientNet-Lite0 to start from, None for those of the
    shipped network.
    """
    samples = [
        s
        for s in corpus.load(data, simulated=simulated)
        if s.segmentation is not None or s.log_depth is not None
    ]
    if not samples:
        raise ValueError(
            f'{data}: no labelled images; the stage needs teacher_seg, teacher_depth '
            'or simulator frames'
        )
    torch.manual_seed(seed)
    device = settings.torch_device
    crops = Crops(samples, SIZE, device, seed)
    share = chances(samples)
    model = PerceptionNet()
    model.backbone.load_state_dict(backbone_of(backbone).state_dict())
    channels_last(model).train().to(device)
    slow = tuned(model)
    weight = class_weights().to(device)

    def step() -> dict[str, Tensor]:
        x, labels, depth = crops.cut(crops.rng.choice(len(samples), batch, p=share))
        seen = model(x)
        return losses(seen.classes.float(), seen.depth.float(), labels, depth, weight)

    state = loop.run(model, step, settings, slow)
    return save(settings.output / WEIGHTS, state, model.config)
