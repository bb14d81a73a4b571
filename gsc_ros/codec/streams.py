"""
The writer and the reader of a frame's symbols.

They walk the same parts in the same order, see :class:`stream_walk.StreamWalk`: each way in which
:class:`StreamWriter` codes a part has its counterpart in :class:`StreamReader`.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import hazards, kind, notes, objects, pseudo_words, residual, words
from gsc_ros.codec.caption import Caption
from gsc_ros.codec.maps import read_map, write_map
from gsc_ros.codec.objects import Objects
from gsc_ros.codec.planes import BY_NAME, PLANES, TOKENS, FrameSymbols, Plane
from gsc_ros.codec.prior import Prior
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder
from gsc_ros.codec.residual import Residual
from gsc_ros.codec.skip_mask import apply_skip_mask, find_skip_mask
from gsc_ros.codec.stream_walk import Blocks, Cells, StreamWalk

# Cells are coded a few at a time, channel after channel: a cut loses the last few.
_TOGETHER = 4
_SELDOM = (0, 7, 8)  # the cdf of whether chosen blocks come first: most planes are sent whole
_WHOLE = (0, 7, 8)  # the cdf of whether planes are left out
_SLACK = 16  # bits


class BudgetPolicy(Protocol):
    """Answers what to send where the budget ends, and what to do with bits that are left."""

    def blocks(self, plane: Plane, coded: FrameSymbols) -> Blocks | None:
        """
        Choose blocks of the plane in which the budget ended: bool (H/64, W/64), or None for none.

        ``coded``: what fitted without a choice.
        """

    def residual(self, coded: FrameSymbols, bits: float) -> Residual | None:
        """Choose a residual of at most ``bits``; all of ``coded`` has been written."""


@dataclass(frozen=True)
class Plan:
    """
    How to write a frame.

    ``most_bytes``: length of the stream at most; ``policy``: None to cut where the budget
    ends; ``skip_mask``: blocks whose known symbols a delta frame does not repeat, None for those
    that look as in the reference; ``region``: blocks that come first, None for no such;
    ``planes``: the planes that are sent, in their order; ``overhead``: bytes of the header;
    ``pseudo_words``: how many at most, None for a preset without.
    """

    most_bytes: int
    policy: BudgetPolicy | None = None
    skip_mask: Blocks | None = None
    region: Blocks | None = None
    planes: tuple[Plane, ...] = PLANES
    overhead: int = 0
    pseudo_words: int | None = None


class StreamWriter(StreamWalk):
    """Writes the symbols of one frame; ``source``: all there are."""

    def __init__(
        self,
        source: FrameSymbols,
        prior: Prior,
        plan: Plan,
        reference: FrameSymbols | None = None,
    ) -> None:
        worded = plan.pseudo_words is not None
        super().__init__(source.size, prior, reference, plan.planes, worded)
        self.source, self.plan, self.region = source, plan, plan.region
        self.encoder = RangeEncoder()
        # A little more than fits, so that the last bytes are full.
        self.most_bits = 8 * plan.most_bytes + _SLACK

    def write(self) -> tuple[bytes, FrameSymbols]:
        """Return the stream, and what of the source it holds."""
        self._walk(self.source.notes is not None, self.region is not None)
        return self.encoder.finish()[: self.plan.most_bytes], self.symbols

    @property
    def _bits(self) -> float:
        return self.encoder.bits

    def _notes(self) -> None:
        assert self.source.notes is not None
        self.symbols.notes = notes.write(self.encoder, self.source.notes)

    def _kind(self) -> None:
        kind.write(self.encoder, self.source.kind, self.source.scale)
        self.symbols.kind, self.symbols.scale = self.source.kind, self.source.scale

    def _hazards(self) -> None:
        hazards.write(self.encoder, self.source.hazards)
        self.symbols.hazards = self.source.hazards

    def _caption(self) -> None:
        before = self.reference.caption if self.reference else None
        self._told = self._fitted(before)
        self.symbols.caption = self._told[0]
        words.write(self.encoder, self.symbols.caption, before, self.prior.words)

    def _objects(self) -> None:
        caption, seen = self._told
        objects.write(self.encoder, seen, caption)
        self.symbols.objects = seen

    def _left_out(self) -> None:
        self.encoder.encode(int(bool(self.source.left_out)), _WHOLE)
        if self.source.left_out:
            for plane in self.planes:
                self.encoder.encode_bit(plane.name in self.source.left_out)
        self.symbols.left_out = self.source.left_out

    def _pseudo_words(self) -> None:
        chosen = self.source.pseudo_words[: self.plan.pseudo_words]
        for written in pseudo_words.write(
            self.encoder, chosen, self._words_before, self.prior.pseudo_words
        ):
            if self.encoder.bits > self.most_bits:
                raise EndOfStream
            self.symbols.pseudo_words = written

    def _fitted(self, before: Caption | None) -> tuple[Caption, Objects | None]:
        """Leave of caption and objects as many as their share of the frame holds."""
        whole, seen = self.source.caption or Caption(), self.source.objects
        most_bits = objects.SHARE * 8 * (self.plan.most_bytes + self.plan.overhead)
        count = len(whole.objects) if seen is None else len(seen.items)
        while True:
            caption = Caption(whole.scene, whole.objects[:count])
            kept = None if seen is None else seen.first(count)
            trial = RangeEncoder()
            words.write(trial, caption, before, self.prior.words)
            objects.write(trial, kept, caption)
            if not count or trial.bits <= most_bits:
                return caption, kept
            count -= 1

    def _skip_mask(self) -> None:
        assert self.reference is not None
        mask = self.plan.skip_mask
        if mask is None:
            mask = find_skip_mask(self.source, self.reference)
        write_map(self.encoder, mask)
        self._skip(mask)
        self.source = apply_skip_mask(self.source, self.reference, mask)

    def _region(self) -> None:
        assert self.region is not None
        write_map(self.encoder, self.region)

    def _selected_plane(self, plane: Plane) -> None:
        if not self._missing(plane).any():
            return
        values = self.symbols.planes[plane.name]
        state, before = self.encoder.state, values.copy()
        try:
            self.encoder.encode(0, _SELDOM)
            self._whole_plane(plane)
        except EndOfStream:
            policy = self.plan.policy
            blocks = policy.blocks(plane, self.symbols) if policy else None
            if blocks is None:
                raise
            self.encoder.state = state
            values[:] = before
            self.encoder.encode(1, _SELDOM)
            write_map(self.encoder, blocks)
            self._tiers(plane, [blocks, ~blocks])

    def _cells(self, plane: Plane, cells: Cells, logits: NDArray[np.int64]) -> None:
        encode = self.encoder.encode_slot
        source, values = (
            symbols.planes[plane.name].reshape(len(plane.levels), -1)
            for symbols in (self.source, self.symbols)
        )
        slots = self.prior[plane.name].slots(logits, source[:, cells].T)
        done = 0
        try:
            for first in range(0, len(cells), _TOGETHER):
                if self.encoder.bits > self.most_bits:
                    raise EndOfStream
                last = min(first + _TOGETHER, len(cells))
                for channel in slots:
                    for slot in channel[first:last]:
                        encode(*slot)
                done = last
        finally:
            values[:, cells[:done]] = source[:, cells[:done]]

    def _residual(self) -> None:
        policy, chosen = self.plan.policy, None
        if policy is not None:
            chosen = policy.residual(self.symbols, self.most_bits - self.encoder.bits)
        self.encoder.encode_bit(chosen is not None)
        if chosen is not None:
            self.symbols.residual = residual.write(self.encoder, chosen, self.most_bits)


class StreamReader(StreamWalk):
    """
    Reads the symbols of one frame of working size (W, H) from a stream or a prefix of one.

    ``planes``: the stream layout; ``noted``: notes come before all; ``regional``: a region comes
    first; ``worded``: as of :class:`StreamWalk`.
    """

    def __init__(
        self,
        data: bytes,
        size: tuple[int, int],
        prior: Prior,
        reference: FrameSymbols | None = None,
        *,
        planes: tuple[Plane, ...] = PLANES,
        regional: bool = False,
        noted: bool = False,
        worded: bool = False,
    ) -> None:
        super().__init__(size, prior, reference, planes, worded)
        self.decoder = RangeDecoder(data)
        self.regional, self.noted = regional, noted

    def read(self) -> FrameSymbols:
        """Return what is certain; what was not sent of a delta frame is filled in."""
        if self.reference:  # until the frame tells its own
            self.symbols.kind = self.reference.kind
        self._walk(self.noted, self.regional)
        return completed(self.symbols, self.reference) if self.reference else self.symbols

    @property
    def _bits(self) -> float:
        return self.decoder.bits

    def _notes(self) -> None:
        rows, columns = self.symbols.planes['fine'].shape[1:]
        self.symbols.notes = notes.read(self.decoder, (rows, columns))

    def _kind(self) -> None:
        self.symbols.kind, self.symbols.scale = kind.read(self.decoder)

    def _hazards(self) -> None:
        rows, columns = self.symbols.planes['coarse'].shape[1:]
        self.symbols.hazards = hazards.read(self.decoder, (rows, columns))

    def _caption(self) -> None:
        before = self.reference.caption if self.reference else None
        self.symbols.caption = words.read(self.decoder, before, self.prior.words)

    def _objects(self) -> None:
        assert self.symbols.caption is not None
        for found in objects.read(self.decoder, self.symbols.caption):
            self.symbols.objects = found  # as many as came

    def _left_out(self) -> None:
        if self.decoder.decode(_WHOLE):
            self.symbols.left_out = frozenset(
                plane.name for plane in self.planes if self.decoder.decode_bit()
            )

    def _pseudo_words(self) -> None:
        tables = self.prior.pseudo_words
        for read in pseudo_words.read(self.decoder, self._words_before, tables):
            self.symbols.pseudo_words = read  # as many as came

    def _skip_mask(self) -> None:
        self._skip(read_map(self.decoder, self._grid))

    def _region(self) -> None:
        self.region = read_map(self.decoder, self._grid)

    def _selected_plane(self, plane: Plane) -> None:
        if not self._missing(plane).any():
            return
        if self.decoder.decode(_SELDOM):
            blocks = read_map(self.decoder, self._grid)
            self._tiers(plane, [blocks, ~blocks])
        else:
            self._whole_plane(plane)

    def _cells(self, plane: Plane, cells: Cells, logits: NDArray[np.int64]) -> None:
        prior, decode = self.prior[plane.name], self.decoder.decode
        firsts, rest = prior.first_tables(logits), logits.tolist()
        read: list[list[int]] = [[] for _ in plane.levels]  # by channel
        before: list[tuple[int, ...]] = [()] * len(cells)
        try:
            for first in range(0, len(cells), _TOGETHER):
                some = range(first, min(first + _TOGETHER, len(cells)))
                for channel in read:
                    for i in some:
                        symbol = decode(
                            prior.table(rest[i], before[i]) if before[i] else firsts[i]
                        )
                        channel.append(symbol)
                        before[i] += (symbol,)
        finally:
            values = self.symbols.planes[plane.name].reshape(len(read), -1)
            for row, known in zip(values, read, strict=True):
                row[cells[: len(known)]] = known

    def _residual(self) -> None:
        if self.decoder.decode_bit():
            self.symbols.residual = residual.read(self.decoder, self.symbols.size)


def completed(symbols: FrameSymbols, reference: FrameSymbols) -> FrameSymbols:
    """
    Fill what was not received of a delta frame from its reference.

    Layout, coarse depth and coarse tokens are taken where nothing newer came. Fine tokens draw an
    object where it was: only those of skipped cells are taken, which the walk has done. The
    caption is taken where the kind of scene is the same, pseudo-words where none came.
    """
    planes = {name: grid.copy() for name, grid in symbols.planes.items()}
    for name, grid in symbols.planes.items():
        if name not in TOKENS[1:] and symbols.applies(BY_NAME[name]):
            planes[name] = np.where(symbols.received(name), grid, reference.planes[name])
    sent = {
        name: symbols.received(name) & ~symbols.skip_mask.get(name, np.zeros(1, bool))
        for name in planes
    }
    caption = symbols.caption
    if caption is None and symbols.kind == reference.kind:
        caption = reference.caption
    told = symbols.pseudo_words if len(symbols.pseudo_words) else reference.pseudo_words
    return replace(symbols, caption=caption, planes=planes, sent=sent, pseudo_words=told)
