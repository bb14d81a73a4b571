"""
The integer tables under which quantised latents are coded.

They are trained with CompressAI (:mod:`gsc_ros.codec.foundation.entropy_bottleneck`) and kept as
whole numbers: reading and writing needs neither CompressAI nor a network, and every machine codes
alike. A coefficient has a *group*, one table for all coefficients of about the same spread.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.rangecoder import MAX_TOTAL, RangeDecoder, RangeEncoder

ZERO = 255  # the group of coefficients that are always 0 and take no bits
_MOST_BITS = 24  # of the length of a value beyond its table
COSTED = 48  # values up to here have an exact cost in `bits`


@dataclass(frozen=True)
class Tables:
    """
    Tables by group.

    ``cdfs``: int32 (groups, longest), each row a cdf and then zeros; ``lengths``: int32 (groups)
    of the rows; ``offsets``: int32 (groups), the value of a row's first symbol. The last symbol of
    a row stands for all values outside it.
    """

    cdfs: NDArray[np.int32]
    lengths: NDArray[np.int32]
    offsets: NDArray[np.int32]

    def __post_init__(self) -> None:
        rows = self.cdfs.tolist()
        if not len(self.cdfs) == len(self.lengths) == len(self.offsets) <= ZERO:
            raise ValueError('tables of different numbers of groups: train them again')
        tables = [row[:length] for row, length in zip(rows, self.lengths.tolist(), strict=True)]
        for table in tables:
            if len(table) < 3 or table[0] != 0 or table[-1] > MAX_TOTAL:
                raise ValueError('damaged tables: train them again')
            if (np.diff(table) < 1).any():
                raise ValueError('damaged tables (a count of 0): train them again')
        object.__setattr__(self, '_tables', tables)
        object.__setattr__(self, '_starts', self.offsets.tolist())

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.cdfs)

    def write(self, encoder: RangeEncoder, group: int, value: int) -> None:
        """Write a value of a group."""
        table: list[int] = self._tables[group]  # type: ignore[attr-defined]
        start: int = self._starts[group]  # type: ignore[attr-defined]
        last = len(table) - 2
        if 0 <= value - start < last:
            encoder.encode(value - start, table)
            return
        encoder.encode(last, table)
        below = value < start
        encoder.encode_bit(below)
        # Exponential Golomb code of the distance to the table.
        beyond = start - value if below else value - (start + last) + 1
        size = min(beyond.bit_length(), _MOST_BITS)
        beyond = min(beyond, (1 << _MOST_BITS) - 1)
        for _ in range(size - 1):
            encoder.encode_bit(True)
        if size < _MOST_BITS:
            encoder.encode_bit(False)
        for bit in range(size - 2, -1, -1):
            encoder.encode_bit(bool(beyond >> bit & 1))

    def read(self, decoder: RangeDecoder, group: int) -> int:
        """Read a value of a group; raises ``EndOfStream`` where the frame ends."""
        table: list[int] = self._tables[group]  # type: ignore[attr-defined]
        start: int = self._starts[group]  # type: ignore[attr-defined]
        symbol, last = decoder.decode(table), len(table) - 2
        if symbol < last:
            return start + symbol
        below, size = decoder.decode_bit(), 1
        while size < _MOST_BITS and decoder.decode_bit():
            size += 1
        beyond = 1
        for _ in range(size - 1):
            beyond = 2 * beyond + decoder.decode_bit()
        return start - beyond if below else start + last + beyond - 1

    def bits(self) -> NDArray[np.float32]:
        """
        Return the cost of values -COSTED..COSTED, float32 (groups + 1, 2 * COSTED + 1), bits.

        The last row is of coefficients that are always 0.
        """
        values = np.arange(-COSTED, COSTED + 1)
        out = np.zeros((self.groups + 1, len(values)), np.float32)
        for group, (table, start) in enumerate(zip(self._tables, self._starts, strict=True)):  # type: ignore[attr-defined]
            counts, last = np.diff(table), len(table) - 2
            index = values - start
            inside = (index >= 0) & (index < last)
            share = counts[np.where(inside, index, last)] / table[-1]
            beyond = np.maximum(np.where(index < 0, -index, index - last + 1), 1)
            escape = np.where(inside, 0, 2 + 2 * np.floor(np.log2(beyond)))
            out[group] = escape - np.log2(share)
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return them as arrays, for a file."""
        return {'cdfs': self.cdfs, 'lengths': self.lengths, 'offsets': self.offsets}
