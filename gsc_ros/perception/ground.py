"""
The ground in a depth map: a plane, and how the ground bends off it near the camera.

The plane is the one that most points lie near, found by random samples (Fischler and Bolles,
"Random sample consensus", 1981) among planes that a robot could stand on, then fitted to all
points near it. Open ground is no plane: a surface of second order is fitted to the low points of
each patch of it, by least squares that are weighted anew so that what stands there counts little.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 160
_TILT = np.cos(np.radians(52.0))  # of the ground against the camera's own horizontal, at most
_NEAR_PLANE = 0.03  # of its distance, that a point of the ground is off the plane
_NEAR_ROUGH = 0.07  # the same where there is no such plane
_HEIGHT_OFF = 0.35  # of the stated height, that the plane may be nearer
_LEAST_GROUND = 0.2  # of the points looked at lie near the plane, or there is no ground

_PATCH_M = 0.25  # a side of a patch of ground
_LOW = 0.25  # the quantile of the heights of a patch that is taken for the ground's
_OFF_M, _RISE = 0.15, 0.1  # the ground is no further off the plane: at the camera, by distance
_SCALES_M = (0.15, 0.1, 0.07, 0.05, 0.04)  # off the surface, from which a patch counts little
_STIFF = 0.3  # patches that speak for a plane
_LEAST_PATCHES = 12


@dataclass(frozen=True)
class Ground:
    """A plane: points p (x right, y down, z ahead) with ``up . p + height_m == 0``."""

    up: NDArray[np.float64]
    height_m: float

    def heights(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the heights of points (..., 3) over the plane, m."""
        return np.asarray(points @ self.up + self.height_m)

    def along(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where points (..., 3) are along the plane: to the right and ahead, m."""
        right = np.array([1.0, 0.0, 0.0]) - self.up[0] * self.up
        right /= np.linalg.norm(right)
        return points @ right, points @ np.cross(right, self.up)


def find_ground(
    points: NDArray[np.float64], height_m: float | None = None
) -> Ground | None:  # fmt: skip
    """
    Find the ground among points (N, 3) of an image's lower part; None for no such plane.

    ``height_m``: of the camera, as stated: no plane is taken that is much nearer, such as the top
    of a slab or a table.
    """
    if len(points) < 12:
        return None
    least_m = (1 - _HEIGHT_OFF) * (height_m or 0.0)
    for share in (_NEAR_PLANE, _NEAR_ROUGH):
        found = _plane(points, share, least_m)
        if found is not None:
            return found
    return None


def _plane(points: NDArray[np.float64], share: float, least_m: float) -> Ground | None:
    """Find a plane that points lie near, to a share of their distance, so far below."""
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
    fits = (-normal[:, 1] >= _TILT) & (offset > least_m)
    if not fits.any():
        return None
    normal, offset = normal[fits], offset[fits]
    room = share * points[:, 2]
    near = np.abs(points @ normal.T + offset) < room[:, None]
    best = int(near.sum(0).argmax())
    inside = near[:, best]
    for _ in range(2):
        if inside.mean() < _LEAST_GROUND:
            return None
        fitted = _fit(points[inside])
        if -fitted.up[1] < _TILT or fitted.height_m <= least_m:
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


def _terms(right: NDArray[np.float64], ahead: NDArray[np.float64]) -> NDArray[np.float64]:
    one = np.ones_like(right)
    return np.stack([one, right, ahead, right * right, right * ahead, ahead * ahead], -1)


def _patches(
    right: NDArray[np.float64], ahead: NDArray[np.float64], heights: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Choose of each patch of ground the point that has a low quantile of its heights."""
    row, column = np.floor(ahead / _PATCH_M), np.floor(right / _PATCH_M)
    patch = row.astype(np.int64) * (1 << 20) + column.astype(np.int64)
    order = np.lexsort((heights, patch))
    first = np.flatnonzero(np.diff(patch[order], prepend=patch[order[0]] - 1))
    count = np.diff(first, append=len(patch))
    return np.asarray(order[first + (count * _LOW).astype(np.intp)])


def bent(
    ground: Ground, points: NDArray[np.float64], reach_m: float
) -> NDArray[np.float64] | None:  # fmt: skip
    """
    Fit the ground's own relief to points (N, 3) within a reach of the camera.

    Returns coefficients for :func:`relief`; None where too little of the ground is seen.
    """
    right, ahead = ground.along(points)
    heights = ground.heights(points)
    far = np.hypot(right, ahead)
    near = (far < reach_m) & (np.abs(heights) < _OFF_M + _RISE * far)
    if not near.any():
        return None
    right, ahead, heights = right[near], ahead[near], heights[near]
    chosen = _patches(right, ahead, heights)
    if len(chosen) < _LEAST_PATCHES:
        return None
    heights, terms = heights[chosen], _terms(right[chosen], ahead[chosen])
    stiff = np.diag([0.0, 0.0, 0.0, _STIFF, _STIFF, _STIFF])
    weight = np.ones(len(heights))
    fitted = np.zeros(terms.shape[1])
    for scale in _SCALES_M:
        weighted = terms * weight[:, None]
        fitted = np.linalg.lstsq(terms.T @ weighted + stiff, weighted.T @ heights, rcond=None)[0]
        off = heights - terms @ fitted
        # What is below the surface is more likely ground than what is above it.
        weight = np.where(off > 0, 1.0, 2.0) / (1 + (off / scale) ** 2) ** 2
    return np.asarray(fitted)


def relief(
    ground: Ground, coefficients: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:  # fmt: skip
    """Return the height of the ground below points (..., 3) over its plane, m."""
    return np.asarray(_terms(*ground.along(points)) @ coefficients)
