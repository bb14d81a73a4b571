"""
Real transports: what brings datagrams to another host.

Datagrams are lost, and some that come are not ours: all of that is dealt with above. A transport
that cannot work yet (a name that no server has yet, a network that is down, a modem that is not
plugged in) reports it in ``trouble`` and tries again for ever, at growing intervals.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

KINDS = ('udp', 'serial')
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class Transport(Protocol):
    """
    Sends and receives datagrams.

    One thread may receive while another sends; only the one that receives may be held up.
    ``name``: for logs.
    """

    name: str

    @property
    def trouble(self) -> str:
        """What keeps it from working now; empty for nothing."""

    @property
    def peer(self) -> str:
        """Where datagrams go; empty while that is not known."""

    @property
    def dropped(self) -> int:
        """Bytes or datagrams that came and were not whole."""

    def max_rate_bps(self, mtu: int) -> float:
        """Most bits a second that datagrams of `mtu` bytes may have; infinite: no limit."""

    def send(self, data: bytes) -> None:
        """Send a datagram now, without waiting; raises ``OSError`` when it cannot go."""

    def receive(self, timeout_s: float) -> list[tuple[bytes, Hashable]]:
        """
        Wait for datagrams; returns them, each with where it came from.

        Mends what does not work when it is time to. Raises ``OSError`` when something failed that
        worked.
        """

    def answer(self, source: Hashable) -> None:
        """Note that what came from there was proven to be ours, and new."""

    def repeated(self, source: Hashable) -> None:
        """Note that what came from there was ours, but has come before."""

    def close(self) -> None:
        """End, when nobody receives any more; a second call does nothing."""


@dataclass
class Retry:
    """When to try again, in explicit time (s): ever less often, every ten seconds in the end."""

    failures: int = 0
    at: float = 0.0

    def failed(self, now: float) -> None:
        """Note a failure."""
        self.at = now + _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]
        self.failures += 1

    def worked(self) -> None:
        """Note a success."""
        self.failures, self.at = 0, 0.0
