"""
Stills at the robot's side of a link: what the ground asks for, one whole image at a time.

Publishes camera/still_wanted; subscribes camera/still, an image file of the encoder.
"""

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Empty

from gsc_ros.link.datagrams.stills import Still, StillAsk, format_of
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.stills import StillSender
from gsc_ros.ros import topics
from gsc_ros.ros.link.node import LinkBase, nanoseconds


class RobotStills:
    """Takes a still from the encoder when one is asked for, and sends its parts."""

    def __init__(self, node: LinkBase, camera: CameraStream) -> None:
        self._node = node
        self._wanted = node.create_publisher(
            Empty, camera.topic(topics.STILL_WANTED), topics.NEWEST
        )
        self._topic = camera.topic(topics.STILL_CODED)

    def reset(self, down: LinkPort) -> None:
        """Begin with nothing asked for."""
        self._sender = StillSender(down, self._node.values.still_share)

    def start(self) -> None:
        """Subscribe to the encoder."""
        self._node.create_subscription(CompressedImage, self._topic, self._on_still, topics.NEWEST)

    @property
    def next_deadline(self) -> float | None:
        """When there is something to send (s)."""
        return self._sender.next_deadline

    def step(self, now: float) -> None:
        """Send when it is time."""
        self._sender.step(now)

    def ask(self, data: bytes) -> None:
        """Take what the ground asks for; raises PayloadError."""
        self._sender.ask(StillAsk.unpack(data))
        if self._sender.wants:
            self._wanted.publish(Empty())

    def _on_still(self, message: CompressedImage) -> None:
        data = bytes(message.data)
        try:
            if format_of(data) is None:
                raise ValueError('it is neither an AVIF nor a WebP file')
            self._sender.give(Still(nanoseconds(message.header.stamp), data))
        except ValueError as error:
            self._node.refuse(f'still refused: {error}')
            return
        self._node.wake()
