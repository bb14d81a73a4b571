"""
The residual: when all tokens are sent and bytes are left, what the image still lacks.

The difference between the image and its deterministic decode, in a lapped transform (16x16,
chroma at half size; Malvar and Staelin, "The LOT: transform coding without blocking effects", IEEE
Trans. ASSP 37(4), 1989), quantised by one step and coded band after band from low to high
frequencies with adaptive integer counts. It needs no training and has no ceiling, so that any
budget can be filled at any size, up to nearly lossless small images. A cut loses high bands.

Where the budget is too small for the whole image it goes to chosen units of 32 pixels, at a step
that makes them like the original: a coarse step everywhere takes what was drawn away and puts
little in its place.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.maps import code_map
from gsc_ros.codec.rangecoder import Decoder, Encoder, EndOfStream

SIDE = 16
BANDS = SIDE * SIDE
STEPS = 64  # quantisation steps 2**(code / 8), in 1/255 of the range of a colour
_CHROMA = 1.5  # a step of chroma, in steps of luma
_DEAD = 0.36  # rounding: coefficients under 0.64 steps are not worth their bits
_DIRECT = 6  # magnitudes with a symbol of their own; larger ones are followed by the rest
_INCREMENT, _MOST = 24, 4096
_SCATTERED = 0.004  # of a band's coefficients

UNIT = 2 * SIDE  # pixels a side of a unit: one block of chroma, four of luma
FAITHFUL = 42  # the step code for chosen units


def _cosines(n: int) -> NDArray[np.float64]:
    """Return the orthonormal cosine transform of type II, (n, n)."""
    i = np.arange(n)
    rows = np.sqrt(2 / n) * np.cos(np.pi * (2 * i + 1) * i[:, None] / (2 * n))
    rows[0] = np.sqrt(1 / n)
    return rows


def _lapping(n: int) -> NDArray[np.float64]:
    """
    Return the orthonormal filter (n, n) across a border between blocks of ``n``.

    Before the cosine transform it makes a lapped one (Tran, Liang, Tu, "Lapped transform via
    time-domain pre- and post-filtering", IEEE Trans. Signal Processing 51(6), 2003, type II).
    """
    half = n // 2
    i = np.arange(half)
    fourth = np.sqrt(2 / half) * np.cos(np.pi * (2 * i + 1) * (2 * i[:, None] + 1) / (4 * half))
    same, none = np.eye(half), np.zeros((half, half))
    flip = same[::-1]
    butterfly = np.block([[same, flip], [flip, -same]]) / np.sqrt(2)
    odd = flip @ _cosines(half).T @ fourth @ flip
    return np.asarray(butterfly @ np.block([[same, none], [none, odd]]) @ butterfly)


_DCT, _LAP = _cosines(SIDE), _lapping(SIDE)
_ZIGZAG = np.array(sorted(range(BANDS), key=lambda k: (k // SIDE + k % SIDE, k)))

Coefficients = NDArray[np.int32]  # (bands, rows, columns) of one colour
Coder = Encoder | Decoder


@dataclass
class Residual:
    """
    Quantised coefficients: ``step`` code 0..63, ``bands`` coded 1..256, luma and two chromas.

    ``values``: int32 (256, rows, columns) each; ``units``: bool (H/32, W/32), where it is;
    ``known``: how many bands of luma arrived whole.
    """

    step: int
    bands: int
    values: list[Coefficients]
    units: NDArray[np.bool_]
    known: int = 0


def _filtered(plane: NDArray[np.float64], lap: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter (h, w) across the borders between blocks, along both axes."""
    for _ in range(2):
        inner = plane[SIDE // 2 : -SIDE // 2]
        blocks = inner.reshape(-1, SIDE, inner.shape[1])
        plane = np.concatenate(
            [plane[: SIDE // 2], (lap @ blocks).reshape(inner.shape), plane[-SIDE // 2 :]]
        ).T
    return plane


def _blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transform (h, w), sides in 16s -> (256, h / 16, w / 16), low bands first."""
    h, w = plane.shape
    plane = _filtered(plane, _LAP)
    tiles = plane.reshape(h // SIDE, SIDE, w // SIDE, SIDE).transpose(0, 2, 1, 3)
    bands = (_DCT @ tiles @ _DCT.T).reshape(h // SIDE, w // SIDE, BANDS)
    return bands.transpose(2, 0, 1)[_ZIGZAG]


def _plane(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of :func:`_blocks`."""
    _, rows, columns = bands.shape
    ordered = np.empty_like(bands)
    ordered[_ZIGZAG] = bands
    tiles = ordered.transpose(1, 2, 0).reshape(rows, columns, SIDE, SIDE)
    tiles = _DCT.T @ tiles @ _DCT
    plane = tiles.transpose(0, 2, 1, 3).reshape(rows * SIDE, columns * SIDE)
    return _filtered(plane, _LAP.T)


def _steps(code: int) -> tuple[float, float, float]:
    luma = 2.0 ** (code / 8)
    return luma, _CHROMA * luma, _CHROMA * luma


def transform(lack: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Difference of images float32 (H, W, 3), sides in 64s -> coefficients of each colour."""
    y = lack @ np.array([0.299, 0.587, 0.114], np.float32)
    half = (lack.shape[1] // 2, lack.shape[0] // 2)
    chroma = [
        cv2.resize((lack[..., c] - y) * scale, half, interpolation=cv2.INTER_AREA)
        for c, scale in ((0, 0.713), (2, 0.564))
    ]
    return [_blocks(plane.astype(np.float64)) for plane in (y, *chroma)]


def quantise(
    coefficients: list[NDArray[np.float64]], code: int, units: NDArray[np.bool_] | None = None
) -> Residual:
    """Round coefficients by the step of a code, as far up as bands are more than scattered."""
    if units is None:
        units = np.ones(coefficients[1].shape[1:], bool)
    values = []
    for bands, step in zip(coefficients, _steps(code), strict=True):
        size = np.floor(np.abs(bands) / step + _DEAD) * _to_blocks(units, bands)
        values.append((np.sign(bands) * size).astype(np.int32))
    used = np.flatnonzero((values[0] != 0).mean((1, 2)) >= _SCATTERED * units.mean())
    return Residual(code, int(used[-1]) + 1 if len(used) else 1, values, units)


def _to_blocks(units: NDArray, bands: NDArray) -> NDArray:
    """Bring a map of units to the grid of a colour's blocks."""
    factor = bands.shape[1] // units.shape[0]
    return units.repeat(factor, 0).repeat(factor, 1)


def _gathered(blocks: NDArray, units: NDArray) -> NDArray:
    """Sum a map of a colour's blocks over units."""
    factor = len(blocks) // len(units)
    rows, columns = units.shape
    return blocks.reshape(rows, factor, columns, factor).sum((1, 3))


def added(residual: Residual, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return what a residual adds to a decoded image of size (W, H): float32 (H, W, 3)."""
    y, cr, cb = (
        _plane(v.astype(np.float64) * step).astype(np.float32)
        for v, step in zip(residual.values, _steps(residual.step), strict=True)
    )
    cr, cb = (cv2.resize(c, size, interpolation=cv2.INTER_LINEAR) for c in (cr, cb))
    red, blue = y + cr / np.float32(0.713), y + cb / np.float32(0.564)
    green = (y - np.float32(0.299) * red - np.float32(0.114) * blue) / np.float32(0.587)
    return np.stack([red, green, blue], -1)


class _Adaptive:
    """Counts of magnitudes 0..6 that learn as they code."""

    def __init__(self) -> None:
        self.counts = [8, 4, 2, 1, 1, 1, 1]

    def code(self, coder: Coder, symbol: int | None) -> int:
        total, cdf = 0, [0]
        for count in self.counts:
            total += count
            cdf.append(total)
        found = coder.code(symbol, cdf)  # type: ignore[arg-type]
        self.counts[found] += _INCREMENT
        if total > _MOST:
            self.counts = [(count + 1) // 2 for count in self.counts]
        return found


def _rest(coder: Coder, value: int | None) -> int:
    """Exp-Golomb code of a whole number 0.., at most 2**20 - 2."""
    coin = range(3)
    length = 0
    wanted = None if value is None else (value + 1).bit_length() - 1
    while coder.code(None if wanted is None else int(length < wanted), coin):  # type: ignore[arg-type]
        length += 1
        if length >= 20:
            break
    number = 1
    for bit in range(length - 1, -1, -1):
        given = None if value is None else (value + 1) >> bit & 1
        number = number << 1 | coder.code(given, coin)  # type: ignore[arg-type]
    return number - 1


def _bands(residual: Residual) -> Iterator[tuple[int, int]]:
    """Order of (band, colour): chroma goes half as far as luma."""
    for band in range(residual.bands):
        yield band, 0
        if 2 * band < residual.bands:
            yield band, 1
            yield band, 2


def code(
    coder: Coder, source: Residual | None, size: tuple[int, int], most_bits: float
) -> Residual:
    """
    Code a residual (``source``) or read one (None) of an image of working size (W, H).

    A cut stream gives the bands, and the part of a band, that are certain.
    """
    step = coder.code(source.step if source else None, range(STEPS + 1))  # type: ignore[arg-type]
    bands = 1 + coder.code(source.bands - 1 if source else None, range(BANDS + 1))  # type: ignore[arg-type]
    coin = range(3)
    everywhere = (size[1] // UNIT, size[0] // UNIT)
    units = np.ones(everywhere, bool)
    if coder.code(None if source is None else int(not source.units.all()), coin):  # type: ignore[arg-type]
        units = code_map(coder, source.units if source else None, everywhere)
    shapes = [(size[1] // SIDE // d, size[0] // SIDE // d) for d in (1, 2, 2)]
    out = Residual(step, bands, [np.zeros((BANDS, *shape), np.int32) for shape in shapes], units)
    places = [
        [np.flatnonzero(row).tolist() for row in _to_blocks(units, values)]
        for values in out.values
    ]
    models: dict[tuple[int, ...], _Adaptive] = {}
    try:
        for band, colour in _bands(out):
            columns = shapes[colour][1]
            given = source.values[colour][band].tolist() if source else None
            before = np.abs(out.values[colour][band - 1]).tolist() if band else None
            grid = out.values[colour][band]
            here = [0] * columns
            group = min(band, 1) + (band > 5) + (band > 20)
            for y, row in enumerate(places[colour]):
                if coder.bits > most_bits:
                    raise EndOfStream
                above, here = here, [0] * columns
                for x in row:
                    lower = min(before[y][x], 2) if before else 0
                    left = here[x - 1] if x else 0
                    key = (min(colour, 1), group, min(left + above[x], 4), lower)
                    model = models.get(key)
                    if model is None:
                        model = models[key] = _Adaptive()
                    value = given[y][x] if given else None
                    size_ = None if value is None else abs(value)
                    found = model.code(coder, None if size_ is None else min(size_, _DIRECT))
                    if found == _DIRECT:
                        found += _rest(coder, None if size_ is None else size_ - _DIRECT)
                    here[x] = found
                    if found:
                        negative = coder.code(None if value is None else int(value < 0), coin)  # type: ignore[arg-type]
                        grid[y, x] = -found if negative else found
            out.known = band + 1 if colour == 0 else out.known
    except EndOfStream:
        pass
    return out


def fitted(lack: NDArray[np.float32], bits: float, importance: NDArray[np.float64]) -> Residual:
    """
    Choose where, and by which step, a difference (see :func:`transform`) takes at most ``bits``.

    Everywhere, by the finest step that fits, where that is fine enough; else by ``FAITHFUL`` in
    the units where it lowers the error most a bit, weighted by ``importance`` (H/16, W/16).
    """
    coefficients = transform(lack)
    size = (lack.shape[1], lack.shape[0])

    def costs(residual: Residual) -> float:
        # Coding takes long: far from the goal an estimate does.
        rough = estimate(residual)
        if rough > 2 * bits or rough < 0.4 * bits:
            return rough
        coder = Encoder()
        code(coder, residual, size, bits + 64)
        return coder.bits

    step = bisect_left(
        range(STEPS - 1), True, key=lambda step: costs(quantise(coefficients, step)) <= bits
    )
    if step <= FAITHFUL:
        # A fraction of a step is won back by leaving the highest bands to the cut.
        share = bits / max(costs(quantise(coefficients, step)), 1.0)
        return quantise(coefficients, max(step - 1, 0) if share > 1.04 else step)
    ranks = _ranks(coefficients, _gathered(importance, coefficients[1][0]))
    count = bisect_left(
        range(ranks.size),
        True,
        key=lambda count: costs(quantise(coefficients, FAITHFUL, ranks <= count)) > bits,
    )
    return quantise(coefficients, FAITHFUL, ranks <= count)


def _ranks(
    coefficients: list[NDArray[np.float64]], importance: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rank units by how much a bit of ``FAITHFUL`` coefficients lowers the error there."""
    gain, bits = np.zeros(importance.shape), np.full(importance.shape, 8.0)
    whole = quantise(coefficients, FAITHFUL)
    for bands, values, step in zip(coefficients, whole.values, _steps(FAITHFUL), strict=True):
        sizes = np.abs(values)
        gain += _gathered((bands**2 - (bands - step * values) ** 2).sum(0), importance)
        bits += _gathered((2 * np.log2(1 + sizes) + 3 * (sizes > 0)).sum(0), importance)
    order = np.argsort(-(importance * gain / bits), axis=None, kind='stable')
    ranks = np.empty(order.size, np.int64)
    ranks[order] = np.arange(order.size)
    return ranks.reshape(importance.shape)


def estimate(residual: Residual) -> float:
    """Estimate the bits of a residual by the entropies of its bands."""
    bits = 0.0
    for band, colour in _bands(residual):
        sizes = np.abs(residual.values[colour][band]).ravel()
        counts = np.bincount(np.minimum(sizes, 15))
        counts = counts[counts > 0]
        bits += float((counts * np.log2(sizes.size / counts)).sum()) + np.count_nonzero(sizes)
    return bits
