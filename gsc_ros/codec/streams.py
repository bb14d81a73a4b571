"""
The symbols of a frame and their one order on air.

Caption, coarse layout, relief, coarse tokens, fine layout, finer tokens: what is worth most a bit
comes first, all in one range-coded stream, so that a frame cut at any byte (by the budget or by
the link) is a worse picture and not a broken one. Encoder and decoder walk the same path
(:func:`walk`). Inside a level the tokens under persons and cars come before those under road and
sky; both sides know the order from the layout, so that choosing what to send costs nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import BEARINGS, DISTANCES, MAX_OBJECTS, SCENES, THINGS, Caption, Thing
from gsc_ros.codec.layout import WEIGHTS, coarse_of
from gsc_ros.codec.rangecoder import Decoder, Encoder, EndOfStream
from gsc_ros.codec.tables import OUTSIDE, RELIEF_OUTSIDE, Tables
from gsc_ros.models.tokenizer import LEVELS
from gsc_ros.perception.labels import UNLABELLED

LATENT_CELL = 16  # pixels of the working size a side
UNKNOWN = 255  # relief that was not received


@dataclass
class FrameSymbols:
    """
    All that a frame says; of a cut stream, what of it is certain.

    ``caption``: None if it was not received. ``coarse``: uint8 (H/32, W/32) and ``fine``: uint8
    (H/16, W/16) class ids, 255 where not received; ``relief``: uint8 (H/64, W/64)
    levels of depth, 255 where not received. ``tokens``: a level each, int8
    (channels, h, w), -1 where not received.
    """

    caption: Caption | None
    coarse: NDArray[np.uint8]
    relief: NDArray[np.uint8]
    fine: NDArray[np.uint8]
    tokens: list[NDArray[np.int8]]
    bits: dict[str, float] = field(default_factory=dict)

    def received(self, level: int) -> NDArray[np.bool_]:
        """Which tokens of a level were received: bool (h, w)."""
        return np.asarray((self.tokens[level] >= 0).all(0))

    @classmethod
    def unknown(cls, size: tuple[int, int]) -> 'FrameSymbols':
        """Make the frame of a working size (W, H) of which nothing was received."""
        rows, columns = size[1] // LATENT_CELL, size[0] // LATENT_CELL
        return cls(
            None,
            np.full((rows // 2, columns // 2), UNLABELLED, np.uint8),
            np.full((rows // 4, columns // 4), UNKNOWN, np.uint8),
            np.full((rows, columns), UNLABELLED, np.uint8),
            [
                np.full((len(n), rows >> shift, columns >> shift), -1, np.int8)
                for n, shift in zip(LEVELS, (2, 1, 0), strict=True)
            ],
        )


Coder = Encoder | Decoder


class _Walk:
    """One pass over a frame's symbols, coding them (from ``source``) or reading them (None)."""

    def __init__(
        self, coder: Coder, tables: Tables, source: FrameSymbols | None, out: FrameSymbols
    ) -> None:
        self.coder, self.tables, self.source, self.out = coder, tables, source, out

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Note the bits that a part takes, also when the stream ends in it."""
        before = self.coder.bits
        try:
            yield
        finally:
            self.out.bits[name] = self.coder.bits - before

    def uniform(self, symbol: int | None, count: int) -> int:
        return self.coder.code(symbol, range(count + 1))  # type: ignore[arg-type]

    def caption(self) -> None:
        given = self.source.caption if self.source else None
        given = given or Caption()
        reading = self.source is None
        scene = self.uniform(None if reading else given.scene, len(SCENES))
        count = self.uniform(None if reading else len(given.things), MAX_OBJECTS + 1)
        things = []
        for i in range(count):
            thing = given.things[i] if not reading else None
            things.append(
                Thing(
                    self.uniform(thing.kind if thing else None, len(THINGS)),
                    self.uniform(thing.bearing if thing else None, len(BEARINGS)),
                    self.uniform(thing.distance if thing else None, len(DISTANCES)),
                )
            )
        self.out.caption = Caption(scene, tuple(things))

    def by_neighbours(
        self,
        given: list[list[int]] | None,
        out: NDArray[np.uint8],
        table: list,
        outside: int,
    ) -> None:
        """Walk a grid, each symbol in the context of its left and upper neighbours."""
        code = self.coder.code
        rows, columns = out.shape
        above = [outside] * columns
        for y in range(rows):
            left = outside
            for x in range(columns):
                left = code(given[y][x] if given else None, table[left][above[x]])  # type: ignore[arg-type]
                above[x] = left
                out[y, x] = left

    def coarse(self) -> None:
        given = self.source.coarse.tolist() if self.source else None
        self.by_neighbours(given, self.out.coarse, self.tables.coarse, OUTSIDE)

    def relief(self) -> None:
        given = self.source.relief.tolist() if self.source else None
        self.by_neighbours(given, self.out.relief, self.tables.relief, RELIEF_OUTSIDE)

    def fine(self) -> None:
        source, out = self.source, self.out.fine
        table, code = self.tables.fine, self.coder.code
        given = source.fine.tolist() if source else None
        parents = self.out.coarse.tolist()
        rows, columns = out.shape
        above = [OUTSIDE] * columns
        for y in range(rows):
            left = OUTSIDE
            for x in range(columns):
                context = table[parents[y // 2][x // 2]][left][above[x]]
                left = code(given[y][x] if given else None, context)  # type: ignore[arg-type]
                above[x] = left
                out[y, x] = left

    def level(self, level: int, classes: NDArray[np.uint8]) -> None:
        """Walk the tokens of a level; ``classes``: the layout on its grid."""
        out = self.out.tokens[level]
        channels, rows, columns = out.shape
        given = self.source.tokens[level] if self.source else None
        tables, code = self.tables.tokens[level], self.coder.code
        values = np.full((channels, rows + 2, columns + 2), -1, np.int64)
        grids = [v.tolist() for v in values]  # lists: single elements of an array are slow
        order = np.argsort(-WEIGHTS[classes.ravel()], kind='stable')
        for position in order.tolist():
            y, x = divmod(position, columns)
            kind = int(classes[y, x])
            token = []
            for c in range(channels):
                grid = grids[c]
                near = [
                    v
                    for v in (
                        grid[y][x + 1],
                        grid[y + 1][x],
                        grid[y + 1][x + 2],
                        grid[y + 2][x + 1],
                    )
                    if v >= 0
                ]
                context = 1 + (2 * sum(near) + len(near) // 2) // len(near) if near else 0
                symbol = int(given[c, y, x]) if given is not None else None
                token.append(code(symbol, tables[c][kind][context]))  # type: ignore[arg-type]
            for c, value in enumerate(token):
                grids[c][y + 1][x + 1] = value
                out[c, y, x] = value

    def run(self) -> FrameSymbols:
        with self.counted('caption'):
            self.caption()
        with self.counted('coarse layout'):
            self.coarse()
        with self.counted('relief'):
            self.relief()
        with self.counted('tokens 1/64'):
            self.level(0, coarse_of(self.out.coarse))
        with self.counted('fine layout'):
            self.fine()
        with self.counted('tokens 1/32'):
            self.level(1, self.out.coarse)
        with self.counted('tokens 1/16'):
            self.level(2, self.out.fine)
        return self.out


def size_of(symbols: FrameSymbols) -> tuple[int, int]:
    """Return the working size (W, H) of a frame."""
    rows, columns = symbols.fine.shape
    return columns * LATENT_CELL, rows * LATENT_CELL


def encode(symbols: FrameSymbols, tables: Tables) -> tuple[bytes, dict[str, float]]:
    """Code all of a frame; returns its stream, to be cut at the budget, and bits by part."""
    coder = Encoder()
    out = _Walk(coder, tables, symbols, FrameSymbols.unknown(size_of(symbols))).run()
    return coder.finish(), out.bits


def decode(data: bytes, size: tuple[int, int], tables: Tables) -> FrameSymbols:
    """Read what a stream, or any prefix of one, makes certain of a frame of size (W, H)."""
    out = FrameSymbols.unknown(size)
    with suppress(EndOfStream):
        _Walk(Decoder(data), tables, None, out).run()
    return out
