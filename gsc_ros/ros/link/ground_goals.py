"""
Goals at the ground's side of a link: from the operator up to the robot, and their state back.

Subscribes teleop/goal and teleop/goal_cancel; publishes link/goal.
"""

import math
from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Empty, String

from gsc_ros.link.datagrams.goals import GoalState, Place
from gsc_ros.link.datagrams.payloads import RobotReport
from gsc_ros.link.traffic.goals import GoalSender
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.ros import topics
from gsc_ros.ros.link.node import LinkBase, nanoseconds

_MOST_AGE_NS = 1 << 47  # 39 hours: of a stamp 48 bits go up
_FIXED_FRAMES = ('map', 'world', 'earth')  # REP 105, and what users have; beside that of odometry


class GroundGoals:
    """
    Sends the newest goal, and states what is known of it.

    ``stopped`` returns whether the operator stops the robot; ``address`` the stamp of what is
    given now (µs), and the low byte of the robot's session.
    """

    def __init__(
        self, node: LinkBase, stopped: Callable[[], bool], address: Callable[[], tuple[int, int]]
    ) -> None:
        self._node, self._stopped, self._address = node, stopped, address
        self._states = node.create_publisher(String, topics.GOAL_STATE, topics.LATCHED)

    def reset(self, up: LinkPort) -> None:
        """Begin with nothing on its way."""
        self._sender = GoalSender(up, self._node.session & 0xFF)
        self._text = ''  # as published

    def start(self) -> None:
        """Subscribe to the operator."""
        self._node.create_subscription(PoseStamped, topics.GOAL, self._on_goal, topics.NEWEST)
        self._node.create_subscription(
            Empty, topics.GOAL_END, lambda _: self._give(None), topics.NEWEST
        )

    @property
    def next_deadline(self) -> float | None:
        """When there is something to send (s)."""
        return self._sender.next_deadline

    def step(self, now: float) -> None:
        """Send when it is time, and publish the state when it changes."""
        self._sender.step(now)
        text = self._sender.text
        if text != self._text:
            self._text = text
            self._states.publish(String(data=text))

    def on_stop(self) -> None:
        """Send no goal any more: the robot ends it with the STOP."""
        if self._sender.waits:
            self._give(None)  # takes its place, as the STOP may be lost
        else:
            self._sender.forget()

    def on_robot_session(self) -> None:
        """State that a robot's end that has begun anew knows nothing of its goal."""
        self._sender.on_robot_session()

    def on_report(self, report: RobotReport) -> None:
        """Take over what the robot reports."""
        if report.goal and report.goal_state in list(GoalState):
            self._sender.on_report(report.goal, GoalState(report.goal_state))
        if report.latched:
            self._sender.on_stop_held()

    def _on_goal(self, message: PoseStamped) -> None:
        """Send the robot to a place: x, y and heading in its frame at the stamp of an image."""
        at, turn = message.pose.position, message.pose.orientation
        yaw = 2 * math.atan2(turn.z, turn.w)
        try:
            if self._stopped():
                raise ValueError('the robot is stopped: release it with false on teleop/stop')
            frame = message.header.frame_id.lstrip('/')
            if frame in (*_FIXED_FRAMES, self._node.values.odom_frame):
                raise ValueError(f"it is in frame {frame}: give it in the robot's own, base_link")
            stamp_ns = nanoseconds(message.header.stamp)
            if abs(stamp_ns - self._node.time_ns) >= _MOST_AGE_NS:
                raise ValueError('its stamp is over 39 hours from now: give that of an image')
            place = Place(stamp_ns, at.x, at.y, yaw)
        except ValueError as error:
            self._node.refuse(f'goal refused: {error}')
            return
        self._give(place)

    def _give(self, place: Place | None) -> None:
        now = self._node.update_time()
        stamp_us, robot = self._address()
        self._sender.give(place, stamp_us, robot, now)
        self._node.wake()
