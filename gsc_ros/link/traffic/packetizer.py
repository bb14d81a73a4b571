"""How a payload goes on air: its fragments, the parity behind them, and the time they take."""

from collections.abc import Sequence

from gsc_ros.link.datagrams import erasure, framing
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.traffic.pacer import Pacer

# Slack for sums of floating-point times, in seconds.
EPSILON_S = 1e-6

Datagrams = list[tuple[int, int]]
"""Sizes of datagrams in bytes, and how many there are of each."""


class Packetizer:
    """
    Plans the datagrams of payloads.

    ``pacer``: its rate gives their time on air; ``mtu``, ``overhead``: bytes of a datagram, and
    what of them is not payload.
    """

    def __init__(self, pacer: Pacer, mtu: int, overhead: int) -> None:
        self._pacer, self._mtu, self._overhead = pacer, mtu, overhead
        self._loss, self._burst = 0.0, 1.0

    def set_fec(self, loss: float, burst: float = 1.0) -> None:
        """Plan parity against losses as in `erasure.how_many`."""
        # A change of a hundredth is no reason to compute anew.
        self._loss, self._burst = round(loss, 2), round(burst, 1)

    def plan(self, size: int, traffic_class: TrafficClass) -> tuple[int, int]:
        """Return the bytes of a fragment of a payload, and the number of parity fragments."""
        room = self._mtu - self._overhead
        if (
            traffic_class is TrafficClass.FRAME
            and self._loss
            and size <= framing.MAX_PROTECTED_BYTES
        ):
            count = -(-size // (room - framing.PARITY_HEAD_BYTES))
            parity = erasure.how_many(count, self._loss, self._burst)
            if parity:
                # Parity is as long as the longest fragment: they are best equally long.
                return -(-size // count), parity
        return room, 0

    def datagrams(self, size: int, traffic_class: TrafficClass) -> Datagrams:
        """Return the datagrams of a payload with its parity."""
        step, parity = self.plan(size, traffic_class)
        parity_size = step + framing.PARITY_HEAD_BYTES + self._overhead
        return [*self.fragments(size, step), (parity_size, parity)]

    def fragments(self, size: int, step: int) -> Datagrams:
        """Return the datagrams of so many bytes in fragments of ``step``, without parity."""
        full, rest = divmod(size, step)
        return [(step + self._overhead, full), (rest + self._overhead, int(rest > 0))]

    def rest(self, size: int, step: int, parity: Sequence[bytes]) -> Datagrams:
        """Return the datagrams of so many bytes in fragments of ``step``, and of parity."""
        return [*self.fragments(size, step), *((len(one) + self._overhead, 1) for one in parity)]

    def seconds(self, datagrams: Datagrams) -> float:
        """Return the time of datagrams on air, s."""
        return sum(self._pacer.air_s(size, count) for size, count in datagrams if count)

    def air_s(self, size: int, traffic_class: TrafficClass) -> float:
        """Return the time of a payload on air with its parity, s."""
        return self.seconds(self.datagrams(size, traffic_class))

    def parity_share(self, size: int) -> float:
        """Return the share of a frame's time on air that is parity, 0..1."""
        plain_s = self.seconds(self.fragments(size, self._mtu - self._overhead))
        return 1 - min(1.0, plain_s / self.air_s(size, TrafficClass.FRAME))


def air_bytes(datagrams: Datagrams) -> int:
    """Return the bytes of datagrams on air."""
    return sum(size * count for size, count in datagrams)
