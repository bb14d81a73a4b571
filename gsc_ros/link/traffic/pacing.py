"""
The robot's pace: when to code an image, and how many bytes it has; in explicit time.

The link should not wait for images, nor images for the link. So coding begins so late that the
frame is ready when the link is free, with the newest image that there is then: the next frame
out is always as young as it can be.
"""

from bisect import bisect_right
from dataclasses import dataclass
from math import inf

from gsc_ros.link.datagrams import framing
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD

# A frame comes so much after the link is free, for clocks and wake-ups: share of its time, s. One
# that came too soon would lose its end (`sender.py`).
_RESERVE, _RESERVE_S = 0.02, 0.004


@dataclass(frozen=True)
class Carrier:
    """
    What is known of the link.

    rate_bps: with full datagrams, the gaps behind them counted in; mtu, overhead: bytes of a
    datagram, and what of them is not payload (mtu 0: not known); gap_s: what each takes besides
    its bytes (preamble, header, silence behind it); parity: share of a frame's time on air that is
    parity, 0..1.
    """

    rate_bps: float
    mtu: int = 0
    overhead: int = 0
    gap_s: float = 0.0
    parity: float = 0.0

    def frame_s(self, size: int) -> float:
        """Time on air of a coded frame of so many bytes, s; infinite where nothing passes."""
        if not self.rate_bps > 0:
            return inf
        payload = size + FRAME_OVERHEAD
        if self.mtu <= self.overhead:
            return 8 * payload / self.rate_bps
        count = framing.fragment_count(payload, self.mtu, self.overhead)
        bit_s = 1 / self.rate_bps - self.gap_s / (8 * self.mtu)
        sent = 8 * framing.air_bytes(payload, self.mtu, self.overhead) * bit_s
        return (sent + count * self.gap_s) / max(1 - self.parity, 0.01)

    def fitting(self, seconds: float, most: int) -> int:
        """Return the greatest frame, of at most ``most`` bytes, that is on air for so long."""
        return bisect_right(range(1, most + 1), seconds, key=self.frame_s)


class Pace:
    """Says when the next frame is due, from the frames that went to the link."""

    def __init__(self) -> None:
        self._begun_at = self.free_at = -inf  # s; the link has sent all by then
        self._rate_bps = 0.0

    def due(self, now: float, carrier: Carrier | None, encode_s: float, max_rate: float) -> float:
        """
        Return when to begin coding (s).

        carrier: None where no link has said anything; encode_s: how long coding takes; max_rate:
        frames a second at most.
        """
        allowed = self._begun_at + 1 / max_rate
        if carrier is None:
            return allowed
        if not carrier.rate_bps > 0:
            return inf
        if carrier.rate_bps != self._rate_bps:
            # What the link still has to send now takes another time.
            left = max(0.0, self.free_at - now)
            self.free_at = now + left * self._rate_bps / carrier.rate_bps
            self._rate_bps = carrier.rate_bps
        return max(allowed, self.free_at - encode_s)

    def begun(self, now: float) -> None:
        """Note that coding began."""
        self._begun_at = now

    def sent(self, now: float, size: int, carrier: Carrier | None) -> None:
        """Note that a frame of so many bytes went to the link."""
        if carrier is not None and carrier.rate_bps > 0:
            took = carrier.frame_s(size) * (1 + _RESERVE) + _RESERVE_S
            self.free_at = max(now, self.free_at) + took
            self._rate_bps = carrier.rate_bps


def budget(carrier: Carrier | None, least: int, most: int, min_rate: float) -> int:
    """
    Return the bytes of a frame: ``most``, or what a link carries ``min_rate`` times a second.

    Not under ``least``; min_rate 0 takes none away.
    """
    if carrier is None or not min_rate:
        return most
    return max(least, carrier.fitting(1 / min_rate, most))
