"""
How the robot is, of its own topics: what the robot's end of a link sends as telemetry.

Of each camera goes where it is on the robot; all else goes with the first one.

Subscribes camera/image/gsc/mount, battery_state, mode and, where joints are named, joint_states.
"""

import math
from dataclasses import dataclass, replace

from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import BatteryState, JointState
from std_msgs.msg import String

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.telemetry import (
    Battery,
    Mount,
    Telemetry,
    check_of,
)
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.reports import pause_s
from gsc_ros.link.traffic.telemetry_timer import TelemetryTimer
from gsc_ros.ros import topics
from gsc_ros.ros.link.node import LinkBase
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.robot_state import messages


@dataclass(frozen=True)
class TelemetryParameters(Parameters):
    """Parameters of telemetry."""

    telemetry_period_s: float = parameter(
        1.0,
        'Time between two payloads of telemetry (battery, mode, joints, place of the camera), and '
        'more where they would take over a twentieth of the air; 0: none',
        0.0,
        1e4,
        read_only=True,
    )
    joints: str = parameter(
        '', 'Names of the joints of joint_states that are sent, joined by commas', read_only=True
    )


class TelemetryInput:
    """Keeps the robot's last state, and offers it to the link when it is time."""

    def __init__(self, node: LinkBase, stream: CameraStream, number: int) -> None:
        self._node = node
        self._stream, self._number = stream, number
        joints = '' if number else node.values.joints
        names = tuple(n.strip() for n in joints.split(',') if n.strip())
        self._names = names
        self._check = check_of(names)  # raises ValueError where they are too long
        self._now = Telemetry(names=names or None)
        self._timer = TelemetryTimer()
        self._pause_s = 0.0  # after the last payload
        self.sent = 0

    def reset(self) -> None:
        """Begin with nothing sent."""
        self._timer, self._pause_s, self.sent = TelemetryTimer(), 0.0, 0

    def start(self) -> None:
        """Subscribe."""
        node = self._node
        if not node.values.telemetry_period_s:
            return
        self._now = Telemetry(names=self._names or None)
        node.create_subscription(
            TransformStamped,
            self._stream.topic(topics.CODED_MOUNT),
            self._on_mount,
            topics.LATCHED,
        )
        if self._number:
            return
        node.create_subscription(BatteryState, topics.BATTERY, self._on_battery, topics.SENSOR)
        node.create_subscription(String, topics.MODE, self._on_mode, topics.SENSOR)
        if self._names:
            node.create_subscription(JointState, topics.JOINTS, self._on_joints, topics.SENSOR)

    def repeat(self) -> None:
        """Send what seldom changes again: the ground may not have it."""
        self._timer.repeat()

    @property
    def next_deadline(self) -> float | None:
        """When there may be something to send (s); None: nothing is known of the robot."""
        return self._timer.next_at(self._now, self._pause_s)

    def step(self, now: float, down: LinkPort, up: LinkPort) -> None:
        """Offer the state when it is time."""
        at = self.next_deadline
        if at is None or now < at:
            return
        payload = self._timer.next(now, self._now).pack()
        down.offer(payload, now, TrafficClass.TELEMETRY, camera=self._number)
        self.sent += 1
        period_s = self._node.values.telemetry_period_s
        pause = len(self._node.cameras) * pause_s(down, up, len(payload))
        self._pause_s = max(period_s, pause)

    def _on_mount(self, message: TransformStamped) -> None:
        try:
            transform = messages.to_transform(message)
            mount = Mount(
                message.header.frame_id,
                message.child_frame_id,
                transform.position,
                transform.orientation,
            )
            mount.pack()
        except (ValueError, OverflowError) as error:
            self._node.refuse(f'place of the camera refused: {error}')
            return
        self._now = replace(self._now, mount=mount)
        self._node.wake()

    def _on_battery(self, message: BatteryState) -> None:
        # A charge that is not measured is NaN; some drivers leave it at 0..100.
        charge = message.percentage
        battery = Battery(
            charge if 0 <= charge <= 1 else math.nan,
            message.voltage,
            message.current,
            message.temperature,
            message.power_supply_status,
            message.power_supply_health,
        )
        self._now = replace(self._now, battery=battery)

    def _on_mode(self, message: String) -> None:
        self._now = replace(self._now, mode=message.data)
        self._node.wake()

    def _on_joints(self, message: JointState) -> None:
        of = dict(zip(message.name, message.position, strict=False))
        known = self._now.positions or (math.nan,) * len(self._names)
        positions = tuple(of.get(n, p) for n, p in zip(self._names, known, strict=True))
        self._now = replace(self._now, positions=positions, check=self._check)
