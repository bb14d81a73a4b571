"""What joins a side to the other: a simulated channel, or one end of a real link."""

from typing import Protocol

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.traffic.sender import Sender


class LinkPort(Protocol):
    """Takes payloads in explicit time (s); what came is put together by its receiver."""

    sender: Sender
    receiver: Reassembler

    @property
    def delay_s(self) -> float:
        """Propagation delay now, one way, s."""

    @property
    def turn_s(self) -> float:
        """Time that it takes to get the air when nobody sends, s."""

    def offer(
        self,
        payload: bytes,
        now: float,
        traffic_class: TrafficClass,
        is_keyframe: bool = False,
        divisible: bool = True,
        camera: int = 0,
    ) -> None:
        """
        Offer a payload; ``is_keyframe``: delta frames need it; ``divisible``: its tail may be cut;
        ``camera``: whose it is.

        Raises ValueError when it is empty or too large for the MTU.
        """

    def frame_s(self, payload_bytes: int) -> float:
        """Time that a payload of so many bytes takes on air, s."""
