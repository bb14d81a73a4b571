"""
Stage `prior`: the integer networks that predict the cdf of every symbol.

They train as they will run: weights and hidden units are rounded to whole numbers in every step
and gradients pass the rounding straight through. The loss is the length of the stream in bits.
The tables of a caption's words are counted.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from gsc_ros.codec import words
from gsc_ros.codec.caption import Caption
from gsc_ros.codec.cdf import BIT
from gsc_ros.codec.networks import load_analyser
from gsc_ros.codec.planes import PLANES, FrameSymbols, Plane, phases
from gsc_ros.codec.prior import (
    HIDDEN_MAX,
    ONE,
    WEIGHTS,
    Prior,
    context,
    encoded,
    inputs,
    save,
    shapes,
)
from gsc_ros.models.layers import zero_init
from gsc_ros.models.precision import autocast, fast_bfloat16
from gsc_ros.training import corpus, loop

_LEAK = 0.1
_LIMIT = 12.0  # of a weight: 768 in whole numbers
# How often a frame that has a class layout is trained on without: where the kind of scene is not
# sure there is none, which happens less on images that the kinds were trained on than elsewhere.
_NO_LAYOUT = 0.15


def _whole(x: Tensor, unit: float) -> Tensor:
    """Round down to multiples of ``1 / unit``; gradients pass."""
    return x + (torch.floor(x * unit) / unit - x).detach()


class PlaneNet(nn.Module):
    """The network of one plane, as floats that are rounded to what the integers will be."""

    def __init__(self, plane: Plane) -> None:
        super().__init__()
        self.plane = plane
        self.first = nn.Conv2d(sum(inputs(plane)), plane.hidden, 3, 1, 1)
        self.middle = nn.Conv2d(plane.hidden, plane.hidden, 3, 1, 1)
        self.out = nn.Conv2d(plane.hidden, sum(plane.levels), 1)
        zero_init(self.out)
        self.couplings = nn.ParameterList(
            torch.zeros(sum(plane.levels[:c]), n) for c, n in enumerate(plane.levels) if c
        )

    @staticmethod
    def _layer(layer: nn.Conv2d, x: Tensor) -> Tensor:
        assert layer.bias is not None
        weight, bias = (
            _whole(p.clamp(-_LIMIT, _LIMIT) + 0.5 / ONE, ONE) for p in (layer.weight, layer.bias)
        )
        return functional.conv2d(x, weight, bias, padding=layer.padding)  # type: ignore[arg-type]

    def _hidden(self, sums: Tensor) -> Tensor:
        # A little of the gradient passes the clamp too: units that are out of range come back.
        leak = _LEAK * (sums - sums.detach())
        return _whole(sums.clamp(0, (HIDDEN_MAX + 0.5) / ONE), ONE) + leak

    def forward(self, x: Tensor, values: Tensor) -> list[Tensor]:
        """
        Compute logits in bits, a channel each: (N, n, h, w).

        ``x``: context and known symbols, in ones; ``values``: the true symbols int64 (N, C, h, w),
        by which later channels are predicted.
        """
        hidden = self._hidden(self._layer(self.first, x))
        hidden = self._hidden(self._layer(self.middle, hidden))
        logits = _whole(self._layer(self.out, hidden), BIT).split(self.plane.levels, 1)
        out = [logits[0]]
        for c, table in enumerate(self.couplings, start=1):
            rounded = _whole(table + 0.5 / BIT, BIT)
            known = torch.cat(
                [functional.one_hot(values[:, b], self.plane.levels[b]).float() for b in range(c)],
                3,
            )
            out.append(logits[c] + (known @ rounded).permute(0, 3, 1, 2))
        return out

    def bits(self, x: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
        """Sum the code lengths of the cells ``wanted`` (N, h, w), in bits."""
        total = x.new_zeros(())
        for channel, logits in enumerate(self(x, values)):
            nats = functional.cross_entropy(
                logits * np.log(2), values[:, channel], reduction='none'
            )
            total = total + (nats * wanted).sum() / np.log(2)
        return total

    @torch.no_grad()
    def begin(self, weights: dict[str, NDArray[np.int16]]) -> None:
        """Begin with the weights that :meth:`integers` returned once."""

        def floats(name: str, unit: int) -> Tensor:
            return torch.from_numpy(weights[f'{self.plane.name}.{name}'].astype(np.float32)) / unit

        def set_rows(layer: nn.Conv2d, *names: str) -> None:
            parts = [floats(name, ONE).T for name in names]
            layer.weight.copy_(torch.cat(parts, 1).view_as(layer.weight))

        set_rows(self.first, 'context.weight', 'own.weight')
        set_rows(self.middle, 'middle.weight')
        set_rows(self.out, 'out.weight')
        for layer, name in ((self.first, 'own'), (self.middle, 'middle'), (self.out, 'out')):
            assert layer.bias is not None
            layer.bias.copy_(floats(f'{name}.bias', ONE))
        for c, table in enumerate(self.couplings, start=1):
            table.copy_(floats(f'coupling.{c}', BIT))

    def integers(self) -> dict[str, NDArray[np.int16]]:
        """Return the weights as the codec has them."""

        def whole(p: Tensor, unit: int) -> NDArray[np.int16]:
            rounded = torch.floor(p.detach().clamp(-_LIMIT, _LIMIT) * unit + 0.5)
            return rounded.numpy().astype(np.int16)

        def rows(weight: Tensor) -> NDArray[np.int16]:
            return whole(weight.flatten(1).T.contiguous(), ONE)

        static, _ = inputs(self.plane)
        assert self.first.bias is not None and self.middle.bias is not None
        assert self.out.bias is not None
        state = {
            'context.weight': rows(self.first.weight[:, :static]),
            'own.weight': rows(self.first.weight[:, static:]),
            'own.bias': whole(self.first.bias, ONE),
            'middle.weight': rows(self.middle.weight),
            'middle.bias': whole(self.middle.bias, ONE),
            'out.weight': rows(self.out.weight),
            'out.bias': whole(self.out.bias, ONE),
        }
        for c, table in enumerate(self.couplings, start=1):
            state[f'coupling.{c}'] = whole(table, BIT)
        named = {f'{self.plane.name}.{k}': np.ascontiguousarray(v) for k, v in state.items()}
        assert {k: v.shape for k, v in named.items()} == shapes(self.plane)
        return named


def example(
    plane: Plane,
    symbols: FrameSymbols,
    reference: FrameSymbols | None,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Make the inputs, symbols and wanted cells of every phase of a plane: (phases, ., h, w).

    Half of the planes with blocks are coded as after a selection: a part is known already.
    """
    values = symbols.planes[plane.name]
    turn = phases(*values.shape[1:]).copy()
    if plane.selected and rng.random() < 0.3:
        factor = 4 >> plane.log2_stride
        rows, columns = turn.shape
        first = rng.random((rows // factor, columns // factor)) < rng.random()
        turn = turn + 5 * ~first.repeat(factor, 0).repeat(factor, 1)
    still = context(plane, symbols, reference)
    x = np.stack(
        [
            np.concatenate([still, encoded(plane, np.where(turn < t, values, -1).astype(np.int8))])
            for t in np.unique(turn)
        ]
    )
    wanted = np.stack([turn == t for t in np.unique(turn)])
    true = torch.from_numpy(values.astype(np.int64))[None].expand(len(x), -1, -1, -1)
    return torch.from_numpy(x) / ONE, true, torch.from_numpy(wanted)


def forget(symbols: FrameSymbols, rng: np.random.Generator) -> FrameSymbols:
    """Lose of a reference what a receiver might not have: finer planes, wholly or in blocks."""
    planes = dict(symbols.planes)
    cut = int(rng.choice([2, 3, 4, 5, 6, 7], p=[0.04, 0.06, 0.35, 0.25, 0.15, 0.15]))
    for i, plane in enumerate(PLANES):
        if i > cut:
            planes[plane.name] = np.full_like(planes[plane.name], -1)
        elif i == cut:
            grid = planes[plane.name]
            factor = 4 >> plane.log2_stride
            have = rng.random((grid.shape[1] // factor, grid.shape[2] // factor)) < rng.random()
            have = have.repeat(factor, 0).repeat(factor, 1)
            planes[plane.name] = np.where(have, grid, -1).astype(np.int8)
    return FrameSymbols(symbols.caption, planes)


def without_layout(symbols: FrameSymbols) -> FrameSymbols:
    """Return symbols as where no class applies."""
    nothing = {p.name: np.full_like(symbols.planes[p.name], -1) for p in PLANES if p.classes}
    return replace(symbols, planes={**symbols.planes, **nothing})


def analyse(
    data: Path, weights: Path, simulated: Path | None
) -> tuple[list[FrameSymbols], list[int | None]]:
    """
    Analyse a corpus, each image and its mirror image.

    Returns symbols, and for each the index of the one before it in its sequence (None: no such).
    """
    analyser = replace(load_analyser(weights, 'cpu'), kinds=True)
    symbols: list[FrameSymbols] = []
    before: list[int | None] = []
    for mirrored in (False, True):
        sequence = None
        for sample in tqdm(corpus.load(data, simulated=simulated), unit='image'):
            rgb = sample.rgb[:, ::-1] if mirrored else sample.rgb
            with autocast(fast_bfloat16()):  # as the codec does
                symbols.append(analyser.analyse(np.ascontiguousarray(rgb)).symbols)
            same = bool(sample.sequence) and sample.sequence == sequence
            same = same and symbols[-1].size == symbols[-2].size
            before.append(len(symbols) - 2 if same else None)
            sequence = sample.sequence
    return symbols, before


class Pairs:
    """
    Draws frames, each with what a receiver may have of a reference, or None of a key frame.

    Some are drawn without their class layout. ``symbols``, ``before``: of :func:`analyse`.
    """

    def __init__(
        self,
        symbols: list[FrameSymbols],
        before: list[int | None],
        rng: np.random.Generator,
    ) -> None:
        self._symbols, self._before, self._rng = symbols, before, rng
        self._later = [i for i, b in enumerate(before) if b is not None]

    def draw(self) -> tuple[FrameSymbols, FrameSymbols | None]:
        """Draw a frame and its reference."""
        frame, reference = self._pair()
        if self._rng.random() < _NO_LAYOUT:
            frame = without_layout(frame)
            reference = None if reference is None else without_layout(reference)
        return frame, reference

    def _pair(self) -> tuple[FrameSymbols, FrameSymbols | None]:
        """Draw a key frame, a frame without change, or one up to three after its reference."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.5:
            return self._symbols[rng.integers(len(self._symbols))], None
        if kind < 0.65 or not self._later:
            same = self._symbols[rng.integers(len(self._symbols))]
            return same, forget(same, rng)
        now = reference = self._later[rng.integers(len(self._later))]
        for _ in range(int(rng.integers(1, 4))):
            before = self._before[reference]
            reference = reference if before is None else before
        return self._symbols[now], forget(self._symbols[reference], rng)


def _start(weights: Path) -> nn.ModuleDict:
    """Make the networks of all planes, from a prior among the weights if there is one."""
    nets = nn.ModuleDict({plane.name: PlaneNet(plane) for plane in PLANES})
    if (weights / WEIGHTS).is_file():
        Prior.load(weights / WEIGHTS)  # raises what is wrong with it
        known = load_file(weights / WEIGHTS)
        for net in nets.values():
            net.begin(known)  # type: ignore[operator]
    return nets


def losses(
    nets: nn.ModuleDict,
    pairs: list[tuple[FrameSymbols, FrameSymbols | None]],
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """
    Compute the loss of frames and their references, and the bytes of each plane of a key frame.

    ``loss``: bits a cell, summed over planes. A frame counts for the planes that it has.
    """
    out: dict[str, Tensor] = {}
    total = torch.zeros(())
    for plane in PLANES:
        net: PlaneNet = nets[plane.name]  # type: ignore[assignment]
        sent = [pair for pair in pairs if (pair[0].planes[plane.name] >= 0).all()]
        if not sent:
            continue
        coded = [net.bits(*example(plane, s, r, rng)) for s, r in sent]
        cells = [s.planes[plane.name].size for s, _ in sent]
        total = total + sum(b / c for b, c in zip(coded, cells, strict=True)) / len(pairs)
        keys = [b for b, (_, r) in zip(coded, sent, strict=True) if r is None]
        if keys:
            out[plane.name] = torch.stack(keys).mean() / 8
    return out | {'loss': total}


def _count_words(
    symbols: list[FrameSymbols], before: list[int | None]
) -> dict[str, NDArray[np.int16]]:
    """Make the tables of captions: of key frames, and of frames with the one before."""
    captions = [s.caption or Caption() for s in symbols]
    pairs: list[tuple[Caption, Caption | None]] = [(caption, None) for caption in captions]
    pairs += [(captions[i], captions[b]) for i, b in enumerate(before) if b is not None]
    return {f'caption.{field}': table for field, table in words.count(pairs).items()}


def train(
    data: Path,
    settings: loop.Settings,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 4,
    seed: int = 0,
) -> Path:
    """
    Train and write ``prior.safetensors`` into the output folder; returns its path.

    A prior among ``weights`` is where the training starts.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    symbols, before = analyse(data, weights, simulated)
    rng = np.random.default_rng(seed)
    frames, nets = Pairs(symbols, before, rng), _start(weights)

    def step() -> dict[str, Tensor]:
        return losses(nets, [frames.draw() for _ in range(batch)], rng)

    # Its sums must be exact, and it is small: single precision on the CPU.
    nets.load_state_dict(loop.run(nets, step, replace(settings, device='cpu', bfloat16=False)))
    whole: dict[str, NDArray[np.int16]] = {}
    for net in nets.values():
        whole |= net.integers()  # type: ignore[operator]
    whole |= _count_words(symbols, before)
    Prior.of_weights(whole)  # the sums must be exact
    return save(settings.output / WEIGHTS, whole)
