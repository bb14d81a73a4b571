"""
Goals at the robot's side: what the command gate accepts goes to the robot's navigation.

Publishes goal_pose, which nav2 takes, and goal_cancel; subscribes the status of nav2's action and
calls the service that cancels it. STOP and driving by hand end a goal, and end it again while nav2
still follows one: it may have accepted the goal after the end. A robot without nav2 takes the two
topics as it likes; the state of a goal then stays GIVEN.
"""

import math
import time
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from geometry_msgs.msg import PoseStamped
from rclpy.client import Client
from std_msgs.msg import Empty

from gsc_ros.link.datagrams.goals import Goal, GoalState, Place
from gsc_ros.link.radio import schedule
from gsc_ros.link.traffic.goals import GoalKeeper, GroundSilence, silence_limit_s
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.ros import topics
from gsc_ros.ros.link.node import LOG_PERIOD_S, LinkBase

_STATES = {
    GoalStatus.STATUS_EXECUTING: GoalState.ACTIVE,
    GoalStatus.STATUS_SUCCEEDED: GoalState.REACHED,
    GoalStatus.STATUS_CANCELED: GoalState.CANCELLED,
    GoalStatus.STATUS_ABORTED: GoalState.ABORTED,
}
# What nav2 goes on with unless it is ended.
_GOING = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)
_AGAIN_S = 0.5  # from one end to the next
# After its end a goal may be accepted for so long: nav2 takes the topic and the service by turns.
_LATE_S = 5.0


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
        self._going = False  # whether nav2 follows any
        self._ended_at = -math.inf  # when ours was (s, monotonic),
        self._sent_at = -math.inf  # and when nav2 was told last
        self._answer: Any = None  # to that, of nav2
        self._outage_s: float | None = None  # the longest, where its times are not known

    def reset(self, down: LinkPort, up: LinkPort) -> None:
        """Begin at time zero, as if the ground were heard now."""
        self._down, self._up = down, up
        self._silence = GroundSilence()
        if self._outage_s is None:
            timed = down.sender.schedule.closes(0.0) is not None
            profile = self._node.budget.profile
            self._outage_s = 0.0 if timed else schedule.of(profile).longest_closed_s

    def start(self) -> None:
        """Subscribe to nav2."""
        self._node.create_subscription(
            GoalStatusArray, f'{topics.GOAL_ACTION}/status', self._on_status, topics.LATCHED
        )

    def take(self, goal: Goal, refusal: str) -> None:
        """Follow a goal that came, or the end of all; ``refusal``: why not, empty for nothing."""
        # An end that has the number of the goal that is followed is of a ground that began anew.
        is_end = goal.place is None
        again = goal.number == self.keeper.number and not (is_end and self.keeper.followed)
        if self.keeper.judge(goal, not refusal) and goal.place is not None:
            self._seen = set(self._listed)
            self._poses.publish(goal_pose(goal.place, self._frame_id))
            self._node.get_logger().info(
                f'goal of the operator: {goal.place.x:.2f} m ahead, {goal.place.y:.2f} m left'
            )
        elif is_end and not again:
            self._end('by the operator')
        elif refusal and not again:
            self._node.get_logger().warning(f'goal not followed: it is {refusal}')

    def heard(self, now: float) -> None:
        """Note that something came from the ground."""
        self._silence.heard(now)

    def silence_s(self, report_pause_s: float) -> float:
        """Return after how long a silence of the ground, which reports so often, a goal ends."""
        set_s = self._node.values.goal_silence_s
        return silence_limit_s(set_s, report_pause_s, self._outage_s or 0.0)

    def step(self, now: float, stopped: bool, report_pause_s: float) -> None:
        """End what nav2 follows under a STOP, and a goal that nobody could end any more."""
        if stopped:
            self._insist()
        if not self._down.sender.rate_at(now)[0]:
            self._silence.closed(now, self._up.delay_s)
        lasts_s = self._silence.lasts_s(now)
        if self.keeper.followed and lasts_s > self.silence_s(report_pause_s):
            self.cancel(f'nothing has come from the ground for {lasts_s:.0f} s')

    def cancel(self, reason: str, surely: bool = False) -> None:
        """Give up the goal; ``surely``: also where none of ours is known."""
        if self.keeper.cancel() or surely:
            self._end(reason)
        else:
            self._insist()

    def _insist(self) -> None:
        """End what nav2 follows all the same, or what is another's; not too often."""
        if self._going and time.monotonic() >= self._sent_at + _AGAIN_S:
            self._send_end()
            self._node.get_logger().warning(
                'goals ended again: navigation still follows one',
                throttle_duration_sec=LOG_PERIOD_S,
            )

    def _end(self, reason: str) -> None:
        self._ended_at = time.monotonic()
        self._send_end()
        self._node.get_logger().info(f'goals ended: {reason}')

    def _send_end(self) -> None:
        self._sent_at = time.monotonic()
        self._ends.publish(Empty())
        if self._cancel.service_is_ready():
            if self._answer is not None:  # which may never have come
                self._cancel.remove_pending_request(self._answer)
            # No id and no stamp: all goals.
            self._answer = self._cancel.call_async(CancelGoal.Request())

    def _on_status(self, message: GoalStatusArray) -> None:
        """Follow the newest goal of nav2 that was not there before ours."""
        listed = {bytes(one.goal_info.goal_id.uuid): one for one in message.status_list}
        self._listed = set(listed)
        self._going = any(one.status in _GOING for one in listed.values())
        ours = [one for key, one in listed.items() if key not in self._seen]
        if not ours:
            return
        newest = max(ours, key=lambda one: (one.goal_info.stamp.sec, one.goal_info.stamp.nanosec))
        is_late = time.monotonic() < self._ended_at + _LATE_S
        if newest.status in _GOING and self.keeper.state is GoalState.CANCELLED and is_late:
            self._send_end()
            self._node.get_logger().info('goals ended again: navigation has accepted one since')
        state = _STATES.get(newest.status)
        if state is not None:
            self.keeper.progress(state)
            self._node.wake()  # the ground is told
