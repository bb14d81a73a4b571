"""
Hazards in the stream: which cells of 32 pixels are in the way, and the nearest few by bearing;
where nothing is known, in blocks of 64 pixels.

They come from what the robot sees in the image as it was, so that the ground has them also where
too little was sent to see them.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import BEARINGS, DISTANCE_EDGES, DISTANCES
from gsc_ros.codec.maps import read_map, write_map
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.hazards import Limits, find_hazards

CELL = 32  # pixels of the working size a side
IN_THE_WAY, NOT_KNOWN, NOTHING_FOUND = 255, 128, 0  # of a published map
_MOST = 3  # obstacles that are named
_STATES = (0, 6, 7, 8)  # cdf: not told, nothing found, some
_UNTOLD, _NONE, _SOME = range(3)
_COUNTS, _BEARINGS = range(_MOST + 2), range(len(BEARINGS) + 1)
_DISTANCES = range(len(DISTANCES) + 1)
_SHARE = 0.1  # of a cell, from which it counts
_HOLE = 0.25  # of a block without depth, from which it is a hole
_HOLES = (0, 3, 4)  # cdf of whether there are holes
_FINER = 16  # points of a sensor's depth to a side of a cell
_PART = 0.1  # of a region, from which the cell that holds it counts


@dataclass(frozen=True, eq=False)
class Hazards:
    """
    What is in the way.

    ``cells``: bool (H/32, W/32); ``nearest``: bearing and distance, indices into ``BEARINGS`` and
    ``DISTANCES`` of the caption, of at most three obstacles, the nearest first; ``holes``: bool
    (H/64, W/64), where a depth sensor saw nothing, or nothing can be told, None for no holes.
    """

    cells: NDArray[np.bool_]
    nearest: tuple[tuple[int, int], ...] = ()
    holes: NDArray[np.bool_] | None = None

    def __str__(self) -> str:
        if not self.cells.any():
            return 'no obstacle found'
        named = [f'obstacle {BEARINGS[b]} at {DISTANCES[d]} m' for b, d in self.nearest]
        return ', '.join(named) or 'obstacles'


def of_mask(mask: NDArray[np.bool_], metres: NDArray[np.floating]) -> Hazards:
    """
    Reduce a mask (h, w) of what is in the way, with its distances in metres (h, w).

    The grid of the mask is finer than that of the cells by a whole factor.
    """
    regions, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    found: dict[tuple[int, int], float] = {}
    for region in range(1, regions):
        where = parts == region
        distance = float(np.nanpercentile(metres[where], 10))
        centre = float(np.nonzero(where)[1].mean() / mask.shape[1])
        bearing = min(int(centre * len(BEARINGS)), len(BEARINGS) - 1)
        named = bearing, int(np.searchsorted(DISTANCE_EDGES, distance))
        found[named] = min(distance, found.get(named, np.inf))
    nearest = tuple(sorted(found, key=lambda named: found[named])[:_MOST])
    return Hazards(mask, nearest)


def holes_of(unknown: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Find the blocks (rows, columns) of which a quarter is unknown, (h, w); None for none."""
    size = (shape[1], shape[0])
    share = cv2.resize(unknown.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    holes = np.asarray(share >= _HOLE)
    return holes if holes.any() else None


def measured(
    depth: NDArray[np.floating], camera: Camera, limits: Limits, shape: tuple[int, int]
) -> Hazards | None:  # fmt: skip
    """
    Find what is in the way in the depth (h, w) of a sensor, m, on a grid of cells (rows, columns).

    None where that cannot be told. The depth is looked at by 16 points to a side of a cell, so
    that what is thin is seen.
    """
    fine = (_FINER * shape[1], _FINER * shape[0])
    metres = cv2.resize(depth, fine, interpolation=cv2.INTER_NEAREST)
    found = find_hazards(metres, camera, limits)
    if found.ground is None and not found.mask.any():
        return None
    seen = np.isposinf(metres) | (np.isfinite(metres) & (metres > 0))
    holes = holes_of(~seen, (shape[0] // 2, shape[1] // 2))
    return replace(reduced(of_mask(found.mask, metres), shape), holes=holes)


def supposed(hazards: Hazards, shape: tuple[int, int], complete: bool) -> Hazards | None:
    """
    Bring what was found without a sensor to the grid of the cells (rows, columns).

    Unless it is ``complete``, the cells that are not in the way are not known. None where then
    nothing is told.
    """
    found = reduced(hazards, shape)
    if complete:
        return found
    if not found.cells.any():
        return None
    return replace(found, holes=np.ones((shape[0] // 2, shape[1] // 2), bool))


def reduced(hazards: Hazards, shape: tuple[int, int]) -> Hazards:
    """
    Bring the mask to the grid of the cells (rows, columns).

    Of each region the cells are left that hold a tenth of it, and one at least, so that none that
    was found is told as nothing, however thin.
    """
    mask, size = hazards.cells.astype(np.uint8), (shape[1], shape[0])

    def shares(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return np.asarray(resized, np.float32)

    cells: NDArray[np.bool_] = np.asarray(shares(mask) > _SHARE)
    regions, parts = cv2.connectedComponents(mask, connectivity=8)
    for region in range(1, regions):
        mine = shares((parts == region).astype(np.uint8))
        cells |= mine > _PART * mine.sum()
        if not cells[mine > 0].any():
            cells.flat[mine.argmax()] = True
    return Hazards(cells, hazards.nearest, hazards.holes)


def published(
    hazards: Hazards | None, size: tuple[int, int], hidden: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """
    Make the map that is published: uint8 (H, W), ``size`` (W, H).

    255 in the way, 128 not known, 0 nothing found. ``hidden``: bool (H, W), lost or not of now.
    """
    if hazards is None:
        return np.full(size[::-1], NOT_KNOWN, np.uint8)
    cells = np.where(hazards.cells, np.uint8(IN_THE_WAY), np.uint8(NOTHING_FOUND))
    if hazards.holes is not None:
        cells[hazards.holes.repeat(2, 0).repeat(2, 1) & ~hazards.cells] = NOT_KNOWN
    out = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST)
    out[hidden] = NOT_KNOWN
    return np.asarray(out)


def write(encoder: RangeEncoder, hazards: Hazards | None) -> None:
    """Write hazards, None where nothing is told of them."""
    if hazards is None:
        encoder.encode(_UNTOLD, _STATES)
        return
    if not hazards.cells.any():
        encoder.encode(_NONE, _STATES)
    else:
        encoder.encode(_SOME, _STATES)
        encoder.encode(len(hazards.nearest), _COUNTS)
        for bearing, distance in hazards.nearest:
            encoder.encode(bearing, _BEARINGS)
            encoder.encode(distance, _DISTANCES)
        write_map(encoder, hazards.cells)
    encoder.encode(int(hazards.holes is not None), _HOLES)
    if hazards.holes is not None:
        write_map(encoder, hazards.holes)


def read(decoder: RangeDecoder, shape: tuple[int, int]) -> Hazards | None:
    """Read hazards of a grid of cells; raises ``EndOfStream`` where the frame was cut."""
    state = decoder.decode(_STATES)
    if state == _UNTOLD:
        return None
    cells, nearest = np.zeros(shape, bool), []
    if state == _SOME:
        for _ in range(decoder.decode(_COUNTS)):
            nearest.append((decoder.decode(_BEARINGS), decoder.decode(_DISTANCES)))
        cells = read_map(decoder, shape)
    holes = None
    if decoder.decode(_HOLES):
        holes = read_map(decoder, (shape[0] // 2, shape[1] // 2))
    return Hazards(cells, tuple(nearest), holes)
