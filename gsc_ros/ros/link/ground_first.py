"""
Which camera comes first, at the ground's side of a link: the operator's choice goes up.

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
    """
    Asks the robot for the camera that the operator chose until it reports so, and states that.

    ``trouble``: which camera the robot does not have, and the remedy; empty for none.
    """

    def __init__(self, node: LinkBase, cameras: Sequence[GroundCamera]) -> None:
        self._node, self._cameras = node, cameras
        self._stated = node.create_publisher(String, topics.FIRST_STATED, topics.LATCHED)
        self._wanted: int | None = None  # number of the camera that the operator chose
        self._name = ''  # as published

    def reset(self) -> None:
        """Begin with nothing asked for."""
        self.trouble = ''
        self.requests = Backoff()
        self._report: RobotReport | None = None

    def start(self) -> None:
        """Subscribe to the operator."""
        self._node.create_subscription(String, topics.FIRST, self._on_wanted, topics.NEWEST)

    def step(self, now: float) -> None:
        """Ask when it is time."""
        if self._is_missing:
            self._cameras[0].ask(self.requests, Request(first=self._wanted), now)

    @property
    def next_deadline(self) -> float | None:
        """When there is something to ask for (s)."""
        return self.requests.next_at if self._is_missing else None

    def on_robot_session(self) -> None:
        """Ask a robot that has begun anew again."""
        self.trouble, self._report = '', None
        self.requests.answered()

    def on_report(self, report: RobotReport) -> None:
        """State what the robot reports: which camera comes first, and which one it lacks."""
        self._report = report
        names = {one.number: one.stream.name for one in self._cameras}
        name = names.get(report.first, '') if report.first is not None else ''
        if name != self._name:
            self._name = name
            self._stated.publish(String(data=name))
        lacked = None if report.lacks is None else names.get(report.lacks)
        self.trouble = '' if lacked is None else (
            f'the robot has no camera {lacked}: give both ends the same cameras'
        )  # fmt: skip

    def _on_wanted(self, message: String) -> None:
        """Let a camera come first, by its name; none for an empty one."""
        names = [camera.stream.name for camera in self._cameras]
        if len(names) == 1 or message.data not in ('', *names):
            known = ', '.join(names) if len(names) > 1 else 'one without a name'
            self._node.refuse(f'camera {message.data!r} refused: there is {known}')
            return
        self._wanted = names.index(message.data) if message.data else NO_CAMERA
        self.requests = Backoff()
        self._node.wake()

    @property
    def _is_missing(self) -> bool:
        """Whether the robot has not yet reported the operator's choice, nor that it lacks it."""
        report = self._report
        if self._wanted is None:
            return False
        return report is None or self._wanted not in (report.first, report.lacks)
