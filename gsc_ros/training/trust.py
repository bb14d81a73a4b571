"""
Stage `trust`: the probability that a decoded pixel is right, fitted to truth.

Frames with true classes or depth are coded at several budgets and decoded. At a sample of cells
the network learns whether the class was right and whether depth was within 25 %. Only kinds of
scene that had true depth count as calibrated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from gsc_ros.codec.decoder import FrameDecoder
from gsc_ros.codec.encoder import FrameEncoder
from gsc_ros.codec.networks import TRUST
from gsc_ros.codec.trust import features_of
from gsc_ros.evaluation.datasets import Frame, open_dataset
from gsc_ros.evaluation.datasets.frame import gridded, read_ids
from gsc_ros.labels import KINDS, SKY, UNLABELLED
from gsc_ros.models.trust import TrustNet
from gsc_ros.models.weights import save
from gsc_ros.training.corpus import cameras_of

BUDGETS = (100, 150, 300, 600, 1200)
NEAR = 0.25  # depth is right when it is off by less than this share of the truth
_CELLS = 300  # of a frame at a budget
_LEAST_M, _MOST_M = 0.5, 80.0
_DENSE = 0.4  # of the pixels have true depth
_LEAST_FRAMES = 5  # with true depth, for a kind to count as calibrated
_UNKNOWN = -1


@dataclass
class Examples:
    """
    Cells that were judged.

    ``features``: float32 (N, FEATURES); ``right``: int8 (N, 2), class and depth: 1, 0, or -1 where
    there is no truth; ``group``: int64 (N), the kind of scene, and ``frame``: int64 (N).
    """

    features: list[NDArray[np.float32]] = field(default_factory=list)
    right: list[NDArray[np.int8]] = field(default_factory=list)
    group: list[NDArray[np.int64]] = field(default_factory=list)
    frame: list[NDArray[np.int64]] = field(default_factory=list)

    def add(
        self, features: NDArray[np.float32], right: NDArray[np.int8], group: int, frame: int
    ) -> None:
        """Add the cells of one frame at one budget."""
        self.features.append(features)
        self.right.append(right)
        self.group.append(np.full(len(right), group))
        self.frame.append(np.full(len(right), frame))


def _simulated(root: Path) -> list[Frame]:
    """List the frames of ``gsc train simulated`` below a folder."""
    ids = np.arange(256, dtype=np.uint8)
    cameras = cameras_of(root)
    frames = []
    for path in sorted(root.rglob('*_rgb.png')):
        stem = str(path)[: -len('_rgb.png')]

        def classes(stem: str = stem) -> NDArray[np.uint8]:
            return read_ids(Path(f'{stem}_seg.png'), ids)

        def depth(stem: str = stem) -> NDArray[np.float32]:
            return np.asarray(np.load(f'{stem}_depth.npy').astype(np.float32))

        camera = cameras.get(path.relative_to(root).as_posix())
        frames.append(Frame(path.stem, path, segmentation=classes, depth=depth, camera=camera))
    return frames


def with_truth(data: Sequence[Path], simulated: Path | None, split: str) -> list[Frame]:
    """List the frames of datasets, and of the simulator, that have true classes or depth."""
    frames = [frame for root in data for frame in open_dataset(root, split=split)]
    frames = [frame for frame in frames if frame.segmentation or frame.depth]
    return frames + (_simulated(simulated) if simulated else [])


def _judge(
    classes: NDArray[np.uint8], metres: NDArray[np.float32], frame: Frame, rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.int8]:  # fmt: skip
    """Tell for cells (rows, columns) of maps (h, w) whether class and depth are right."""
    right = np.full((len(rows), 2), _UNKNOWN, np.int8)
    height, width = classes.shape

    def at(truth: NDArray) -> NDArray:
        y = ((rows + 0.5) * truth.shape[0] / height).astype(int)
        x = ((columns + 0.5) * truth.shape[1] / width).astype(int)
        return np.asarray(truth[y, x])

    stated = classes[rows, columns]
    if frame.segmentation:
        true = at(frame.segmentation())
        known = (true != UNLABELLED) & (stated != UNLABELLED)
        right[known, 0] = (stated == true)[known]
    if frame.depth:
        truth, found = (
            gridded(frame.depth(), (height, width))[rows, columns],
            metres[rows, columns],
        )
        known = (truth >= _LEAST_M) & (truth <= _MOST_M) & (stated != SKY)
        right[known, 1] = (np.abs(found - truth) < NEAR * truth)[known]
    return right


def _measured(frame: Frame) -> NDArray[np.float32] | None:
    """Return true depth as a sensor would give it; None where there is none, or it is sparse."""
    truth = frame.depth() if frame.depth else None
    if truth is None or (np.isfinite(truth) & (truth > 0)).mean() < _DENSE:
        return None
    return truth


def _drawn(frame: Frame, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw cells (2, n) of a grid; of sparse depth, those with a return."""
    if frame.depth and not frame.segmentation:
        known = np.argwhere(np.isfinite(gridded(frame.depth(), shape)))
        if not len(known):
            return np.zeros((2, 0), np.int64)
        return known[rng.integers(len(known), size=_CELLS)].T
    return np.stack([rng.integers(n, size=_CELLS) for n in shape])


@torch.inference_mode()
def collect(
    frames: Iterable[Frame],
    encoder: FrameEncoder,
    decoder: FrameDecoder,
    budgets: Sequence[int] = BUDGETS,
    seed: int = 0,
) -> Examples:
    """
    Code frames at budgets and judge what a receiver makes of them.

    Of frames with dense true depth every second one has the scale of a sensor, the truth's.
    """
    rng, examples = np.random.default_rng(seed), Examples()
    for number, frame in enumerate(tqdm(list(frames), unit='frame')):
        encoder.see_by(frame.camera)
        analysis = encoder.analyse(frame.rgb(), _measured(frame) if number % 2 else None)
        for budget in budgets:
            received = decoder.read(encoder.pack(analysis, budget).data)
            out, classes, metres = decoder.maps(received)
            kind = received.symbols.kind
            group = kind.index if kind is not None and kind.sure else len(KINDS)
            rows, columns = _drawn(frame, classes.shape, rng)
            right = _judge(classes, metres, frame, rows, columns)
            found = features_of(out, [received.symbols])[0]
            cells = found[:, rows, columns].T.numpy().astype(np.float32)
            examples.add(cells, right, group, number)
    return examples


def fit(
    examples: Examples, steps: int = 1500, seed: int = 0, hidden: int = 24
) -> TrustNet:  # fmt: skip
    """Fit the network; each kind of scene and each of the two questions has the same weight."""
    features = torch.from_numpy(np.concatenate(examples.features))
    right = torch.from_numpy(np.concatenate(examples.right)).float()
    group = np.concatenate(examples.group)
    number = np.concatenate(examples.frame)
    known = right >= 0
    weight = torch.zeros_like(right)
    calibrated = []
    for kind in range(len(KINDS)):
        for question in range(2):
            mine = torch.from_numpy(group == kind) & known[:, question]
            weight[mine, question] = 1 / max(int(mine.sum()), 1)
        depth = (group == kind) & known[:, 1].numpy()
        if len(np.unique(number[depth])) >= _LEAST_FRAMES:
            calibrated.append(kind)
    torch.manual_seed(seed)
    scaled = bool((features[:, -1] > 0).any() and (features[:, -1] <= 0).any())
    net = TrustNet(hidden, tuple(calibrated), scaled)
    optimiser = torch.optim.AdamW(net.parameters(), 5e-3, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(seed)
    usable = torch.nonzero(known.any(1))[:, 0]
    if not len(usable):
        raise ValueError('no truth was found: give --data with true classes or depth')
    mean = weight[usable].sum() / len(usable)
    for step in range(steps):
        for setting in optimiser.param_groups:
            setting['lr'] = 5e-3 * (1 - step / steps)
        some = usable[torch.randint(len(usable), (4096,), generator=generator)]
        logits = net(features[some].T[None, :, None].contiguous())[0, :, 0].T
        loss = (_entropy(logits, right[some]) * weight[some]).mean() / mean
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def _entropy(logits: Tensor, right: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(
        logits, right.clamp(min=0), reduction='none'
    ) * (right >= 0)


def train(
    data: Sequence[Path], output: Path, simulated: Path | None = None, weights: Path | None = None,
    split: str = 'train', most: int = 200, seed: int = 0,
) -> Path:  # fmt: skip
    """Collect examples of at most so many frames, fit and write ``trust.safetensors``."""
    frames = with_truth(data, simulated, split)
    if not frames:
        raise ValueError(f'{", ".join(map(str, data))}: no frames with true classes or depth')
    rng = np.random.default_rng(seed)
    chosen = [frames[i] for i in rng.permutation(len(frames))[:most]]
    encoder, decoder = FrameEncoder.load(weights=weights), FrameDecoder.load(weights=weights)
    net = fit(collect(chosen, encoder, decoder, seed=seed), seed=seed)
    return save(output / TRUST, net.state_dict(), net.config)
