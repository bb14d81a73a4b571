"""
What the encoder takes of a camera: images, its camera_infos, and a depth sensor's scale.

Subscribes camera/image (or its compressed form), camera/camera_info and, if asked to,
camera/depth/image; publishes the camera_info of rectified images, and reports what does not come
as it should.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from gsc_ros.codec.caption import median_depth
from gsc_ros.dds import dds_profile
from gsc_ros.perception.camera import Camera
from gsc_ros.ros import convert, topics
from gsc_ros.ros.diagnostics import Drops
from gsc_ros.ros.images.camera_info import CameraInfos, Rectifier, camera_of
from gsc_ros.ros.images.depth_scale import DepthScale
from gsc_ros.ros.images.encodings import ContrastStretch, Levels, full_range
from gsc_ros.ros.images.gaps import Gaps
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.parameters import Parameters, parameter

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

_LOST = 5, 0.1  # images, and share of them, that are worth a warning


@dataclass(frozen=True)
class CameraInputParameters(Parameters):
    """Parameters of the input."""

    image_transport: str = parameter(
        'raw', 'Form of the incoming images', choices=('raw', 'compressed'), read_only=True
    )
    image_qos: str = parameter(
        'best_effort',
        'Quality of service of the incoming images; reliable where the camera offers it and '
        'images are lost',
        choices=('best_effort', 'reliable'),
        read_only=True,
    )
    contrast_stretch: str = parameter(
        'auto',
        'Black and white of images of more than 8 bits: at percentiles that follow the scene '
        '(auto), or the whole range of their type (off)',
        choices=('auto', 'off'),
        formerly='stretch',
    )
    contrast_percentile: float = parameter(
        1.0,
        'Share of the pixels that becomes black, and that becomes white, in percent',
        0.0,
        40.0,
        formerly='stretch_percent',
    )
    contrast_time_constant_s: float = parameter(
        2.0,
        'Time constant with which black and white follow the scene',
        0.0,
        1e4,
        formerly='stretch_hold_s',
    )
    rectify: bool = parameter(
        False,
        "Take the lens' distortion out of the images, by camera/camera_info",
        read_only=True,
    )
    use_depth: bool = parameter(
        False,
        "Set the depth's scale, and find hazards, by the robot's own sensor on camera/depth/image",
        read_only=True,
    )
    depth_max_age_s: float = parameter(
        1.0, "A depth image further than this from the image's stamp is not used", 0.0, 1e4
    )


@dataclass(frozen=True)
class Taken:
    """
    An image: ``rgb`` uint8 (H, W, 3), and float32 ``depth`` (m) whose median is the scene's.

    ``depth`` is a map of the image where the sensor sees what the camera sees, else (1, 1).
    ``info`` is its camera_info where it was to be rectified, else None; ``camera`` how it sees,
    None where no camera_info of a calibrated camera has come.
    """

    rgb: NDArray[np.uint8]
    info: CameraInfo | None
    depth: NDArray[np.float32] | None
    camera: Camera | None = None


class CameraInput:
    """Subscribes a camera's topics; ``on_image`` is given each image, :meth:`take` reads it."""

    def __init__(
        self,
        node: GscNode,
        drops: Drops,
        on_image: Callable[[Image | CompressedImage], None],
    ) -> None:
        self._node, self._drops, self._give = node, drops, on_image
        self._depth = DepthScale(node.resolve_topic_name(topics.DEPTH))
        self._infos, self._rectifier, self._unrectified = CameraInfos(), Rectifier(), ''
        self._stretch, self._form = ContrastStretch(), ('', '')
        self._gaps = Gaps()
        self._output = None
        if node.values.rectify:
            self._output = node.create_publisher(CameraInfo, topics.CODED_INFO, topics.IMAGES)

    def start(self) -> None:
        """Subscribe."""
        node, values = self._node, self._node.values
        self._gaps = Gaps()
        raw = Image, topics.IMAGE
        compressed = CompressedImage, topics.compressed(node)
        if values.image_transport == 'compressed':
            (kind, topic), (_, self._other_topic) = compressed, raw
        else:
            (kind, topic), (_, self._other_topic) = raw, compressed
        qos = topics.IMAGES if values.image_qos == 'reliable' else topics.SENSOR
        self._topic = node.create_subscription(kind, topic, self._on_image, qos).topic_name
        node.create_subscription(CameraInfo, topics.CAMERA_INFO, self._infos.add, topics.INFOS)
        if values.use_depth:
            node.create_subscription(Image, topics.DEPTH, self._on_depth, topics.SENSOR)

    def _on_image(self, message: Image | CompressedImage, about: 'MessageInfo') -> None:
        number = about.get('publication_sequence_number')
        self._gaps.note(time.monotonic(), convert.seconds(message.header.stamp), number)
        self._give(message)

    def _on_depth(self, message: Image) -> None:
        try:
            self._depth.add(message)
        except ValueError as error:
            self._drops.note(error)

    # Off the executor's thread

    def take(self, message: Image | CompressedImage) -> Taken:
        """Read an image; raises ``ValueError`` for one that cannot be used."""
        rgb, info = self._rgb(message), None
        if self._node.values.rectify:
            rgb, info = self._rectified(rgb, message)
        known = info if info is not None else self._infos.of(message.header)
        height, width = rgb.shape[:2]
        camera = None if known is None else camera_of(known, width, height)
        return Taken(rgb, info, self._scale(message), camera)

    def describe(self, taken: Taken) -> None:
        """Publish the camera_info of an image whose frame comes next."""
        if taken.info is not None and self._output is not None:
            self._output.publish(taken.info)

    def _rgb(self, message: Image | CompressedImage) -> NDArray[np.uint8]:
        values = self._node.values
        levels: Levels = full_range
        form = message.format if isinstance(message, CompressedImage) else message.encoding
        if (form, message.header.frame_id) != self._form:
            # Another camera: the levels of the last one's images mean nothing.
            self._form, self._stretch = (form, message.header.frame_id), ContrastStretch()
        if values.contrast_stretch == 'auto':
            self._stretch.percentile = values.contrast_percentile
            self._stretch.time_constant_s = values.contrast_time_constant_s
            levels = partial(self._stretch, convert.seconds(message.header.stamp))
        if isinstance(message, CompressedImage):
            return convert.compressed_to_rgb(message, levels)
        return convert.to_rgb(message, levels)

    def _rectified(
        self, rgb: NDArray[np.uint8], message: Image | CompressedImage
    ) -> tuple[NDArray[np.uint8], CameraInfo | None]:
        """Return the image without distortion and its camera_info; where that fails, as it is."""
        info = self._infos.of(message.header)
        if info is None:
            topic = self._node.resolve_topic_name(topics.CAMERA_INFO)
            self._unrectified = f'no camera_info has come on {topic}'
            return rgb, None
        try:
            rgb, info = self._rectifier.rectify(rgb, info)
            self._unrectified = ''
        except ValueError as error:
            self._unrectified = str(error)
        info.header = message.header
        return rgb, info

    def _scale(self, message: Image | CompressedImage) -> NDArray[np.float32] | None:
        values = self._node.values
        if not values.use_depth:
            return None
        stamp = convert.seconds(message.header.stamp)
        median = self._depth.of(stamp, values.depth_max_age_s)
        if median is None:
            return None
        # A rectified image has other pixels than the depth image.
        seen = None if values.rectify else self._depth.seen_with(stamp, message.header.frame_id)
        if seen is None or math.isnan(median_depth(seen)):
            return np.full((1, 1), median, np.float32)
        return seen

    # State

    def figures(self) -> dict[str, object]:
        """Return counts, as fields of EncoderStatus."""
        lost, _ = self._gaps.lost(time.monotonic())
        return {'images_lost': lost, 'camera_info_unmatched': self._infos.unmatched}

    def trouble(self) -> list[str]:
        """Return what is not as it should be, though images come."""
        messages = []
        if self._unrectified:
            messages.append(f'images are not rectified: {self._unrectified}')
        if self._depth.unused:
            messages.append(f'depth is not used: {self._depth.unused}')
        lost, among = self._gaps.lost(time.monotonic())
        if lost >= _LOST[0] and lost > _LOST[1] * among:
            messages.append(
                f'{lost} of {among} images are lost between camera and encoder: {self._remedy()}'
            )
        return messages

    def silence(self) -> str:
        """Return why no images come."""
        if self._offered():
            return (
                f'no images come on {self._topic}: has the camera stopped? If they are lost, '
                f'{self._remedy()}'
            )
        other = self._node.resolve_topic_name(self._other_topic)
        if self._node.count_publishers(other):
            form = 'compressed' if self._node.values.image_transport == 'raw' else 'raw'
            return f'no images on {self._topic}, but on {other}: set image_transport to {form}'
        return (
            f'no images: nobody publishes {self._topic}. Is the camera running, the topic right?'
        )

    def _offered(self) -> set[ReliabilityPolicy]:
        """Return what the publishers of images offer."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        return {one.qos_profile.reliability for one in publishers}

    def _remedy(self) -> str:
        """Return what helps against lost images."""
        remedy = f'start the camera with {"=".join(dds_profile())}'
        if (
            self._node.values.image_qos != 'reliable'
            and ReliabilityPolicy.RELIABLE in self._offered()
        ):
            remedy += ', or set image_qos to reliable'
        return f'{remedy} (docs/cameras.md)'
