"""
The order in which a frame's symbols are sent: what writer and reader do alike.

Notes on the image if there are any, kind of scene, hazards, caption, objects, plane after plane
(``planes`` of the preset; pseudo-words before the first that may be sent in part), residual: what
lowers the error most for a bit comes first, all in one range-coded stream, so that a frame that is
cut at any byte (by the budget or by the link) is a worse image and not a broken one. Of the plane
in which the budget ends the writer may send chosen blocks first. A region may come first: its
blocks of all planes that are sent in part precede all other blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from gsc_ros.codec import pseudo_words
from gsc_ros.codec.planes import BY_NAME, FrameSymbols, Plane, blocks_to
from gsc_ros.codec.planes import phases as phases_of
from gsc_ros.codec.prior import Prior
from gsc_ros.codec.rangecoder import EndOfStream

Blocks = NDArray[np.bool_]  # a map of the 1/64 grid (H/64, W/64)
Cells = NDArray[np.int64]  # indices into a plane's grid


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[Any]:
    """
    Keep the prior's many small products in one thread.

    BLAS has threads apart from torch's: after each product they spin for a while, on the cores
    that the networks need next.
    """
    return _threads().limit(limits=1, user_api='blas')


class StreamWalk(ABC):
    """
    The parts of a frame in the order of the stream.

    Writer and reader define how each part is coded; all that both do alike is here. ``symbols``:
    what of the frame is coded so far, with the bits of each part. ``worded``: the frame has
    pseudo-words, and says which planes it does without.
    """

    def __init__(
        self,
        size: tuple[int, int],
        prior: Prior,
        reference: FrameSymbols | None,
        planes: tuple[Plane, ...],
        worded: bool = False,
    ) -> None:
        self.symbols = FrameSymbols.unknown(size)
        self.prior, self.reference, self.planes = prior, reference, planes
        self.worded = worded
        self.region: Blocks | None = None

    def _parts(self, noted: bool, regional: bool) -> Iterator[tuple[str, Callable[[], None]]]:
        """Name the parts in order, each with what codes it."""
        if noted:
            yield 'notes', self._notes
        yield 'kind', self._kind
        yield 'hazards', self._hazards
        yield 'caption', self._caption
        yield 'objects', self._objects
        if self.worded:
            yield 'left_out', self._left_out
        if self.reference is not None:
            yield 'skip_mask', self._skip_mask
        if regional:
            yield 'region', self._region
        selected = [plane for plane in self.planes if plane.selected]
        for plane in self.planes:
            if not plane.selected:
                yield plane.name, partial(self._whole_plane, plane)
        if self.worded:
            yield 'pseudo_words', self._pseudo_words
        if regional:
            for plane in selected:
                yield plane.name, partial(self._plane_in_region, plane)
        for plane in selected:
            yield plane.name, partial(self._selected_plane, plane)
        yield 'residual', self._residual

    def _walk(self, noted: bool, regional: bool) -> None:
        """Code part after part until the stream ends."""
        with suppress(EndOfStream), _one_thread():
            for name, code in self._parts(noted, regional):
                with self._counted(name):
                    code()

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        """Add up the bits that a part takes, also when the stream ends in it."""
        before = self._bits - self.symbols.bits.get(name, 0.0)
        try:
            yield
        finally:
            self.symbols.bits[name] = self._bits - before

    @property
    def _grid(self) -> tuple[int, int]:
        """Rows and columns of the 1/64 grid of blocks."""
        rows, columns = self.symbols.planes['coarse_depth'].shape[1:]
        return rows, columns

    def _skip(self, mask: Blocks) -> None:
        """Take the symbols of blocks from the reference, as far as they are known there."""
        assert self.reference is not None
        for name, grid in self.symbols.planes.items():
            if not self.symbols.applies(BY_NAME[name]):
                continue
            skipped = blocks_to(mask, BY_NAME[name]) & self.reference.received(name)
            self.symbols.skip_mask[name] = skipped
            grid[:, skipped] = self.reference.planes[name][:, skipped]

    @property
    def _words_before(self) -> pseudo_words.Words:
        """The pseudo-words of the reference, none of a key frame."""
        return self.reference.pseudo_words if self.reference else pseudo_words.NONE

    def _missing(self, plane: Plane) -> NDArray[np.bool_]:
        """Find the cells of a plane that are still to be coded."""
        missing = ~(self.symbols.received(plane.name) | self.symbols.lost(plane.name))
        return missing & self.symbols.applies(plane)

    def _whole_plane(self, plane: Plane) -> None:
        self._tiers(plane, [np.ones(self._grid, bool)])

    def _plane_in_region(self, plane: Plane) -> None:
        assert self.region is not None
        self._tiers(plane, [self.region])

    def _tiers(self, plane: Plane, tiers: list[Blocks]) -> None:
        """Code the missing cells of a plane: tier after tier of blocks, phase after phase."""
        missing = self._missing(plane)
        if not missing.any():
            return
        values, prior = self.symbols.planes[plane.name], self.prior[plane.name]
        sums = prior.begin(self.symbols, self.reference)
        phases = phases_of(*values.shape[1:])
        for blocks in tiers:
            tier = missing & blocks_to(blocks, plane)
            for phase in range(int(phases.max()) + 1):
                cells = np.flatnonzero(tier & (phases == phase))
                if len(cells):
                    self._cells(plane, cells, prior.logits(sums, cells))
                    prior.update_context(sums, values, cells)

    @property
    @abstractmethod
    def _bits(self) -> float:
        """Information coded so far."""

    @abstractmethod
    def _notes(self) -> None: ...

    @abstractmethod
    def _kind(self) -> None: ...

    @abstractmethod
    def _hazards(self) -> None: ...

    @abstractmethod
    def _caption(self) -> None: ...

    @abstractmethod
    def _objects(self) -> None: ...

    @abstractmethod
    def _left_out(self) -> None:
        """Code which planes the frame does without."""

    @abstractmethod
    def _pseudo_words(self) -> None: ...

    @abstractmethod
    def _skip_mask(self) -> None:
        """Code which blocks are taken from the reference."""

    @abstractmethod
    def _region(self) -> None:
        """Code which blocks come first."""

    @abstractmethod
    def _selected_plane(self, plane: Plane) -> None:
        """Code a plane of which chosen blocks may come first."""

    @abstractmethod
    def _cells(self, plane: Plane, cells: Cells, logits: NDArray[np.int64]) -> None:
        """Code the cells of one phase."""

    @abstractmethod
    def _residual(self) -> None: ...
