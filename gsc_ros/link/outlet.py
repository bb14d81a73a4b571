"""What takes payloads to the far end: a simulated channel, or one end of a real link."""

from typing import Protocol

from gsc_ros.link.channel import Sender
from gsc_ros.link.framing import Class


class Outlet(Protocol):
    """Takes payloads in explicit time (s)."""

    sender: Sender
    delay_s: float

    def offer(self, payload: bytes, now: float, klass: Class) -> None:
        """Offer a payload; ValueError when it is empty or too large for the MTU."""

    def frame_s(self, payload_bytes: int) -> float:
        """Time that a payload of so many bytes takes on air, s."""
