"""
One camera at the robot's side of a link: its frames go down, what the ground asks of it comes up.

Subscribes camera/image/gsc, camera/camera_info and, where the encoder rectifies,
camera/image/gsc/camera_info; publishes camera/key_wanted, roi_wanted, budget_wanted and
rate_wanted. Of several cameras each has these topics in the namespace of its name.
"""

from collections.abc import Callable

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Empty, Float32, UInt16

from gsc_ros.codec import bitstream
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD, Camera, Frame, FrameSender
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import Request
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.reports import Feedback
from gsc_ros.msg import SemanticFrame
from gsc_ros.ros import convert, topics
from gsc_ros.ros.images.camera_info import CameraInfos
from gsc_ros.ros.link.node import NO_FRAMES_S, LinkBase, nanoseconds

_RARELY_S = 60.0
# A camera sends no more, and others have its air, when nothing came for so long, and for so many
# times what it took before.
_SILENT_S, _SILENT_GAPS = 5.0, 3


class RobotCamera:
    """
    A camera: ``stream`` names it, ``number`` is its number on air.

    protect: called before a frame goes, to set the parity behind it. ``feedback``: what the ground
    reports of its frames; ``offered_at``: when the last one came (s).
    """

    def __init__(
        self, node: LinkBase, stream: CameraStream, number: int, protect: Callable[[], None]
    ) -> None:
        self._node, self._protect = node, protect
        self.stream, self.number = stream, number
        topic = stream.topic
        self._wanted = node.create_publisher(Empty, topic(topics.KEY_WANTED), topics.NEWEST)
        self._regions = node.create_publisher(
            RegionOfInterest, topic(topics.REGION_WANTED), topics.NEWEST
        )
        self._budgets = node.create_publisher(UInt16, topic(topics.BUDGET_WANTED), topics.NEWEST)
        self._rates = node.create_publisher(Float32, topic(topics.RATE_WANTED), topics.NEWEST)
        self._infos, self._coded_infos = CameraInfos(), CameraInfos()
        self._size = (0, 0)  # of the last image

    def reset(self, down: LinkPort) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down = down
        self._sender = FrameSender(name=self.stream.name)
        self.feedback = Feedback(self._node.session & 0xFF)
        self.offered_at, self._gap_s, self._sends = 0.0, 0.0, False

    def start(self) -> None:
        """Subscribe to camera and encoder."""
        node, topic = self._node, self.stream.topic
        self._infos, self._coded_infos = CameraInfos(), CameraInfos()
        # Before the frames, so that a frame's camera_info is known before the frame.
        node.create_subscription(
            CameraInfo,
            topic(topics.CAMERA_INFO),
            lambda m: self._on_camera(m, self._infos),
            topics.INFOS,
        )
        coded = node.create_subscription(
            CameraInfo,
            topic(topics.CODED_INFO),
            lambda m: self._on_camera(m, self._coded_infos),
            topics.IMAGES,
        )
        self._coded_topic = coded.topic_name
        node.create_subscription(SemanticFrame, topic(topics.CODED), self._on_frame, topics.NEWEST)

    # What the ground asks for

    def repeat_setup(self) -> None:
        """Let the next frame go behind its setup."""
        self._sender.repeat_setup()

    def on_request(self, request: Request) -> None:
        """Hand on to the encoder what is asked of this camera."""
        if request.setup:
            self.repeat_setup()
        if request.key_frame:
            self._wanted.publish(Empty())
        if request.region:
            self._regions.publish(convert.to_roi(request.region, self._size))
        if request.budget is not None:
            self._budgets.publish(UInt16(data=request.budget))
        if request.rate is not None:
            self._rates.publish(Float32(data=request.rate))

    # State

    @property
    def camera_info(self) -> CameraInfo | None:
        """The newest camera_info of the frames."""
        return self._frames_infos().newest

    @property
    def unmatched(self) -> int:
        """How many frames had no camera_info of their stamp, and took an older one."""
        return self._infos.unmatched + self._coded_infos.unmatched

    def is_sending(self, now: float) -> bool:
        """Whether frames come that need air."""
        silent_s = max(_SILENT_S, _SILENT_GAPS * self._gap_s)
        return self._sends and now <= self.offered_at + silent_s

    def is_missing(self, now: float) -> bool:
        """Whether no frames come from the encoder."""
        return now > self.offered_at + NO_FRAMES_S

    # Frames

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
            header = bitstream.read_header(data, not message.truncated)
            self._size = header.width, header.height
            camera = Camera(message.header.frame_id, header.width, header.height)
            infos = self._frames_infos()
            unmatched = infos.unmatched
            info = infos.of(message.header)
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
        now = self._node.update_time()
        frame = Frame(nanoseconds(message.header.stamp), message.sequence, camera, data)
        self._protect()
        sent = self._down.sender.counts.of(TrafficClass.FRAME, self.number).sent
        for traffic_class, payload in self._sender.pack(frame, sent):
            # A key frame that waits is not replaced by a delta frame that needs it.
            is_keyframe = (
                traffic_class is TrafficClass.FRAME and header.frame_type == bitstream.KEY
            )
            self._down.offer(
                payload, now, traffic_class, is_keyframe, message.divisible, self.number
            )
        self._gap_s = now - self.offered_at if self._sends else 0.0
        self.offered_at, self._sends = now, True
        self._node.set_alarm(now)
