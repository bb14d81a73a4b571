"""A payload of a sender: as it waits, and as it goes out in fragments, whose tail may be cut."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from gsc_ros.link.datagrams.framing import Datagram, Stream
from gsc_ros.link.traffic.packetizer import EPSILON_S, Datagrams, Packetizer


@dataclass(frozen=True)
class Waiting:
    """
    A payload that waits for the air, offered at a time (s).

    is_keyframe: delta frames need it; divisible: its tail may be cut.
    """

    payload: bytes
    offered_at: float
    is_keyframe: bool
    divisible: bool


@dataclass
class Sending:
    """
    A payload that has begun: what is left of its data, and its parity.

    number: of the payload; deadline: when it has to have left (s); step: bytes of a fragment;
    divisible: whether its tail may be cut; index: of the next fragment; is_cut: a tail was.
    """

    rest: bytes
    number: int
    deadline: float
    step: int
    divisible: bool = True
    index: int = 0
    is_cut: bool = False
    parity: list[bytes] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether nothing of it is left."""
        return not (self.rest or self.parity)

    def pop(self, stream: Stream, session: int) -> Datagram:
        """Remove the next datagram: its data, then its parity."""
        is_parity = not self.rest
        if is_parity:
            fragment = self.parity.pop(0)
            end = not self.parity
        else:
            fragment, self.rest = self.rest[: self.step], self.rest[self.step :]
            end = not self.rest
        index, self.index = self.index, self.index + 1
        protected = end and not is_parity and bool(self.parity)
        if protected:
            self.index = 0  # parity has its own
        cut = (end or is_parity) and self.is_cut
        return Datagram(
            stream[0],
            self.number,
            index,
            fragment,
            end,
            cut,
            protected,
            is_parity,
            session,
            stream[1],
        )

    def datagrams(self, packetizer: Packetizer) -> Datagrams:
        """Return the datagrams that have yet to go."""
        return packetizer.rest(len(self.rest), self.step, self.parity)

    def seconds(self, packetizer: Packetizer) -> float:
        """Return the time on air of what has yet to go, s."""
        return packetizer.seconds(self.datagrams(packetizer))

    def cut(self, start: float, packetizer: Packetizer) -> None:
        """
        Leave off what would not be sent by the deadline from `start` (s) on, but for a byte.

        Parity goes first, from its end; with data missing the rest of it would be of no use. Data
        stay where a part of them is of no use.
        """
        while self.seconds(packetizer) > self.deadline - start + EPSILON_S:
            if self.parity:
                self.parity.pop()
                continue
            if not self.divisible:
                return
            rest = self.rest
            seconds = partial(_fragments_s, packetizer, step=self.step)
            keep = longest(len(rest), self.deadline - start, seconds)
            self.rest = rest[: max(1, keep)]
            self.is_cut |= len(self.rest) < len(rest)
            self.deadline = max(self.deadline, start + self.seconds(packetizer))


def _fragments_s(packetizer: Packetizer, size: int, step: int) -> float:
    return packetizer.seconds(packetizer.fragments(size, step))


def longest(size: int, seconds: float, air_s: Callable[[int], float]) -> int:
    """Return the greatest size, of at most ``size`` bytes, that is on air for so long at most."""
    if air_s(size) <= seconds + EPSILON_S:
        return size
    return bisect_right(range(1, size), seconds + EPSILON_S, key=air_s)
