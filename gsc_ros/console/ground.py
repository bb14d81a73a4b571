"""
The ground in the image: where a click leads, and where the robot will be, by decoded depth.

Camera frame as in REP 103 for optical frames: x right, y down, z ahead, metres. A plane is
``n . P = h``: n the unit normal, downwards; h the height of the camera above it. For pixels (u, v)
of a plane 1/z is linear in them (projective geometry of a pinhole), so that a plane is fitted to
the inverse depth, whose errors are more even than those of depth. The robot's frame lies below the
camera on that plane: x ahead, along the camera's view, y to the left.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS

GROUND = tuple(LABELS.index(name) for name in ('road', 'sidewalk', 'terrain'))
LEAST_TRUST = 128  # a probability of 0.5
_SAMPLES, _LEAST_SAMPLES = 3000, 60
_ROUNDS = 4
_TILT = 0.7  # least cosine between the normal and straight down in the image
_HEIGHT_M = 0.03, 30.0
_PATCH = 2  # pixels to each side
_ABOVE_M, _ABOVE_SHARE = 0.25, 0.15  # of a point above the plane, at least and of its distance
_LEAST_AHEAD_M = 0.1


class NoGround(ValueError):
    """A click that leads nowhere, and why."""


@dataclass(frozen=True)
class Plane:
    """The ground: unit normal (3,), downwards, and the height of the camera, m."""

    normal: NDArray[np.float64]
    height: float

    @property
    def ahead(self) -> NDArray[np.float64]:
        """The direction of view along the ground, (3,)."""
        z = np.array([0.0, 0.0, 1.0])
        along = z - self.normal * float(self.normal[2])
        return along / float(np.linalg.norm(along))

    @property
    def left(self) -> NDArray[np.float64]:
        """The direction to the left along the ground, (3,)."""
        return np.cross(-self.normal, self.ahead)


def fit(
    depth: NDArray[np.float32],
    classes: NDArray[np.uint8] | None,
    k: NDArray[np.float64],
    rays: NDArray[np.float32] | None = None,
) -> Plane | None:
    """
    Fit the ground to depth (H, W), m, where the classes (H, W) are ground.

    k: the camera matrix (3, 3) of the depth's pixels; rays: x and y over z of each pixel
    (H, W, 2), of a lens with distortion, in its place. None where there is no such plane. Without
    classes the lower third of the image is taken.
    """
    usable = np.isfinite(depth) & (depth > 0)
    if classes is not None:
        usable &= np.isin(classes, GROUND)
    else:
        usable[: 2 * len(depth) // 3] = False
    v, u = np.nonzero(usable)
    if len(u) < _LEAST_SAMPLES:
        return None
    every = max(1, len(u) // _SAMPLES)
    v, u = v[::every], u[::every]
    pixels = np.ones((len(u), 3))
    pixels[:, :2] = np.stack([u, v], axis=1) if rays is None else rays[v, u]
    inverse = 1.0 / depth[v, u].astype(np.float64)
    keep = np.ones(len(u), bool)
    for _ in range(_ROUNDS):  # without what stands on it
        solved, *_rest = np.linalg.lstsq(pixels[keep], inverse[keep], rcond=None)
        errors = np.abs(pixels @ solved - inverse)
        limit = 2.5 * float(np.median(errors[keep])) + 1e-9
        keep = errors <= limit
        if keep.sum() < _LEAST_SAMPLES:
            return None
    scaled = np.asarray(solved if rays is not None else k.T @ solved, np.float64)  # n / h
    size = float(np.linalg.norm(scaled))
    if not np.isfinite(size) or size == 0:
        return None
    plane = Plane(scaled / size, 1.0 / size)
    good = plane.normal[1] >= _TILT and _HEIGHT_M[0] <= plane.height <= _HEIGHT_M[1]
    return plane if good else None


def point(
    share: tuple[float, float],
    depth: NDArray[np.float32],
    trust: NDArray[np.uint8] | None,
    classes: NDArray[np.uint8] | None,
    k: NDArray[np.float64],
    plane: Plane | None,
    rays: NDArray[np.float32] | None = None,
) -> tuple[float, float]:
    """
    Return where a click leads: m ahead and to the left of the robot, when the image was taken.

    share: of the image's width and height, 0..1; the maps (H, W) are those of the image; k, rays:
    as of :func:`fit`. Raises :class:`NoGround` with the reason.
    """
    height, width = depth.shape
    u = min(int(share[0] * width), width - 1)
    v = min(int(share[1] * height), height - 1)
    rows = slice(max(0, v - _PATCH), v + _PATCH + 1)
    columns = slice(max(0, u - _PATCH), u + _PATCH + 1)
    if trust is None or trust[rows, columns].min() < LEAST_TRUST:
        raise NoGround('the image is not to be trusted there')
    if classes is not None and classes[v, u] not in GROUND:
        name = LABELS[classes[v, u]] if classes[v, u] < len(LABELS) else 'not known'
        raise NoGround(f'no ground there: the class is {name}')
    patch = depth[rows, columns]
    known = patch[np.isfinite(patch)]
    if 2 * known.size < patch.size:
        raise NoGround('the depth there is not known')
    if plane is None:
        raise NoGround('no ground is found in this image')
    if rays is None:
        ray = np.linalg.solve(k, np.array([u + 0.0, v + 0.0, 1.0]))
    else:
        ray = np.array([*rays[v, u], 1.0], np.float64)
    place = float(np.median(known)) * ray
    above = plane.height - float(plane.normal @ place)
    if abs(above) > max(_ABOVE_M, _ABOVE_SHARE * float(place[2])):
        raise NoGround(f'that point is {above:.1f} m above the ground')
    return float(plane.ahead @ place), float(plane.left @ place)


Told = tuple[float, float, float]  # when (s), m/s ahead, rad/s to the left


def predict(
    told: Sequence[Told], begin: float, end: float, delay_s: float, hold_s: float = 1.0
) -> list[tuple[float, float]]:
    """
    Return the way of the robot from ``begin`` to ``end`` (s): m ahead and left of where it began.

    What was told acts ``delay_s`` later, until the next or for ``hold_s``, as the robot stops then
    by itself. A unicycle in steps along arcs.
    """
    x = y = heading = 0.0
    way = [(0.0, 0.0)]
    for i, (at, speed, turn) in enumerate(told):
        start = at + delay_s
        stop = told[i + 1][0] + delay_s if i + 1 < len(told) else math.inf
        start, stop = max(start, begin), min(stop, start + hold_s, end)
        if stop <= start or not (speed or turn):
            continue
        steps = max(1, math.ceil((stop - start) / 0.1))
        step = (stop - start) / steps
        for _ in range(steps):
            middle = heading + turn * step / 2
            x, y = x + speed * step * math.cos(middle), y + speed * step * math.sin(middle)
            heading += turn * step
            way.append((x, y))
    return way


def drawn(
    way: Iterable[tuple[float, float]], plane: Plane, k: NDArray[np.float64], size: tuple[int, int]
) -> list[tuple[float, float]]:
    """Return a way on the ground in shares of an image of a size (W, H), as far as it is ahead."""
    points = []
    for x, y in way:
        place = x * plane.ahead + y * plane.left + plane.height * plane.normal
        if place[2] > _LEAST_AHEAD_M:
            u, v, w = k @ place
            points.append((float(u / w) / size[0], float(v / w) / size[1]))
    return points
