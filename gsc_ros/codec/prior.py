"""
The masked-token prior: how likely every symbol is, given all that is known around it.

A small network a plane, in whole numbers only, so that every machine computes the same cdfs for
the range coder (Balle, Johnston, Minnen, "Integer Networks for Data Compression with
Latent-Variable Models", ICLR 2019). Its inputs are the cells already known, the coarser planes
and, in a delta frame, the frame that the receiver has: one mechanism for coding, for filling what
was lost and for not repeating what is known.

Numbers are fixed-point: inputs, weights and hidden units in 1/64, logits in 1/16 of a bit. All
sums stay below 2**24, where single-precision floats are exact whatever the order of summation;
this is checked when weights are loaded.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from gsc_ros.codec import pseudo_words, words
from gsc_ros.codec.cdf import BIT, cdf, cdfs, slots
from gsc_ros.codec.planes import BY_NAME, PLANES, FrameSymbols, Grid, Plane
from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models import manifest

WEIGHTS = 'prior.safetensors'
ONE = 64  # of the fixed-point numbers
HIDDEN_MAX = 255
_EXACT = 1 << 24
Floats = NDArray[np.float32]


def encoded(plane: Plane, values: Grid) -> Floats:
    """Symbols (C, h, w), -1 unknown, as inputs: one-hot or amounts in [-1, 1]; and the mask."""
    known = np.asarray((values >= 0).all(0))
    if plane.classes:
        parts = (values[0] == np.arange(NUM_CLASSES)[:, None, None]) * ONE
    else:
        n = np.array(plane.levels).reshape(-1, 1, 1) - 1
        parts = (ONE * (2 * values.astype(np.int64) - n)) // n * known
    return np.concatenate([parts, known[None] * ONE]).astype(np.float32)


def _resampled(x: Floats, log2_stride: int, wanted: int) -> Floats:
    """Bring inputs (C, h, w) from one grid to another: repeated, or averaged (rounded down)."""
    if wanted < log2_stride:
        factor = 1 << (log2_stride - wanted)
        return x.repeat(factor, 1).repeat(factor, 2)
    if wanted > log2_stride:
        factor = 1 << (wanted - log2_stride)
        c, h, w = x.shape
        sums = x.reshape(c, h // factor, factor, w // factor, factor).sum((2, 4))
        return np.floor(sums / factor**2)
    return x


def context(plane: Plane, symbols: FrameSymbols, reference: FrameSymbols | None) -> Floats:
    """
    Make the inputs that stay the same while a plane is coded: float32 (C, h, w) of whole numbers.

    The border, the place in the image, the earlier planes, and the reference's same plane.
    """
    rows, columns = symbols.planes[plane.name].shape[1:]
    y = np.broadcast_to((np.arange(rows) * ONE // rows)[:, None], (rows, columns))
    x = np.abs(2 * np.arange(columns) + 1 - columns) * ONE // columns
    place = np.stack([np.full_like(y, ONE), y, np.broadcast_to(x, (rows, columns))])
    parts = [place.astype(np.float32)]
    for name in plane.given:
        other = BY_NAME[name]
        parts.append(
            _resampled(encoded(other, symbols.planes[name]), other.log2_stride, plane.log2_stride)
        )
    shape = symbols.planes[plane.name]
    before = reference.planes[plane.name] if reference else np.full_like(shape, -1)
    parts.append(encoded(plane, before))
    return np.concatenate(parts)


def inputs(plane: Plane) -> tuple[int, int]:
    """Count the channels of :func:`context` and of the plane itself, encoded."""

    def own(p: Plane) -> int:
        return (NUM_CLASSES if p.classes else len(p.levels)) + 1

    return 3 + sum(own(BY_NAME[name]) for name in plane.given) + own(plane), own(plane)


def shapes(plane: Plane) -> dict[str, tuple[int, ...]]:
    """Shapes of a plane's weights (int16; ``coupling`` predicts a channel by those before it)."""
    static, own = inputs(plane)
    hidden, outputs = plane.hidden, sum(plane.levels)
    out: dict[str, tuple[int, ...]] = {
        'context.weight': (9 * static, hidden),
        'own.weight': (9 * own, hidden),
        'own.bias': (hidden,),
        'middle.weight': (9 * hidden, hidden),
        'middle.bias': (hidden,),
        'out.weight': (hidden, outputs),
        'out.bias': (outputs,),
    }
    for c in range(1, len(plane.levels)):
        out[f'coupling.{c}'] = (sum(plane.levels[:c]), plane.levels[c])
    return {f'{plane.name}.{key}': shape for key, shape in out.items()}


def _unfolded(x: Floats) -> Floats:
    """3x3 neighbourhoods of (h, w, C), zero beyond the border -> (h * w, 9 C), place by place."""
    h, w, c = x.shape
    padded = np.zeros((h + 2, w + 2, c), np.float32)
    padded[1:-1, 1:-1] = x
    out = np.empty((h, w, 9, c), np.float32)
    for k in range(9):
        out[:, :, k] = padded[k // 3 : k // 3 + h, k % 3 : k % 3 + w]
    return out.reshape(h * w, 9 * c)


def _by_place(weight: Floats) -> Floats:
    """Order the rows of a stored weight (9 C, H) as :func:`_unfolded` does."""
    return np.ascontiguousarray(
        weight.reshape(-1, 9, weight.shape[1]).transpose(1, 0, 2).reshape(weight.shape)
    )


@lru_cache(maxsize=64)
def _around(rows: int, columns: int) -> NDArray[np.int64]:
    """3x3 neighbours of each cell (h * w, 9), as indices into the grid with a border of one."""
    y, x = np.mgrid[:rows, :columns].reshape(2, -1, 1)
    place = np.arange(9)
    return np.asarray((y + place // 3) * (columns + 2) + x + place % 3)


def _hidden(sums: Floats) -> Floats:
    return np.clip(np.floor(sums / ONE), 0, HIDDEN_MAX)


@dataclass(frozen=True)
class PlanePrior:
    """The prior of one plane: weights in single-precision floats that hold whole numbers."""

    plane: Plane
    weights: dict[str, Floats]

    @cached_property
    def _starts(self) -> list[int]:
        """Where the logits of each channel start, and of its symbols the rows of couplings."""
        return list(accumulate(self.plane.levels, initial=0))

    @cached_property
    def _coupled(self) -> dict[tuple[int, ...], list[int]]:
        """What symbols of the first channels add to the next one's logits, as far as asked for."""
        return {}

    @cached_property
    def _spread(self) -> Floats:
        """What a cell adds to the sums of its nine neighbours, by place: (own, 9 hidden)."""
        weight = self.weights['own.weight'].reshape(9, -1, self.plane.hidden)
        return np.ascontiguousarray(weight.transpose(1, 0, 2)).reshape(weight.shape[1], -1)

    def begin(self, symbols: FrameSymbols, reference: FrameSymbols | None) -> Floats:
        """
        Sum up the context of a plane that is known before the plane is coded.

        Returns the sums that :meth:`update_context` adds to: (h + 2, w + 2, hidden), with a
        border.
        """
        x = _unfolded(context(self.plane, symbols, reference).transpose(1, 2, 0))
        sums = x @ self.weights['context.weight'] + self.weights['own.bias'] * ONE
        values = symbols.planes[self.plane.name]
        out = np.zeros((values.shape[1] + 2, values.shape[2] + 2, self.plane.hidden), np.float32)
        out[1:-1, 1:-1] = sums.reshape(*values.shape[1:], -1)
        self.update_context(out, values, np.flatnonzero(symbols.received(self.plane.name)))
        return out

    def update_context(self, sums: Floats, values: Grid, cells: NDArray[np.int64]) -> None:
        """Add to the sums what ``cells`` (indices into the grid) have become known to hold."""
        if not len(cells):
            return
        rows, columns = values.shape[1:]
        known = encoded(self.plane, values.reshape(len(values), -1, 1)[:, cells])[..., 0].T
        added = (known @ self._spread).reshape(len(cells), 9, -1)
        flat = sums.reshape(-1, self.plane.hidden)
        around = _around(rows, columns)[cells]
        for place in range(9):
            # A cell adds to its right neighbour what that has on its left.
            flat[around[:, 8 - place]] += added[:, place]

    def logits(self, sums: Floats, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """
        Logits of ``cells`` (indices into the grid), without couplings: (cells, sum of levels).

        ``sums``: of :meth:`begin`, with all updates since.
        """
        hidden = np.zeros_like(sums)
        hidden[1:-1, 1:-1] = _hidden(sums[1:-1, 1:-1])
        rows, columns = sums.shape[0] - 2, sums.shape[1] - 2
        near = hidden.reshape(-1, self.plane.hidden)[_around(rows, columns)[cells]]
        deep = near.reshape(len(cells), -1) @ self.weights['middle.weight']
        deep = _hidden(deep + self.weights['middle.bias'] * ONE)
        out = deep @ self.weights['out.weight'] + self.weights['out.bias'] * ONE
        return np.asarray(np.floor(out / (ONE * ONE / BIT)).astype(np.int64))

    def first_tables(self, logits: NDArray[np.int64]) -> list[list[int]]:
        """Tables of the first channel of cells of these logits: nothing couples to it."""
        return cdfs(logits[:, : self.plane.levels[0]])

    def table(self, logits: list[int], before: tuple[int, ...]) -> list[int]:
        """Table of a cell's next channel, given its logits and the symbols of those before."""
        coupled = self._coupled.get(before)
        if coupled is None:
            coupled = self._coupled[before] = self._coupling(np.array([before]))[0].tolist()
        start = self._starts[len(before)]
        return cdf(list(map(add, logits[start : start + len(coupled)], coupled)))

    def slots(
        self, logits: NDArray[np.int64], symbols: NDArray[np.integer]
    ) -> list[list[list[int]]]:  # fmt: skip
        """
        Return what symbols (n, channels) take of their tables, by channel and cell.

        That is start, end and total of each; ``logits``: of the cells.
        """
        found = []
        for channel, start in enumerate(self._starts[:-1]):
            mine = logits[:, start : self._starts[channel + 1]]
            if channel:
                mine = mine + self._coupling(symbols[:, :channel])
            found.append(slots(mine, symbols[:, channel]))
        return found

    def _coupling(self, before: NDArray[np.integer]) -> NDArray[np.int64]:
        """Sum what the symbols (n, c) of the first channels add to the logits of the next one."""
        channel = before.shape[1]
        weight = self.weights[f'coupling.{channel}'].astype(np.int64)
        return np.asarray(weight[before + np.array(self._starts[:channel])].sum(1))


def all_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of all that a prior file holds: the planes' weights and the caption's tables."""
    planes = {name: shape for plane in PLANES for name, shape in shapes(plane).items()}
    return planes | {f'caption.{field}': shape for field, shape in words.shapes().items()}


def _checked(weights: dict[str, NDArray[np.int16]], name: str) -> NDArray[np.int16]:
    value, shape = weights.get(name), all_shapes()[name]
    if value is None or value.shape != shape or value.dtype != np.int16:
        raise ValueError(
            f'prior {name} is missing or not int16 {shape}: train the prior again; convert one '
            'with older names with tools/convert_weight_names.py'
        )
    return value


class Prior(dict[str, PlanePrior]):
    """The priors of all planes by name, the tables of a caption's words and of pseudo-words."""

    words: words.Tables
    pseudo_words: pseudo_words.Tables

    @classmethod
    def of_weights(cls, weights: dict[str, NDArray[np.int16]]) -> 'Prior':
        """
        Make priors of integer weights.

        Raises ``ValueError`` for missing ones, wrong shapes, or sums that would not be exact.
        """
        prior = cls()
        for plane in PLANES:
            mine: dict[str, Floats] = {}
            for name in shapes(plane):
                value = _checked(weights, name).astype(np.float32)
                mine[name.removeprefix(f'{plane.name}.')] = value
            size = {key: np.abs(w).sum(0).max() for key, w in mine.items() if w.ndim == 2}
            bias = {key: np.abs(w).max() * ONE for key, w in mine.items() if w.ndim == 1}
            sums = (
                (size['context.weight'] + size['own.weight']) * ONE + bias['own.bias'],
                size['middle.weight'] * HIDDEN_MAX + bias['middle.bias'],
                size['out.weight'] * HIDDEN_MAX + bias['out.bias'],
            )
            if max(sums) >= _EXACT:
                raise ValueError(f'prior of {plane.name}: its sums are not exact; train it again')
            for name in ('context.weight', 'own.weight', 'middle.weight'):
                mine[name] = _by_place(mine[name])
            prior[plane.name] = PlanePrior(plane, mine)
        prior.words = {field: _checked(weights, f'caption.{field}') for field in words.FIELDS}
        prior.pseudo_words = pseudo_words.even()  # until their networks bring their own
        return prior

    @classmethod
    def uniform(cls) -> 'Prior':
        """Make a prior that expects nothing, for untrained codecs."""
        return cls.of_weights(
            {name: np.zeros(shape, np.int16) for name, shape in all_shapes().items()}
        )

    @classmethod
    def load(cls, path: Path) -> 'Prior':
        """Read a trained prior; raises ``FileNotFoundError`` or ``ValueError`` with the remedy."""
        if not path.is_file():
            raise FileNotFoundError(
                f'{path}: no such prior; reinstall gsc_ros, train one with `gsc train`, or name '
                'the folder of weights'
            )
        try:
            return cls.of_weights(load_file(path))
        except SafetensorError as error:
            raise ValueError(f'{path}: not a prior of gsc_ros ({error})') from error


def save(path: Path, weights: dict[str, NDArray[np.int16]]) -> Path:
    """Write integer weights; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    manifest.record(path)
    return path
