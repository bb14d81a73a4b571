"""Velocity commands from a topic, Twist or TwistStamped, whichever is published there."""

from collections.abc import Callable

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from gsc_ros.ros.graph_check import type_name

_CHECK_S = 0.5


class VelocityInput:
    """
    Subscribes velocity commands; each is given to ``take(twist, stamp)``.

    ``stamp`` is None for a Twist, and where nobody has set it. A process cannot subscribe to two
    types on one topic, so the preferred type is taken (TwistStamped where ``stamped``), and the
    other one in its place while that alone is published.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        take: Callable[[Twist, Time | None], None],
        qos: QoSProfile | int,
        stamped: bool = False,
    ) -> None:
        self._node, self._topic, self._take, self._qos = node, topic, take, qos
        self._preferred = self._kind = TwistStamped if stamped else Twist
        self._subscription: Subscription | None = None
        self._subscribe()
        self._timer = node.create_timer(
            _CHECK_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        """Take no more commands."""
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _subscribe(self) -> None:
        on_message = self._on_twist if self._kind is Twist else self._on_stamped
        try:
            self._subscription = self._node.create_subscription(
                self._kind, self._topic, on_message, self._qos
            )
        except RuntimeError as error:  # RCLError: the process still holds the other type
            self._node.get_logger().warning(
                f'{self._topic}: {type_name(self._kind)} cannot be subscribed yet: {error}',
                throttle_duration_sec=5.0,
            )

    def _check(self) -> None:
        """Take the other type where that alone is published, from the next check on."""
        if self._subscription is None:
            self._subscribe()
            return
        name = self._subscription.topic_name
        try:
            published = {i.topic_type for i in self._node.get_publishers_info_by_topic(name)}
        except RuntimeError as error:  # of the middleware; the next check may succeed
            self._node.get_logger().debug(f'{name}: its publishers are not known: {error}')
            return
        other = Twist if self._preferred is TwistStamped else TwistStamped
        wanted = next(
            (k for k in (self._preferred, other) if type_name(k) in published), self._kind
        )
        if wanted is self._kind:
            return
        self._kind = wanted
        self._node.get_logger().info(f'{name}: {type_name(wanted)} is published there and taken')
        # The executor holds on to it until this callback has returned.
        self._node.destroy_subscription(self._subscription)
        self._subscription = None

    def _on_twist(self, message: Twist) -> None:
        self._take(message, None)

    def _on_stamped(self, message: TwistStamped) -> None:
        stamp = message.header.stamp
        self._take(message.twist, stamp if stamp.sec or stamp.nanosec else None)
