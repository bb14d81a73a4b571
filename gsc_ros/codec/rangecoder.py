"""
A range coder on integers whose streams may be cut anywhere.

After G. N. N. Martin, "Range encoding" (1979), with Python's unbounded integers in place of carry
propagation. The decoder knows which bytes are missing: it returns a symbol only while every
continuation of the stream would give the same one, so that a prefix of a stream gives a prefix of
its symbols and never a wrong one.

A cdf is the table of a symbol's cumulative counts, [0, c1, c1 + c2, ..., total], every count at
least 1 and the total at most ``MAX_TOTAL``. Encoder and decoder must use the same one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import log2

_TOP = 1 << 32
_BOTTOM = 1 << 24
MAX_TOTAL = 1 << 16  # of a cdf: keeps every slot at least 2**8 wide
FAIR_BIT = (0, 1, 2)  # the cdf of a bit that is as often 0 as 1


class EndOfStream(Exception):
    """No further symbol is certain."""


class RangeEncoder:
    """Codes symbols by their cdfs."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _TOP - 1
        self._shifts = 0

    def encode(self, symbol: int, cdf: Sequence[int]) -> None:
        """Append ``symbol``, 0 to len(cdf) - 2."""
        self.encode_slot(cdf[symbol], cdf[symbol + 1], cdf[-1])

    def encode_slot(self, start: int, end: int, total: int) -> None:
        """Append the symbol that takes counts ``start`` to ``end`` (exclusive) of a total."""
        unit = self._range // total
        self._low += unit * start
        self._range = unit * (end - start)
        while self._range < _BOTTOM:
            self._low <<= 8
            self._range <<= 8
            self._shifts += 1

    def encode_bit(self, bit: bool) -> None:
        """Append a bit that takes one bit."""
        self.encode(int(bit), FAIR_BIT)

    @property
    def state(self) -> tuple[int, int, int]:
        """All that has been coded; set it to go back."""
        return self._low, self._range, self._shifts

    @state.setter
    def state(self, state: tuple[int, int, int]) -> None:
        self._low, self._range, self._shifts = state

    @property
    def bits(self) -> float:
        """Information coded so far."""
        return 32 + 8 * self._shifts - log2(self._range)

    def finish(self) -> bytes:
        """Return the shortest bytes of which every continuation gives the coded symbols."""
        width = 4 + self._shifts
        # The range has 32 bits at most, so no more than four bytes can be left open.
        for dropped in range(4, -1, -1):
            unit = 1 << (8 * dropped)
            value = -(-self._low // unit) * unit
            if value + unit <= self._low + self._range:
                return value.to_bytes(width, 'big')[: width - dropped]
        raise AssertionError('a range is never empty')


class RangeDecoder:
    """Reads the symbols of a stream or of any prefix of one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0
        self._range = _TOP - 1
        # The code relative to the interval's start, were the missing bytes all 0 or all 255.
        self._least = self._most = 0
        for _ in range(4):
            self._shift()

    def _shift(self) -> None:
        if self._next < len(self._data):
            byte = self._data[self._next]
            self._least = (self._least << 8) | byte
            self._most = (self._most << 8) | byte
        else:
            self._least <<= 8
            self._most = (self._most << 8) | 255
        self._next += 1

    def decode(self, cdf: Sequence[int]) -> int:
        """
        Return the next symbol.

        Raises :class:`EndOfStream` when the bytes at hand do not settle it, or when no encoder
        makes such bytes.
        """
        total = cdf[-1]
        unit = self._range // total
        if self._least >= unit * total:
            # No encoder makes this code. Further symbols would all be the last one, for ever.
            raise EndOfStream
        least = self._least // unit
        found = bisect_right(cdf, least) - 1
        start, end = unit * cdf[found], unit * cdf[found + 1]
        # No encoder uses the rest beyond the last slot: the last symbol is certain without it.
        if self._most >= end and end < unit * total:
            raise EndOfStream
        self._least -= start
        self._most -= start
        self._range = end - start
        while self._range < _BOTTOM:
            self._shift()
            self._range <<= 8
        return found

    def decode_bit(self) -> bool:
        """Return the next bit, see :meth:`RangeEncoder.encode_bit`."""
        return self.decode(FAIR_BIT) == 1

    @property
    def bits(self) -> float:
        """Information read so far."""
        return 32 + 8 * (self._next - 4) - log2(self._range)
