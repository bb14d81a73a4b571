"""
Stage `hazards`: the head of perception that tells what is in the way, by true heights.

Perception stays as it is. Its maps are computed once for each frame, cut, turned over and lit
otherwise, and the head is trained on them with limits and knowledge of the camera's height drawn
anew at each step. Frames of the simulator have true heights; of others with true depth they are
found in that.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation.datasets import Frame, open_dataset
from gsc_ros.evaluation.datasets.frame import gridded
from gsc_ros.models.hazards import ABOVE_M, WITHIN_M, HazardHead, Question, rays
from gsc_ros.models.layers import channels_last, to_tensor
from gsc_ros.models.perception import PerceptionNet
from gsc_ros.models.weights import FOLDER, load, restore, save
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.hazards import Limits, heights_over_ground
from gsc_ros.perception.model import WEIGHTS
from gsc_ros.perception.standing import question
from gsc_ros.training import loop
from gsc_ros.training.kinds import relit

STRIDE, _FINE = 8, 2  # pixels a side of a cell of the head, and of a sample of the truth
_LEAST_CROP = 0.7
_LEAST_HEIGHT_M = 1.1
_SHARE = 0.25  # of a cell that is in the way, from which the cell is
_USUAL_AREA = 30.0  # cells of a thing; smaller ones weigh more
_HELD_OUT = 8  # one world or sequence in so many calibrates
_BATCH = 12


@dataclass(frozen=True)
class Example:
    """
    A frame as the head sees it, with its truth.

    ``maps``: float16 (C, h, w), of three grids; ``heights``, ``depth``: float16 (4h, 4w) m, NaN
    unknown, depth inf in the sky; ``camera``: in shares of the image; ``source``: its folder.
    """

    maps: tuple[Tensor, Tensor, Tensor]
    heights: NDArray[np.float16]
    depth: NDArray[np.float16]
    camera: Camera
    source: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the cells."""
        rows, columns = self.maps[0].shape[1:]
        return rows, columns

    def question(self, limits: Limits, height_m: float | None) -> Question:
        """Ask of this frame."""
        rows, columns = (STRIDE * side for side in self.shape)
        camera = replace(self.camera, height_m=height_m)
        return question(camera, limits, (columns, rows))

    def truth(self, limits: Limits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Return targets and weights, float32 (h, w).

        A target is 1 where a quarter of the cell is in the way. What is unknown has no weight.
        """
        with np.errstate(invalid='ignore'):
            high = (self.heights > limits.above_m) & (self.heights < limits.below_m)
            way = high & (self.depth < limits.within_m)
        known = np.isfinite(self.heights) | np.isposinf(self.depth)
        seen, found = (_shares(x, self.shape) for x in (known, way))
        target = np.minimum(found / np.maximum(seen, 1e-6) / _SHARE, 1).astype(np.float32)
        _, parts, stats, _ = cv2.connectedComponentsWithStats((target > 0).astype(np.uint8))
        weight = np.sqrt(_USUAL_AREA / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)).clip(0.7, 4)
        weight[0] = 1.0
        return target, (weight[parts] * (seen > 0)).astype(np.float32)


def _shares(samples: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = shape
    cells = samples.reshape(rows, samples.shape[0] // rows, columns, -1)
    return np.asarray(cells.mean((1, 3)), np.float32)


def with_heights(frame: Frame) -> tuple[NDArray, NDArray, Camera] | None:
    """
    Return heights and depth (H, W) of a frame, m, and its camera; None where there is no truth.

    Without true heights they are those over the ground that true depth shows, and the camera's
    height is that over this ground. A plane that is nearer than 1.1 m may be a table, unless the
    camera's height is stated.
    """
    if frame.depth is None:
        return None
    depth = frame.depth()
    camera = frame.camera or Camera.assumed(depth.shape[1], depth.shape[0])
    if frame.heights is not None:
        return frame.heights(), depth, camera
    found = heights_over_ground(depth, camera, 2 * Limits().within_m)
    if found is None:
        return None
    heights, ground = found
    if camera.height_m is None and ground.height_m < _LEAST_HEIGHT_M:
        return None
    return heights, depth, replace(camera, height_m=ground.height_m)


def cut(
    rgb: NDArray[np.uint8], maps: Iterable[NDArray], camera: Camera, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[NDArray], Camera]:
    """Cut 70 to 100 % of an image and its maps (H, W), turn every second over, light it anew."""
    height, width = rgb.shape[:2]
    share = rng.uniform(_LEAST_CROP, 1)
    rows, columns = int(height * share), int(width * share)
    y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = np.s_[y : y + rows, x : x + columns]
    cx, cy = (camera.cx * width - x) / columns, (camera.cy * height - y) / rows
    seen, truth = relit(rgb[part], rng), [m[part] for m in maps]
    if rng.random() < 0.5:
        seen, truth, cx = seen[:, ::-1], [m[:, ::-1] for m in truth], 1 - cx
    camera = replace(
        camera, fx=camera.fx * width / columns, fy=camera.fy * height / rows, cx=cx, cy=cy
    )
    return np.ascontiguousarray(seen), truth, camera


@torch.inference_mode()
def example_of(
    net: PerceptionNet, frame: Frame, rng: np.random.Generator | None
) -> Example | None:
    """See a frame, cut and lit anew unless ``rng`` is None; None where there is no truth."""
    found = with_heights(frame)
    if found is None:
        return None
    rgb = frame.rgb()
    *truth, camera = found
    size = coding_size(rgb.shape[1], rgb.shape[0])
    if rng is not None:
        rgb, truth, camera = cut(rgb, truth, camera, rng)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    maps = net.maps(to_tensor(torch.from_numpy(small)[None]))[2]
    heights, depth = (_sampled(m, (size[1] // _FINE, size[0] // _FINE)) for m in truth)
    fine, middle, coarse = (x[0].half() for x in maps)
    return Example((fine, middle, coarse), heights, depth, camera, frame.image.parent.name)


def _sampled(truth: NDArray, shape: tuple[int, int]) -> NDArray[np.float16]:
    """Sample metres (H, W), dense or sparse, on a grid (h, w)."""
    if np.isnan(truth).mean() > 0.5:
        return gridded(np.asarray(truth, np.float32), shape).astype(np.float16)
    metres = np.asarray(truth, np.float32)
    return cv2.resize(metres, shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.float16)


def drawn(rng: np.random.Generator, height_m: float | None) -> tuple[Limits, float | None]:
    """Draw limits, every second time the usual ones, and what is known of the camera's height."""
    limits = Limits()
    if rng.random() < 0.5:
        limits = replace(
            limits,
            above_m=float(np.exp(rng.uniform(*np.log(ABOVE_M)))),
            within_m=float(np.exp(rng.uniform(*np.log(WITHIN_M)))),
        )
    if height_m is None or rng.random() < 0.5:
        return limits, None
    return limits, height_m * float(1 + rng.normal(0, 0.03))


def loss_of(
    head: HazardHead, examples: list[Example], questions: list[tuple[Limits, float | None]]
) -> Tensor:
    """Return the weighted cross-entropy of examples of one shape."""
    asked = [e.question(*q) for e, q in zip(examples, questions, strict=True)]
    truth = [e.truth(limits) for e, (limits, _) in zip(examples, questions, strict=True)]
    target, weight = (torch.from_numpy(np.stack(x))[:, None] for x in zip(*truth, strict=True))
    logits = logits_of(head, examples, asked)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction='none')
    return (entropy * weight).sum() / weight.sum()


def logits_of(head: HazardHead, examples: list[Example], asked: list[Question]) -> Tensor:
    """Return the answers (N, 1, h, w) to a question of each of some examples of one shape."""
    maps = zip(*(e.maps for e in examples), strict=True)
    fine, middle, coarse = (torch.stack(m).float() for m in maps)
    looks = torch.stack([rays(q, examples[0].shape, STRIDE) for q in asked])
    numbers = torch.tensor([q.numbers() for q in asked])
    return head.answer(head.look((fine, middle, coarse)), looks, numbers)


def calibrate(head: HazardHead, examples: list[Example]) -> tuple[float, float]:
    """
    Find scale and shift of the logits for the least cross-entropy, cells alike, and apply them.

    Of the usual limits, the camera's height known and not.
    """
    logits, targets = [], []
    for example in examples:
        target, weight = (torch.from_numpy(x) for x in example.truth(Limits()))
        for height_m in {None, example.camera.height_m}:
            asked = example.question(Limits(), height_m)
            with torch.no_grad():
                logits.append(logits_of(head, [example], [asked])[0, 0][weight > 0])
            targets.append(target[weight > 0])
    found, truth = torch.cat(logits), torch.cat(targets)
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=50, line_search_fn='strong_wolfe')

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.binary_cross_entropy_with_logits(line[0] * found + line[1], truth)
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    scale, shift = line.detach().tolist()
    last = head.last
    with torch.no_grad():
        last.weight.mul_(scale)
        assert last.bias is not None
        last.bias.mul_(scale).add_(shift)
    return scale, shift


def gather(
    net: PerceptionNet, frames: Iterable[Frame], seed: int
) -> tuple[list[Example], list[Example]]:
    """See frames: those to train on, cut anew, and those held out, as they are."""
    rng = np.random.default_rng(seed)
    train: list[Example] = []
    held: list[Example] = []
    groups: dict[tuple[str, str, Camera | None], int] = {}
    for frame in tqdm(list(frames), unit='frame'):
        key = (frame.image.parent.name, frame.sequence, frame.camera)  # world or sequence
        out = groups.setdefault(key, len(groups)) % _HELD_OUT == _HELD_OUT - 1
        example = example_of(net, frame, None if out else rng)
        if example is not None:
            (held if out else train).append(example)
    return train, held


def drawer(
    examples: list[Example], batch: int, rng: np.random.Generator
) -> Callable[[], list[Example]]:
    """
    Make what draws a batch of examples of one shape.

    A source of n frames counts for the root of n, so that many do not outweigh all others.
    """
    counts = Counter(e.source for e in examples)
    shapes = sorted({e.shape for e in examples})
    alike = [[e for e in examples if e.shape == shape] for shape in shapes]
    weights = [np.array([counts[e.source] ** -0.5 for e in group]) for group in alike]
    chances = np.array([w.sum() for w in weights])

    def draw() -> list[Example]:
        which = int(rng.choice(len(alike), p=chances / chances.sum()))
        share = weights[which] / weights[which].sum()
        return [alike[which][i] for i in rng.choice(len(share), batch, p=share)]

    return draw


def train(
    data: Path | None,
    settings: loop.Settings,
    simulated: Path | None = None,
    weights: Path | None = None,
    batch: int = _BATCH,
    seed: int = 0,
) -> Path:
    """
    Train the head and write ``perception.safetensors``, to which it is added; returns its path.

    ``data``: a folder with true depth, or none; ``simulated``: frames with true heights;
    ``weights``: the folder of the network that gets the head, None for the shipped one. Raises
    ``ValueError`` where no frame has truth.
    """
    path = (weights or FOLDER) / WEIGHTS
    net = channels_last(restore(PerceptionNet, path))
    frames = open_dataset(data, split='train') if data else []
    frames += open_dataset(simulated) if simulated else []
    chosen, held = gather(net, (f for f in frames if f.depth is not None), seed)
    if not chosen:
        raise ValueError('no frame has true depth: give --simulated, of `gsc train simulated`')
    torch.manual_seed(seed)
    head, rng = HazardHead(net.seen), np.random.default_rng(seed)
    draw = drawer(chosen, batch, rng)

    def step() -> dict[str, Tensor]:
        picked = draw()
        asked = [drawn(rng, e.camera.height_m) for e in picked]
        return {'loss': loss_of(head, picked, asked)}

    # On the CPU, where the maps are: a step is small.
    state = loop.run(head.train(), step, replace(settings, device='cpu'))
    head.load_state_dict(state)
    scale, shift = calibrate(head.eval(), held or chosen)
    tqdm.write(f'calibrated on {len(held or chosen)} frames: {scale:.2f} x logit + {shift:.2f}')
    return add(path, head, settings.output / WEIGHTS)


def add(perception: Path, head: HazardHead, path: Path) -> Path:
    """Write a file of a :class:`PerceptionNet` again, with this head and all else as it was."""
    state, config = load(perception)
    state |= {f'hazards.{name}': value for name, value in head.state_dict().items()}
    return save(path, state, config | {'hazards': True})
