"""
Which camera comes first, at the ground's side of a link: as the operator chooses, and as the robot
reports.

Subscribes teleop/camera; publishes link/camera.
"""

from collections.abc import Sequence

from std_msgs.msg import String

from gsc_ros.link.datagrams.payloads import NO_CAMERA, Request, RobotReport
from gsc_ros.link.traffic.requests import Backoff
from gsc_ros.ros import topics
from gsc_ros.ros.link.ground_camera import GroundCamera
from gsc_ros.ros.link.node import LinkBase


class GroundFirst:
    """Asks the robot for the operator's choice until it reports that."""

    def __init__(self, node: LinkBase, cameras: Sequence[GroundCamera]) -> None:
        self._node, self._cameras = node, cameras
        self._stated = node.create_publisher(String, topics.FIRST_STATED, topics.LATCHED)
        self._wanted: int | None = None  # number of the camera that the operator chose
        self._name = ''  # as published

    def reset(self) -> None:
        """Begin with no report; the choice stays."""
        self.requests = Backoff()
        self._reported: int | None = None

    def start(self) -> None:
        """Subscribe to the operator."""
        self._node.create_subscription(String, topics.FIRST, self._on_first, topics.NEWEST)

    def step(self, now: float) -> None:
        """Ask when it is time."""
        if self._is_missing:
            self._cameras[0].ask(self.requests, Request(first=self._wanted), now)

    @property
    def next_deadline(self) -> float | None:
        """When to ask next (s); None: not at all."""
        return self.requests.next_at if self._is_missing else None

    def on_robot_session(self) -> None:
        """Note that a robot is there, and can be asked at once."""
        self.requests.answered()

    def on_report(self, report: RobotReport) -> None:
        """Publish which camera comes first, as the robot reports it."""
        self._reported = report.first
        cameras = self._cameras
        name = next((one.stream.name for one in cameras if one.number == report.first), '')
        if name != self._name:
            self._name = name
            self._stated.publish(String(data=name))

    @property
    def _is_missing(self) -> bool:
        """Whether the robot has not yet reported the operator's choice."""
        return self._wanted is not None and self._reported != self._wanted

    def _on_first(self, message: String) -> None:
        """Let a camera come first, by its name; none for an empty one."""
        names = [camera.stream.name for camera in self._cameras]
        if len(names) == 1 or message.data not in ('', *names):
            known = ', '.join(names) if len(names) > 1 else 'one without a name'
            self._node.refuse(f'camera {message.data!r} refused: there is {known}')
            return
        self._wanted = names.index(message.data) if message.data else NO_CAMERA
        self.requests = Backoff()
        self._node.wake()
