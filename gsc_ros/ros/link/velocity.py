"""cmd_vel as the robot's base takes it. Light: the guard imports this."""

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.duration import Duration
from rclpy.node import Node

from gsc_ros.ros import topics

_ACKNOWLEDGED_S = 0.2


def moves(twist: Twist) -> bool:
    """Return whether any velocity is not zero; one that is no number counts."""
    linear, angular = twist.linear, twist.angular
    return any((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z))


class CmdVel:
    """Publishes cmd_vel; any thread may use it. ``stamped``: as TwistStamped, in ``frame_id``."""

    def __init__(self, node: Node, stamped: bool, frame_id: str) -> None:
        self._node, self._stamped, self._frame_id = node, stamped, frame_id
        kind = TwistStamped if stamped else Twist
        self._publisher = node.create_publisher(kind, topics.CMD_VEL, topics.NEWEST)

    @property
    def topic(self) -> str:
        """Name of the topic, as remapped."""
        return str(self._publisher.topic_name)

    def publish(self, twist: Twist) -> None:
        """Pass a velocity on."""
        if not self._stamped:
            self._publisher.publish(twist)
            return
        message = TwistStamped(twist=twist)
        message.header.frame_id = self._frame_id
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def stop(self) -> None:
        """Publish a velocity of zero."""
        self.publish(Twist())

    def wait(self) -> None:
        """Wait until subscribers have what was published, 0.2 s at most."""
        self._publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
