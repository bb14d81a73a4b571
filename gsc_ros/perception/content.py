"""
Whether an image shows anything: images of one colour or of noise alone, and parts that were lost.

A network finds a street in any image, also in a black one. This module examines the image as a
measurement: by how little its means over cells differ, overall or from their neighbours, and by
rows and columns of one colour that end in a straight line, as no scene does.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 16  # pixels of the working size a side

BLACK, WHITE, GREEN, GREY, COLOUR, NOISE, SMOOTH = range(7)
KINDS = ('black', 'white', 'green', 'grey', 'one colour', 'noise', 'no edges')
# What a lost part is drawn as, RGB.
FILLS: NDArray[np.uint8] = np.array(
    [(0, 0, 0), (255, 255, 255), (0, 135, 0), *[(128, 128, 128)] * 4], np.uint8
)

# Means over cells of an image without content differ by no more, 1st to 99th percentile.
_LEAST_RANGE = 6.0
# Where there is no edge, behind a covered or fully defocused lens, the brightness of a cell of
# half the size is by no more off the mean of its neighbours. Real images of blank walls reach 2.1.
_EDGE = 2.0
# Noise alone: the variance of such means, in that of the pixels (1/256 where pixels are
# independent), and their correlation from cell to cell; too few of them prove nothing.
_NOISE_VARIANCE, _NOISE_CORRELATION, _NOISE_CELLS = 0.04, 0.25, 64
_FLAT = 8  # levels that a row of one colour may span
_SAMPLED = 16  # one pixel of so many shows of most rows that they have several colours
_LEAST_BAND = 0.04  # of the image
# So much of a band's end is straight, within so many pixels beyond it. A horizon is not.
_STRAIGHT, _BEYOND = 0.85, 24
_DARK, _BRIGHT, _NEAR = 20, 235, 6
_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
_GREEN = 60
# At a border a wall may be of one colour, but hardly so saturated and dark.
_VIVID, _DIM = 60, 160


@dataclass(frozen=True, eq=False)
class Loss:
    """
    What of an image is lost.

    ``kind``: index into :data:`KINDS`; ``cells``: bool (H/16, W/16), where nothing can be seen.
    """

    kind: int
    cells: NDArray[np.bool_]

    @property
    def whole(self) -> bool:
        """Whether there is nothing to see at all."""
        return bool(self.cells.all())

    def __str__(self) -> str:
        kind, share = KINDS[self.kind], 100 * self.cells.mean()
        if self.whole:
            return f'no image: {kind}'
        return f'part of the image is lost: {kind}, {share:.0f} %'


@dataclass(frozen=True)
class _Band:
    """Rows ``first`` to ``last`` (exclusive) of one colour."""

    first: int
    last: int
    kind: int
    colour: NDArray[np.int64]


def find_loss(image: NDArray[np.uint8]) -> Loss | None:
    """
    Find what of an image uint8 (H, W, 3) is lost, its sides multiples of 16; None for nothing.

    Lost are bands over the whole width or height in a colour that decoders and sensors put in
    place of data (inside the image: in any one colour), and all of an image whose other cells
    differ by no more than a camera's noise, or have no edge between them.
    """
    rows, columns = image.shape[0] // CELL, image.shape[1] // CELL
    lost = np.zeros((rows, columns), bool)
    turned = image.transpose(1, 0, 2)
    kinds = [
        *(_mark(lost, image, band) for band in _bands(image)),
        *(_mark(lost.T, turned, band) for band in _bands(turned, across=True)),
    ]
    rest = None if lost.all() else _nothing(image, ~lost)
    if rest is not None:
        return Loss(kinds[0] if kinds else rest, np.ones_like(lost))
    return Loss(kinds[0], lost) if kinds else None


def _nothing(image: NDArray[np.uint8], where: NDArray[np.bool_]) -> int | None:
    """Return the kind of loss of the cells ``where``; None where they show something."""
    size = (where.shape[1], where.shape[0])
    clean = cv2.medianBlur(image, 3)  # hot pixels are no content
    means = cv2.resize(clean, size, interpolation=cv2.INTER_AREA)[where]
    low, high = np.percentile(means, (1, 99), axis=0)
    kind = _kind_of(np.median(means, axis=0).astype(np.int64))
    if (high - low).max() <= _LEAST_RANGE:
        return kind
    if not _has_edges(clean, where):
        return kind if kind in (BLACK, WHITE) else SMOOTH
    if where.all() and where.size >= _NOISE_CELLS and _is_noise(image, size):
        return NOISE
    return None


def _has_edges(image: NDArray[np.uint8], where: NDArray[np.bool_]) -> bool:
    """Tell whether a cell differs from its neighbours; looked for in cells of half the size."""
    inside = where.repeat(2, 0).repeat(2, 1)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    means = cv2.resize(grey, inside.shape[::-1], interpolation=cv2.INTER_AREA)
    neighbours = cv2.filter2D(means, -1, _NEIGHBOURS)
    inside = cv2.erode(
        inside.astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=0
    ).astype(bool)
    if not inside.any():  # too narrow to tell
        return True
    return bool(np.abs(means - neighbours)[inside].max() > _EDGE)


def _is_noise(image: NDArray[np.uint8], size: tuple[int, int]) -> bool:
    """Return whether pixels and cells are independent of their neighbours."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    means = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    (_, deviation), variance = cv2.meanStdDev(grey), float(means.var())
    if variance > _NOISE_VARIANCE * float(deviation[0, 0]) ** 2:
        return False
    means -= means.mean()
    across = float((means[:, 1:] * means[:, :-1]).mean())
    down = float((means[1:] * means[:-1]).mean())
    return max(across, down) < _NOISE_CORRELATION * variance


def _kind_of(colour: NDArray[np.int64]) -> int:
    """Name a colour (R, G, B)."""
    red, green, blue = colour.tolist()
    if max(red, green, blue) <= _DARK:
        return BLACK
    if min(red, green, blue) >= _BRIGHT:
        return WHITE
    if green >= _GREEN and max(red, blue) <= _DARK:
        return GREEN
    return GREY if np.abs(colour - 128).max() <= _NEAR else COLOUR


def _runs(flags: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    """Find where flags hold for ``least`` and more in a row: first, and behind the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(a, b) for a, b in edges.reshape(-1, 2).tolist() if b - a >= least]


def _plain(image: NDArray[np.uint8], least: int) -> list[tuple[int, int]]:
    """Find ``least`` rows and more of one and the same colour: first, and behind the last."""
    colours = image[:, 0].astype(np.int64)
    changes = np.abs(np.diff(colours, axis=0)).max(1) > _FLAT
    found = []
    for first, last in _runs(_flat_rows(image), least):
        cuts = first + 1 + np.flatnonzero(changes[first : last - 1])
        edges = [first, *cuts.tolist(), last]
        found += [
            (a, b)
            for a, b in pairwise(edges)
            if b - a >= least and np.ptp(colours[a:b], axis=0).max() <= 2 * _FLAT
        ]
    return found


def _flat_rows(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the rows of one colour: bool (H)."""
    flat = np.ones(len(image), bool)
    for step in (_SAMPLED, 1):  # most rows are known by a few of their pixels
        columns = np.ascontiguousarray(image[flat, ::step].swapaxes(0, 1))
        flat[flat] = (columns.max(0).astype(np.int64) - columns.min(0)).max(1) <= _FLAT
    return flat


def _bands(image: NDArray[np.uint8], across: bool = False) -> list[_Band]:
    """Find the lost rows of an image, or (``across``) of one that was turned on its side."""
    length = len(image)
    least = max(2, round(_LEAST_BAND * length))
    middle = image[:, image.shape[1] // 2].astype(np.int64)
    found = []
    for first, last in _plain(image, least):
        colour = np.median(middle[first:last], axis=0).astype(np.int64)
        kind = _kind_of(colour)
        inside = first > 0 and last < length
        # Above, white may be the sky; at a border, one colour may be a wall.
        stands_for_loss = (kind != COLOUR and (kind != WHITE or across or first > 0)) or (
            colour.max() <= _DIM and np.ptp(colour) >= _VIVID and colour.min() <= _DARK
        )
        band = _Band(first, last, kind, colour)
        if (inside or stands_for_loss) and _straight(image, band):
            found.append(band)
    return found


def _of_colour(rows: NDArray[np.uint8], colour: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(rows.astype(np.int64) - colour).max(-1) <= _FLAT)


def _straight(image: NDArray[np.uint8], band: _Band) -> bool:
    """
    Return whether a band ends in straight lines.

    At each end all but a few columns go on in its colour equally far, or, where a decoder stopped
    amid a row of blocks, so far or so far.
    """
    before = image[max(band.first - _BEYOND, 0) : band.first][::-1]
    for beyond in (before, image[band.last : band.last + _BEYOND]):
        if len(beyond) == _BEYOND:
            far = np.logical_and.accumulate(_of_colour(beyond, band.colour)).sum(0)
            counts = np.bincount(far, minlength=_BEYOND + 1)[:_BEYOND]
            ends = 0
            for _ in range(2):
                near = np.convolve(counts, np.ones(3, int), 'same')
                most = int(near.argmax())
                ends += near[most]
                counts[max(most - 1, 0) : most + 2] = 0
            if ends < _STRAIGHT * image.shape[1]:
                return False
    return True


def _mark(lost: NDArray[np.bool_], image: NDArray[np.uint8], band: _Band) -> int:
    """Mark a band's cells, and those around it that go on in its colour; returns its kind."""
    first, last = band.first // CELL, -(-band.last // CELL)
    lost[first:last] = True
    for row in (first - 1, last):
        if 0 <= row < len(lost):
            cells = _of_colour(image[row * CELL : (row + 1) * CELL], band.colour)
            lost[row] |= cells.reshape(CELL, -1, CELL).mean((0, 2)) > 0.5
    return band.kind
