"""
The one order in which a frame's symbols go on air, and the walk over them.

Caption, plane after plane (``planes.PLANES``), residual: what is worth most a bit comes first, and
before all notes on the image, if there are any (``notes``), all in one range-coded
stream, so that a frame cut at any byte (by the budget or by the link) is a worse image and not a
broken one. Encoder and decoder walk the same path. Of the plane in which the budget ends the
encoder may send chosen blocks before the others; of all others nothing has to be said. A region
may come first: then its blocks of all planes that are sent in part go before all other blocks.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cache
from math import inf
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from gsc_ros.codec import notes, residual, words
from gsc_ros.codec.caption import Caption
from gsc_ros.codec.maps import code_map
from gsc_ros.codec.planes import BY_NAME, PLANES, TOKENS, FrameSymbols, Plane, blocks_to
from gsc_ros.codec.planes import phases as phases_of
from gsc_ros.codec.prior import Prior
from gsc_ros.codec.rangecoder import Decoder, Encoder, EndOfStream
from gsc_ros.codec.residual import Residual
from gsc_ros.codec.skip_mask import apply_skip_mask, find_skip_mask

Coder = Encoder | Decoder
Blocks = NDArray[np.bool_]


class Sender(Protocol):
    """What the walk asks of whoever has a frame to send, where the budget ends or does not."""

    def blocks(self, plane: Plane, coded: FrameSymbols) -> Blocks | None:
        """
        Choose blocks of the plane in which the budget ended: bool (H/64, W/64), or None for none.

        ``coded``: what fitted without a choice.
        """

    def residual(self, coded: FrameSymbols, bits: float) -> Residual | None:
        """Choose a residual that fits ``bits``; all of ``coded`` has been sent."""


# Cells are coded a few at a time, channel after channel: a cut loses the last few.
_TOGETHER = 4
_EVEN = range(3)  # the table of a coin
_SELDOM = (0, 7, 8)  # a plane is sent as a whole in most frames
_SLACK = 16  # bits


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[Any]:
    """
    Keep the walk's many small products in one thread.

    Theirs are not torch's threads: after each product they spin on for a while, on the cores that
    the networks want next.
    """
    return _threads().limit(limits=1, user_api='blas')


class _Walk:
    """One pass over a frame's symbols, coding them (from ``source``) or reading them (None)."""

    def __init__(
        self,
        coder: Coder,
        prior: Prior,
        out: FrameSymbols,
        source: FrameSymbols | None,
        reference: FrameSymbols | None,
        most_bits: float = inf,
        sender: Sender | None = None,
        skip_mask: Blocks | None = None,
        region: Blocks | None = None,
        regional: bool = False,
        noted: bool = False,
    ) -> None:
        self.coder, self.prior, self.out, self.source = coder, prior, out, source
        self.reference, self.most_bits = reference, most_bits
        self.sender, self.skip_mask = sender, skip_mask
        self.region, self.regional, self.noted = region, regional, noted

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Add up the bits that a part takes, also when the stream ends in it."""
        before = self.coder.bits - self.out.bits.get(name, 0.0)
        try:
            yield
        finally:
            self.out.bits[name] = self.coder.bits - before

    def notes(self) -> None:
        given = self.source.notes if self.source else None
        self.out.notes = notes.code(self.coder, given, self.out.planes['fine'].shape[1:])

    def caption(self) -> None:
        given = (self.source.caption or Caption()) if self.source else None
        before = self.reference.caption if self.reference else None
        self.out.caption = words.code(self.coder, given, before, self.prior.words)

    def blocks(self, given: Blocks | None) -> Blocks:
        return code_map(self.coder, given, self.out.planes['coarse_depth'].shape[1:])

    def still(self) -> None:
        """Code of which blocks a delta frame says nothing that is known."""
        assert self.reference is not None
        given = self.skip_mask
        if given is None and self.source is not None:
            given = find_skip_mask(self.source, self.reference)
        still = self.blocks(given)
        for name, grid in self.out.planes.items():
            keep = blocks_to(still, BY_NAME[name]) & self.reference.received(name)
            self.out.skip_mask[name] = keep
            grid[:, keep] = self.reference.planes[name][:, keep]
        if self.source is not None:
            self.source = apply_skip_mask(self.source, self.reference, still)

    def news(self, plane: Plane) -> NDArray[np.bool_]:
        """Which cells of a plane are to be told."""
        return ~(self.out.received(plane.name) | self.out.lost(plane.name))

    def plane(self, plane: Plane) -> None:
        """Walk a plane; where the budget ends in it, the sender's blocks of it first."""
        if not self.news(plane).any():
            return
        if not plane.selected:
            self.tiers(plane, None)
        elif isinstance(self.coder, Decoder):
            self.tiers(plane, self.blocks(None) if self.coder.code(None, _SELDOM) else None)
        else:
            values = self.out.planes[plane.name]
            before, start = self.coder.state, values.copy()
            try:
                self.coder.code(0, _SELDOM)
                self.tiers(plane, None)
            except EndOfStream:
                blocks = self.sender.blocks(plane, self.out) if self.sender else None
                if blocks is None:
                    raise
                self.coder.state = before
                values[:] = start
                self.coder.code(1, _SELDOM)
                self.tiers(plane, self.blocks(blocks))

    def first(self, plane: Plane) -> None:
        """Walk the region's blocks of a plane."""
        self.tiers(plane, self.region, first_only=True)

    def tiers(self, plane: Plane, blocks: Blocks | None, first_only: bool = False) -> None:
        """
        Walk what is not known of a plane, phase after phase, each in the light of those before.

        ``blocks``: those that come first; ``first_only``: and no others.
        """
        values = self.out.planes[plane.name]
        prior = self.prior[plane.name]
        sums = prior.begin(self.out, self.reference)
        phase = phases_of(*values.shape[1:])
        tiers = [np.ones(phase.shape, bool)]
        if blocks is not None:
            first = blocks_to(blocks, plane)
            tiers = [first] if first_only else [first, ~first]
        news = self.news(plane)
        for tier in tiers:
            for turn in range(int(phase.max()) + 1):
                cells = np.flatnonzero(tier & news & (phase == turn))
                if len(cells):
                    self.cells(plane, cells, prior.logits(sums, cells))
                    prior.update_context(sums, values, cells)

    def cells(self, plane: Plane, cells: NDArray[np.int64], logits: NDArray[np.int64]) -> None:
        """Walk the cells of one phase."""
        prior, code = self.prior[plane.name], self.coder.code
        firsts, rest = prior.first_tables(logits), logits.tolist()
        values = self.out.planes[plane.name].reshape(len(plane.levels), -1)
        given = (
            self.source.planes[plane.name].reshape(len(plane.levels), -1) if self.source else None
        )
        symbols: list[list[int | None]] = (
            [[None] * len(plane.levels)] * len(cells)
            if given is None
            else given[:, cells].T.tolist()
        )
        known: list[list[int]] = [[] for _ in cells]
        limited = self.most_bits < inf
        try:
            for first in range(0, len(cells), _TOGETHER):
                if limited and self.coder.bits > self.most_bits:
                    raise EndOfStream
                some = range(first, min(first + _TOGETHER, len(cells)))
                for channel in range(len(values)):
                    for i in some:
                        table = prior.table(rest[i], known[i]) if channel else firsts[i]
                        known[i].append(code(symbols[i][channel], table))  # type: ignore[arg-type]
        finally:
            for channel, row in enumerate(values):
                told = [mine[channel] for mine in known if len(mine) > channel]
                row[cells[: len(told)]] = told

    def run(self) -> FrameSymbols:
        with suppress(EndOfStream):
            if self.noted:
                with self.counted('notes'):
                    self.notes()
            with self.counted('caption'):
                self.caption()
            if self.reference is not None:
                with self.counted('skip_mask'):
                    self.still()
            if self.regional:
                with self.counted('region'):
                    self.region = self.blocks(self.region)
            in_part = [plane for plane in PLANES if plane.selected]
            walks = [(plane, self.plane) for plane in PLANES if not plane.selected]
            walks += [(plane, self.first) for plane in in_part if self.region is not None]
            walks += [(plane, self.plane) for plane in in_part]
            for plane, walk in walks:
                with self.counted(plane.name):
                    walk(plane)
            with self.counted('residual'):
                self.residual()
        return self.out

    def residual(self) -> None:
        """Walk the residual, if there is one."""
        given = None
        if self.sender is not None:
            given = self.sender.residual(self.out, self.most_bits - self.coder.bits)
        reading = self.source is None
        if self.coder.code(None if reading else int(given is not None), _EVEN):  # type: ignore[arg-type]
            self.out.residual = residual.code(self.coder, given, self.out.size, self.most_bits)


def encode(
    symbols: FrameSymbols,
    prior: Prior,
    most_bytes: int,
    reference: FrameSymbols | None = None,
    sender: Sender | None = None,
    skip_mask: Blocks | None = None,
    region: Blocks | None = None,
) -> tuple[bytes, FrameSymbols]:
    """
    Code a frame until ``most_bytes`` are full.

    ``sender`` is asked what to do where the budget ends; ``skip_mask``: the blocks whose known
    symbols a delta frame does not repeat, None for those that look as in the reference;
    ``region``: the blocks that come first. Returns the stream, of at most that size, and what was
    coded, its bits by part.
    """
    coder = Encoder()
    out = FrameSymbols.unknown(symbols.size)
    # A little more than fits, so that the last bytes are full.
    most_bits = 8 * most_bytes + _SLACK
    with _one_thread():
        regional, noted = region is not None, symbols.notes is not None
        _Walk(
            coder,
            prior,
            out,
            symbols,
            reference,
            most_bits,
            sender,
            skip_mask,
            region,
            regional,
            noted,
        ).run()
    return coder.finish()[:most_bytes], out


def decode(
    data: bytes,
    size: tuple[int, int],
    prior: Prior,
    reference: FrameSymbols | None = None,
    regional: bool = False,
    noted: bool = False,
) -> FrameSymbols:
    """
    Read what a stream, or any prefix of one, makes certain of a frame of size (W, H).

    ``regional``: a region of it comes first; ``noted``: notes come before all.

    Of a delta frame (with ``reference``) what was not sent is filled from the reference.
    """
    out = FrameSymbols.unknown(size)
    with _one_thread():
        _Walk(Decoder(data), prior, out, None, reference, regional=regional, noted=noted).run()
    return out if reference is None else completed(out, reference)


def completed(symbols: FrameSymbols, reference: FrameSymbols) -> FrameSymbols:
    """
    Fill what was not received of a delta frame from its reference.

    Layout, coarse depth and coarse tokens are taken where nothing newer came. Fine tokens draw a
    thing where it was: of those only what stands still is kept, which the walk has seen to.
    """
    planes = {name: grid.copy() for name, grid in symbols.planes.items()}
    for name, grid in symbols.planes.items():
        if name not in TOKENS[1:]:
            planes[name] = np.where(symbols.received(name), grid, reference.planes[name])
    sent = {
        name: symbols.received(name) & ~symbols.skip_mask.get(name, np.zeros(1, bool))
        for name in planes
    }
    return replace(symbols, caption=symbols.caption or reference.caption, planes=planes, sent=sent)
