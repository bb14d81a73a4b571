"""
One channel that both directions share by turns.

A radio that sends does not receive. So whoever has the air finishes a payload; then the other end
goes first, if it has something to send. Who begins to send after the other one, or after a
silence, keys up first: for the turn-around time nothing is carried. Both ends know when the other
is done, as after a carrier falls, and never send at once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gsc_ros.link.datagrams.framing import Datagram
from gsc_ros.link.traffic.packetizer import EPSILON_S
from gsc_ros.link.traffic.sender import Sender


class Station(NamedTuple):
    """An end that shares the air: its sender, and what takes a datagram whose last bit left."""

    sender: Sender
    launch: Callable[[float, Datagram, bytes], None]


class HalfDuplex:
    """
    Lets stations have the air by turns, in explicit time.

    turnaround_s: time from one's last bit to another's first. Raises ValueError when it is not
    finite or below zero.
    """

    def __init__(self, stations: Sequence[Station], turnaround_s: float) -> None:
        if not 0.0 <= turnaround_s < float('inf'):
            raise ValueError(f'turnaround_s must be finite and at least 0, got {turnaround_s}')
        self.turnaround_s = turnaround_s
        self._stations = tuple(stations)
        self._current: Station | None = None  # has the air until its payload is sent
        self._previous: Station | None = None  # had it before
        self._free_at = 0.0

    def advance(self, now: float) -> None:
        """Send all whose turn comes up to `now`, of whichever station."""
        while (station := self._give_turn(now)) is not None:
            sent = station.sender.send_next(now)
            if sent is not None:
                station.launch(*sent)
                self._free_at = station.sender.pacer.free_at
            if not station.sender.in_progress:
                self._end_turn()
        busy_until = self._current.sender.pacer.free_at if self._current else self._free_at
        for station in self._stations:
            station.sender.wait_until(busy_until)

    def _give_turn(self, now: float) -> Station | None:
        """Give the air to the station that comes next; None when no datagram can go by `now`."""
        while True:
            if self._current is None:
                chosen = self._next_station()
                if chosen is None:
                    return None
                start = self._start(chosen.sender)
                if start > now:
                    return None
                if chosen is not self._previous or start > self._free_at + EPSILON_S:
                    chosen.sender.take_turn(start + self.turnaround_s)
                self._current = chosen
            ready_at = self._current.sender.next_start
            if ready_at is not None:
                return self._current if ready_at <= now else None
            self._end_turn()  # what it had to send has become stale

    def _end_turn(self) -> None:
        self._previous, self._current = self._current, None

    def _next_station(self) -> Station | None:
        """Return who can begin first, of two at once the one that did not send before."""
        waiting = [one for one in self._stations if one.sender.next_start is not None]
        return min(
            waiting,
            key=lambda one: (self._start(one.sender), one is self._previous),
            default=None,
        )

    def _start(self, sender: Sender) -> float:
        assert sender.next_start is not None
        return max(sender.next_start, self._free_at)
