"""When a radio is free for the next datagram, in explicit time."""

from gsc_ros.link.radio.airtime import PLAIN, OnAir


class Pacer:
    """
    Paces datagrams to the rate of a radio.

    ``rate_bps``: bits a second (0: nothing passes); ``gap_s``: silence behind each datagram, s;
    ``on_air``: what datagrams take besides their bytes. Times are in s, from 0 on. There is no
    credit: a datagram may go when the one before and its gap are over, so that the radio never
    bursts above its rate. The pacer alone writes ``free_at``. Raises ValueError for a rate or gap
    that is not finite or below 0.
    """

    def __init__(self, rate_bps: float, gap_s: float = 0.0, on_air: OnAir = PLAIN) -> None:
        for name, value in (('rate_bps', rate_bps), ('gap_s', gap_s)):
            if not 0.0 <= value < float('inf'):
                raise ValueError(f'{name} must be finite and at least 0, got {value}')
        self._rate_bps, self.gap_s, self.on_air = rate_bps, gap_s, on_air
        self._free_at = 0.0

    @property
    def rate_bps(self) -> float:
        """Bits a second at the radio's present rate."""
        return self._rate_bps

    @property
    def free_at(self) -> float:
        """When the next datagram may go, s."""
        return self._free_at

    @property
    def fixed_s(self) -> float:
        """Time of each datagram besides that of its bytes at the rate, s; see `OnAir`."""
        if self._rate_bps == 0:
            return self.gap_s
        return self.on_air.fixed_bits / self._rate_bps + self.gap_s

    def air_s(self, size: int, datagrams: int = 1, rate_bps: float | None = None) -> float:
        """
        Return the time of so many datagrams of `size` bytes with the gaps behind them, s.

        ``rate_bps``: at this rate; None: at the present one. Infinite at a rate of 0.
        """
        rate_bps = self._rate_bps if rate_bps is None else rate_bps
        if rate_bps == 0:
            return float('inf')
        return datagrams * (self.on_air.bits(size) / rate_bps + self.gap_s)

    def set_rate(self, rate_bps: float) -> None:
        """Go on at another rate."""
        self._rate_bps = rate_bps

    def wait_until(self, at: float) -> None:
        """Let nothing go before a time, s."""
        self._free_at = max(self._free_at, at)

    def send(self, size: int, start: float) -> float:
        """Occupy the radio with `size` bytes from `start` on; return when the last bit leaves."""
        self._free_at = start + self.air_s(size)
        return self._free_at - self.gap_s
