"""One whole image of the camera as a file, when the operator asks for it."""

from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty

from gsc_ros.ros import convert, topics
from gsc_ros.ros.diagnostics import Drops
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.worker import NewestWorker
from gsc_ros.stills import FORMATS, encode_within


@dataclass(frozen=True)
class StillParameters(Parameters):
    """Parameters of stills."""

    still_bytes: int = parameter(
        16384, 'Bytes at most of a still, one whole image that the operator asks for', 512, 16384
    )
    still_format: str = parameter(
        'auto', 'Its format; auto: AVIF where Pillow has it, else WebP', choices=FORMATS
    )


class StillCamera:
    """Subscribes camera/still_wanted; publishes camera/still: the next image, in a thread."""

    def __init__(self, node: GscNode, drops: Drops) -> None:
        self._node, self._drops = node, drops
        self._stills = node.create_publisher(CompressedImage, topics.STILL_CODED, topics.NEWEST)
        self._wanted = False

    def start(self) -> None:
        """Subscribe."""
        self._wanted = False
        self._worker = NewestWorker(self._encode, self._drops.note)
        self._node.add_cleanup(self._worker.close)
        self._node.create_subscription(Empty, topics.STILL_WANTED, self._on_wanted, topics.NEWEST)

    def _on_wanted(self, _message: Empty) -> None:
        self._wanted = True

    def on_image(self, message: Image | CompressedImage) -> None:
        """Take an image of the camera."""
        if self._wanted:
            self._wanted = False
            self._worker.offer(message)

    def _encode(self, message: Image | CompressedImage) -> None:
        is_file = isinstance(message, CompressedImage)
        rgb = convert.compressed_to_rgb(message) if is_file else convert.to_rgb(message)
        values = self._node.values
        data, form = encode_within(rgb, values.still_bytes, values.still_format)
        self._stills.publish(CompressedImage(header=message.header, format=form, data=data))
