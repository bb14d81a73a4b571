"""
Stage `words`: the pseudo-words, with all other networks as they are.

Windows are analysed once and kept: most steps are of the latent's grid, where a step takes a
fraction of a second on a CPU core. Each step serves one task, by whose loss the words of that task
alone are learned; the likeness of the image, every few steps, is for all words.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec.pseudo_words import WEIGHTS, count
from gsc_ros.labels import GROUND
from gsc_ros.models.layers import channels_last
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.pseudo_words import COUNTS, TASKS, PseudoWords, seen_of
from gsc_ros.models.tokenizer import Synthesis, Tokenizer
from gsc_ros.models.weights import restore, save
from gsc_ros.training import corpus, critics, loop
from gsc_ros.training.perception import class_weights
from gsc_ros.training.tokens import SIZE, Batch, BatchSampler, image_gradient

KEPT = 768  # windows, 1.2 MB each
FIRST = 64  # windows to begin with
FILL_EVERY = 6  # steps, after which a batch of windows is new
LATENTS = 16  # windows of a step on the latent's grid
IMAGE_EVERY = 6  # steps, of which one also draws images
DRAWN = (14, 16)  # cells of the latent's grid, rows and columns, that are drawn of a window
THINGS = (5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18)  # poles, signs, people, vehicles
NEAR_M = 12.0
# Of a batch what the critics do not read: they compare images.
_UNREAD = (
    'labels', 'depth', 'layout', 'coarse_depth', 'predicted_classes', 'predicted_depth',
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """
    Windows as robot and ground have them, one or, stacked, many.

    ``x``: image; ``latent``: in its standard deviations; ``features``, ``seen``: what the words
    are written of; ``guidance``, ``far``: what the predictor reads of a frame that was cut
    somewhere; ``classes``, ``depth``: the robot's own, on the 1/8 grid; ``labelled``: whether it
    is an image on which the critics of classes and depth are at home.
    """

    x: Tensor
    latent: Tensor
    features: Tensor
    seen: Tensor
    guidance: Tensor
    far: Tensor
    classes: Tensor
    depth: Tensor
    labelled: Tensor

    @classmethod
    def stack(cls, windows: list['Window']) -> 'Window':
        """Join windows, as single precision."""
        parts = (
            torch.stack([getattr(window, field.name) for window in windows])
            for field in fields(cls)
        )
        return cls(*(part.float() if part.is_floating_point() else part for part in parts))


class Windows:
    """The windows that are kept; the oldest give way to new ones."""

    def __init__(self, sampler: BatchSampler, tokenizer: Tokenizer) -> None:
        self.sampler, self.tokenizer = sampler, tokenizer
        self._kept: list[Window] = []
        self._next = 0

    @torch.no_grad()
    def fill(self) -> None:
        """Analyse a batch of windows."""
        batch = self.sampler.sample()
        z = self.sampler.autoencoder.encoder(batch.x) / self.tokenizer.latent_std
        analysis = self.tokenizer.analysis
        grids = analysis.features(z)
        tokens = analysis.levels_of(*grids)[1]
        received = self.sampler.received(batch, tokens)
        guidance, far = self.tokenizer.predictor.read(tokens, *received)
        classes, depth = batch.predicted_classes, batch.predicted_depth
        seen = seen_of(classes, depth[:, 0])
        labelled = torch.arange(len(z), device=z.device) < batch.labelled
        many = (batch.x, z, grids[1], seen, guidance, far, classes.byte(), depth, labelled)
        for parts in zip(*(x.half() if x.is_floating_point() else x for x in many), strict=True):
            window = Window(*(part.clone() for part in parts))
            if len(self._kept) < KEPT:
                self._kept.append(window)
            else:
                self._kept[self._next % KEPT] = window
            self._next += 1

    def __len__(self) -> int:
        return len(self._kept)

    def draw(self, n: int) -> Window:
        """Draw windows, those with labels first."""
        rng = self.sampler.crops.rng
        chosen = [self._kept[i] for i in rng.integers(0, len(self._kept), n)]
        return Window.stack(sorted(chosen, key=lambda window: not window.labelled))

    def words(self, net: PseudoWords) -> NDArray[np.int64]:
        """Write the words of all windows that are kept: (windows, 8, 5)."""
        with torch.no_grad():
            parts = [self._kept[i : i + 64] for i in range(0, len(self._kept), 64)]
            stacks = map(Window.stack, parts)
            return np.concatenate([net.write(w.features, w.seen).cpu().numpy() for w in stacks])


def task_loss(task: str, out: Synthesis, window: Window, weight: Tensor) -> Tensor:
    """
    Compare what the heads tell with what the robot saw, where it matters to a task.

    Segmentation: classes everywhere; detection: where the robot saw a thing; depth: everywhere;
    hazards: near, off the ground.
    """
    classes = window.classes.long()
    if task in ('segmentation', 'detection'):
        entropy = functional.cross_entropy(
            out.segmentation.float(), classes, weight, reduction='none'
        )
        things = torch.isin(classes, torch.tensor(THINGS, device=classes.device))
        share = things.float() if task == 'detection' else torch.ones_like(entropy)
        return (entropy * share).sum() / share.sum().clamp(min=1)
    off = (out.depth.float() - window.depth).abs()[:, 0]
    ground = torch.isin(classes, torch.tensor(GROUND, device=classes.device))
    near = (log_to_depth(window.depth)[:, 0] < NEAR_M) & ~ground
    share = near.float() if task == 'hazards' else torch.ones_like(off)
    return 30 * (off * share).sum() / share.sum().clamp(min=1)


def train(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 4,
    seed: int = 0,
) -> Path:
    """
    Train and write ``pseudo_words.safetensors`` to the output folder; returns its path.

    ``weights`` holds the files of perception, autoencoder and tokens, which stay as they are;
    ``batch``: images of a step that draws.
    """
    torch.manual_seed(seed)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    samples = corpus.load(data, simulated=simulated)
    device = settings.torch_device
    sampler = BatchSampler(weights, samples, SIZE, batch, seed, device)
    judges = critics.load(critics_file)
    weight = class_weights().to(device)
    tokenizer = restore(Tokenizer, weights / 'tokenizer.safetensors').to(device)
    guidance, middle, _ = tokenizer.config['widths']
    net = PseudoWords(middle, guidance)
    channels_last(net).train().to(device)
    windows, rng, done = Windows(sampler, tokenizer), sampler.crops.rng, 0

    def step() -> dict[str, Tensor]:
        nonlocal done
        while len(windows) < FIRST:
            windows.fill()
        if done % FILL_EVERY == 0:
            windows.fill()
        draws, done = done % IMAGE_EVERY == 0, done + 1
        window = windows.draw(LATENTS)
        length = int(rng.choice(COUNTS[1:]))
        task = int(rng.integers(min(length, len(TASKS))))
        words = net.writer(window.features, window.seen)[:, :length]
        mine = torch.arange(length, device=device)[:, None] % len(TASKS) == task
        out = tokenizer.predictor.tell(
            net.reader(window.guidance, torch.where(mine, words, words.detach())), window.far
        )
        error = (out.latent.float() - window.latent).square().mean()
        told = task_loss(TASKS[task], out, window, weight)
        losses = {'latent': error, TASKS[task]: told, 'loss': 0.1 * error + 0.1 * told}
        losses['spread'] = words.std(0).mean()  # over images; 0 where all get the same words
        if draws:
            image = drawn(window, words)
            losses['loss'] = losses['loss'] + IMAGE_EVERY * image.pop('pull')
            losses |= image
        return losses

    def drawn(window: Window, words: Tensor) -> dict[str, Tensor]:
        """Draw a part of some of the windows with all words, and judge it."""
        y = net.reader(window.guidance[:batch], words[:batch])
        out = tokenizer.predictor.tell(y, window.far[:batch])
        high, wide = DRAWN
        top, left = (
            int(rng.integers(side - part + 1))
            for side, part in zip(y.shape[2:], DRAWN, strict=True)
        )

        def cut(x: Tensor, cells: int) -> Tensor:
            """Cut the part of a grid that has so many cells to one of the latent's."""
            rows = slice(cells * top, cells * (top + high))
            return x[:batch, :, rows, cells * left : cells * (left + wide)]

        latent = cut(out.latent, 1) * tokenizer.latent_std
        made = sampler.autoencoder.decoder(latent, cut(y, 1), cut(out.maps, 2)).float()
        unread = dict.fromkeys(_UNREAD, torch.empty(0))
        labelled = int(window.labelled[:batch].sum())
        given = Batch(x=cut(window.x, 16), labelled=labelled, **unread)
        gradient, losses = image_gradient(made, given, sampler, judges, weight)
        return {**losses, 'pull': (made * gradient).sum()}

    state = loop.run(net, step, settings)
    net.load_state_dict(state)
    state['tables'] = torch.from_numpy(count(windows.words(net)))
    return save(settings.output / WEIGHTS, state, net.config)
