"""
Stage `trust`: the probability that a decoded pixel is right, fitted to truth.

Frames with true classes or depth are coded at several budgets and decoded. At a sample of cells
the network learns whether the class was right and whether depth was within 25 %
(``gsc_ros.training.trust_fit``). An error of the scale of depth is common to a frame, so that
frames count, not cells: many of them, of all sources alike.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gsc_ros.codec.bitstream import depth_code, depth_of_code
from gsc_ros.codec.caption import median_depth
from gsc_ros.codec.decoder import FrameDecoder
from gsc_ros.codec.encoder import FrameEncoder
from gsc_ros.codec.kind import SENSOR
from gsc_ros.codec.networks import TRUST
from gsc_ros.codec.trust import features_of, index_of
from gsc_ros.codec.types import ReceivedFrame
from gsc_ros.evaluation.datasets import Frame, open_dataset, thin
from gsc_ros.evaluation.datasets.frame import gridded
from gsc_ros.labels import SKY, UNLABELLED
from gsc_ros.models.weights import save
from gsc_ros.perception.camera import Camera
from gsc_ros.training.trust_fit import fit, held_out, report

BUDGETS = (100, 150, 300, 600, 1200)
NEAR = 0.25  # depth is right when it is off by less than this share of the truth
_CELLS = 200  # of a frame at a budget
_LEAST_M, _MOST_M = 0.5, 80.0
_DENSE = 0.4  # of the pixels have true depth
_UNKNOWN = -1


@dataclass
class Examples:
    """
    Cells that were judged.

    ``features``: float32 (N, FEATURES); ``right``: int8 (N, 2), class and depth: 1, 0, or -1 where
    there is no truth; ``group``: int64 (N), the kind of scene; ``scaled``: bool (N), whether the
    scale of depth was known; ``frame``: int64 (N); ``source``: of each frame, by its number.
    """

    features: list[NDArray[np.float32]] = field(default_factory=list)
    right: list[NDArray[np.int8]] = field(default_factory=list)
    group: list[NDArray[np.int64]] = field(default_factory=list)
    scaled: list[NDArray[np.bool_]] = field(default_factory=list)
    frame: list[NDArray[np.int64]] = field(default_factory=list)
    source: dict[int, str] = field(default_factory=dict)

    def add(
        self, features: NDArray[np.float32], right: NDArray[np.int8], group: int, scaled: bool,
        frame: int, source: str,
    ) -> None:  # fmt: skip
        """Add the cells of one frame at one budget."""
        self.features.append(features)
        self.right.append(right)
        self.group.append(np.full(len(right), group))
        self.scaled.append(np.full(len(right), scaled))
        self.frame.append(np.full(len(right), frame))
        self.source[frame] = source


def source_of(frame: Frame) -> str:
    """Name where a frame comes from: the folder of its image."""
    return frame.image.parent.name


def with_truth(data: Sequence[Path], simulated: Path | None, split: str) -> list[Frame]:
    """List the frames of datasets, and of the simulator, that have true classes or depth."""
    frames = [frame for root in data for frame in open_dataset(root, split=split)]
    if simulated:
        frames += open_dataset(simulated, 'simulated')
    return [frame for frame in frames if frame.segmentation or frame.depth]


def balanced(frames: Sequence[Frame], most: int) -> list[Frame]:
    """Choose so many frames at most, evenly spaced in each source, of each source alike."""
    sources: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        sources[source_of(frame)].append(frame)
    each = most
    while each > 1 and sum(min(len(s), each) for s in sources.values()) > most:
        each -= 1
    return [frame for mine in sources.values() for frame in thin(mine, each)]


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


def _measured(frame: Frame) -> float:
    """Return the true median depth as a sensor would give it; NaN where there is none."""
    truth = frame.depth() if frame.depth else None
    if truth is None or (np.isfinite(truth) & (truth > 0)).mean() < _DENSE:
        return float('nan')
    return median_depth(truth)


def _with_sensor(received: ReceivedFrame, metres: float) -> ReceivedFrame:
    """Return the frame as it is with the scale of a sensor."""
    header = replace(received.header, depth_code=depth_code(metres))
    return replace(received, header=header, symbols=replace(received.symbols, scale=SENSOR))


def _drawn(frame: Frame, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw cells (2, n) of a grid; of sparse depth, those with a return."""
    if frame.depth and not frame.segmentation:
        known = np.argwhere(np.isfinite(gridded(frame.depth(), shape)))
        if not len(known):
            return np.zeros((2, 0), np.int64)
        return known[rng.integers(len(known), size=_CELLS)].T
    return np.stack([rng.integers(n, size=_CELLS) for n in shape])


def _camera_of(frame: Frame, number: int) -> Camera | None:
    """Return the camera of a frame, whose height is known to every second one."""
    if frame.camera is None or number % 2:
        return frame.camera
    return replace(frame.camera, height_m=None)


@torch.inference_mode()
def collect(
    frames: Iterable[Frame],
    encoder: FrameEncoder,
    decoder: FrameDecoder,
    budgets: Sequence[int] = BUDGETS,
    seed: int = 0,
    each: int = 2,
) -> Examples:
    """
    Code frames at ``each`` of the budgets and judge what a receiver makes of them.

    Frames with dense true depth are judged with the scale of a sensor, too. Every second frame has
    the camera's height, where that is known.
    """
    rng, examples = np.random.default_rng(seed), Examples()
    for number, frame in enumerate(tqdm(list(frames), unit='frame')):
        encoder.see_by(_camera_of(frame, number))
        analysis, measured = encoder.analyse(frame.rgb()), _measured(frame)
        for budget in rng.choice(budgets, min(each, len(budgets)), replace=False).tolist():
            received = decoder.read(encoder.pack(analysis, budget).data)
            out, classes, metres = decoder.maps(received)
            rows, columns = _drawn(frame, classes.shape, rng)
            variants = [(received, metres)]
            if np.isfinite(measured) and received.header.depth_code:
                known = _with_sensor(received, measured)
                told = [depth_of_code(r.header.depth_code) for r in (known, received)]
                variants.append((known, metres * np.float32(told[0] / told[1])))
            for seen, depth in variants:
                found = features_of(out, [seen.symbols])[0]
                examples.add(
                    found[:, rows, columns].T.numpy().astype(np.float32),
                    _judge(classes, depth, frame, rows, columns),
                    index_of(seen.symbols.kind),
                    bool(seen.symbols.scale),
                    number,
                    source_of(frame),
                )
    return examples


def train(
    data: Sequence[Path], output: Path, simulated: Path | None = None, weights: Path | None = None,
    split: str = 'train', most: int = 300, seed: int = 0,
) -> Path:  # fmt: skip
    """
    Collect examples of at most so many frames, fit and write ``trust.safetensors``.

    Prints what trust is worth on sources that were held out.
    """
    frames = balanced(with_truth(data, simulated, split), most)
    if not frames:
        raise ValueError(f'{", ".join(map(str, data))}: no frames with true classes or depth')
    encoder, decoder = FrameEncoder.load(weights=weights), FrameDecoder.load(weights=weights)
    examples = collect(frames, encoder, decoder, seed=seed)
    logits = held_out(examples, seed)
    for line in report(examples, logits):
        tqdm.write(line)
    net = fit(examples, logits, seed)
    return save(output / TRUST, net.state_dict(), net.config)
