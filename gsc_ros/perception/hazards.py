"""
Hazards from geometry: what stands out of the ground near the camera, whatever it is called.

What is higher than a limit above the ground (``gsc_ros.perception.ground``), and nearer than a
limit, is in the way.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.perception.camera import Camera
from gsc_ros.perception.ground import Ground, bent, find_ground, relief

_LOWER = 0.45  # the ground is looked for below this share of the image's height
_FAR_M = 12.0  # and no further off
_LEAST_SEEN = 0.5  # of the image's lower part has depth, or nothing is told of it
_LEAST_AREA = 0.0003  # of the image, that a hazard covers
_LEAST_NEAR = 0.0012  # and where no ground is found
_POINTS = 4000  # of which the plane of the ground is found
_SAFE = 0.85  # of the height limit: the ground is known to a few cm
_BEYOND = 1.4  # the ground is seen so far beyond the limit


@dataclass(frozen=True)
class Limits:
    """
    What counts as a hazard.

    ``above_m``: higher over the ground than this; ``within_m``: nearer than this;
    ``below_m``: what is higher than the robot is not in its way.
    """

    above_m: float = 0.15
    within_m: float = 5.0
    below_m: float = 2.5


@dataclass(frozen=True)
class Found:
    """``mask``: bool (h, w), what is in the way; ``ground``: None where none was found."""

    mask: NDArray[np.bool_]
    ground: Ground | None


def find_hazards(
    metres: NDArray[np.floating], camera: Camera, limits: Limits = Limits()
) -> Found:  # fmt: skip
    """
    Find what stands out of the ground in measured depth (h, w) in metres, NaN and inf allowed.

    ``camera.height_m``, where it is known, tells the ground from other planes; the metres stay as
    they were measured. Nothing is told where half of the lower part has no depth: what stands
    there would not be found. Where there is depth and no ground in it, as in front of a wall, all
    that is near is in the way.
    """
    known, points, ground = _ground_in(metres, camera)
    if (known | np.isposinf(metres))[_below(metres.shape)].mean() < _LEAST_SEEN:
        return Found(np.zeros(metres.shape, bool), None)
    if ground is None:
        return Found(_without_specks(known & (metres < limits.within_m), _LEAST_NEAR), None)
    heights = _over(ground, points, known, limits.within_m)
    with np.errstate(invalid='ignore'):
        over = (heights > _SAFE * limits.above_m) & (heights < limits.below_m)
        mask = known & over & (points[..., 2] < limits.within_m)
    return Found(_without_specks(mask, _LEAST_AREA), ground)


def heights_over_ground(
    metres: NDArray[np.floating], camera: Camera, within_m: float = Limits.within_m
) -> tuple[NDArray[np.float64], Ground] | None:  # fmt: skip
    """
    Return the heights (h, w) of measured depth over the ground, m, NaN unknown, and the ground.

    How the ground bends is known a little beyond ``within_m``. None where no ground is found in
    the lower part of the image.
    """
    known, points, ground = _ground_in(metres, camera)
    return None if ground is None else (_over(ground, points, known, within_m), ground)


def _below(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where the ground is looked for, bool (h, w)."""
    return np.broadcast_to((np.arange(shape[0]) >= _LOWER * shape[0])[:, None], shape)


def _ground_in(
    metres: NDArray[np.floating], camera: Camera
) -> tuple[NDArray[np.bool_], NDArray[np.float64], Ground | None]:
    """Return where depth (h, w) is known, its points (h, w, 3), and the ground below."""
    known = np.isfinite(metres) & (metres > 0)
    points = camera.points(np.where(known, metres, np.nan))
    near = points[known & (metres < _FAR_M) & _below(metres.shape)]
    return known, points, find_ground(near[:: len(near) // _POINTS + 1], camera.height_m)


def _over(
    ground: Ground, points: NDArray[np.float64], known: NDArray[np.bool_], within_m: float
) -> NDArray[np.float64]:
    """Return the heights (h, w) of points (h, w, 3) over the ground as it bends, m."""
    coefficients = bent(ground, points[known][::2], _BEYOND * within_m)
    with np.errstate(invalid='ignore'):
        heights = ground.heights(points)
        return heights if coefficients is None else heights - relief(ground, coefficients, points)


def _without_specks(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Leave out regions of a smaller share of the image, which may be errors of the depth."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= max(least * mask.size, 2)
    large[0] = False
    return np.asarray(large[parts])
