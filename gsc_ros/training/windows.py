"""
Windows of the corpus that are analysed once and kept, for stages that train on fixed tokens.

Analysing a window costs as much as a step of training on it; kept ones serve many steps.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from gsc_ros.models.pseudo_words import seen_of
from gsc_ros.models.tokenizer import Tokenizer
from gsc_ros.training.tokens import Batch, BatchSampler

KEPT = 768  # windows, 1.2 MB each
FIRST = 64  # windows to begin with
FILL_EVERY = 6  # steps, after which a batch of windows is new
DRAWN = (14, 16)  # cells of the latent's grid, rows and columns, that are drawn of a window
# Of a batch what the critics do not read: they compare images.
_UNREAD = (
    'labels', 'depth', 'layout', 'coarse_depth', 'predicted_classes', 'predicted_depth',
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """
    Windows as robot and ground have them, one or, stacked, many.

    ``x``: image; ``latent``: in its standard deviations; ``features``, ``seen``: what pseudo-words
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

    def part(self, batch: int, rng: np.random.Generator) -> 'Part':
        """Choose a part of the first ``batch`` windows; random, and the same of each."""
        rows, columns = self.latent.shape[2:]
        top = int(rng.integers(rows - DRAWN[0] + 1))
        left = int(rng.integers(columns - DRAWN[1] + 1))
        return Part(batch, top, left)


@dataclass(frozen=True)
class Part:
    """A part of the first windows of a batch, ``DRAWN`` cells of the latent's grid large."""

    batch: int
    top: int
    left: int

    def cut(self, x: Tensor, cells: int) -> Tensor:
        """Cut the part of a grid (N, C, h, w) that has so many cells to one of the latent's."""
        rows, columns = (
            slice(cells * first, cells * (first + size))
            for first, size in zip((self.top, self.left), DRAWN, strict=True)
        )
        return x[: self.batch, :, rows, columns]

    def images(self, window: Window) -> Batch:
        """Return the part of the images, as the critics take a batch."""
        unread = dict.fromkeys(_UNREAD, torch.empty(0))
        labelled = int(window.labelled[: self.batch].sum())
        return Batch(x=self.cut(window.x, 16), labelled=labelled, **unread)


class Windows:
    """The windows that are kept; the oldest give way to new ones."""

    def __init__(self, sampler: BatchSampler, tokenizer: Tokenizer) -> None:
        self.sampler, self.tokenizer = sampler, tokenizer
        self._kept: list[Window] = []
        self._next = self._steps = 0

    def refresh(self) -> None:
        """Analyse new windows where it is time; to be called in every step."""
        while len(self._kept) < FIRST:
            self.fill()
        if self._steps % FILL_EVERY == 0:
            self.fill()
        self._steps += 1

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

    def stacks(self, n: int) -> list[Window]:
        """Return all windows that are kept, ``n`` at a time."""
        parts = [self._kept[i : i + n] for i in range(0, len(self._kept), n)]
        return [Window.stack(part) for part in parts]
