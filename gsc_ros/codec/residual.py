"""
The residual: when all tokens are sent and bytes are left, what the picture still lacks.

The difference between the picture and its deterministic decode, in blocks of a cosine transform
(16x16, chroma at half size), quantised by one step and coded band after band from low to high
frequencies with adaptive integer counts. It needs no training and has no ceiling, so that any
budget can be filled at any size, up to nearly lossless small pictures. A cut loses high bands.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.rangecoder import Decoder, Encoder, EndOfStream

SIDE = 16
BANDS = SIDE * SIDE
STEPS = 64  # quantisation steps 2**(code / 8), in 1/255 of the range of a colour
_CHROMA = 1.5  # a step of chroma, in steps of luma
_DEAD = 0.36  # rounding: coefficients under 0.64 steps are not worth their bits
_DIRECT = 6  # magnitudes with a symbol of their own; larger ones are followed by the rest
_INCREMENT, _MOST = 24, 4096
_SCATTERED = 0.004  # of a band's coefficients

_i = np.arange(SIDE)
_DCT = np.sqrt(2 / SIDE) * np.cos(np.pi * (2 * _i + 1) * _i[:, None] / (2 * SIDE))
_DCT[0] = np.sqrt(1 / SIDE)
_ZIGZAG = np.array(sorted(range(BANDS), key=lambda k: (k // SIDE + k % SIDE, k)))

Coefficients = NDArray[np.int32]  # (bands, rows, columns) of one colour
Coder = Encoder | Decoder


@dataclass
class Residual:
    """
    Quantised coefficients: ``step`` code 0..63, ``bands`` coded 1..256, luma and two chromas.

    ``values``: int32 (256, rows, columns) each; ``known``: how many bands of luma arrived whole.
    """

    step: int
    bands: int
    values: list[Coefficients]
    known: int = 0


def _blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transform (h, w), sides in 16s -> (256, h / 16, w / 16), low bands first."""
    h, w = plane.shape
    tiles = plane.reshape(h // SIDE, SIDE, w // SIDE, SIDE).transpose(0, 2, 1, 3)
    bands = (_DCT @ tiles @ _DCT.T).reshape(h // SIDE, w // SIDE, BANDS)
    return bands.transpose(2, 0, 1)[_ZIGZAG]


def _plane(bands: NDArray[np.floating]) -> NDArray[np.floating]:
    """Inverse of :func:`_blocks`."""
    _, rows, columns = bands.shape
    ordered = np.empty_like(bands)
    ordered[_ZIGZAG] = bands
    tiles = ordered.transpose(1, 2, 0).reshape(rows, columns, SIDE, SIDE)
    tiles = _DCT.T @ tiles @ _DCT
    return tiles.transpose(0, 2, 1, 3).reshape(rows * SIDE, columns * SIDE)


def _steps(code: int) -> tuple[float, float, float]:
    luma = 2.0 ** (code / 8)
    return luma, _CHROMA * luma, _CHROMA * luma


def transform(lack: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Difference of pictures float32 (H, W, 3), sides in 64s -> coefficients of each colour."""
    y = lack @ np.array([0.299, 0.587, 0.114], np.float32)
    half = (lack.shape[1] // 2, lack.shape[0] // 2)
    chroma = [
        cv2.resize((lack[..., c] - y) * scale, half, interpolation=cv2.INTER_AREA)
        for c, scale in ((0, 0.713), (2, 0.564))
    ]
    return [_blocks(plane.astype(np.float64)) for plane in (y, *chroma)]


def quantise(coefficients: list[NDArray[np.float64]], code: int) -> Residual:
    """Round coefficients by the step of a code, as far up as bands are more than scattered."""
    values = []
    for bands, step in zip(coefficients, _steps(code), strict=True):
        size = np.floor(np.abs(bands) / step + _DEAD)
        values.append((np.sign(bands) * size).astype(np.int32))
    used = np.flatnonzero((values[0] != 0).mean((1, 2)) >= _SCATTERED)
    return Residual(code, int(used[-1]) + 1 if len(used) else 1, values)


def added(residual: Residual, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return what a residual adds to a decoded picture of size (W, H): float32 (H, W, 3)."""
    y, cr, cb = (
        _plane(v * step).astype(np.float32)
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
        total, cumulative = 0, [0]
        for count in self.counts:
            total += count
            cumulative.append(total)
        found = coder.code(symbol, cumulative)  # type: ignore[arg-type]
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
    Code a residual (``source``) or read one (None) of a picture of working size (W, H).

    A cut stream gives the bands, and the part of a band, that are certain.
    """
    step = coder.code(source.step if source else None, range(STEPS + 1))  # type: ignore[arg-type]
    bands = 1 + coder.code(source.bands - 1 if source else None, range(BANDS + 1))  # type: ignore[arg-type]
    shapes = [(size[1] // SIDE // d, size[0] // SIDE // d) for d in (1, 2, 2)]
    out = Residual(step, bands, [np.zeros((BANDS, *shape), np.int32) for shape in shapes])
    models: dict[tuple[int, ...], _Adaptive] = {}
    coin = range(3)
    try:
        for band, colour in _bands(out):
            rows, columns = shapes[colour]
            given = source.values[colour][band].tolist() if source else None
            before = np.abs(out.values[colour][band - 1]).tolist() if band else None
            grid = out.values[colour][band]
            above = [0] * columns
            group = min(band, 1) + (band > 5) + (band > 20)
            for y in range(rows):
                if coder.bits > most_bits:
                    raise EndOfStream
                left = 0
                for x in range(columns):
                    lower = min(before[y][x], 2) if before else 0
                    key = (min(colour, 1), group, min(left + above[x], 4), lower)
                    model = models.get(key)
                    if model is None:
                        model = models[key] = _Adaptive()
                    value = given[y][x] if given else None
                    size_ = None if value is None else abs(value)
                    found = model.code(coder, None if size_ is None else min(size_, _DIRECT))
                    if found == _DIRECT:
                        found += _rest(coder, None if size_ is None else size_ - _DIRECT)
                    left = above[x] = found
                    if found:
                        negative = coder.code(None if value is None else int(value < 0), coin)  # type: ignore[arg-type]
                        grid[y, x] = -found if negative else found
            out.known = band + 1 if colour == 0 else out.known
    except EndOfStream:
        pass
    return out


def fitted(lack: NDArray[np.float32], bits: float) -> Residual:
    """
    Choose the finest step at which a difference (see :func:`transform`) takes at most ``bits``.

    A fraction of a step is won back by leaving the highest bands to the cut.
    """
    coefficients = transform(lack)
    size = (lack.shape[1], lack.shape[0])

    def costs(step: int) -> float:
        coder = Encoder()
        code(coder, quantise(coefficients, step), size, bits + 64)
        return coder.bits

    low, high = 0, STEPS - 1
    while low < high:
        middle = (low + high) // 2
        found = quantise(coefficients, middle)
        # Coding takes long: far from the goal an estimate does.
        rough = estimate(found)
        if rough > 2 * bits or (rough > 0.4 * bits and costs(middle) > bits):
            low = middle + 1
        else:
            high = middle
    finer = max(low - 1, 0)
    share = bits / max(costs(low), 1.0)
    return quantise(coefficients, finer if share > 1.04 else low)


def estimate(residual: Residual) -> float:
    """Estimate the bits of a residual by the entropies of its bands."""
    bits = 0.0
    for band, colour in _bands(residual):
        sizes = np.abs(residual.values[colour][band]).ravel()
        counts = np.bincount(np.minimum(sizes, 15))
        counts = counts[counts > 0]
        bits += float((counts * np.log2(sizes.size / counts)).sum()) + np.count_nonzero(sizes)
    return bits
