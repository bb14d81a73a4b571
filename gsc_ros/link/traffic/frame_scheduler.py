"""
When the robot encodes an image, and how many bytes the frame has; in explicit time.

The link should not wait for images, nor images for the link. So encoding begins so late that the
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
class LinkCapacity:
    """
    What the link carries, as in `LinkStatus`.

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

    @property
    def is_open(self) -> bool:
        """Whether anything passes."""
        return self.rate_bps > 0

    def frame_s(self, size: int) -> float:
        """Time on air of a coded frame of so many bytes, s; infinite where nothing passes."""
        if not self.is_open:
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


class FrameScheduler:
    """
    Schedules the encoding of frames, from the frames that went to the link.

    ``capacity``: of the link; None where no link has published one.
    """

    def __init__(self) -> None:
        self.capacity: LinkCapacity | None = None
        self._free_at = 0.0
        self._begun_at: float | None = None  # of the last encoding, s
        self._rate_bps = 0.0  # that `_free_at` is computed with

    @property
    def free_at(self) -> float:
        """When the link has sent all that it was given, s."""
        return self._free_at

    def set_capacity(self, now: float, capacity: LinkCapacity | None) -> None:
        """Go on with another capacity: what the link still has to send takes another time."""
        self.capacity = capacity
        if capacity is not None and capacity.is_open and capacity.rate_bps != self._rate_bps:
            left_s = max(0.0, self._free_at - now)
            self._free_at = now + left_s * self._rate_bps / capacity.rate_bps
            self._rate_bps = capacity.rate_bps

    def next_deadline(self, encode_s: float, max_rate: float) -> float | None:
        """
        Return when to begin encoding (s); None: not before the link opens.

        encode_s: how long encoding takes; max_rate: frames a second at most.
        """
        allowed = 0.0 if self._begun_at is None else self._begun_at + 1 / max_rate
        if self.capacity is None:
            return allowed
        return max(allowed, self._free_at - encode_s) if self.capacity.is_open else None

    def on_begun(self, now: float) -> None:
        """Note that encoding began."""
        self._begun_at = now

    def on_sent(self, now: float, size: int) -> None:
        """Note that a frame of so many bytes went to the link."""
        if self.capacity is not None and self.capacity.is_open:
            took = self.capacity.frame_s(size) * (1 + _RESERVE) + _RESERVE_S
            self._free_at = max(now, self._free_at) + took


def frame_budget(capacity: LinkCapacity | None, least: int, most: int, min_rate: float) -> int:
    """
    Return the bytes of a frame: ``most``, or what a link carries ``min_rate`` times a second.

    Not under ``least``; min_rate 0 takes none away.
    """
    if capacity is None or not min_rate:
        return most
    return max(least, capacity.fitting(1 / min_rate, most))
