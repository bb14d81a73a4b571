"""
The masked-token prior: how likely every symbol is, given all that is known around it.

A small network a plane, in whole numbers only, so that every machine computes the same odds and a
range coder can rest on them (Balle, Johnston, Minnen, "Integer Networks for Data Compression with
Latent-Variable Models", ICLR 2019). It looks at the cells already known, the coarser planes and,
in a delta frame, the frame that the receiver has: one mechanism for coding, for filling what was
lost and for saying nothing twice.

Numbers are fixed-point: inputs, weights and hidden units in 1/64, logits in 1/16 of a bit. All
sums stay below 2**24, where single-precision floats are exact whatever the order of summation;
this is checked when weights are loaded.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from gsc_ros.codec.planes import BY_NAME, PLANES, FrameSymbols, Grid, Plane
from gsc_ros.perception.labels import NUM_CLASSES

WEIGHTS = 'prior.safetensors'
ONE = 64  # of the fixed-point numbers
HIDDEN_MAX = 255
_EXACT = 1 << 24
# 2**11 * 2**(-k / 16), rounded: odds of a symbol k sixteenths of a bit below the likeliest.
_ODDS = np.array(
    [2048, 1961, 1878, 1798, 1722, 1649, 1579, 1512, 1448, 1387, 1328, 1272, 1218, 1166, 1117,
     1069], np.int64,
)  # fmt: skip

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


def _resampled(x: Floats, halvings: int, wanted: int) -> Floats:
    """Bring inputs (C, h, w) from one grid to another: repeated, or averaged (rounded down)."""
    if wanted < halvings:
        factor = 1 << (halvings - wanted)
        return x.repeat(factor, 1).repeat(factor, 2)
    if wanted > halvings:
        factor = 1 << (wanted - halvings)
        c, h, w = x.shape
        sums = x.reshape(c, h // factor, factor, w // factor, factor).sum((2, 4))
        return np.floor(sums / factor**2)
    return x


def context(plane: Plane, symbols: FrameSymbols, reference: FrameSymbols | None) -> Floats:
    """
    Make the inputs that stay the same while a plane is coded: float32 (C, h, w) of whole numbers.

    The border, the place in the picture, the earlier planes, and the reference's same plane.
    """
    rows, columns = symbols.planes[plane.name].shape[1:]
    y = np.broadcast_to((np.arange(rows) * ONE // rows)[:, None], (rows, columns))
    x = np.abs(2 * np.arange(columns) + 1 - columns) * ONE // columns
    place = np.stack([np.full_like(y, ONE), y, np.broadcast_to(x, (rows, columns))])
    parts = [place.astype(np.float32)]
    for name in plane.given:
        other = BY_NAME[name]
        parts.append(
            _resampled(encoded(other, symbols.planes[name]), other.halvings, plane.halvings)
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
    """Shapes of a plane's weights (int16; ``couplings`` tell channels by the ones before them)."""
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


def _hidden(sums: Floats) -> Floats:
    return np.clip(np.floor(sums / ONE), 0, HIDDEN_MAX)


def cumulative(logits: NDArray[np.int64]) -> list[list[int]]:
    """Logits (cells, n) in sixteenths of a bit -> a range coder's table a cell."""
    below = logits.max(1, keepdims=True) - logits
    odds = np.maximum(_ODDS[below & 15] >> np.minimum(below >> 4, 62), 1)
    sums = np.zeros((len(logits), logits.shape[1] + 1), np.int64)
    np.cumsum(odds, 1, out=sums[:, 1:])
    tables: list[list[int]] = sums.tolist()
    return tables


@dataclass(frozen=True)
class PlanePrior:
    """The prior of one plane: weights in single-precision floats that hold whole numbers."""

    plane: Plane
    weights: dict[str, Floats]

    def begin(self, symbols: FrameSymbols, reference: FrameSymbols | None) -> Floats:
        """Sum up what stays the same while the plane is coded: (h * w, hidden)."""
        x = _unfolded(context(self.plane, symbols, reference).transpose(1, 2, 0))
        return x @ self.weights['context.weight'] + self.weights['own.bias'] * ONE

    def logits(self, start: Floats, values: Grid, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """
        Logits of ``cells`` (indices into the grid): int64 (cells, sum of levels), no couplings.

        ``start``: of :meth:`begin`; ``values``: what is known of the plane, -1 elsewhere.
        """
        rows, columns = values.shape[1:]
        known = encoded(self.plane, values).transpose(1, 2, 0)
        own = _unfolded(known) @ self.weights['own.weight']
        hidden = _hidden(start + own).reshape(rows, columns, -1)
        near = _unfolded(hidden)[cells]
        hidden = _hidden(near @ self.weights['middle.weight'] + self.weights['middle.bias'] * ONE)
        sums = hidden @ self.weights['out.weight'] + self.weights['out.bias'] * ONE
        return np.floor(sums / (ONE * ONE / 16)).astype(np.int64)

    def channel(
        self, logits: NDArray[np.int64], before: list[NDArray[np.int64]], channel: int
    ) -> list[list[int]]:
        """Tables of one channel, given the symbols (cells,) of the channels before it."""
        levels = self.plane.levels
        start = sum(levels[:channel])
        mine = logits[:, start : start + levels[channel]]
        if channel:
            table = self.weights[f'coupling.{channel}']
            offset = 0
            for n, symbols in zip(levels, before, strict=False):
                mine = mine + table[offset + symbols].astype(np.int64)
                offset += n
        return cumulative(mine)


class Prior(dict[str, PlanePrior]):
    """The priors of all planes by name."""

    @classmethod
    def of_weights(cls, weights: dict[str, NDArray[np.int16]]) -> 'Prior':
        """
        Make priors of integer weights.

        Raises ``ValueError`` for missing ones, wrong shapes, or sums that would not be exact.
        """
        prior = cls()
        for plane in PLANES:
            mine: dict[str, Floats] = {}
            for name, shape in shapes(plane).items():
                value = weights.get(name)
                if value is None or value.shape != shape or value.dtype != np.int16:
                    raise ValueError(
                        f'prior {name} is missing or not int16 {shape}: train the prior again'
                    )
                mine[name.removeprefix(f'{plane.name}.')] = value.astype(np.float32)
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
        return prior

    @classmethod
    def uniform(cls) -> 'Prior':
        """Make a prior that expects nothing, for untrained codecs."""
        return cls.of_weights(
            {
                name: np.zeros(shape, np.int16)
                for plane in PLANES
                for name, shape in shapes(plane).items()
            }
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
    return path
