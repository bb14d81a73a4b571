"""
Stage `kinds`: the kind of scene, a linear layer on the backbone of perception.

The backbone stays as it is. Its pooled features are computed once for each image and once for a
random crop of it with other light and colours; a logistic regression is fitted to them. The
temperature is fitted to images of sources that the regression did not see, so that a probability
holds in places that are new.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from gsc_ros.codec.grid import coding_size
from gsc_ros.image_files import read_rgb
from gsc_ros.labels import KINDS
from gsc_ros.models.layers import channels_last, to_tensor
from gsc_ros.models.lite0 import FEATURES, Lite0, adopt
from gsc_ros.models.perception import PerceptionNet
from gsc_ros.models.weights import FOLDER, load, restore, save
from gsc_ros.perception.model import WEIGHTS

_DECAY = 1e-2  # of the weights of the regression
_STEPS = 60  # of L-BFGS
# Weight of each kind: "other" are close-ups of animals and things, which a robot seldom sees.
_PRIOR = torch.tensor([0.3 if kind == 'other' else 1.0 for kind in KINDS])
_FOLDS = 5
_MOST = 120  # images of a sequence


@dataclass(frozen=True)
class Sample:
    """An image file, its kind (index into ``KINDS``) and the source that it comes from."""

    path: Path
    kind: int
    source: str


def read_list(path: Path, root: Path) -> list[Sample]:
    """
    Read a CSV of columns ``file`` (relative to ``root``), ``kind`` and, if there is one,
    ``source``: without it, the folder of the file.

    Files that are not there are left out. Raises ``ValueError`` for a kind that does not exist.
    """
    samples = []
    with open(path, newline='') as file:
        for row in csv.DictReader(file):
            if row['kind'] not in KINDS:
                raise ValueError(f'{path}: kind {row["kind"]!r} is not one of {", ".join(KINDS)}')
            source = row.get('source') or str(Path(row['file']).parent)
            if (root / row['file']).is_file():
                samples.append(Sample(root / row['file'], KINDS.index(row['kind']), source))
    if not samples:
        raise ValueError(f'{path}: names no file below {root}')
    return samples


def backbone_of(path: Path | None) -> Lite0:
    """Load the backbone of a published file (.pth or .safetensors), or the shipped one."""
    net = Lite0().eval()
    if path is None:
        state, _ = load(FOLDER / WEIGHTS, 'backbone')
        net.load_state_dict({name.removeprefix('backbone.'): v for name, v in state.items()})
        return net
    published: Mapping[str, Tensor]
    if path.suffix == '.safetensors':
        from safetensors.torch import load_file

        published = load_file(path)
    else:
        published = torch.load(path, 'cpu', weights_only=True)
    return adopt(net, published)


def jittered(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut 60 to 100 % of an image, uint8 (H, W, 3), and change light, colour and sharpness."""
    height, width = rgb.shape[:2]
    share = rng.uniform(0.6, 1)
    rows, columns = int(height * share), int(width * share)
    y, x = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    part = rgb[y : y + rows, x : x + columns].astype(np.float32)
    light = (rng.uniform(0.6, 1.3) * (1 + rng.normal(0, 0.05, 3))).astype(np.float32)
    part = part * light + np.float32(rng.normal(0, 12))
    if rng.random() < 0.3:
        part = cv2.GaussianBlur(part, (0, 0), rng.uniform(0.5, 2))
    if rng.random() < 0.2:
        part[:] = part.mean(2, keepdims=True)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return np.ascontiguousarray(part.clip(0, 255).astype(np.uint8))


@torch.inference_mode()
def features_of(net: Lite0, rgb: NDArray[np.uint8]) -> Tensor:
    """Return the pooled features (1280) of an image as perception sees it."""
    small = cv2.resize(rgb, coding_size(rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA)
    pooled: Tensor = net(functional.avg_pool2d(to_tensor(torch.from_numpy(small)[None]), 2))
    return pooled[0]


def fit(features: Tensor, kinds: Tensor, decay: float = _DECAY) -> tuple[Tensor, Tensor]:
    """
    Fit a logistic regression, in which the kinds have the weights of ``_PRIOR``.

    ``features`` float (N, F), ``kinds`` int64 (N); returns weight (kinds, F) and bias (kinds).
    """
    # Fitted to features of unit variance, as the decay means the same for all of them.
    mean, deviation = features.mean(0), features.std(0) + 1e-3
    x = (features - mean) / deviation
    share = torch.bincount(kinds, minlength=len(KINDS)).clamp(min=1).float()
    importance = (_PRIOR / share)[kinds]
    importance = importance / importance.sum()
    weight = torch.zeros(len(KINDS), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(KINDS), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn='strong_wolfe')

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = functional.cross_entropy(x @ weight.T + bias, kinds, reduction='none')
        value = (entropy * importance).sum() + decay * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    scaled = weight.detach() / deviation
    return scaled, bias.detach() - scaled @ mean


def fit_temperature(logits: Tensor, kinds: Tensor) -> float:
    """Return what logits (N, kinds) are to be divided by for the least cross-entropy."""
    grid = torch.logspace(-0.7, 1.3, 81)
    losses = [float(functional.cross_entropy(logits / t, kinds)) for t in grid]
    return float(grid[int(np.argmin(losses))])


def folds_of(sources: list[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign samples to folds, all of a source to one; a source of many stills to several."""
    names, counts = np.unique(sources, return_counts=True)
    still = {n for n, c in zip(names, counts, strict=True) if n.endswith(('imagenet', 'bsds'))}
    fold = {name: int(rng.integers(_FOLDS)) for name in names}
    return np.array([rng.integers(_FOLDS) if s in still else fold[s] for s in sources])


def held_out_logits(
    features: Tensor, more: Tensor, kinds: Tensor, sources: list[str], seed: int = 0
) -> Tensor:
    """Return logits of each sample, of a regression that saw nothing of its source's fold."""
    folds = torch.from_numpy(folds_of(sources, np.random.default_rng(seed)))
    logits = torch.zeros(len(features), len(KINDS))
    for fold in range(_FOLDS):
        seen = folds != fold
        both = torch.cat([features[seen], more[seen]])
        weight, bias = fit(both, kinds[seen].repeat(2))
        logits[~seen] = features[~seen] @ weight.T + bias
    return logits


def recall(logits: Tensor, kinds: Tensor) -> dict[str, float]:
    """Return the share of each kind's samples that are told right."""
    right = logits.argmax(1) == kinds
    present = [k for k in range(len(KINDS)) if bool((kinds == k).any())]
    return {KINDS[k]: float(right[kinds == k].float().mean()) for k in present}


def recall_by_source(logits: Tensor, kinds: Tensor, sources: list[str]) -> dict[str, float]:
    """Return the share of each source's samples that are told right."""
    right = (logits.argmax(1) == kinds).float()
    at = {name: [i for i, s in enumerate(sources) if s == name] for name in sorted(set(sources))}
    return {name: float(right[indices].mean()) for name, indices in at.items()}


def train(
    root: Path, output: Path, table: Path, weights: Path | None = None, seed: int = 0
) -> Path:
    """
    Fit the layer to the images of a CSV (:func:`read_list`) and write ``perception.safetensors``.

    ``weights``: the folder of the network that gets the layer, None for the shipped one. Prints
    the recall of each kind on sources that were held out. Returns the file.
    """
    path = (weights or FOLDER) / WEIGHTS
    net = channels_last(restore(PerceptionNet, path).backbone)
    rng = np.random.default_rng(seed)
    plain, more, chosen = [], [], thinned(read_list(table, root))
    for sample in tqdm(chosen, unit='image'):
        rgb = read_rgb(sample.path)
        plain.append(features_of(net, rgb))
        more.append(features_of(net, jittered(rgb, rng)))
    kinds = torch.tensor([s.kind for s in chosen])
    layer = solve(torch.stack(plain), torch.stack(more), kinds, [s.source for s in chosen], seed)
    return write(path, *layer, output / WEIGHTS)


def thinned(samples: list[Sample]) -> list[Sample]:
    """Take of each source that is a video ``_MOST`` images, evenly spaced."""
    chosen: list[Sample] = []
    for source in dict.fromkeys(s.source for s in samples):
        mine = [s for s in samples if s.source == source]
        step = 1 if source.endswith(('imagenet', 'bsds')) else max(len(mine) / _MOST, 1)
        chosen += [mine[int(i * step)] for i in range(int(len(mine) / step))]
    return chosen


def solve(
    features: Tensor, more: Tensor, kinds: Tensor, sources: list[str], seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the calibrated layer; prints what it is worth."""
    assert features.shape[1] == FEATURES
    logits = held_out_logits(features, more, kinds, sources, seed)
    temperature = fit_temperature(logits, kinds)
    sure = (logits / temperature).softmax(1).amax(1)
    right = float((logits.argmax(1) == kinds).float().mean())
    for name, recalls in (
        ('kind', recall(logits, kinds)),
        ('source', recall_by_source(logits, kinds, sources)),
    ):
        listed = ', '.join(f'{key} {share:.3f}' for key, share in recalls.items())
        tqdm.write(f'recall by {name}, on sources held out: {listed}')
    tqdm.write(
        f'temperature {temperature:.2f}, mean probability {float(sure.mean()):.3f}, '
        f'right {right:.3f}'
    )
    weight, bias = fit(torch.cat([features, more]), kinds.repeat(2))
    return weight / temperature, bias / temperature


def write(perception: Path, weight: Tensor, bias: Tensor, path: Path) -> Path:
    """Write a file of a :class:`PerceptionNet` again, with this layer."""
    state, config = load(perception)
    state |= {'kinds.weight': weight, 'kinds.bias': bias}
    return save(path, state, config | {'kinds': len(KINDS)})
