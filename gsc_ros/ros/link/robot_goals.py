"""
Goals at the robot's side: what the command gate accepts goes to the robot's navigation.

Publishes goal_pose, which nav2 takes, and goal_cancel; subscribes the status of nav2's action and
calls the service that cancels it. STOP and driving by hand end a goal. A robot without nav2 takes
the two topics as it likes; the state of a goal then stays GIVEN.
"""

import math

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from geometry_msgs.msg import PoseStamped
from rclpy.client import Client
from std_msgs.msg import Empty

from gsc_ros.link.datagrams.goals import Goal, GoalState, Place
from gsc_ros.link.traffic.goals import GoalKeeper
from gsc_ros.ros import topics
from gsc_ros.ros.link.node import LinkBase

_STATES = {
    GoalStatus.STATUS_EXECUTING: GoalState.ACTIVE,
    GoalStatus.STATUS_SUCCEEDED: GoalState.REACHED,
    GoalStatus.STATUS_CANCELED: GoalState.CANCELLED,
    GoalStatus.STATUS_ABORTED: GoalState.ABORTED,
}


def goal_pose(place: Place, frame_id: str) -> PoseStamped:
    """Make the message of a goal, in the robot's frame at the stamp of the image."""
    message = PoseStamped()
    message.header.frame_id = frame_id
    seconds, nanoseconds = divmod(place.stamp_ns, 10**9)
    message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
    pose = message.pose
    pose.position.x, pose.position.y = place.x, place.y
    pose.orientation.z, pose.orientation.w = math.sin(place.yaw / 2), math.cos(place.yaw / 2)
    return message


class RobotGoals:
    """Hands goals to the robot's navigation; ``keeper`` has the state of the last one."""

    def __init__(self, node: LinkBase, frame_id: str) -> None:
        self._node, self._frame_id = node, frame_id
        self.keeper = GoalKeeper()
        self._poses = node.create_publisher(PoseStamped, topics.GOAL_POSE, topics.NEWEST)
        self._ends = node.create_publisher(Empty, topics.GOAL_CANCEL, topics.NEWEST)
        self._cancel: Client = node.create_client(CancelGoal, f'{topics.GOAL_ACTION}/cancel_goal')
        self._seen: set[bytes] = set()  # goals of nav2 that are none of ours
        self._listed: set[bytes] = set()

    def start(self) -> None:
        """Subscribe to nav2."""
        self._node.create_subscription(
            GoalStatusArray, f'{topics.GOAL_ACTION}/status', self._on_status, topics.LATCHED
        )

    def take(self, goal: Goal, refusal: str) -> None:
        """Follow a goal that came, or the end of all; ``refusal``: why not, empty for nothing."""
        again = goal.number == self.keeper.number
        if self.keeper.judge(goal, not refusal) and goal.place is not None:
            self._seen = set(self._listed)
            self._poses.publish(goal_pose(goal.place, self._frame_id))
            self._node.get_logger().info(
                f'goal of the operator: {goal.place.x:.2f} m ahead, {goal.place.y:.2f} m left'
            )
        elif goal.place is None and not again:
            self._end('by the operator')
        elif refusal and not again:
            self._node.get_logger().warning(f'goal not followed: it is {refusal}')

    def cancel(self, reason: str, surely: bool = False) -> None:
        """Give up the goal; ``surely``: also where none of ours is known."""
        if self.keeper.cancel() or surely:
            self._end(reason)

    def _end(self, reason: str) -> None:
        self._ends.publish(Empty())
        if self._cancel.service_is_ready():
            self._cancel.call_async(CancelGoal.Request())  # no id and no stamp: all goals
        self._node.get_logger().info(f'goals ended: {reason}')

    def _on_status(self, message: GoalStatusArray) -> None:
        """Follow the newest goal of nav2 that was not there before ours."""
        listed = {bytes(one.goal_info.goal_id.uuid): one for one in message.status_list}
        self._listed = set(listed)
        ours = [one for key, one in listed.items() if key not in self._seen]
        if not ours:
            return
        newest = max(ours, key=lambda one: (one.goal_info.stamp.sec, one.goal_info.stamp.nanosec))
        state = _STATES.get(newest.status)
        if state is not None:
            self.keeper.progress(state)
            self._node.wake()  # the ground is told
