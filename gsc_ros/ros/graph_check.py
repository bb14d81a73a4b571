"""Finds what keeps topics and time from coming: other types, qualities of service, no /clock."""

import time
from collections.abc import Iterator

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

_CHECK_S = 1.5
_STILL_S = 3.0  # a running clock has moved within this time
_REPEAT_S = 30.0


def type_name(kind: type) -> str:
    """Return a message class's name as the graph has it, e.g. std_msgs/msg/Empty."""
    return '/'.join([*kind.__module__.split('.')[:2], kind.__name__])


_VELOCITIES = {type_name(Twist), type_name(TwistStamped)}


class GraphCheck:
    """
    Compares a node's topics with those at their other ends, and watches simulated time.

    ``problems`` are what was found twice in a row, each with its remedy: what is just being
    started or changed is none. Each is logged at once, and again while it lasts.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.problems: list[str] = []
        self._found: list[str] = []
        self._logged: dict[str, float] = {}
        self._clock_ns, self._moved_at = -1, time.monotonic()
        # Not on the node's own clock, which may be what stands still.
        self._timer = node.create_timer(
            _CHECK_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _check(self) -> None:
        before = self._found
        try:
            found = [*self._clock(), *self._inputs(), *self._outputs()]
        except RuntimeError as error:  # of the middleware; the next check may succeed
            self._node.get_logger().debug(f'the graph is not known: {error}')
            return
        self._found = list(dict.fromkeys(found))
        self.problems = [problem for problem in self._found if problem in before]
        now = time.monotonic()
        self._logged = {p: at for p, at in self._logged.items() if p in self.problems}
        for problem in self.problems:
            if now >= self._logged.get(problem, -_REPEAT_S) + _REPEAT_S:
                self._logged[problem] = now
                self._node.get_logger().warning(problem)

    def _clock(self) -> Iterator[str]:
        now, clock_ns = time.monotonic(), self._node.get_clock().now().nanoseconds
        if clock_ns != self._clock_ns or not self._node.get_parameter('use_sim_time').value:
            self._clock_ns, self._moved_at = clock_ns, now
        elif now >= self._moved_at + _STILL_S:
            state = 'stands still' if self._node.count_publishers('/clock') else 'is missing'
            yield (
                f'/clock {state}, and use_sim_time is true: nothing that waits for time happens. '
                'Start what publishes it (ros2 bag play --clock), or set use_sim_time to false'
            )

    def _inputs(self) -> Iterator[str]:
        for own in self._node.subscriptions:
            topic, kind = own.topic_name, type_name(own.msg_type)
            for other in self._node.get_publishers_info_by_topic(topic):
                if other.topic_type != kind:
                    yield (
                        f'{topic}: nothing comes from {_who(other)}: it publishes '
                        f'{other.topic_type}, and {kind} is taken. '
                        f'{_type_remedy(kind, other.topic_type)}'
                    )
                elif reason := _mismatch(other.qos_profile, own.qos_profile):
                    yield f'{topic}: nothing comes from {_who(other)}: {reason}'

    def _outputs(self) -> Iterator[str]:
        for own in self._node.publishers:
            topic, kind = own.topic_name, type_name(own.msg_type)
            for other in self._node.get_subscriptions_info_by_topic(topic):
                if other.topic_type != kind:
                    yield (
                        f'{topic}: nothing gets to {_who(other)}: it takes {other.topic_type}, '
                        f'and {kind} is published. {_type_remedy(kind, other.topic_type)}'
                    )
                elif reason := _mismatch(own.qos_profile, other.qos_profile):
                    yield f'{topic}: nothing gets to {_who(other)}: {reason}'


def _mismatch(publisher: QoSProfile, subscriber: QoSProfile) -> str:
    """Return what quality of service a subscriber wants that is not offered; empty for nothing."""
    if (publisher.reliability, subscriber.reliability) == (
        ReliabilityPolicy.BEST_EFFORT,
        ReliabilityPolicy.RELIABLE,
    ):
        return (
            'the publisher is best effort and the subscriber reliable. Make the publisher '
            'reliable, or the subscriber best effort'
        )
    if (publisher.durability, subscriber.durability) == (
        DurabilityPolicy.VOLATILE,
        DurabilityPolicy.TRANSIENT_LOCAL,
    ):
        return (
            'the publisher is volatile and the subscriber transient local. Make the publisher '
            'transient local, or the subscriber volatile'
        )
    return ''


def _who(end: TopicEndpointInfo) -> str:
    return f'{end.node_namespace.rstrip("/")}/{end.node_name}'


def _type_remedy(own: str, other: str) -> str:
    if {own, other} == _VELOCITIES:
        return 'Set the parameter stamped, or give one of them another topic'
    return 'Give one of them another topic'
