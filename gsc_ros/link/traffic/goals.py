"""
Goals at both ends: the ground sends them until the robot reports on them, the robot follows one.

A goal is as old as a velocity command may be, so that it is repeated for a short time only; the
end of all goals is repeated until the robot reports it, and obeyed whatever its age. Times are
arguments, in s.
"""

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.goals import Goal, GoalState, Place
from gsc_ros.link.traffic.peer import silent_after_s
from gsc_ros.link.traffic.port import LinkPort

_LEAST_SPACE_S = 0.15
_MAX_REPEAT_AGE_S = 0.7
_COPIES = 2  # of a goal, where nothing is lost: the answer takes a round trip
_SHARE = 1 / 8  # of the air, for the end of goals
_LEAST_SILENCE_S = 30.0
_OVER = (GoalState.REACHED, GoalState.ABORTED, GoalState.CANCELLED, GoalState.REFUSED)


class GoalSender:
    """
    Ground's end: the newest goal over ``up``. ``state``: what the robot reports of it, None until
    it does. ``forgotten``: the robot's end has begun anew since, so that nobody knows whether the
    robot goes there. ``number``: not the one of the run before, as the robot may still report
    that.
    """

    def __init__(self, up: LinkPort, number: int) -> None:
        self._up = up
        self._number = number
        self._goal: Goal | None = None
        self._given_at = 0.0
        self._send_at: float | None = None
        self._left = 0
        self.state: GoalState | None = None
        self.forgotten = False

    @property
    def text(self) -> str:
        """What is known of the newest goal, in a word."""
        if self.forgotten:
            return 'forgotten'
        if self._goal is None:
            return GoalState.NONE.name.lower()
        if self.state is not None:
            return self.state.name.lower()
        what = 'end' if self._goal.place is None else 'goal'
        return f'{what} sent' if self._send_at is not None else f'{what} sent, no answer yet'

    @property
    def next_deadline(self) -> float | None:
        """When to send next (s); None: there is nothing to send."""
        return self._send_at

    def give(self, place: Place | None, stamp_us: int, robot: int, now: float) -> None:
        """Send a goal, or None: the end of all goals; stamp_us, robot: as of a :class:`Goal`."""
        self._number = self._number % 255 + 1
        self._goal = Goal(stamp_us, self._number, place, robot)
        self._given_at = self._send_at = now
        self._left = _COPIES
        self.state, self.forgotten = None, False

    @property
    def waits(self) -> bool:
        """Whether a goal waits for the air."""
        is_goal = self._goal is not None and self._goal.place is not None
        return is_goal and self._up.sender.waiting_payload(TrafficClass.GOAL) is not None

    def forget(self) -> None:
        """Send no goal any more: a STOP ends it at the robot."""
        if self._goal is not None and self._goal.place is not None:
            self._send_at = None

    def on_robot_session(self) -> None:
        """Note that the robot's end has begun anew: it knows nothing of a goal of before."""
        if self._goal is not None and self._goal.place is not None:
            self.forgotten = self.state not in _OVER
            self._goal = self._send_at = self.state = None

    def on_stop_held(self) -> None:
        """Note that the robot holds a STOP, which ends all goals, whoever knows of them."""
        self.forgotten = False

    def on_report(self, number: int, state: GoalState) -> None:
        """Take over what the robot reports."""
        if self._goal is None:
            self._number = number  # not to be taken for one to come
        if self._goal is not None and number == self._goal.number:
            self.state, self._send_at = state, None

    def step(self, now: float) -> None:
        """Send when it is time."""
        if self._goal is None or self._send_at is None or now < self._send_at:
            return
        payload = self._goal.pack()
        self._up.offer(payload, now, TrafficClass.GOAL)
        self._left -= 1
        took_s = self._up.sender.air_s(len(payload), TrafficClass.GOAL) + self._up.turn_s
        if self._goal.place is None:
            self._send_at = now + max(_LEAST_SPACE_S, took_s / _SHARE)
            return
        at = now + max(_LEAST_SPACE_S, 2 * took_s)
        is_new = at <= self._given_at + _MAX_REPEAT_AGE_S
        self._send_at = at if self._left > 0 and is_new else None


class GoalKeeper:
    """Robot's end: the goal that is followed, by its number, and its state."""

    def __init__(self) -> None:
        self.number, self.state = 0, GoalState.NONE

    @property
    def followed(self) -> bool:
        """Whether the robot is on its way, or about to be."""
        return self.state in (GoalState.GIVEN, GoalState.ACTIVE)

    def judge(self, goal: Goal, accepted: bool) -> bool:
        """Take a goal that came: returns whether the robot shall go there now."""
        if goal.place is None:
            self.number, self.state = goal.number, GoalState.CANCELLED
            return False
        if goal.number == self.number:
            return False  # a repeat
        self.number = goal.number
        self.state = GoalState.GIVEN if accepted else GoalState.REFUSED
        return accepted

    def cancel(self) -> bool:
        """Give the goal up; returns whether one was followed."""
        followed = self.followed
        if followed:
            self.state = GoalState.CANCELLED
        return followed

    def progress(self, state: GoalState) -> None:
        """Note what the robot's navigation reports of the goal that is followed."""
        if self.followed:
            self.state = state


class GroundSilence:
    """
    Robot's end: for how long nothing has come from the ground. While the link is closed, and until
    something can have come after that, nothing is expected.
    """

    def __init__(self) -> None:
        self._since = 0.0

    def heard(self, now: float) -> None:
        """Note that something proven came."""
        self._since = max(self._since, now)

    def closed(self, now: float, delay_s: float) -> None:
        """Note that the link is closed; delay_s: one way."""
        self._since = max(self._since, now + delay_s)

    def lasts_s(self, now: float) -> float:
        """Return how long it lasts, s."""
        return max(0.0, now - self._since)


def silence_limit_s(set_s: float, pause_s: float, outage_s: float) -> float:
    """
    Return after how long a silence of the ground the robot gives its goal up, s.

    set_s: what the operator of the robot has set, 0 for nothing: then half a minute, or twice what
    is a silence by the ground's reports, which come every pause_s, and beyond outage_s: the
    longest outage that is usual and whose times are not known. Light time does not count, as it is
    the same for everything that comes.
    """
    if set_s > 0:
        return set_s
    return max(_LEAST_SILENCE_S, 2 * silent_after_s(pause_s)) + outage_s
