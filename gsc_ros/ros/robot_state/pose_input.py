"""
Where the camera was when an image was taken, of the robot's TF or odometry.

Subscribes /tf, /tf_static, odom and camera/mount; publishes camera/image/gsc/mount, where the
camera is on the robot.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from gsc_ros.codec.pose import Accuracy, Pose, accuracy_of
from gsc_ros.ros import topics
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.polled import Polled
from gsc_ros.ros.robot_state import messages
from gsc_ros.transforms import Transform, TransformBuffer, scan_frame

LEAST_BUDGET = 100  # bytes of a frame, from which it has a pose
# Less is no other place of the camera on the robot.
_MOVED_M, _MOVED_RAD = 1e-3, 1e-3


@dataclass(frozen=True)
class PoseInputParameters(Parameters):
    """Parameters of the input."""

    pose: str = parameter(
        'auto',
        "Send the camera's pose with frames of 100 bytes or more, where TF or odometry has it",
        choices=('auto', 'off'),
        read_only=True,
    )
    odom_frame: str = parameter(
        'odom', 'Frame that poses are in (REP 105): continuous, without jumps', read_only=True
    )
    base_frame: str = parameter('base_link', "The robot's own frame (REP 105)", read_only=True)
    ground_frame: str = parameter(
        'base_footprint',
        "Frame on the ground below the robot (REP 120): the camera's height over it",
        read_only=True,
    )
    pose_max_lag_s: float = parameter(
        0.2,
        'By how much the newest transform may be older than an image; over that, it is sent '
        'without a pose',
        0.0,
        10.0,
    )


class PoseInput:
    """Keeps what TF and odometry state, and finds the camera's pose of a stamp; any thread."""

    def __init__(self, node: GscNode) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._reset()
        self._output = None
        if self.on:
            self._output = node.create_publisher(
                TransformStamped, topics.CODED_MOUNT, topics.LATCHED
            )

    @property
    def on(self) -> bool:
        """Whether poses are wanted."""
        return self._node.values.pose != 'off'

    def _reset(self) -> None:
        self._buffer = TransformBuffer()
        self._of_tf: set[str] = set()  # frames that TF has
        self._accuracy = Accuracy.UNKNOWN
        self._mount: tuple[str, str, Transform] | None = None
        self._polled: Polled | None = None
        self._moves = False  # whether anything moves in the frame of odometry
        self._missing = ''  # why the last image has no pose, or no mount

    def start(self) -> None:
        """Subscribe."""
        self._reset()
        if not self.on:
            return
        node = self._node
        self._polled = polled = Polled(node)
        if messages.TFMessage is not None:
            polled.subscribe(messages.TFMessage, topics.TF, self._on_tf, topics.TF_IN)
            node.create_subscription(
                messages.TFMessage, topics.TF_STATIC, self._on_tf_static, topics.TF_STATIC_QOS
            )
        if messages.Odometry is not None:
            polled.subscribe(messages.Odometry, topics.ODOM, self._on_odom, topics.ODOM_IN)
        node.create_subscription(TransformStamped, topics.MOUNT, self._on_mount, topics.LATCHED)

    # On any thread

    def _on_tf(self, message: Any) -> None:
        if not any(_is_of_ground(one) for one in message.transforms):
            self._add(message.transforms, fixed=False)

    def _on_tf_static(self, message: Any) -> None:
        self._add(message.transforms, fixed=True)

    def _add(self, transforms: Iterable[TransformStamped], fixed: bool) -> None:
        with self._lock:
            for message in transforms:
                parent, child = message.header.frame_id.lstrip('/'), message.child_frame_id
                child = child.lstrip('/')
                try:
                    transform = messages.to_transform(message)
                except ValueError:
                    continue  # of who publishes TF, which warns of it itself
                self._of_tf.add(child)
                if fixed:
                    self._buffer.add_fixed(parent, child, transform)
                else:
                    self._moves |= parent == self._node.values.odom_frame
                    self._buffer.add(parent, child, _ns(message.header), transform)

    def _on_odom(self, message: Any) -> None:
        try:
            transform = messages.pose_to_transform(message.pose.pose)
        except ValueError as error:
            self._node.get_logger().warning(
                f'odometry is not used: {error}', throttle_duration_sec=10.0
            )
            return
        child = message.child_frame_id or self._node.values.base_frame
        parent = message.header.frame_id or self._node.values.odom_frame
        with self._lock:
            self._accuracy = accuracy_of(*messages.deviations(message.pose.covariance))
            if child not in self._of_tf:
                self._moves = True
                self._buffer.add(parent, child, _ns(message.header), transform)

    def _on_mount(self, message: TransformStamped) -> None:
        try:
            transform = messages.to_transform(message)
        except ValueError as error:
            self._node.get_logger().warning(f'{topics.MOUNT} is not used: {error}')
            return
        with self._lock:
            if message.child_frame_id not in self._of_tf:
                self._buffer.add_fixed(message.header.frame_id, message.child_frame_id, transform)

    # On the worker's thread

    def of(self, header: Header) -> Pose | None:
        """Return the pose of the camera of an image, or None where it is not known."""
        if not self.on:
            return None
        if self._polled is not None:
            self._polled.read()
        values = self._node.values
        try:
            pose = Pose(self._find(values.odom_frame, header), self._accuracy)
            pose.pack()
        except (LookupError, ValueError) as error:
            self._missing = f'the pose is not sent: {error}'
            return None
        try:
            self._publish_mount(header, self._find(values.base_frame, header))
            self._missing = ''
        except LookupError as error:
            self._missing = f'where the camera is on the robot is not sent: {error}'
        return pose

    def height_of(self, header: Header) -> float | None:
        """Return the height of an image's camera over the ground frame, m; None: not known."""
        if not self.on:
            return None
        try:
            height_m = self._find(self._node.values.ground_frame, header).position[2]
        except LookupError:
            return None
        return height_m if height_m > 0 else None

    def _find(self, target: str, header: Header) -> Transform:
        """Return where the camera of an image is in a frame; raises ``LookupError``."""
        source, lag_s = header.frame_id.lstrip('/'), self._node.values.pose_max_lag_s
        with self._lock:
            return self._buffer.find(target, source, _ns(header), lag_s)

    def _publish_mount(self, header: Header, mount: Transform) -> None:
        """Publish where the camera is on the robot, when that is another place."""
        base, frame = self._node.values.base_frame, header.frame_id.lstrip('/')
        last = self._mount
        if (
            last is not None
            and last[:2] == (base, frame)
            and last[2].distance_to(mount) <= _MOVED_M
            and last[2].angle_to(mount) <= _MOVED_RAD
        ):
            return
        self._mount = base, frame, mount
        if self._output is not None:
            self._output.publish(messages.from_transform(mount, header.stamp, base, frame))

    # State

    def trouble(self) -> list[str]:
        """Return why images have no pose, of a robot that has odometry."""
        return [self._missing] if self._moves and self._missing else []


def _ns(header: Header) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def _is_of_ground(message: TransformStamped) -> bool:
    """
    Whether a message with this transform is of the ground's end of a link in the same graph.

    It states what the robot has sent, late: to take it for the robot's own would be a loop.
    """
    return bool(message.child_frame_id == scan_frame(message.header.frame_id))
