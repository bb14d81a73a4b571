"""
Stills at the robot's side of a link: what the ground asks for, one whole image of a camera.

Publishes camera/still_wanted; subscribes camera/still, an image file of the encoder. Of several
cameras each has these topics in the namespace of its name.
"""

from functools import partial

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Empty

from gsc_ros.link.datagrams.stills import Still, StillAsk, format_of
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.stills import StillSender
from gsc_ros.ros import topics
from gsc_ros.ros.link.node import LinkBase, nanoseconds


class RobotStills:
    """Takes a still from a camera's encoder when one is asked for, and sends its parts."""

    def __init__(self, node: LinkBase) -> None:
        self._node = node
        self._wanted = [
            node.create_publisher(Empty, camera.topic(topics.STILL_WANTED), topics.NEWEST)
            for camera in node.cameras
        ]

    def reset(self, down: LinkPort) -> None:
        """Begin with nothing asked for."""
        node = self._node
        self._sender = StillSender(down, node.values.still_share, len(node.cameras))

    def start(self) -> None:
        """Subscribe to the encoders."""
        for number, camera in enumerate(self._node.cameras):
            self._node.create_subscription(
                CompressedImage,
                camera.topic(topics.STILL_CODED),
                partial(self._on_still, number),
                topics.NEWEST,
            )

    @property
    def next_deadline(self) -> float | None:
        """When there is something to send (s)."""
        return self._sender.next_deadline

    def step(self, now: float) -> None:
        """Send when it is time."""
        self._sender.step(now)

    def ask(self, data: bytes, camera: int) -> None:
        """Take what the ground asks of a camera, by its number; raises PayloadError."""
        still = self._sender.cameras[camera]
        still.ask(StillAsk.unpack(data))
        if still.wants:
            self._wanted[camera].publish(Empty())

    def _on_still(self, camera: int, message: CompressedImage) -> None:
        data = bytes(message.data)
        try:
            if format_of(data) is None:
                raise ValueError('it is neither an AVIF nor a WebP file')
            self._sender.give(Still(nanoseconds(message.header.stamp), data), camera)
        except ValueError as error:
            self._node.refuse(f'still refused: {error}')
            return
        self._node.wake()
