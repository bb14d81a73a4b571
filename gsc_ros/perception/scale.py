"""The scale of a network's depth, by the height of the camera over the ground."""

import math

import numpy as np
from numpy.typing import NDArray

from gsc_ros.perception.camera import Camera
from gsc_ros.perception.ground import find_ground

_LOWER = 0.55  # the ground is looked for below this share of the image's height
_FAR = 4.0  # and no further off than so many times the median of the lowest eighth
_LEAST_CELLS, _POINTS = 40, 1000
# The network's own scale and that of its ground are both uncertain: so much of the logarithm of
# the ratio is taken. Least error on simulated worlds and KITTI (docs/experiments.md).
_SHARE = 0.7
_MOST = math.log(4.0)


def scale_by_height(
    metres: NDArray[np.floating], ground_seen: NDArray[np.bool_], camera: Camera
) -> float | None:
    """
    Return what to multiply depth by, so that the ground is about where the camera's height has it.

    ``metres``: of a network, (h, w), finite; ``ground_seen``: bool (h, w). None where the height
    is not known or no ground is found.
    """
    if camera.height_m is None:
        return None
    rows = len(metres)
    below = (np.arange(rows) >= _LOWER * rows)[:, None]
    near = ground_seen & below & (metres < _FAR * np.median(metres[-max(rows // 8, 1) :]))
    points = camera.points(metres)[near]
    if len(points) < _LEAST_CELLS:
        return None
    ground = find_ground(points[:: len(points) // _POINTS + 1])
    if ground is None:
        return None
    off = _SHARE * math.log(camera.height_m / ground.height_m)
    return math.exp(min(max(off, -_MOST), _MOST))
