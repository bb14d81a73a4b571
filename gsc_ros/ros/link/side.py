"""What the two sides of a link have in common, whichever node they are part of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros.diagnostics import Report
from gsc_ros.ros.link.node import LinkBase


class Side(ABC):
    """
    The robot's or the ground's side of a link: its topics, and what it sends and receives.

    ``sends``, ``receives``: names of the directions, 'down' and 'up'. All times are in s since the
    link was reset.
    """

    sends: ClassVar[str]
    receives: ClassVar[str]

    def __init__(self, node: LinkBase) -> None:
        self._node = node

    @classmethod
    def frame_max_age_s(cls, values: Any) -> float | None:
        """Return after how long a payload that waits is stale, s; None: no limit."""
        return None

    @abstractmethod
    def reset(self, down: LinkPort, up: LinkPort) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""

    def before_reset(self) -> None:
        """Stop the robot, where this side moves it: the node is about to reset."""
        return

    @abstractmethod
    def start(self) -> None:
        """Subscribe; the node destroys what a side opens, also where a later step fails."""

    def stop(self) -> None:
        """End what must not wait until the node has closed its topics."""
        return

    def halt(self) -> None:
        """Stop the robot, where this side moves it; in any thread."""
        return

    def parameters_changed(self) -> None:
        """Apply changed parameters of the node."""
        return

    @property
    @abstractmethod
    def next_deadline(self) -> float | None:
        """When :meth:`step` has something to send (s); None: nothing."""

    @abstractmethod
    def step(self, now: float) -> None:
        """Offer to the link what it is time for."""

    @abstractmethod
    def on_received(self, received: Received, now: float) -> None:
        """Handle a payload that came over the link."""

    @abstractmethod
    def fill_status(self, status: LinkStatus) -> None:
        """Fill in the fields of a status that this side has."""

    @abstractmethod
    def figures(self) -> dict[str, object]:
        """Return what diagnostics show of this side."""

    # At an end of a real link

    @abstractmethod
    def statistics(self, end: End, now: float, camera: int | None = None) -> Statistics:
        """Return the counters of frames at an end of a real link, of one camera or all."""

    @property
    @abstractmethod
    def loss(self) -> float:
        """Share of datagrams lost recently on the way down, 0..1."""

    def urgent_trouble(self, now: float) -> str:
        """Return what the operator must know first; empty for nothing."""
        return ''

    @abstractmethod
    def trouble(self, now: float) -> str:
        """Return what is wrong with what comes from the other end; empty for nothing."""

    @abstractmethod
    def missing_frames(self, now: float) -> str:
        """Return that no frames come; empty when they do."""

    def complete(self, report: Report) -> Report:
        """Add to a report what holds in any state of the link."""
        return report


class _Named(Protocol):
    stream: CameraStream


def missing_from(missing: Sequence[_Named], all_of: Sequence[_Named], text: str) -> str:
    """Return a text on cameras that are missing, with their names if not all are; else empty."""
    if not missing or len(missing) == len(all_of):
        return text if missing else ''
    return f'{text}: camera {", ".join(camera.stream.name for camera in missing)}'
