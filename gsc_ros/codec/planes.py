"""
The parts of a frame: grids ("planes") of symbols, coarse and important ones first.

A plane is coded cell by cell in phases that first lay a wide net over the image and then fill
it, so that most cells are predicted from neighbours on all sides.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import Caption
from gsc_ros.codec.hazards import Hazards
from gsc_ros.codec.notes import Notes, caption_text
from gsc_ros.codec.objects import Objects
from gsc_ros.codec.pseudo_words import NONE, Words
from gsc_ros.codec.residual import Residual
from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models.tokenizer import DEPTH_LEVELS, LEVELS, LOG2_STRIDES
from gsc_ros.perception.kinds import SceneKind, has_layout

LATENT_CELL = 16  # pixels of the working size a side, on the finest grid
BLOCK = 4  # cells of the finest grid a side of a block, the unit of selection
UNKNOWN = -1

Grid = NDArray[np.int8]


@dataclass(frozen=True)
class Plane:
    """
    A grid of symbols.

    ``log2_stride``: of its cells, in cells of the 1/16 grid; ``levels``: the alphabet of each
    channel; ``classes``: symbols are kinds, not amounts; ``given``: the earlier planes by which
    this one is predicted; ``hidden``: width of its prior; ``selected``: whether a frame may send
    chosen blocks first.
    """

    name: str
    log2_stride: int
    levels: tuple[int, ...]
    classes: bool = False
    given: tuple[str, ...] = ()
    hidden: int = 32
    selected: bool = False


PLANES: tuple[Plane, ...] = (
    Plane('coarse', 1, (NUM_CLASSES,), True, hidden=48),
    Plane('coarse_depth', 2, (DEPTH_LEVELS,), False, ('coarse',), 48),
    Plane('tokens0', LOG2_STRIDES[0], LEVELS[0], False, ('coarse', 'coarse_depth'), 48),
    Plane('fine', 0, (NUM_CLASSES,), True, ('coarse', 'tokens0'), selected=True),
    Plane('tokens1', LOG2_STRIDES[1], LEVELS[1], False, ('fine', 'tokens0'), 48, selected=True),
    Plane('tokens2', LOG2_STRIDES[2], LEVELS[2], False, ('fine', 'tokens1'), selected=True),
    Plane('tokens3', LOG2_STRIDES[3], LEVELS[3], False, ('fine', 'tokens1', 'tokens2'),
          selected=True),
)  # fmt: skip
BY_NAME = {plane.name: plane for plane in PLANES}
TOKENS = tuple(f'tokens{level}' for level in range(len(LEVELS)))
# Where each cell of a 4x4 square comes in the order of coding.
_PHASES = np.array([[0, 4, 2, 4], [4, 3, 4, 3], [2, 4, 1, 4], [4, 3, 4, 3]])


def layout(names: Iterable[str]) -> tuple[Plane, ...]:
    """Return the planes of a stream layout in its order; raises ``ValueError`` for other names."""
    names = tuple(names)
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise ValueError(f'planes {", ".join(unknown)}: there are {", ".join(BY_NAME)}')
    return tuple(BY_NAME[name] for name in names)


@lru_cache(maxsize=64)
def phases(rows: int, columns: int) -> NDArray[np.int64]:
    """Phase 0..4 of each cell of a grid: int64 (rows, columns)."""
    y, x = np.mgrid[:rows, :columns]
    return _PHASES[y % 4, x % 4]


@dataclass
class FrameSymbols:
    """
    The symbols of a frame; of a cut stream, those that are certain.

    ``caption``: None if it was not received. ``planes``: int8 (channels, rows, columns) by name,
    -1 where not received. ``residual``: what the tokens leave, where there was room.
    ``skip_mask`` and ``sent``: bool (rows, columns) by name, the cells of a delta frame that were
    taken from its reference, and those that came with it. ``bits``: by part of the stream.
    ``notes``: on the image; of lost cells no symbol is sent. ``kind``: of scene, None where
    nothing is told of it; where no class applies, there is no class layout. ``scale``: where depth
    has its scale, index into ``kind.SCALES``. ``hazards``, ``objects``: None where nothing is told
    of them. ``pseudo_words``: symbols (K, 5), none where there are none. ``left_out``: names of
    the planes that the frame does without.
    """

    caption: Caption | None
    planes: dict[str, Grid]
    residual: Residual | None = None
    skip_mask: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    sent: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    bits: dict[str, float] = field(default_factory=dict)
    notes: Notes | None = None
    kind: SceneKind | None = None
    scale: int = 0
    hazards: Hazards | None = None
    objects: Objects | None = None
    pseudo_words: Words = field(default_factory=NONE.copy)
    left_out: frozenset[str] = frozenset()

    def received(self, name: str) -> NDArray[np.bool_]:
        """Which cells of a plane are known in all channels: bool (rows, columns)."""
        return np.asarray((self.planes[name] >= 0).all(0))

    def lost(self, name: str) -> NDArray[np.bool_]:
        """Which cells of a plane lie in lost parts of the image: bool (rows, columns)."""
        rows, columns = self.planes[name].shape[1:]
        if self.notes is None or self.notes.loss is None:
            return np.zeros((rows, columns), bool)
        cells = self.notes.loss.cells
        factor = len(cells) // rows
        return np.asarray(cells.reshape(rows, factor, columns, factor).all((1, 3)))

    def applies(self, plane: Plane) -> bool:
        """Whether a plane has symbols: the class layout has none where no class applies."""
        if plane.name in self.left_out:
            return False
        return not plane.classes or has_layout(self.kind)

    @property
    def description(self) -> str:
        """The caption as text, with what is wrong with the image; '' where neither came."""
        return caption_text(self.caption, self.notes, self.kind, self.hazards, self.objects)

    @property
    def size(self) -> tuple[int, int]:
        """Working size (W, H) of the frame."""
        rows, columns = self.planes['fine'].shape[1:]
        return columns * LATENT_CELL, rows * LATENT_CELL

    @classmethod
    def unknown(cls, size: tuple[int, int]) -> 'FrameSymbols':
        """Make the frame of a working size (W, H) of which nothing was received."""
        rows, columns = size[1] // LATENT_CELL, size[0] // LATENT_CELL
        return cls(
            None,
            {
                p.name: np.full(
                    (len(p.levels), rows >> p.log2_stride, columns >> p.log2_stride),
                    UNKNOWN,
                    np.int8,
                )
                for p in PLANES
            },
        )


def blocks_to(grid: NDArray, plane: Plane) -> NDArray:
    """Repeat a map of the 1/64 grid (rows, columns) over a plane's grid."""
    factor = BLOCK >> plane.log2_stride
    return grid.repeat(factor, 0).repeat(factor, 1)


def blocks_of(cells: NDArray, plane: Plane) -> NDArray:
    """Sum a map (rows, columns) of a plane's grid over the blocks of the 1/64 grid."""
    factor = BLOCK >> plane.log2_stride
    rows, columns = cells.shape
    return cells.reshape(rows // factor, factor, columns // factor, factor).sum((1, 3))
