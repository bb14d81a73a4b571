"""
The stream of preset ``foundation``: its symbols, their writer and their reader.

Order: notes on the image (where the header says so), caption, rung, region (where the header says
so), the means of all blocks channel by channel, the classes of the blocks, and then the details of
block after block, the most important first. Any prefix decodes.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import notes as notes_coding
from gsc_ros.codec.foundation.caption_model import CaptionModel
from gsc_ros.codec.foundation.entropy_tables import ZERO, Tables
from gsc_ros.codec.foundation.vae_rungs import Rung, importance_order, predicted, working_size
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.notes import caption_text
from gsc_ros.codec.planes import LATENT_CELL, FrameSymbols
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder

_RUNGS = range(65)  # as a cdf: 64 rungs, each as likely
_FARTHEST = 1 << 20  # that a value can be

Region = tuple[int, int, int, int]


@dataclass
class LatentSymbols(FrameSymbols):
    """
    The symbols of a frame of latents; of a cut stream, those that are certain.

    ``text``: the caption, '' for none; ``rung``: index of the ladder, -1 where not received.
    ``means``: int64 (channels, rows, columns), ``classes``: int64 (rows, columns), ``details``:
    int64 (rows, columns, channels * 15), all of blocks; ``known_means``: bool as ``means``,
    ``known_classes``: bool as ``classes`` and ``complete``: bool (rows, columns), where they came
    and where nothing of a block is missing. ``region``: blocks that came first (first row, behind
    the last, first column, behind the last).
    """

    text: str = ''
    rung: int = -1
    means: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    details: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    known_means: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0, 0), bool))
    known_classes: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    complete: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    region: Region | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Blocks across and down."""
        return self.complete.shape[1], self.complete.shape[0]

    @property
    def description(self) -> str:
        """The caption, with what is wrong with the image."""
        warning = caption_text(None, self.notes)
        blind = self.notes is not None and self.notes.blind
        return '; '.join(part for part in ('' if blind else self.text, warning) if part)

    @property
    def empty(self) -> bool:
        """Whether the image shows nothing, so that only notes are sent."""
        return self.notes is not None and self.notes.loss is not None and self.notes.loss.whole

    def allocate(self, shape: tuple[int, int], channels: int) -> None:
        """Make room for so many blocks (rows, columns), of which nothing is known."""
        self.means = np.zeros((channels, *shape), np.int64)
        self.known_means = np.zeros((channels, *shape), bool)
        self.classes, self.known_classes = np.zeros(shape, np.int64), np.zeros(shape, bool)
        self.details = np.zeros((*shape, channels * 15), np.int64)
        self.complete = np.zeros(shape, bool)


@dataclass(frozen=True)
class Layout:
    """What both ends know: the ladder, the tables, the model of captions, the block's pixels."""

    rungs: tuple[Rung, ...]
    tables: Tables
    captions: CaptionModel
    channels: int
    cell: int

    def shape(self, rung: int, width: int, height: int) -> tuple[int, int]:
        """Return the blocks (rows, columns) of an image at a rung."""
        wide, high = working_size(width, height, self.cell, self.rungs[rung].cells)
        return high // self.cell, wide // self.cell


def coded_details(rung: Rung, kind: int) -> list[tuple[int, int]]:
    """Return the details of a class of blocks that are sent, in order: index and group."""
    groups = rung.details[kind].tolist()
    return [(i, groups[i]) for i in rung.order.tolist() if groups[i] != ZERO]


def write(
    encoder: RangeEncoder, symbols: LatentSymbols, layout: Layout, caption_bytes: int
) -> LatentSymbols:
    """Write a frame; returns its symbols as they will be read, ``bits`` filled in."""
    bits = symbols.bits
    if symbols.notes is not None:
        with _counted(bits, encoder, 'notes'):
            symbols.notes = notes_coding.write(encoder, symbols.notes)
    if symbols.empty:
        symbols.text = ''
        return symbols
    with _counted(bits, encoder, 'caption'):
        symbols.text = layout.captions.write(encoder, symbols.text, caption_bytes)
    with _counted(bits, encoder, 'rung'):
        encoder.encode(symbols.rung, _RUNGS)
        if symbols.region is not None:
            _write_region(encoder, symbols.region, symbols.complete.shape)
    rung, tables = layout.rungs[symbols.rung], layout.tables
    with _counted(bits, encoder, 'means'):
        _write_means(encoder, symbols, rung, tables)
    with _counted(bits, encoder, 'classes'):
        for kind in symbols.classes.ravel().tolist():
            encoder.encode(kind, rung.class_cdf)
    sent = [coded_details(rung, kind) for kind in range(len(rung.details))]
    with _counted(bits, encoder, 'details'):
        for y, x in importance_order(symbols.classes, symbols.region):
            values = symbols.details[y, x].tolist()
            for index, group in sent[symbols.classes[y, x]]:
                tables.write(encoder, group, values[index])
    return symbols


@contextlib.contextmanager
def _counted(
    bits: dict[str, float], coder: RangeEncoder | RangeDecoder, name: str
) -> Iterator[None]:
    """Count the bits of a part, also of one that is cut."""
    before = coder.bits
    try:
        yield
    finally:
        bits[name] = coder.bits - before


def _write_means(
    encoder: RangeEncoder, symbols: LatentSymbols, rung: Rung, tables: Tables
) -> None:
    for channel, group in enumerate(rung.means.tolist()):
        if group != ZERO:
            mean = symbols.means[channel]
            left, up = int(rung.left[channel]), int(rung.up[channel])
            for y, x in np.ndindex(*mean.shape):
                guess = predicted(mean, y, x, left, up)
                tables.write(encoder, group, int(mean[y, x]) - guess)


def _write_region(encoder: RangeEncoder, region: Region, shape: tuple[int, ...]) -> None:
    for first, behind, number in zip(region[::2], region[1::2], shape, strict=True):
        encoder.encode(first, range(number + 1))
        encoder.encode(behind - first - 1, range(number - first + 1))


def _read_region(decoder: RangeDecoder, shape: tuple[int, int]) -> Region:
    numbers: list[int] = []
    for number in shape:
        first = decoder.decode(range(number + 1))
        numbers += [first, first + 1 + decoder.decode(range(number - first + 1))]
    top, bottom, left, right = numbers
    return top, bottom, left, right


def read(
    stream: bytes, size: tuple[int, int], layout: Layout, noted: bool, regional: bool
) -> LatentSymbols:
    """
    Read what is certain of a stream, of an image of a size (W, H).

    Raises ``ValueError`` for a rung that is not known here.
    """
    symbols = LatentSymbols(None, {})
    decoder = RangeDecoder(stream)
    with contextlib.suppress(EndOfStream):
        _read(decoder, symbols, size, layout, noted, regional)
    return symbols


def _read(
    decoder: RangeDecoder,
    symbols: LatentSymbols,
    size: tuple[int, int],
    layout: Layout,
    noted: bool,
    regional: bool,
) -> None:
    bits = symbols.bits
    if noted:
        wide, high = coding_size(*size)
        with _counted(bits, decoder, 'notes'):
            symbols.notes = notes_coding.read(decoder, (high // LATENT_CELL, wide // LATENT_CELL))
        if symbols.empty:
            return
    with _counted(bits, decoder, 'caption'):
        symbols.text, whole = layout.captions.read(decoder)
    if not whole:
        return
    with _counted(bits, decoder, 'rung'):
        index = decoder.decode(_RUNGS)
        if index >= len(layout.rungs):
            raise ValueError(f'rung {index} is not known here')
        shape = layout.shape(index, *size)
        if regional:
            symbols.region = _read_region(decoder, shape)
    symbols.rung = index
    symbols.allocate(shape, layout.channels)
    rung, tables = layout.rungs[index], layout.tables
    with _counted(bits, decoder, 'means'):
        _read_means(decoder, symbols, rung, tables)
    with _counted(bits, decoder, 'classes'):
        for y, x in np.ndindex(*shape):
            symbols.classes[y, x] = decoder.decode(rung.class_cdf)
            symbols.known_classes[y, x] = True
    sent = [coded_details(rung, kind) for kind in range(len(rung.details))]
    with _counted(bits, decoder, 'details'):
        for y, x in importance_order(symbols.classes, symbols.region):
            values = symbols.details[y, x]
            for number, group in sent[symbols.classes[y, x]]:
                values[number] = tables.read(decoder, group)
            symbols.complete[y, x] = True


def _read_means(decoder: RangeDecoder, symbols: LatentSymbols, rung: Rung, tables: Tables) -> None:
    for channel, group in enumerate(rung.means.tolist()):
        mean, known = symbols.means[channel], symbols.known_means[channel]
        if group != ZERO:
            left, up = int(rung.left[channel]), int(rung.up[channel])
            for y, x in np.ndindex(*mean.shape):
                value = predicted(mean, y, x, left, up) + tables.read(decoder, group)
                mean[y, x] = min(max(value, -_FARTHEST), _FARTHEST)
                known[y, x] = True
        known[:] = True
