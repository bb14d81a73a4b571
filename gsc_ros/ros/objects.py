"""
Objects as messages: those of a frame, and the list on decoded/objects.

The list is a vision_msgs/Detection2DArray where vision_msgs is installed, else JSON in a String.
"""

import json
from typing import Any

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header, String

from gsc_ros.codec.objects import Objects, SeenObject, listed, pixels
from gsc_ros.msg import SceneObject
from gsc_ros.ros.images.camera_info import calibrated


def scene_objects(objects: Objects | None) -> list[SceneObject]:
    """Make the objects of a SemanticFrame."""
    return [_scene_object(item) for item in (objects.items if objects else ())]


def _scene_object(item: SeenObject) -> SceneObject:
    left, top, right, bottom = item.box
    return SceneObject(
        class_id=item.class_id,
        class_name=item.name,
        probability=item.probability,
        distance_m=item.distance_m,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
    )


def list_type() -> type:
    """Return the type of decoded/objects."""
    try:
        from vision_msgs.msg import Detection2DArray
    except ImportError:
        return String
    return Detection2DArray  # type: ignore[no-any-return]


def list_message(
    kind: type,
    objects: Objects | None,
    header: Header,
    size: tuple[int, int],
    info: CameraInfo | None,
) -> Any:
    """
    Make the list of a frame, of type ``kind`` (:func:`list_type`).

    ``size``: of the decoded image (W, H); ``info``: its camera_info, None where there is none.
    """
    if kind is String:
        stamp = {'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec}
        told = {'stamp': stamp, 'frame_id': header.frame_id, **listed(objects, size)}
        return String(data=json.dumps(told))
    return _detections(objects, header, size, info)


def _detections(
    objects: Objects | None, header: Header, size: tuple[int, int], info: CameraInfo | None
) -> Any:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    array = Detection2DArray(header=header)
    for number, item in enumerate(objects.items if objects else ()):
        left, top, right, bottom = pixels(item.box, size)
        found = Detection2D(header=header, id=str(number))
        found.bbox.center.position.x, found.bbox.center.position.y = (
            (left + right) / 2,
            (top + bottom) / 2,
        )
        found.bbox.size_x, found.bbox.size_y = right - left, bottom - top
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = item.name
        hypothesis.hypothesis.score = item.probability
        position = hypothesis.pose.pose.position
        position.x, position.y, position.z = _position(found.bbox.center.position, item, info)
        found.results.append(hypothesis)
        array.detections.append(found)
    return array


def _position(
    centre: Any, item: SeenObject, info: CameraInfo | None
) -> tuple[float, float, float]:  # fmt: skip
    """Return where the middle of a box is in the optical frame, m; x and y NaN without K."""
    z = item.distance_m
    if info is None or not calibrated(info):
        return float('nan'), float('nan'), z
    return (centre.x - info.k[2]) / info.k[0] * z, (centre.y - info.k[5]) / info.k[4] * z, z
