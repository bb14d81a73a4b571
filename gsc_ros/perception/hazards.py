"""
Hazards from geometry: what stands out of the ground near the camera, whatever it is called.

The ground is the plane that most points of the lower part of the image lie near, found by random
samples (Fischler and Bolles, "Random sample consensus", 1981) among planes that a robot could
stand on, then fitted to all points near it. What is higher than a limit above it, and nearer than
a limit, is in the way.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.perception.camera import Camera

_SAMPLES = 160
_LOWER = 0.45  # the ground is looked for below this share of the image's height
_FAR_M = 12.0  # and no further off
_TILT = np.cos(np.radians(40.0))  # of the ground against the camera's own horizontal, at most
_NEAR_PLANE = 0.03  # of its distance, that a point of the ground is off the plane
_LEAST_GROUND = 0.2  # of the points looked at lie near the plane, or there is no ground
_LEAST_SEEN = 0.5  # of the image's lower part has depth, or nothing is told of it
_LEAST_AREA = 0.0012  # of the image, that a hazard covers


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
class Ground:
    """A plane: points p (x right, y down, z ahead) with ``up . p + height_m == 0``."""

    up: NDArray[np.float64]
    height_m: float

    def heights(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the heights of points (..., 3) over the ground, m."""
        return np.asarray(points @ self.up + self.height_m)


@dataclass(frozen=True)
class Found:
    """``mask``: bool (h, w), what is in the way; ``ground``: None where none was found."""

    mask: NDArray[np.bool_]
    ground: Ground | None


def find_ground(points: NDArray[np.float64]) -> Ground | None:
    """Find the ground among points (N, 3) of an image's lower part; None for no such plane."""
    if len(points) < 12:
        return None
    rng = np.random.default_rng(0)  # the same image, the same ground
    weight = 1 / points[:, 2]  # what is near has many pixels and small errors
    chosen = rng.choice(len(points), (_SAMPLES, 3), p=weight / weight.sum())
    a, b, c = (points[chosen[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    usable = length > 1e-9
    if not usable.any():
        return None
    normal = normal[usable] / length[usable, None]
    normal *= -np.sign(normal[:, 1:2] + 1e-12)  # up is against y
    offset = -(normal * a[usable]).sum(1)
    # The camera is above the ground, and not upside down.
    fits = (-normal[:, 1] >= _TILT) & (offset > 0)
    if not fits.any():
        return None
    normal, offset = normal[fits], offset[fits]
    room = _NEAR_PLANE * points[:, 2]
    near = np.abs(points @ normal.T + offset) < room[:, None]
    best = int(near.sum(0).argmax())
    inside = near[:, best]
    for _ in range(2):
        if inside.mean() < _LEAST_GROUND:
            return None
        fitted = _fit(points[inside])
        if -fitted.up[1] < _TILT or fitted.height_m <= 0:
            return None
        inside = np.abs(fitted.heights(points)) < room
    return fitted


def _fit(points: NDArray[np.float64]) -> Ground:
    """Fit a plane to points by weighted least squares."""
    weight = 1 / points[:, 2:3]
    centre = (points * weight).sum(0) / weight.sum()
    _, _, axes = np.linalg.svd((points - centre) * weight, full_matrices=False)
    up = axes[2] * -np.sign(axes[2, 1] or 1.0)
    return Ground(up, float(-up @ centre))


def find_hazards(
    metres: NDArray[np.floating], camera: Camera, limits: Limits = Limits()
) -> Found:  # fmt: skip
    """
    Find what stands out of the ground in a depth map (h, w) in metres, NaN and inf allowed.

    Where the camera's height is known the ground is brought to it, and all depth with it. There is
    no ground where half of the lower part has no depth: what stands there would not be found.
    """
    rows = metres.shape[0]
    known = np.isfinite(metres) & (metres > 0)
    points = camera.points(np.where(known, metres, np.nan))
    below = np.broadcast_to((np.arange(rows) >= _LOWER * rows)[:, None], metres.shape)
    ground = None
    if (known | np.isposinf(metres))[below].mean() >= _LEAST_SEEN:
        ground = find_ground(points[known & below & (metres < _FAR_M)])
    if ground is None:
        return Found(np.zeros(metres.shape, bool), None)
    if camera.height_m is not None:
        points = points * (camera.height_m / ground.height_m)
        ground = Ground(ground.up, camera.height_m)
    with np.errstate(invalid='ignore'):
        heights = ground.heights(points)
        over = (heights > limits.above_m) & (heights < limits.below_m)
        mask = known & over & (points[..., 2] < limits.within_m)
    return Found(_without_specks(mask), ground)


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out regions that are too small to be more than an error of the depth."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= max(_LEAST_AREA * mask.size, 2)
    large[0] = False
    return np.asarray(large[parts])


def find_standing(
    metres: NDArray[np.floating],
    ground_seen: NDArray[np.bool_],
    sky_seen: NDArray[np.bool_],
    camera: Camera,
    limits: Limits = Limits(),
) -> tuple[Found, NDArray[np.float64]]:  # fmt: skip
    """
    Find what stands on the ground near the camera, where depth is too coarse to show it.

    Depth of a network is good enough for the plane of the ground, which is fitted to what is seen
    as ground (``ground_seen``, bool (h, w)), and not for what stands on it. In each column a
    run that is neither ground nor sky stands where its foot meets the plane. Returns what was
    found, and the distances of the plane, float64 (h, w), inf above the horizon.
    """
    rows, columns = metres.shape
    known = ground_seen & np.isfinite(metres) & (metres > 0) & (metres < _FAR_M)
    lower = known & (np.arange(rows) >= _LOWER * rows)[:, None]
    ground = find_ground(camera.points(np.where(known, metres, np.nan))[lower])
    nothing = np.zeros(metres.shape, bool)
    if ground is None:
        return Found(nothing, None), np.full(metres.shape, np.inf)
    height_m = camera.height_m or ground.height_m
    rays = camera.points(np.ones(metres.shape))
    down = rays @ ground.up
    plane = np.where(down < -1e-3, -height_m / np.minimum(down, -1e-3), np.inf)
    stands = ~(ground_seen | sky_seen)
    mask = nothing.copy()
    for x in range(columns):
        cells = np.flatnonzero(stands[:, x])
        for run in np.split(cells, np.flatnonzero(np.diff(cells) > 1) + 1):
            if not len(run):
                continue
            foot = plane[min(run[-1] + 1, rows - 1), x]
            if foot < limits.within_m and foot * down[run[0], x] + height_m > limits.above_m:
                mask[run, x] = True
    # All of a run is as far as its foot.
    distances = np.where(mask, np.nan, plane)
    for x in range(columns):
        cells = np.flatnonzero(mask[:, x])
        for run in np.split(cells, np.flatnonzero(np.diff(cells) > 1) + 1):
            if len(run):
                distances[run, x] = plane[min(run[-1] + 1, rows - 1), x]
    return Found(_without_specks(mask), Ground(ground.up, height_m)), distances
