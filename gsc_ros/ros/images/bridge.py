"""
cv_bridge, where a ROS install has it, for the colours that it converts as we do.

It is used only from a ROS prefix and after it has converted a small chart right: its namesake on
PyPI reads 16UC1 wrong, and one that was built for another numpy fails. All other images, and those
with padded rows, are ours (encodings.py).
"""

import importlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from gsc_ros import paths
from gsc_ros.ros.images import encodings

PACKAGE = 'cv_bridge'
COLOURS = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8')


def installed(package: str, prefixes: Sequence[Path]) -> bool:
    """Whether Python finds a package below the ROS prefix that has it by ament's index."""
    index = 'share/ament_index/resource_index/packages'
    owners = [p.resolve() for p in prefixes if (p / index / package).exists()]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin is None:
        return False
    return any(owner in Path(spec.origin).resolve().parents for owner in owners)


@lru_cache(maxsize=1)
def find() -> Any:
    """Return a ``CvBridge`` that converts right, or None."""
    if not installed(PACKAGE, paths.prefixes()):
        return None
    try:
        from cv_bridge import CvBridge

        made = CvBridge()
        right = all(_is_right(made, encoding) for encoding in COLOURS)
    except Exception:  # of a library that does not fit the others, anything
        return None
    return made if right else None


def _is_right(made: Any, encoding: str) -> bool:
    message = chart(encoding)
    expected = encodings.to_rgb(
        bytes(message.data), encoding, message.width, message.height, message.step
    )
    return np.array_equal(made.imgmsg_to_cv2(message, 'rgb8'), expected)


def chart(encoding: str) -> Image:
    """Return a small image (5 x 3) of a packed encoding of 8 bits, all pixels different."""
    _, channels = encodings.layout(encoding)
    data = np.arange(15 * channels, dtype=np.uint8) * 5
    return Image(encoding=encoding, width=5, height=3, step=5 * channels, data=data.tobytes())


def to_rgb(message: Image) -> NDArray[np.uint8] | None:
    """
    Return an image as uint8 (H, W, 3) RGB by cv_bridge; None where it is not used for it.

    That holds for images with padded rows and for those that are not whole, too.
    """
    if message.encoding not in COLOURS:
        return None
    row = message.width * encodings.layout(message.encoding)[1]
    if not row or message.step != row or len(message.data) != row * message.height:
        return None
    bridge = find()
    if bridge is None:
        return None
    return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, 'rgb8'))
