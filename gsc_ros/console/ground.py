"""
The ground in the image: where a click leads, and where the robot will be, by decoded depth.

Camera frame as in REP 103 for optical frames: x right, y down, z ahead, metres. A plane is
``n . P = h``: n the unit normal, downwards; h the height of the camera above it. For pixels (u, v)
of a plane 1/z is linear in them (projective geometry of a pinhole), so that a plane is fitted to
the inverse depth, whose errors are more even than those of depth. The robot's frame lies on that
plane, x ahead and y to the left: where the camera's mount states, else below the camera, which
then is taken to look straight ahead.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS
from gsc_ros.transforms import Transform

GROUND = tuple(LABELS.index(name) for name in ('road', 'sidewalk', 'terrain'))
LEAST_TRUST = 0.5  # the probability that a pixel is right
_SAMPLES, _LEAST_SAMPLES = 3000, 60
_ROUNDS = 4
_TILT = 0.7  # least cosine between the normal and straight down
_UPRIGHT = np.array([0.0, 1.0, 0.0])  # down, for a camera of which nothing is known
_LEAST_ALONG = 0.2  # of a direction's length along the ground
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

    def along(self, direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a direction (3,) as it lies on the ground; raises :class:`NoGround`."""
        lying = direction - self.normal * float(self.normal @ direction)
        length = float(np.linalg.norm(lying))
        if length < _LEAST_ALONG:
            raise NoGround('the camera, or the robot by its mount, faces the ground')
        return np.asarray(lying / length, np.float64)


@dataclass(frozen=True)
class Footing:
    """
    The robot's frame on the ground, in that of the camera: ``origin`` (3,), m, and the directions
    ``ahead`` and ``left``, (3,).
    """

    origin: NDArray[np.float64]
    ahead: NDArray[np.float64]
    left: NDArray[np.float64]

    @classmethod
    def of(cls, plane: Plane, mount: Transform | None = None, ahead_m: float = 0.0) -> 'Footing':
        """
        Find it on a plane.

        mount: where the camera's optical frame is in the robot's; None: it looks straight ahead,
        ahead_m in front of the origin. Raises :class:`NoGround`.
        """
        if mount is None:
            ahead = plane.along(np.array([0.0, 0.0, 1.0]))
            origin = plane.height * plane.normal - ahead_m * ahead
        else:
            robot = mount.inverse
            ahead = plane.along(robot.rotation[:, 0])
            base = np.asarray(robot.position, np.float64)
            origin = base + (plane.height - float(plane.normal @ base)) * plane.normal
        return cls(origin, ahead, np.cross(-plane.normal, ahead))


def fit(
    depth: NDArray[np.float32],
    classes: NDArray[np.uint8] | None,
    k: NDArray[np.float64],
    rays: NDArray[np.float32] | None = None,
    mount: Transform | None = None,
) -> Plane | None:
    """
    Fit the ground to depth (H, W), m, where the classes (H, W) are ground.

    k: the camera matrix (3, 3) of the depth's pixels; rays: x and y over z of each pixel
    (H, W, 2), of a lens with distortion, in its place; mount: where the camera is on the robot,
    by which it may look down steeply. None where there is no such plane. Without classes the lower
    third of the image is taken.
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
    down = _UPRIGHT if mount is None else -mount.inverse.rotation[:, 2]
    good = plane.normal @ down >= _TILT and _HEIGHT_M[0] <= plane.height <= _HEIGHT_M[1]
    return plane if good else None


def point(
    share: tuple[float, float],
    depth: NDArray[np.float32],
    trust: NDArray[np.uint8] | None,
    classes: NDArray[np.uint8] | None,
    k: NDArray[np.float64],
    plane: Plane | None,
    rays: NDArray[np.float32] | None = None,
    footing: Footing | None = None,
    least_trust: float = LEAST_TRUST,
) -> tuple[float, float]:
    """
    Return where a click leads: m ahead and to the left of the robot, when the image was taken.

    share: of the image's width and height, 0..1; the maps (H, W) are those of the image; k, rays:
    as of :func:`fit`; footing: the robot on the plane, None: below the camera. least_trust: that
    the pixel has to have, 0..1; with 0 trust is not needed. Raises :class:`NoGround` with the
    reason.
    """
    height, width = depth.shape
    u = min(int(share[0] * width), width - 1)
    v = min(int(share[1] * height), height - 1)
    rows = slice(max(0, v - _PATCH), v + _PATCH + 1)
    columns = slice(max(0, u - _PATCH), u + _PATCH + 1)
    if least_trust > 0:
        if trust is None:
            raise NoGround('the trust of this image is not known, so that it is not trusted')
        sure = int(trust[rows, columns].min()) / 255
        if sure < least_trust:
            raise NoGround(
                f'the image is right there with a probability of {sure:.0%} only, and a goal '
                f'needs {least_trust:.0%} (goal_trust)'
            )
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
    footing = footing or Footing.of(plane)
    way = place - footing.origin
    return float(footing.ahead @ way), float(footing.left @ way)


Command = tuple[float, float, float]  # when (s), m/s ahead, rad/s to the left


def predict(
    commands: Sequence[Command], begin: float, end: float, delay_s: float, hold_s: float = 1.0
) -> list[tuple[float, float]]:
    """
    Return the way of the robot from ``begin`` to ``end`` (s): m ahead and left of where it began.

    A command acts ``delay_s`` later, until the next or for ``hold_s``, as the robot stops then
    by itself. A unicycle in steps along arcs.
    """
    x = y = heading = 0.0
    way = [(0.0, 0.0)]
    for i, (at, speed, turn) in enumerate(commands):
        start = at + delay_s
        stop = commands[i + 1][0] + delay_s if i + 1 < len(commands) else math.inf
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
    way: Iterable[tuple[float, float]],
    footing: Footing,
    k: NDArray[np.float64],
    size: tuple[int, int],
) -> list[tuple[float, float]]:
    """Return a way on the ground in shares of an image of a size (W, H), as far as it is ahead."""
    points = []
    for x, y in way:
        place = footing.origin + x * footing.ahead + y * footing.left
        if place[2] > _LEAST_AHEAD_M:
            u, v, w = k @ place
            points.append((float(u / w) / size[0], float(v / w) / size[1]))
    return points
