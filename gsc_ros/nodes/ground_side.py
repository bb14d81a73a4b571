"""
The ground's side of a link: frames come down, commands and requests go up.

Publishes link/image/gsc and link/camera_info, one of each per frame, with the robot's acquisition
stamp; subscribes teleop/cmd_vel, teleop/roi and decoded/key_missed. What is published is rebuilt
from what crossed the link and from nothing else. Tells the robot what was heard, in reports that
take a twentieth of the air at most.
"""

import array
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Empty, Header

from gsc_ros.codec import bitstream
from gsc_ros.link.framing import Class, Received
from gsc_ros.link.outlet import Outlet
from gsc_ros.link.payloads import (
    Command,
    FrameReceiver,
    PayloadError,
    Region,
    Request,
    RobotReport,
)
from gsc_ros.link.reports import Hearing
from gsc_ros.link.requests import Backoff
from gsc_ros.msg import SemanticFrame
from gsc_ros.nodes import convert, topics
from gsc_ros.nodes.link_base import LinkBase, nanoseconds, time_of
from gsc_ros.nodes.parameters import Parameters, parameter
from gsc_ros.nodes.velocity_input import VelocityInput

_SHARE = 1 / 20  # of the air, for reports, for regions and for key frames' requests at most
_LEAST_PAUSE_S = 1.0
_LEAST_WAIT_S = 0.5  # for a key frame that was asked for: a robot has to draw breath


@dataclass(frozen=True)
class GroundSideParameters(Parameters):
    """What the ground's side can be told."""

    stamped: bool = parameter(
        False,
        'Commands on teleop/cmd_vel are TwistStamped, not Twist; where only the other type is '
        'published, that is taken',
        read_only=True,
    )
    stamp_max_age_s: float = parameter(
        1.0,
        'A TwistStamped with an older stamp, in s, is refused; a younger stamp is the time of the '
        'command',
        low=0.0,
        high=1e4,
    )


class GroundSide:
    """Joins the ground's topics to a link: ``down`` brings frames, ``up`` takes commands."""

    def __init__(self, node: LinkBase) -> None:
        self._node = node
        self._frames = node.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
        self._cameras = node.create_publisher(CameraInfo, topics.RECEIVED_INFO, topics.NEWEST)

    def begin(self, down: Outlet, up: Outlet) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down, self._up = down, up
        self._receiver = FrameReceiver()
        self.hearing = Hearing(down.receiver)
        self._report_at = self._region_at = 0.0
        self._region: Region | None = None  # to be asked for
        self._size = (0, 0)  # of the last picture
        self.key_requests = Backoff()
        self.robot_report: RobotReport | None = None  # the last
        self.delivered = 0
        self.delivered_at = self.frame_age_s = 0.0
        self._frame_s = 0.0  # time on air of the last frame

    def start(self) -> None:
        """Listen to the operator."""
        node = self._node
        self._inputs = [
            node.create_subscription(Empty, topics.KEY_MISSED, self._on_missed, topics.NEWEST),
            node.create_subscription(
                RegionOfInterest, topics.REGION, self._on_region, topics.NEWEST
            ),
        ]
        self._commands = VelocityInput(
            node, topics.TELEOP, self._on_command, topics.NEWEST, node.values.stamped
        )

    def stop(self) -> None:
        """Listen no more."""
        self._commands.close()
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)

    def teardown(self) -> None:
        """Take the publishers down."""
        self._node.destroy_publisher(self._frames)
        self._node.destroy_publisher(self._cameras)

    @property
    def undescribed(self) -> int:
        """Frames that came before their setup, and so could not be shown."""
        return self._receiver.undescribed

    def work(self, now: float) -> None:
        """Let a report and a region wait for the air when it is time."""
        if now >= self._report_at:
            report = self.hearing.report()
            payload = report.pack() if report else b''
            if payload:
                self._up.offer(payload, now, Class.REPORT)
            self._report_at = now + max(_LEAST_PAUSE_S, self._pause_s(payload))
        if self._region is not None and now >= self._region_at:
            payload = self._request(Request(region=self._region), now)
            self._region_at = now + max(_LEAST_PAUSE_S, self._pause_s(payload))
            self._region = None

    @property
    def due(self) -> float:
        """When there is something to tell (s)."""
        if self._region is None:
            return self._report_at
        return min(self._report_at, self._region_at)

    def _pause_s(self, payload: bytes) -> float:
        """Time after a payload until the next of its kind may go, s."""
        if not payload:
            return 0.0
        # On a channel that both directions share it takes the air there and back.
        turns_s = self._up.turn_s + self._down.turn_s
        return (self._up.frame_s(len(payload)) + turns_s) / _SHARE

    def take(self, received: Received, now: float) -> None:
        """Publish what came down the link."""
        if received.klass is Class.FRAME:
            self.hearing.came_up(received.number)
        try:
            if received.klass is Class.SETUP:
                if not received.truncated:
                    self._receiver.setup(received.payload, received.session)
                return
            if received.klass is Class.REPORT:
                self.robot_report = RobotReport.unpack(received.payload)
                return
            if received.klass is not Class.FRAME:
                raise PayloadError(f'{received.klass.name} does not come down the link')
            frame = self._receiver.frame(received.payload, received.session)
            if frame is None:
                return
            header = bitstream.read_header(frame.data, received.truncated)
        except (PayloadError, bitstream.BitstreamError) as error:
            self._node.refuse(f'frame lost: {error}')
            return
        stamp = Header(stamp=time_of(frame.stamp_ns), frame_id=frame.camera.frame_id)
        self._cameras.publish(convert.from_camera(frame.camera, stamp))
        self._frames.publish(
            SemanticFrame(
                header=stamp,
                sequence=frame.sequence,
                session=received.session,
                frame_type=header.frame_type,
                reference_sequence=header.reference_of(frame.sequence) % 2**32,
                preset=header.preset,
                model_fingerprint=header.fingerprint,
                width=header.width,
                height=header.height,
                data=array.array('B', frame.data),
                truncated=received.truncated,
            )
        )
        self._size = header.width, header.height
        self.delivered += 1
        self.delivered_at = now
        self.frame_age_s = (self._node.last_ns - frame.stamp_ns) * 1e-9
        self._frame_s = self._down.frame_s(len(received.payload))
        if header.frame_type == bitstream.KEY and not received.truncated:
            self.key_requests.answered()

    def _on_command(self, message: Twist, stamp: Time | None) -> None:
        now = self._node.now()
        given_ns = self._node.last_ns
        velocity = convert.to_velocity(message)
        if stamp is not None and any(velocity):
            # What waited on its way here is that old; a stamp in the future says nothing. To stop
            # it is never too late.
            given_ns = min(nanoseconds(stamp), given_ns)
        age_s = (self._node.last_ns - given_ns) * 1e-9
        try:
            if age_s > self._node.values.stamp_max_age_s:
                raise ValueError(
                    f'its stamp is {age_s:.2f} s old. Set the clock of who publishes it right, '
                    'leave the stamp zero, or raise stamp_max_age_s'
                )
            robot = self._down.receiver.session & 0xFF
            payload = Command(given_ns // 1000, velocity, robot).pack()
        except ValueError as error:
            self._node.refuse(f'command refused: {error}')
            return
        self._up.offer(payload, now, Class.COMMAND)
        self._node.set_alarm(now)

    def _on_missed(self, _message: Empty) -> None:
        """Ask for a key frame, if it is not on its way already."""
        now = self._node.now()
        # The request goes up, a frame that has begun is finished, the key frame comes down.
        request = Request(key_frame=True)
        payload = request.pack()
        there_s = self._up.turn_s + self._up.frame_s(len(payload)) + self._up.delay_s
        wait = there_s + self._down.turn_s + self._down.delay_s + 2 * self._frame_s
        if self.key_requests.ask(now, max(wait, _LEAST_WAIT_S), self._pause_s(payload)):
            self._request(request, now)
            self._node.set_alarm(now)

    def _on_region(self, message: RegionOfInterest) -> None:
        """Ask for a part of the picture, the newest one wanted."""
        try:
            self._region = convert.to_region(message, self._size)
        except ValueError as error:
            self._node.refuse(f'region refused: {error}')
            return
        self._node.wake()

    def _request(self, request: Request, now: float) -> bytes:
        """Let a request wait for the air, with one that waits already."""
        waiting = self._up.sender.waits(Class.REQUEST)
        payload = (Request.unpack(waiting).also(request) if waiting else request).pack()
        self._up.offer(payload, now, Class.REQUEST)
        return payload
