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
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.maps import read_map, write_map
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder

SIDE = 16
BANDS = SIDE * SIDE
STEPS = 64  # quantisation steps 2**(code / 8), in 1/255 of the range of a colour
_CHROMA = 1.5  # a step of chroma, in steps of luma
_DEAD = 0.36  # rounding: coefficients under 0.64 steps are not worth their bits
_DIRECT = 6  # magnitudes with a symbol of their own; larger ones are followed by the rest
_INCREMENT, _MOST = 24, 4096
_LONGEST_REST = 20  # bits of the rest of a magnitude
_STEP_CDF, _BANDS_CDF = range(STEPS + 1), range(BANDS + 1)  # each as likely as the others
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


def transform(difference: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Difference of images float32 (H, W, 3), sides in 64s -> coefficients of each colour."""
    y = difference @ np.array([0.299, 0.587, 0.114], np.float32)
    half = (difference.shape[1] // 2, difference.shape[0] // 2)
    chroma = [
        cv2.resize((difference[..., c] - y) * scale, half, interpolation=cv2.INTER_AREA)
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


class _Magnitudes:
    """Adaptive counts of magnitudes 0 to 6, of which 6 stands for any larger one."""

    def __init__(self) -> None:
        self._counts = [8, 4, 2, 1, 1, 1, 1]
        self.cdf = list(accumulate(self._counts, initial=0))

    def update(self, symbol: int) -> None:
        """Count a symbol that was coded by ``cdf``."""
        self._counts[symbol] += _INCREMENT
        if self.cdf[-1] > _MOST:
            self._counts = [(count + 1) // 2 for count in self._counts]
        self.cdf = list(accumulate(self._counts, initial=0))


def _write_magnitude(encoder: RangeEncoder, model: _Magnitudes, magnitude: int) -> None:
    symbol = min(magnitude, _DIRECT)
    encoder.encode(symbol, model.cdf)
    model.update(symbol)
    if symbol == _DIRECT:
        _write_rest(encoder, magnitude - _DIRECT)


def _read_magnitude(decoder: RangeDecoder, model: _Magnitudes) -> int:
    symbol = decoder.decode(model.cdf)
    model.update(symbol)
    return symbol + _read_rest(decoder) if symbol == _DIRECT else symbol


def _write_rest(encoder: RangeEncoder, value: int) -> None:
    """Write an Exp-Golomb code of a whole number 0.., at most 2**20 - 2."""
    length = (value + 1).bit_length() - 1
    for i in range(min(length + 1, _LONGEST_REST)):
        encoder.encode_bit(i < length)
    for bit in range(length - 1, -1, -1):
        encoder.encode_bit(bool((value + 1) >> bit & 1))


def _read_rest(decoder: RangeDecoder) -> int:
    length = 0
    while length < _LONGEST_REST and decoder.decode_bit():
        length += 1
    number = 1
    for _ in range(length):
        number = number << 1 | decoder.decode_bit()
    return number - 1


def _bands(residual: Residual) -> Iterator[tuple[int, int]]:
    """Order of (band, colour): chroma goes half as far as luma."""
    for band in range(residual.bands):
        yield band, 0
        if 2 * band < residual.bands:
            yield band, 1
            yield band, 2


class _Scan:
    """
    The order of a residual's coefficients, and the model of each.

    A model is chosen by what is known around a coefficient: the magnitudes to its left, above and
    of the band below. ``residual`` needs to be known only as far as it has been scanned.
    """

    def __init__(self, residual: Residual) -> None:
        self._residual = residual
        self._places = [
            [np.flatnonzero(row).tolist() for row in _to_blocks(residual.units, values)]
            for values in residual.values
        ]
        self._all_models: dict[tuple[int, int], list[_Magnitudes]] = {}
        self._models: list[_Magnitudes] = []
        self._above: list[int] = []
        self._here: list[int] = []
        self._lower: list[int] = []

    def rows(self) -> Iterator[tuple[int, int, int, list[int]]]:
        """Go over the rows of coefficients: band, colour, row, and its columns in the units."""
        residual = self._residual
        for band, colour in _bands(residual):
            key = (min(colour, 1), min(band, 1) + (band > 5) + (band > 20))
            if key not in self._all_models:
                self._all_models[key] = [_Magnitudes() for _ in range(5 * 3)]
            self._models = self._all_models[key]
            below = np.abs(residual.values[colour][band - 1]).clip(max=2) * (band > 0)
            self._here = [0] * below.shape[1]
            for y, lower in enumerate(below.tolist()):
                self._above, self._here, self._lower = self._here, [0] * below.shape[1], lower
                yield band, colour, y, self._places[colour][y]
            residual.known = band + 1 if colour == 0 else residual.known

    def model(self, x: int) -> _Magnitudes:
        """Return the model of the coefficient in column ``x`` of the present row."""
        near = (self._here[x - 1] if x else 0) + self._above[x]
        return self._models[3 * (near if near < 4 else 4) + self._lower[x]]

    def add(self, x: int, magnitude: int) -> None:
        """Take the coefficient in column ``x``."""
        self._here[x] = magnitude


def _empty(step: int, bands: int, size: tuple[int, int], units: NDArray[np.bool_]) -> Residual:
    """Make a residual of an image of working size (W, H) of which no coefficient is known."""
    shapes = [(size[1] // SIDE // d, size[0] // SIDE // d) for d in (1, 2, 2)]
    return Residual(step, bands, [np.zeros((BANDS, *shape), np.int32) for shape in shapes], units)


def write(encoder: RangeEncoder, residual: Residual, most_bits: float) -> Residual:
    """Write a residual until ``most_bits`` of the stream are full; returns what was written."""
    encoder.encode(residual.step, _STEP_CDF)
    encoder.encode(residual.bands - 1, _BANDS_CDF)
    everywhere = bool(residual.units.all())
    encoder.encode_bit(not everywhere)
    if not everywhere:
        write_map(encoder, residual.units)
    rows, columns = residual.units.shape
    out = _empty(residual.step, residual.bands, (columns * UNIT, rows * UNIT), residual.units)
    scan = _Scan(out)
    for band, colour, y, places in scan.rows():
        if encoder.bits > most_bits:
            break
        out.values[colour][band, y] = residual.values[colour][band, y]
        row = residual.values[colour][band, y].tolist()
        for x in places:
            value = row[x]
            magnitude = abs(value)
            _write_magnitude(encoder, scan.model(x), magnitude)
            scan.add(x, magnitude)
            if magnitude:
                encoder.encode_bit(value < 0)
    return out


def read(decoder: RangeDecoder, size: tuple[int, int]) -> Residual:
    """
    Read the residual of an image of working size (W, H).

    A cut stream gives the bands, and the part of a band, that are certain.
    """
    step, bands = decoder.decode(_STEP_CDF), 1 + decoder.decode(_BANDS_CDF)
    shape = (size[1] // UNIT, size[0] // UNIT)
    units = read_map(decoder, shape) if decoder.decode_bit() else np.ones(shape, bool)
    residual = _empty(step, bands, size, units)
    scan = _Scan(residual)
    with suppress(EndOfStream):
        for band, colour, y, columns in scan.rows():
            row = residual.values[colour][band, y]
            for x in columns:
                magnitude = _read_magnitude(decoder, scan.model(x))
                scan.add(x, magnitude)
                if magnitude:
                    row[x] = -magnitude if decoder.decode_bit() else magnitude
    return residual


def fitted(
    difference: NDArray[np.float32], bits: float, importance: NDArray[np.float64]
) -> Residual:
    """
    Choose where, and by which step, a difference (see :func:`transform`) takes at most ``bits``.

    Everywhere, by the finest step that fits, where that is fine enough; else by ``FAITHFUL`` in
    the units where it lowers the error most a bit, weighted by ``importance`` (H/16, W/16).
    """
    coefficients = transform(difference)

    def costs(residual: Residual) -> float:
        # Coding takes long: far from the goal an estimate does.
        rough = estimate(residual)
        if rough > 2 * bits or rough < 0.4 * bits:
            return rough
        encoder = RangeEncoder()
        write(encoder, residual, bits + 64)
        return encoder.bits

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
