"""
One channel that both directions share by turns.

A radio that talks does not hear. So whoever has the air finishes a payload; then the other end
goes first, if it has something to say. Who begins to talk after the other one, or after a silence,
keys up first: for the turn-around time nothing is carried. Both ends know when the other is done,
as after a carrier falls, and never talk at once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsc_ros.link.traffic.sender import EPSILON_S, Sender

if TYPE_CHECKING:
    from gsc_ros.link.traffic.channel import Channel


class HalfDuplex:
    """
    Makes channels share the air, in explicit time.

    turnaround_s: time from one's last bit to another's first. Raises ValueError when it is not
    finite or below zero.
    """

    def __init__(self, channels: Sequence['Channel'], turnaround_s: float) -> None:
        if not 0.0 <= turnaround_s < float('inf'):
            raise ValueError(f'turnaround_s must be finite and at least 0, got {turnaround_s}')
        self.turnaround_s = turnaround_s
        self._channels = tuple(channels)
        self._talker: Channel | None = None  # has the air until its payload is sent
        self._last: Channel | None = None  # had it before
        self._free_at = float('-inf')
        for channel in self._channels:
            channel.medium = self

    def advance(self, now: float) -> None:
        """Send all whose turn comes up to `now`, of whichever channel."""
        while (talker := self._turn(now)) is not None:
            sent = talker.sender.step(now)
            if sent is not None:
                talker.launch(*sent)
                self._free_at = talker.sender.pacer.free_at
            if not talker.sender.under_way:
                self._talker, self._last = None, talker
        for channel in self._channels:
            pacer = channel.sender.pacer
            pacer.free_at = max(pacer.free_at, self._busy_until)

    @property
    def _busy_until(self) -> float:
        return self._talker.sender.pacer.free_at if self._talker else self._free_at

    def _turn(self, now: float) -> 'Channel | None':
        """Whose turn it is at `now`; None when nobody can send yet."""
        if self._talker is None:
            waiting = [c for c in self._channels if c.sender.next_start is not None]
            if not waiting:
                return None
            first = min(waiting, key=lambda c: (self._start(c.sender), c is self._last))
            start = self._start(first.sender)
            if start > now:
                return None
            if first is not self._last or start > self._free_at + EPSILON_S:
                first.sender.take_turn(start + self.turnaround_s)
            self._talker = first
        ready = self._talker.sender.next_start
        if ready is None:  # what it had to say has become stale
            self._last, self._talker = self._talker, None
            return self._turn(now)
        return self._talker if ready <= now else None

    def _start(self, sender: Sender) -> float:
        assert sender.next_start is not None
        return max(sender.next_start, self._free_at)
