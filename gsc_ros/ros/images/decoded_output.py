"""
What a decoded frame comes out as: image, maps, objects and caption, points and a scan.

Publishes decoded/*, every message of a frame with the stamp and frame_id of the robot's image, and
the names of the classes.
"""

import json
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from gsc_ros.labels import LABELS, UNLABELLED, colourise
from gsc_ros.ros import convert, objects, topics
from gsc_ros.ros.diagnostics import Troubles
from gsc_ros.ros.images.camera_info import CameraInfos, scaled_info
from gsc_ros.ros.images.clouds import Clouds
from gsc_ros.ros.lifecycle import GscNode

if TYPE_CHECKING:
    from gsc_ros.codec import DecodedFrame

_ENCODINGS = {
    topics.DECODED: 'rgb8',
    topics.DECODED_DEPTH: '32FC1',
    topics.DECODED_SEGMENTATION: 'mono8',
    topics.DECODED_COLOUR: 'rgb8',
    topics.TRUST: 'mono8',
    topics.DECODED_RECEIVED: 'mono8',
    topics.HAZARDS: 'mono8',
}


def label_message() -> tuple[type, str, Any]:
    """Return type, topic and message that name the classes: vision_msgs where it is installed."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        names = {str(i): name for i, name in enumerate(LABELS)} | {str(UNLABELLED): 'unlabelled'}
        return String, topics.LABELS, String(data=json.dumps(names))
    classes = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(LABELS)]
    classes.append(VisionClass(class_id=UNLABELLED, class_name='unlabelled'))
    return LabelInfo, topics.LABEL_INFO, LabelInfo(class_map=classes)


class DecodedOutput:
    """
    Publishes frames; on the worker's thread, but for :attr:`wanted`.

    infos: the camera_infos that came; troubles: takes why there are no points and no scan.
    """

    def __init__(self, node: GscNode, infos: CameraInfos, troubles: Troubles) -> None:
        self._infos, self._troubles = infos, troubles
        self.images: dict[str, Publisher] = {
            topic: node.create_publisher(Image, topic, topics.IMAGES) for topic in _ENCODINGS
        }
        self._infos_out: dict[str, Publisher] = {
            topic: node.create_publisher(CameraInfo, info, topics.IMAGES)
            for topic, info in (
                (topics.DECODED, topics.DECODED_INFO),
                (topics.DECODED_DEPTH, topics.DECODED_DEPTH_INFO),
            )
        }
        self.clouds = Clouds(node)
        self._caption = node.create_publisher(String, topics.CAPTION, topics.IMAGES)
        self._list_type = objects.list_type()
        self._objects: Publisher = node.create_publisher(
            self._list_type, topics.OBJECTS, topics.IMAGES
        )
        kind, topic, labels = label_message()
        self._labels: Publisher = node.create_publisher(kind, topic, topics.LATCHED)
        self._labels.publish(labels)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes."""
        outputs = [
            *self.images.values(), *self._infos_out.values(), self._caption, self._objects
        ]  # fmt: skip
        return self.clouds.wanted or any(p.get_subscription_count() for p in outputs)

    def publish(self, frame: 'DecodedFrame', header: Header) -> None:
        """Publish the image and the maps that the frame has, each with its camera_info."""
        # First: it has no stamp by which it could be matched.
        self._caption.publish(String(data=frame.caption))
        maps: dict[str, NDArray | None] = {
            topics.DECODED: frame.rgb,
            topics.DECODED_DEPTH: frame.depth,
            topics.DECODED_SEGMENTATION: frame.segmentation,
            topics.TRUST: frame.trust,
            topics.DECODED_RECEIVED: frame.received,
            topics.HAZARDS: frame.hazards,
        }
        if (
            frame.segmentation is not None
            and self.images[topics.DECODED_COLOUR].get_subscription_count()
        ):
            maps[topics.DECODED_COLOUR] = colourise(frame.segmentation)
        info = self._infos.of(header)
        if info is not None:
            info = scaled_info(info, frame.rgb.shape[1], frame.rgb.shape[0])
            info.header = header
        size = (frame.rgb.shape[1], frame.rgb.shape[0])
        self._objects.publish(
            objects.list_message(self._list_type, frame.objects, header, size, info)
        )
        for topic, publisher in self._infos_out.items():
            if info is not None and maps[topic] is not None:
                publisher.publish(info)
        for topic, pixels in maps.items():
            publisher = self.images[topic]
            if pixels is not None and publisher.get_subscription_count():
                publisher.publish(convert.to_image(pixels, _ENCODINGS[topic], header))
        try:
            self.clouds.publish(frame, info, header)
            self._troubles.note('clouds', '')
        except ValueError as error:
            self._troubles.note('clouds', f'no points and no scan: {error}')
