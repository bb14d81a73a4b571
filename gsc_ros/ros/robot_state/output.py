"""
Where the robot is and how it is, at the ground: transforms, odometry and telemetry as they came.

Publishes link/odom, link/battery_state, link/mode, link/joint_states, link/mount (where the camera
is on the robot), and transforms: on /tf where tf2_msgs is installed, else on link/transforms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.publisher import Publisher
from sensor_msgs.msg import BatteryState, JointState
from std_msgs.msg import Header, String

from gsc_ros.codec.pose import Pose
from gsc_ros.link.datagrams.telemetry import Battery, Mount, Telemetry, check_of
from gsc_ros.link.traffic.cameras import MAX_CAMERAS, CameraStream
from gsc_ros.ros import topics
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.robot_state import messages
from gsc_ros.transforms import OPTICAL, Transform, scan_frame

T = TypeVar('T')
_MOST_S = 60.0  # between two poses that a velocity is computed of


@dataclass(frozen=True)
class RobotStateParameters(Parameters):
    """Parameters of the output."""

    publish_tf: bool = parameter(
        True,
        'Publish where robot and camera were when the image was taken as transforms; false where '
        "the robot's own TF reaches this graph",
        read_only=True,
    )
    odom_frame: str = parameter(
        'odom', "Name at the ground of the frame of the robot's odometry", read_only=True
    )


class RobotState:
    """Publishes what came of the robot's state."""

    def __init__(self, node: GscNode, cameras: Sequence[CameraStream]) -> None:
        self._node = node
        self._frame = node.values.odom_frame
        self._tf: Publisher | None = None
        self._odom: Publisher | None = None
        if node.values.publish_tf and messages.TFMessage is not None:
            self._tf = node.create_publisher(messages.TFMessage, topics.TF, topics.TF_QOS)
        elif node.values.publish_tf:
            self._tf = node.create_publisher(
                TransformStamped, topics.RECEIVED_TRANSFORMS, topics.TF_QOS
            )
        if messages.Odometry is not None:
            self._odom = node.create_publisher(
                messages.Odometry, topics.RECEIVED_ODOM, topics.IMAGES
            )
        self._battery = node.create_publisher(
            BatteryState, topics.RECEIVED_BATTERY, topics.LATCHED
        )
        self._mode = node.create_publisher(String, topics.RECEIVED_MODE, topics.LATCHED)
        self._placed = [
            node.create_publisher(
                TransformStamped, camera.topic(topics.RECEIVED_MOUNT), topics.LATCHED
            )
            for camera in cameras
        ]
        self._joints = node.create_publisher(JointState, topics.RECEIVED_JOINTS, topics.LATCHED)
        self.reset()

    def reset(self) -> None:
        """Forget the robot: another one may come."""
        self._mounts: dict[str, Mount] = {}  # by the frame of the camera
        self._names: tuple[str, ...] = ()
        # By camera: stamp (s) and base. Those of another camera are too near, and too coarse.
        self._last: dict[str, tuple[float, Transform]] = {}

    def on_pose(self, pose: Pose, header: Header) -> None:
        """Publish a frame's pose, that of the camera, at the image's stamp."""
        stamp, camera = header.stamp, header.frame_id
        base, mount = camera, Transform()
        known = self._mounts.get(camera)
        if known is not None:
            base = known.base
            mount = Transform(known.position, known.orientation)
        placed = pose.transform @ mount.inverse
        made = messages.from_transform
        transforms = [
            made(placed, stamp, self._frame, base),
            made(OPTICAL.inverse, stamp, camera, scan_frame(camera)),
        ]
        if base != camera:
            transforms.insert(1, made(mount, stamp, base, camera))
        self._publish_transforms(transforms)
        if self._odom is not None:
            self._odom.publish(self._odometry(pose, placed, header, base))

    def _publish_transforms(self, transforms: list[TransformStamped]) -> None:
        if self._tf is None:
            return
        if messages.TFMessage is not None:
            self._tf.publish(messages.TFMessage(transforms=transforms))
            return
        for transform in transforms:
            self._tf.publish(transform)

    def _odometry(self, pose: Pose, placed: Transform, header: Header, base: str) -> Any:
        stamp = header.stamp
        out = messages.Odometry(
            header=Header(stamp=stamp, frame_id=self._frame), child_frame_id=base
        )
        out.pose.pose = messages.to_pose(placed)
        out.pose.covariance = messages.covariance(*pose.accuracy.deviations)
        at = stamp.sec + 1e-9 * stamp.nanosec
        last = self._last.get(header.frame_id)
        _keep(self._last, header.frame_id, (at, placed))
        if last is not None and 0 < at - last[0] < _MOST_S:
            way = np.subtract(placed.position, last[1].position) / (at - last[0])
            linear = placed.rotation.T @ way
            out.twist.twist.linear.x, out.twist.twist.linear.y, out.twist.twist.linear.z = linear
            turn = last[1].rotation.T @ placed.rotation
            yaw = float(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))
            out.twist.twist.angular.z = yaw / (at - last[0])
        else:
            out.twist.covariance = [-1.0] + [0.0] * 35  # not known
        return out

    def on_telemetry(self, telemetry: Telemetry, stamp: Time, camera: int = 0) -> None:
        """
        Publish telemetry of a camera's number.

        ``stamp``: when it left the robot, as far as the delay is known.
        """
        if telemetry.mount is not None:
            mount = telemetry.mount
            place = Transform(mount.position, mount.orientation)
            placed = messages.from_transform(place, stamp, mount.base, mount.camera)
            self._placed[camera].publish(placed)
            _keep(self._mounts, mount.camera, mount)
        if telemetry.names is not None:
            self._names = telemetry.names
        if telemetry.battery is not None:
            self._battery.publish(battery_state(telemetry.battery, stamp))
        if telemetry.mode is not None:
            self._mode.publish(String(data=telemetry.mode))
        positions = telemetry.positions
        if (
            positions is not None
            and len(positions) == len(self._names)
            and telemetry.check == check_of(self._names)
        ):
            known = [
                (n, p) for n, p in zip(self._names, positions, strict=True) if not np.isnan(p)
            ]
            self._joints.publish(
                JointState(
                    header=Header(stamp=stamp),
                    name=[n for n, _ in known],
                    position=[p for _, p in known],
                )
            )


def _keep(known: dict[str, T], frame: str, value: T) -> None:
    """Keep a value of a camera's frame, and no more than there can be cameras."""
    known[frame] = value
    while len(known) > MAX_CAMERAS:
        del known[next(iter(known))]


def battery_state(battery: Battery, stamp: Time) -> BatteryState:
    """Make the message; what is not sent is NaN."""
    unknown = float('nan')
    return BatteryState(
        header=Header(stamp=stamp),
        percentage=battery.charge,
        voltage=battery.voltage,
        current=battery.current,
        temperature=battery.temperature,
        power_supply_status=battery.status,
        power_supply_health=battery.health,
        charge=unknown,
        capacity=unknown,
        design_capacity=unknown,
        present=True,
    )
