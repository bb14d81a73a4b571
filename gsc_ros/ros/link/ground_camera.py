"""
One camera at the ground's side of a link: its frames come down, what is asked of it goes up.

Publishes link/image/gsc and link/camera_info, one of each per frame, with the robot's acquisition
stamp; subscribes decoded/key_missed, teleop/roi, teleop/budget and teleop/rate. Of several cameras
each has these topics in the namespace of its name.
"""

import array
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Empty, Float32, Header, UInt16

from gsc_ros.codec import backend, bitstream
from gsc_ros.codec.bitstream import Section
from gsc_ros.codec.pose import Pose
from gsc_ros.link.datagrams.frames import Frame, FrameReceiver
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import PayloadError, Request
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.reports import LEAST_PAUSE_S, FrameStats, pause_s
from gsc_ros.link.traffic.requests import Backoff
from gsc_ros.msg import SemanticFrame
from gsc_ros.ros import convert, topics
from gsc_ros.ros.link.node import LinkBase, time_of
from gsc_ros.ros.robot_state import messages

if TYPE_CHECKING:
    from gsc_ros.ros.robot_state.output import RobotState

_LEAST_WAIT_S = 0.5  # for what was requested: the robot takes time to answer


class GroundCamera:
    """
    A camera: ``stream`` names it, ``number`` is its number on air.

    robot: takes the poses of frames; on_age: called with the time (s), the age of a frame and the
    time that the link takes for it (s). ``trouble``: why its frames cannot be shown, empty for
    nothing; ``frame_id``: of its last image, empty before the first.
    """

    def __init__(
        self,
        node: LinkBase,
        stream: CameraStream,
        number: int,
        robot: 'RobotState',
        on_age: Callable[[float, float, float], None],
    ) -> None:
        self._node, self._robot, self._on_age = node, robot, on_age
        self.stream, self.number = stream, number
        self._frames = node.create_publisher(
            SemanticFrame, stream.topic(topics.RECEIVED), topics.NEWEST
        )
        self._cameras = node.create_publisher(
            CameraInfo, stream.topic(topics.RECEIVED_INFO), topics.NEWEST
        )

    def reset(self, down: LinkPort, up: LinkPort) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down, self._up = down, up
        self._receiver = FrameReceiver(self.stream.name)
        self.stats = FrameStats()
        self._wanted_at = 0.0
        self._wanted: Request | None = None  # region, budget and rate, to be requested
        self._size, self.frame_id = (0, 0), ''  # of the last image
        self.key_requests, self.setup_requests = Backoff(), Backoff()
        self._setup_missing = self.number == 0  # of one, until the robot has answered
        self.trouble = ''
        self.delivered = 0
        self.incomplete = 0  # frames of which a part came that does not decode alone
        self.delivered_at = self.frame_age_s = 0.0
        self._frame_s = 0.0  # time on air of the last frame

    def start(self) -> None:
        """Subscribe to what the operator and the decoder ask for."""
        for kind, topic, callback in (
            (Empty, topics.KEY_MISSED, self._on_missed),
            (RegionOfInterest, topics.REGION, self._on_region),
            (UInt16, topics.BUDGET, self._on_budget),
            (Float32, topics.RATE, self._on_rate),
        ):
            self._node.create_subscription(kind, self.stream.topic(topic), callback, topics.NEWEST)

    @property
    def undescribed(self) -> int:
        """Frames that came before their setup, and so could not be shown."""
        return self._receiver.undescribed

    def step(self, now: float) -> None:
        """Offer the requests that it is time for."""
        if self._setup_missing:
            self.ask(self.setup_requests, Request(setup=True), now)
        if self._wanted is not None and now >= self._wanted_at:
            payload = self.request(self._wanted, now)
            self._wanted_at = now + max(LEAST_PAUSE_S, self._pause_s(payload))
            self._wanted = None

    @property
    def next_deadline(self) -> float | None:
        """When there is something to ask for (s)."""
        times = (
            None if self._wanted is None else self._wanted_at,
            self.setup_requests.next_at if self._setup_missing else None,
        )
        return min((at for at in times if at is not None), default=None)

    def on_robot_session(self) -> None:
        """Begin anew with a robot that was not received before, or has begun anew."""
        self._setup_missing = False
        self.trouble = ''
        self.setup_requests.answered()
        self.key_requests.answered()

    # Requests

    def ask(self, backoff: Backoff, request: Request, now: float) -> bool:
        """Ask the robot for something, if it may be asked again; returns whether it was."""
        wait, pause = self.wait_s(request), self._pause_s(request.pack())
        if not backoff.ask(now, wait, pause):
            return False
        self.request(request, now)
        return True

    def request(self, request: Request, now: float) -> bytes:
        """Let a request wait for the air, with one that waits already."""
        waiting = self._up.sender.waiting_payload(TrafficClass.REQUEST, self.number)
        payload = (Request.unpack(waiting).also(request) if waiting else request).pack()
        self._up.offer(payload, now, TrafficClass.REQUEST, camera=self.number)
        return payload

    def wait_s(self, request: Request) -> float:
        """Time until the answer to a request comes, s."""
        # It goes up, frames that have begun are finished, the answer comes down.
        frames = 1 + len(self._node.cameras)
        there_s = self._up.turn_s + self._up.frame_s(len(request.pack())) + self._up.delay_s
        back_s = self._down.turn_s + self._down.delay_s + frames * self._frame_s
        return max(there_s + back_s, _LEAST_WAIT_S)

    def _pause_s(self, payload: bytes) -> float:
        """Time after a payload until the next of its kind may go, s."""
        return len(self._node.cameras) * pause_s(self._up, self._down, len(payload))

    def _on_missed(self, _message: Empty) -> None:
        """Ask for a key frame, if it is not on its way already."""
        now = self._node.update_time()
        if self.ask(self.key_requests, Request(key_frame=True), now):
            self._node.set_alarm(now)

    def _on_region(self, message: RegionOfInterest) -> None:
        """Ask for a part of the image, the newest one requested."""
        self._want('region', lambda: Request(region=convert.to_region(message, self._size)))

    def _on_budget(self, message: UInt16) -> None:
        """Ask for frames of so many bytes."""
        self._want('budget', lambda: Request(budget=message.data))

    def _on_rate(self, message: Float32) -> None:
        """Ask for so many frames a second at most."""
        self._want('rate', lambda: Request(rate=message.data))

    def _want(self, name: str, make: Callable[[], Request]) -> None:
        """Ask for what is made, when the air allows, with what waits already."""
        try:
            request = make()
        except ValueError as error:
            self._node.refuse(f'{name} refused: {error}')
            return
        self._wanted = self._wanted.also(request) if self._wanted else request
        self._node.wake()

    # What came

    def on_setup(self, received: Received) -> None:
        """Take a setup; raises PayloadError."""
        try:
            self._receiver.setup(received.payload, received.session)
        except PayloadError as error:
            self.trouble = str(error)
            raise
        self._setup_missing, self.trouble = False, ''

    def on_frame(self, received: Received, now: float) -> None:
        """Publish a frame; raises PayloadError and BitstreamError."""
        frame = header = None
        try:
            frame = self._receiver.frame(received.payload, received.session)
            if frame is not None:
                header = bitstream.read_header(frame.data, not received.truncated)
        finally:
            lost = header is not None and received.truncated and not _is_divisible(header)
            self.stats.on_frame(received.number, received.session, lost)
        self._setup_missing = frame is None
        if frame is None or header is None:
            return
        self.setup_requests.answered()
        if lost:
            self.incomplete += 1
            return
        self._publish(received, frame, header)
        self._size, self.frame_id = (header.width, header.height), frame.camera.frame_id
        self.delivered += 1
        self.delivered_at = now
        self.frame_age_s = (self._node.time_ns - frame.stamp_ns) * 1e-9
        self._frame_s = self._down.frame_s(len(received.payload))
        link_s = self._down.delay_s + self._down.turn_s + self._frame_s
        self._on_age(now, self.frame_age_s, link_s)
        if header.frame_type == bitstream.KEY and not received.truncated:
            self.key_requests.answered()

    def _publish(self, received: Received, frame: Frame, header: bitstream.FrameHeader) -> None:
        stamp = Header(stamp=time_of(frame.stamp_ns), frame_id=frame.camera.frame_id)
        pose = self._pose(frame.data)
        if pose is not None:
            self._robot.on_pose(pose, stamp)  # so that it is known when the image is decoded
        self._cameras.publish(convert.from_camera(frame.camera, stamp))
        self._frames.publish(
            SemanticFrame(
                **messages.pose_fields(pose),
                header=stamp,
                sequence=frame.sequence,
                session=received.session,
                frame_type=header.frame_type,
                reference_sequence=header.reference_of(frame.sequence) % 2**32,
                preset=header.preset,
                model_fingerprint=header.fingerprint,
                width=header.width,
                height=header.height,
                scene_probability=math.nan,
                data=array.array('B', frame.data),
                truncated=received.truncated,
                divisible=_is_divisible(header),
            )
        )

    def _pose(self, data: bytes) -> Pose | None:
        """Return the pose that a frame carries, or None."""
        content = bitstream.read_sections(data).get(Section.POSE)
        try:
            return None if content is None else Pose.unpack(content)
        except ValueError as error:
            self._node.refuse(f'pose refused: {error}')
            return None


def _is_divisible(header: bitstream.FrameHeader) -> bool:
    """Whether the beginning of a frame decodes alone."""
    return backend.find(header.preset).progressive
