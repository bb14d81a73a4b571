"""Stage `perception`: the robot's classes and depth, by teachers' labels and simulation."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from gsc_ros.labels import NUM_CLASSES, UNLABELLED
from gsc_ros.models.layers import channels_last
from gsc_ros.models.perception import PerceptionNet
from gsc_ros.models.weights import save
from gsc_ros.training import corpus, loop
from gsc_ros.training.crops import Crops

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


def train(
    data: Path,
    settings: loop.Settings,
    simulated: Path | None = None,
    batch: int = 8,
    seed: int = 0,
) -> Path:
    """Train and write ``perception.safetensors`` into the output folder; returns its path."""
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
    device = settings.torch_device
    crops = Crops(samples, (320, 224), device, seed)
    model = PerceptionNet()
    channels_last(model).train().to(device)
    weight = class_weights().to(device)

    def step() -> dict[str, Tensor]:
        x, labels, depth = crops.cut(crops.rng.integers(len(samples), size=batch))
        logits, log_depth = model(x)
        return losses(logits.float(), log_depth.float(), labels, depth, weight)

    state = loop.run(model, step, settings)
    return save(settings.output / 'perception.safetensors', state, model.config)
