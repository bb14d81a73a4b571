"""
The robot's side of a link: frames go down, commands, requests and reports come up.

Subscribes camera/image/gsc, camera/camera_info and, where the encoder rectifies,
camera/image/gsc/camera_info; publishes cmd_vel, camera/key_wanted and camera/roi_wanted.
"""

from dataclasses import dataclass

from geometry_msgs.msg import Twist
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Empty

from gsc_ros.codec import bitstream
from gsc_ros.link.framing import Class, Received
from gsc_ros.link.outlet import Outlet
from gsc_ros.link.payloads import (
    FRAME_OVERHEAD,
    Camera,
    Command,
    Frame,
    FrameSender,
    PayloadError,
    Report,
    Request,
)
from gsc_ros.link.reports import Feedback
from gsc_ros.msg import SemanticFrame
from gsc_ros.nodes import convert, topics
from gsc_ros.nodes.camera_info import CameraInfos
from gsc_ros.nodes.link_base import LOG_PERIOD_S, LinkBase, nanoseconds
from gsc_ros.nodes.parameters import Parameters, parameter

PROTECTIONS = ('auto', 'off')
_ACKNOWLEDGED_S = 0.2  # for the last stop, when the link is closed
_RARELY_S = 60.0


@dataclass(frozen=True)
class RobotSideParameters(Parameters):
    """What the robot's side can be told."""

    max_age_s: float = parameter(
        0.0,
        'A frame that waited longer for the air is dropped, in s; 0: only for a newer one',
        low=0.0,
        high=1e5,
        read_only=True,
    )
    protection: str = parameter(
        'auto',
        'Parity behind frames, from which lost datagrams come back: as much as the loss that the '
        'ground reports is worth, or none',
        choices=PROTECTIONS,
    )
    max_frame_bytes: int = parameter(16384, 'Larger frames are refused', low=64, high=65535)
    command_max_age_s: float = parameter(
        1.0,
        'A command is not executed when it took so much longer, in s, than an idle link takes',
        low=0.0,
        high=1e4,
    )
    command_timeout_s: float = parameter(
        1.0, 'The robot is stopped when no command came for so long, in s', low=0.05, high=1e4
    )


class RobotSide:
    """Joins the robot's topics to a link: ``down`` takes its frames, ``up`` brings commands."""

    def __init__(self, node: LinkBase) -> None:
        self._node = node
        self._commands = node.create_publisher(Twist, topics.CMD_VEL, topics.NEWEST)
        self._wanted = node.create_publisher(Empty, topics.KEY_WANTED, topics.NEWEST)
        self._regions = node.create_publisher(
            RegionOfInterest, topics.REGION_WANTED, topics.NEWEST
        )
        self._infos, self._coded_infos = CameraInfos(), CameraInfos()
        self._size = (0, 0)  # of the last picture
        self._moving = False

    def begin(self, down: Outlet, up: Outlet) -> None:
        """Begin with nothing on its way and nothing counted; a robot that moves is stopped."""
        self._down, self._up = down, up
        self._sender = FrameSender()
        self.feedback = Feedback()
        self.late = self.stops = 0
        self.offered_at = self._moved_at = 0.0
        if self._moving:
            # The clock was set back: nobody can say any more how old the last command is.
            self._halt('time began anew')

    def start(self) -> None:
        """Listen to the robot."""
        node = self._node
        self._infos, self._coded_infos = CameraInfos(), CameraInfos()
        # Before the frames, so that a frame's camera_info is known before the frame.
        raw = node.create_subscription(
            CameraInfo, topics.CAMERA_INFO, lambda m: self._on_camera(m, self._infos), topics.INFOS
        )
        coded = node.create_subscription(
            CameraInfo,
            topics.CODED_INFO,
            lambda m: self._on_camera(m, self._coded_infos),
            topics.PICTURES,
        )
        frames = node.create_subscription(
            SemanticFrame, topics.CODED, self._on_frame, topics.NEWEST
        )
        self._inputs = [raw, coded, frames]
        self._coded_topic = coded.topic_name

    def halt(self) -> None:
        """Stop a robot that moves, and see to it that it learns of that."""
        if self._moving:
            self._halt('the link is closed')
            self._commands.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))

    def stop(self) -> None:
        """Listen no more; a robot that moves is stopped."""
        self.halt()
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)

    def teardown(self) -> None:
        """Take the publishers down."""
        self._node.destroy_publisher(self._commands)
        self._node.destroy_publisher(self._wanted)
        self._node.destroy_publisher(self._regions)

    @property
    def due(self) -> float | None:
        """When the robot has to be stopped (s), or None."""
        return self._moved_at + self._node.values.command_timeout_s if self._moving else None

    def work(self, now: float) -> None:
        """Stop a robot that is no longer commanded."""
        if self.due is not None and now >= self.due:
            self._halt('no command came')

    def take(self, received: Received, now: float) -> None:
        """Do what came up the link."""
        if received.klass is Class.REQUEST:
            self._ask(received)
        elif received.klass is Class.COMMAND:
            self._execute(received, now)
        elif received.klass is Class.REPORT:
            self._hear(received)
        else:
            self._node.refuse(f'{received.klass.name} does not go up the link')

    @property
    def camera_info(self) -> CameraInfo | None:
        """The newest camera_info of the frames."""
        return self._frames_infos().newest

    @property
    def unmatched(self) -> int:
        """How many frames had no camera_info of their stamp, and took an older one."""
        return self._infos.unmatched + self._coded_infos.unmatched

    def _frames_infos(self) -> CameraInfos:
        """Return the camera's camera_infos, or, where it changes images, the encoder's."""
        coded = self._node.count_publishers(self._coded_topic)
        return self._coded_infos if coded else self._infos

    def _on_camera(self, message: CameraInfo, infos: CameraInfos) -> None:
        try:
            convert.to_camera(message, message.header.frame_id)
        except ValueError as error:
            self._node.refuse(f'camera_info refused: {error}')
            return
        infos.add(message)

    def _on_frame(self, message: SemanticFrame) -> None:
        data = bytes(message.data)
        most = self._down.sender.max_payload - FRAME_OVERHEAD
        limit = min(self._node.values.max_frame_bytes, most)
        try:
            if not 0 < len(data) <= limit:
                raise ValueError(f'{len(data)} bytes, 1 to {limit} can be sent')
            header = bitstream.read_header(data, message.truncated)
            self._size = header.width, header.height
            camera = Camera(message.header.frame_id, header.width, header.height)
            infos = self._frames_infos()
            unmatched = infos.unmatched
            info = infos.of(message.header.stamp)
            if infos.unmatched > unmatched:
                self._node.get_logger().warning(
                    "no camera_info has the image's stamp, the newest older one is taken: "
                    'publish one with every image',
                    throttle_duration_sec=_RARELY_S,
                )
            if info is not None:
                camera = convert.to_camera(info, message.header.frame_id)
        except ValueError as error:
            self._node.refuse(f'frame refused: {error}')
            return
        now = self._node.now()
        frame = Frame(nanoseconds(message.header.stamp), message.sequence, camera, data)
        sender = self._down.sender
        if self._node.values.protection == 'auto':
            sender.guard(self.feedback.loss, self.feedback.burst)
        else:
            sender.guard(0.0)
        sent = sender.counts[Class.FRAME].sent
        for klass, payload in self._sender.pack(frame, sent):
            # A key frame that waits is not given up for a delta frame that leans on it.
            firm = klass is Class.FRAME and header.frame_type == bitstream.KEY
            self._down.offer(payload, now, klass, firm)
        self.offered_at = now
        self._node.set_alarm(now)

    def _execute(self, received: Received, now: float) -> None:
        node = self._node
        try:
            command = Command.unpack(received.payload, node.last_ns // 1000)
        except PayloadError as error:
            node.refuse(f'command refused: {error}')
            return
        age_s = node.last_ns * 1e-9 - command.stamp_us * 1e-6
        least_s = self._up.turn_s + self._up.delay_s + self._up.frame_s(len(received.payload))
        late_s = age_s - least_s
        most = node.values.command_max_age_s
        if late_s > most or age_s < -most:
            self.late += 1
            how = f'it came {late_s:.2f} s later than on an idle link'
            if age_s < -most:
                how = f'it was given {-age_s:.2f} s from now: the clocks of both ends differ'
            node.get_logger().warning(
                f'command not executed: {how}', throttle_duration_sec=LOG_PERIOD_S
            )
            return
        self._moving = any(command.velocity)
        self._moved_at = now
        self._commands.publish(convert.to_twist(command.velocity))

    def _ask(self, received: Received) -> None:
        try:
            request = Request.unpack(received.payload)
        except PayloadError as error:
            self._node.refuse(f'request refused: {error}')
            return
        if request.setup:
            self._sender.repeat_setup()
        if request.key_frame:
            self._wanted.publish(Empty())
        if request.region:
            self._regions.publish(convert.to_roi(request.region, self._size))

    def _hear(self, received: Received) -> None:
        try:
            self.feedback.take(Report.unpack(received.payload))
        except PayloadError as error:
            self._node.refuse(f'report refused: {error}')

    def _halt(self, reason: str) -> None:
        self._moving = False
        self.stops += 1
        self._commands.publish(Twist())
        self._node.get_logger().warning(
            f'robot stopped: {reason}', throttle_duration_sec=LOG_PERIOD_S
        )
