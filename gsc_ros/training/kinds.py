"""
Stage `kinds`: the kind of scene, a linear layer on the backbone of perception.

The backbone stays as it is. Its features are computed once for each image and once for a
random crop of it with other light and colours; a logistic regression is fitted to them. The
temperature is fitted to images of sources that the regression did not see, so that a probability
holds in places that are new.
"""

import csv
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation.metrics import calibration_error
from gsc_ros.image_files import read_rgb
from gsc_ros.labels import KINDS, STREET
from gsc_ros.models.kinds import KindLayer
from gsc_ros.models.layers import channels_last, to_tensor
from gsc_ros.models.lite0 import FEATURES, Lite0, adopt
from gsc_ros.models.weights import FOLDER, load, save
from gsc_ros.perception.kinds import SURE
from gsc_ros.perception.model import WEIGHTS

_DECAY = 6e-2  # of the weights of the regression
_LEAST_DEVIATION = 1e-3  # of a feature
_LAYER = 'kinds.'  # of the network
_STEPS = 60  # of L-BFGS
_FOLDS = 20
_MOST = 40  # images of a source: more of one place say nothing of others
_LARGEST = 1024  # pixels a side, of which features are computed
_MOST_STILLS = 250  # of a source whose images have nothing in common, a kind
_STILLS, _PLACES = ('imagenet', 'bsds'), 10  # such sources, and as how many others they weigh


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
    if path is None:
        return _backbone(FOLDER / WEIGHTS)
    net = Lite0().eval()
    published: Mapping[str, Tensor]
    if path.suffix == '.safetensors':
        from safetensors.torch import load_file

        published = load_file(path)
    else:
        published = torch.load(path, 'cpu', weights_only=True)
    return adopt(net, published)


def _backbone(perception: Path) -> Lite0:
    """Load the backbone of a file of perception, whatever its other layers are."""
    net = Lite0().eval()
    state, _ = load(perception, 'backbone')
    net.load_state_dict({name.removeprefix('backbone.'): v for name, v in state.items()})
    return channels_last(net)


def jittered(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut 60 to 100 % of an image, uint8 (H, W, 3), and change light, colour and sharpness."""
    height, width = rgb.shape[:2]
    share = rng.uniform(0.6, 1)
    rows, columns = int(height * share), int(width * share)
    y, x = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    part = relit(rgb[y : y + rows, x : x + columns], rng)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return np.ascontiguousarray(part)


def relit(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change light, colour and sharpness of an image, uint8 (H, W, 3)."""
    part = rgb.astype(np.float32)
    light = (rng.uniform(0.6, 1.3) * (1 + rng.normal(0, 0.05, 3))).astype(np.float32)
    part = part * light + np.float32(rng.normal(0, 12))
    if rng.random() < 0.3:
        part = cv2.GaussianBlur(part, (0, 0), rng.uniform(0.5, 2))
    if rng.random() < 0.2:
        part[:] = part.mean(2, keepdims=True)
    return np.asarray(part.clip(0, 255).astype(np.uint8))


@torch.inference_mode()
def features_of(net: Lite0, rgb: NDArray[np.uint8]) -> Tensor:
    """Return the features (FEATURES) of an image as perception sees it."""
    small = cv2.resize(rgb, coding_size(rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA)
    found: Tensor = net(functional.avg_pool2d(to_tensor(torch.from_numpy(small)[None]), 2))
    return found[0]


def fit(features: Tensor, kinds: Tensor, weights: Tensor, decay: float = _DECAY) -> KindLayer:
    """
    Fit a logistic regression.

    ``features`` float (N, FEATURES), ``kinds`` int64 (N), ``weights`` float (N) of sum 1.
    """
    layer = KindLayer(len(KINDS))
    # The decay means the same for all features, as they have unit variance.
    layer.mean.copy_(features.mean(0))
    layer.deviation.copy_(features.std(0) + _LEAST_DEVIATION)
    nn.init.zeros_(layer.linear.weight)
    nn.init.zeros_(layer.linear.bias)
    x = (features - layer.mean) / layer.deviation
    optimiser = torch.optim.LBFGS(
        layer.parameters(), max_iter=_STEPS, line_search_fn='strong_wolfe'
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = functional.cross_entropy(layer.linear(x), kinds, reduction='none')
        value = (entropy * weights).sum() + decay * layer.linear.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return layer.requires_grad_(False)


def fit_sources(features: Tensor, more: Tensor, kinds: Tensor, sources: list[str]) -> KindLayer:
    """Fit to images and changed ones, both (N, F); kinds weigh alike, and sources of a kind."""
    weights = source_weights(kinds, sources).repeat(2) / 2
    return fit(torch.cat([features, more]), kinds.repeat(2), weights)


def fit_temperature(logits: Tensor, kinds: Tensor, weights: Tensor) -> float:
    """Return what logits (N, kinds) are to be divided by for the least weighted cross-entropy."""
    grid = torch.logspace(-0.7, 1.3, 81)
    losses = [
        float((functional.cross_entropy(logits / t, kinds, reduction='none') * weights).sum())
        for t in grid
    ]
    return float(grid[int(np.argmin(losses))])


def folds_of(sources: list[str], kinds: Tensor, rng: np.random.Generator) -> NDArray[np.int64]:
    """
    Assign samples to folds, all of a source to one; a source of many stills to all.

    The sources of a kind go to different folds, as far as there are any.
    """
    of = dict(zip(reversed(sources), reversed(kinds.tolist()), strict=True))  # its first kind
    names = sorted(of, key=lambda name: (of[name], rng.random()))
    fold = {name: index % _FOLDS for index, name in enumerate(names)}
    return np.array([rng.integers(_FOLDS) if s in _STILLS else fold[s] for s in sources])


def held_out_logits(
    features: Tensor, more: Tensor, kinds: Tensor, sources: list[str], seed: int = 0
) -> Tensor:
    """Return logits of each sample, of a regression that saw nothing of its source's fold."""
    folds = torch.from_numpy(folds_of(sources, kinds, np.random.default_rng(seed)))
    logits = torch.zeros(len(features), len(KINDS))
    for fold in range(_FOLDS):
        seen = folds != fold
        if bool(seen.all()):
            continue
        known = [source for source, one in zip(sources, seen.tolist(), strict=True) if one]
        logits[~seen] = fit_sources(features[seen], more[seen], kinds[seen], known)(
            features[~seen]
        )
    return logits


def source_weights(kinds: Tensor, sources: list[str]) -> Tensor:
    """
    Return the weight of each sample, float (N), of sum 1: sources of a kind weigh alike.

    So do the kinds. Stills weigh as so many sources, up to ten: they are as many places.
    """
    groups = list(zip(sources, kinds.tolist(), strict=True))
    share = {}
    for group, count in Counter(groups).items():
        share[group] = (min(_PLACES, count) if group[0] in _STILLS else 1) / count
    weights = torch.tensor([share[g] for g in groups])
    total = torch.zeros(len(KINDS)).index_add(0, kinds, weights)
    weights = weights / total[kinds]
    return weights / weights.sum()


@dataclass(frozen=True)
class Told:
    """
    What is told of a kind's images, means over sources: shares of its samples.

    ``right``: likeliest is the true kind; ``sure``: right and sure; ``wrong``: wrong and sure;
    ``street``: surely a street; the rest is not sure.
    """

    right: float
    sure: float
    wrong: float
    street: float


def told(probabilities: Tensor, kinds: Tensor, weights: Tensor) -> dict[str, Told]:
    """Return what is told of each kind that has samples, by probabilities (N, KINDS)."""
    best, index = probabilities.max(1)
    right, sure = index == kinds, best >= SURE
    found = {}
    for kind in sorted(set(kinds.tolist())):
        mine = weights * (kinds == kind)
        parts = (right, right & sure, ~right & sure, sure & (index == STREET))
        found[KINDS[kind]] = Told(*(float((mine * p).sum() / mine.sum()) for p in parts))
    return found


def expected_calibration_error(probabilities: Tensor, kinds: Tensor, weights: Tensor) -> float:
    """Return how far the likeliest kind's probability (N, KINDS) is off its share right."""
    best, index = probabilities.max(1)
    counts = np.zeros((256, 2), np.int64)
    amount = (weights / weights.sum() * 1e6).round().long().numpy()
    level = (best * 255).round().long().numpy()
    np.add.at(counts, (level, (index == kinds).long().numpy()), amount)
    return calibration_error(counts, 10)


def report(name: str, logits: Tensor, kinds: Tensor, sources: list[str]) -> str:
    """Return a table of what logits (N, KINDS) tell of each kind, and their calibration."""
    weights, probabilities = source_weights(kinds, sources), logits.softmax(1)
    found = told(probabilities, kinds, weights)
    rows = [
        f'| {name} | right | right and sure | wrong and sure | surely a street |',
        '|---' * 5 + '|',
    ]
    rows += [
        f'| {kind} | {t.right:.3f} | {t.sure:.3f} | {t.wrong:.3f} | {t.street:.3f} |'
        for kind, t in found.items()
    ]
    mean = sum(t.right for t in found.values()) / len(found)
    error = expected_calibration_error(probabilities, kinds, weights)
    return '\n'.join([*rows, f'mean recall {mean:.3f}, expected calibration error {error:.3f}'])


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
    what is told of each kind on sources that were held out. Returns the file.
    """
    path = (weights or FOLDER) / WEIGHTS
    chosen = thinned(read_list(table, root))
    features, more = all_features(path, chosen, root, output / 'features.pt')
    kinds = torch.tensor([s.kind for s in chosen])
    layer = solve(features, more, kinds, [s.source for s in chosen], seed)
    return write(path, layer, output / WEIGHTS)


def all_features(
    perception: Path, samples: list[Sample], root: Path, cache: Path
) -> tuple[Tensor, Tensor]:
    """
    Return features of each sample and of a changed one (:func:`jittered`), both (N, F).

    They are kept in ``cache``. Raises ``ValueError`` for a cache of another backbone or of other
    features.
    """
    net = _backbone(perception)
    mark = float(sum(value.double().abs().sum() for value in net.state_dict().values()))
    known: dict[str, Any] = {'backbone': mark, 'features': FEATURES}
    if cache.is_file():
        known = torch.load(cache, weights_only=True)
    if (known['backbone'], known.get('features')) != (mark, FEATURES):
        raise ValueError(f'{cache} is of another backbone than {perception}: delete it')
    names = [str(sample.path.relative_to(root)) for sample in samples]
    for count, name in enumerate(tqdm(names, unit='image')):
        if name not in known:
            rgb = _bounded(read_rgb(root / name, lambda _: None))
            changed = jittered(rgb, np.random.default_rng(zlib.crc32(name.encode())))
            known[name] = torch.stack([features_of(net, rgb), features_of(net, changed)])
        if count % 200 == 199 or count + 1 == len(names):
            cache.parent.mkdir(parents=True, exist_ok=True)
            torch.save(known, cache)
    pairs = torch.stack([known[name] for name in names])
    return pairs[:, 0], pairs[:, 1]


def _bounded(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce an image to ``_LARGEST``: features are of some 640x480 pixels all the same."""
    scale = _LARGEST / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def thinned(samples: list[Sample]) -> list[Sample]:
    """Take ``_MOST`` images of a kind and source, evenly spaced; more where all are stills."""
    chosen: list[Sample] = []
    for group in dict.fromkeys((s.source, s.kind) for s in samples):
        mine = [s for s in samples if (s.source, s.kind) == group]
        step = max(len(mine) / (_MOST_STILLS if group[0] in _STILLS else _MOST), 1)
        chosen += [mine[int(i * step)] for i in range(round(len(mine) / step))]
    return chosen


def solve(
    features: Tensor, more: Tensor, kinds: Tensor, sources: list[str], seed: int = 0
) -> KindLayer:
    """Return the calibrated layer; prints what it is worth."""
    logits = held_out_logits(features, more, kinds, sources, seed)
    temperature = fit_temperature(logits, kinds, source_weights(kinds, sources))
    recalls = recall_by_source(logits, kinds, sources)
    listed = ', '.join(f'{key} {share:.2f}' for key, share in recalls.items())
    tqdm.write(f'recall by source, each held out: {listed}')
    tqdm.write(report('kind, its sources held out', logits / temperature, kinds, sources))
    tqdm.write(f'temperature {temperature:.2f}')
    layer = fit_sources(features, more, kinds, sources)
    layer.linear.weight.div_(temperature)
    layer.linear.bias.div_(temperature)
    return layer


def write(perception: Path, layer: KindLayer, path: Path) -> Path:
    """Write a file of perception again, with this layer; all else stays."""
    state, config = load(perception)
    state = {name: value for name, value in state.items() if not name.startswith(_LAYER)}
    state |= {_LAYER + name: value for name, value in layer.state_dict().items()}
    return save(path, state, config | {'kinds': len(KINDS)})
