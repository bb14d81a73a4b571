"""Objects of decoded/objects as the page draws them: boxes in shares of the image."""

import json
import math
from typing import Any

from std_msgs.msg import String


def shown(message: Any, size: tuple[int, int]) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """
    Return the stamp (s, ns) and the objects of a list: name, probability, distance_m, box.

    ``size``: (W, H) of the image, for a Detection2DArray. Raises ``ValueError`` for a list that
    cannot be read.
    """
    try:
        if isinstance(message, String):
            return _of_json(message.data)
        return _of_detections(message, size)
    except (KeyError, TypeError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f'a list of objects cannot be read: {error!r}') from None


def _of_json(text: str) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    found = json.loads(text)
    width, height = found['width'], found['height']
    stamp = int(found['stamp']['sec']), int(found['stamp']['nanosec'])
    return stamp, [
        _object(one['class'], one['probability'], one['distance_m'], one['box'], width, height)
        for one in found['objects'] or ()
    ]


def _of_detections(
    message: Any, size: tuple[int, int]
) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    objects = []
    for one in message.detections:
        centre, found = one.bbox.center.position, one.results[0]
        wide, high = one.bbox.size_x / 2, one.bbox.size_y / 2
        box = centre.x - wide, centre.y - high, centre.x + wide, centre.y + high
        name, sure = found.hypothesis.class_id, found.hypothesis.score
        objects.append(_object(name, sure, found.pose.pose.position.z, box, *size))
    stamp = message.header.stamp
    return (stamp.sec, stamp.nanosec), objects


def _object(
    name: Any, probability: Any, distance_m: Any, box: Any, width: Any, height: Any
) -> dict[str, Any]:
    left, top, right, bottom = map(float, box)
    edges = left / width, top / height, right / width, bottom / height
    if not all(map(math.isfinite, edges)):
        raise ValueError('a box has an edge that is no number')
    return {
        'name': str(name)[:40],
        'probability': float(probability),
        'distance_m': float(distance_m),
        'box': [min(max(edge, 0.0), 1.0) for edge in edges],
    }
