"""
Real transports: what brings datagrams to another host.

Datagrams are lost, and some that come are not ours: all of that is dealt with above. A transport
that fails (a network that is down, a modem that was unplugged) raises ``OSError`` and goes on when
it can again.
"""

from collections.abc import Hashable
from typing import Protocol

KINDS = ('udp', 'serial')


class Transport(Protocol):
    """
    Sends and receives datagrams.

    One thread may receive while another sends. ``name``: for logs.
    """

    name: str

    @property
    def dropped(self) -> int:
        """Bytes or datagrams that came and were not whole."""

    def max_rate_bps(self, mtu: int) -> float:
        """Most bits a second that datagrams of `mtu` bytes may have; infinite: no limit."""

    def send(self, data: bytes) -> None:
        """Send a datagram now; raises ``OSError`` when it cannot go."""

    def receive(self, timeout_s: float) -> list[tuple[bytes, Hashable]]:
        """
        Wait for datagrams; returns them, each with where it came from.

        Raises ``OSError`` after a failure that the next call tries to mend.
        """

    def answer(self, source: Hashable) -> None:
        """Take note that what came from there was proven to be ours."""

    def close(self) -> None:
        """End; a second call does nothing."""
