"""
Depth to points and to a scan, as navigation takes them; without ROS.

``rays``: float32 (H, W, 2), what x and y of the optical frame (REP 103) are of z at each pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import GROUND, SKY


def points_of(depth: NDArray[np.float32], rays: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Return the points (H, W, 3) of depth (H, W), in m in the optical frame.

    NaN where depth is not finite, as depth_image_proc has them.
    """
    z = np.where(np.isfinite(depth), depth, np.float32(np.nan))
    return np.dstack([rays * z[..., None], z])


def trusted(
    depth: NDArray[np.float32], received: NDArray[np.uint8] | None, least: int
) -> NDArray[np.float32]:
    """Return depth (H, W) with NaN where what was received (H, W) is below ``least``."""
    if received is None:
        return depth
    return np.where(received >= least, depth, np.float32(np.nan))


@dataclass(frozen=True)
class Beams:
    """
    Where pixels are in a scan: ``index`` int (H, W) of the beam, -1 for none; ``count`` of them.

    Angles are about z up, to the left from straight ahead, in rad: beam i is at
    ``angle_min + i * increment``.
    """

    index: NDArray[np.intp]
    stretch: NDArray[np.float32]  # (H, W): distance in the plane of the scan over depth
    count: int
    angle_min: float
    increment: float


def beams_of(rays: NDArray[np.float32], top: float, bottom: float) -> Beams:
    """
    Arrange the pixels between two heights of the image, shares of it from its top, into beams.

    Beams are as far apart as columns are at their widest, so that none is empty for want of
    columns. Raises ``ValueError`` where no row lies between the heights.
    """
    height, width = rays.shape[:2]
    first, last = round(top * height), round(bottom * height)
    if not 0 <= first < last <= height:
        raise ValueError(
            f'no row lies between {top} and {bottom} of the image: give scan_top below scan_bottom'
        )
    angles = np.arctan2(-rays[..., 0], 1.0).astype(np.float64)
    row = angles[(first + last) // 2]
    widest = float(np.abs(np.diff(row)).max()) if width > 1 else 1.0
    low, high = float(row.min()), float(row.max())
    count = max(2, int((high - low) / widest) + 1)
    increment = max((high - low) / (count - 1), 1e-9)
    index = np.rint((angles - low) / increment).astype(np.intp)
    outside = (index < 0) | (index >= count)
    outside[:first] = outside[last:] = True
    index[outside] = -1
    stretch = np.sqrt(1 + np.square(rays[..., 0]))
    return Beams(index, stretch, count, low, increment)


def scan_of(
    depth: NDArray[np.float32],
    segmentation: NDArray[np.uint8] | None,
    beams: Beams,
    range_max: float,
) -> NDArray[np.float32]:
    """
    Return the distance (N,) to the nearest obstacle on each beam, in m.

    An obstacle is what has a depth and is neither ground nor sky. +Inf: ground or sky is seen, and
    nothing on it up to ``range_max``; NaN: nothing is known (REP 117).
    """
    seen = (beams.index >= 0) & ~np.isnan(depth)
    obstacle = seen & np.isfinite(depth)
    if segmentation is not None:
        obstacle &= ~np.isin(segmentation, (*GROUND, SKY))
    ranges = np.full(beams.count, np.nan, np.float32)
    ranges[beams.index[seen]] = np.inf
    distance = depth[obstacle] * beams.stretch[obstacle]
    np.fmin.at(ranges, beams.index[obstacle], distance)
    ranges[ranges > range_max] = np.inf
    return ranges
