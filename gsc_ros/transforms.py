"""
Rigid transforms in space and time, as tf2 has them, without ROS.

A :class:`TransformBuffer` keeps what was published of frames and interpolates between two stamps,
so that an image finds where its camera was when it was taken.
"""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]  # x, y, z, w

_DEPTH = 64  # of a chain of frames
_MOST = 16384  # transforms of a frame
_NEARLY = 0.9995  # cosine from which quaternions are interpolated linearly


@dataclass(frozen=True)
class Transform:
    """
    Where a frame is in another: ``position`` in m, ``orientation`` as a unit quaternion x, y, z,
    w.

    A point p of the frame is at ``R(orientation) p + position`` in the other.
    """

    position: Vector = (0.0, 0.0, 0.0)
    orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        """Normalise the quaternion; raises ``ValueError`` for numbers that are no transform."""
        numbers = (*self.position, *self.orientation)
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f'a transform needs finite numbers, got {numbers}')
        length = math.sqrt(sum(x * x for x in self.orientation))
        if length < 1e-6:
            raise ValueError('a quaternion of zeros is no orientation')
        object.__setattr__(self, 'orientation', tuple(x / length for x in self.orientation))

    def __matmul__(self, other: 'Transform') -> 'Transform':
        """Return where the other's frame is, whose parent is this one's frame."""
        moved = self.rotation @ other.position + self.position
        return Transform(_vector(moved), _product(self.orientation, other.orientation))

    @property
    def inverse(self) -> 'Transform':
        """The transform the other way."""
        x, y, z, w = self.orientation
        back = -(self.rotation.T @ self.position)
        return Transform(_vector(back), (-x, -y, -z, w))

    @property
    def rotation(self) -> NDArray[np.float64]:
        """The rotation matrix (3, 3)."""
        x, y, z, w = self.orientation
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    def apply(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points (..., 3) of the frame in the other one."""
        return np.asarray(points, np.float64) @ self.rotation.T + self.position

    def angle_to(self, other: 'Transform') -> float:
        """Angle of the rotation from this orientation to another, 0..pi rad."""
        x, y, z, w = _product(_conjugate(self.orientation), other.orientation)
        return 2 * math.atan2(math.sqrt(x * x + y * y + z * z), abs(w))

    def distance_to(self, other: 'Transform') -> float:
        """Distance between both positions, m."""
        return math.dist(self.position, other.position)

    def towards(self, other: 'Transform', share: float) -> 'Transform':
        """Return the transform at a share of the way, 0..1; beyond it goes on at that pace."""
        x, y, z = (a + share * (b - a) for a, b in zip(self.position, other.position, strict=True))
        return Transform((x, y, z), _slerp(self.orientation, other.orientation, share))


IDENTITY = Transform()


def from_euler(position: Vector, roll: float, pitch: float, yaw: float) -> Transform:
    """Return a transform of fixed-axis roll, pitch and yaw in rad (REP 103)."""
    out: Quaternion = (0.0, 0.0, 0.0, 1.0)
    for axis, angle in ((2, yaw), (1, pitch), (0, roll)):
        turn = [0.0, 0.0, 0.0, math.cos(angle / 2)]
        turn[axis] = math.sin(angle / 2)
        out = _product(out, (turn[0], turn[1], turn[2], turn[3]))
    return Transform(position, out)


# Where an optical frame (z ahead, x to the right) is in the body frame of the same camera (x
# ahead, z up): REP 103, "Suffix Frames".
OPTICAL = Transform(orientation=(-0.5, 0.5, -0.5, 0.5))


def scan_frame(camera: str) -> str:
    """Return the name of the frame, x ahead and z up, of scans of a camera's optical frame."""
    return f'{camera}_scan'


def _vector(array: NDArray[np.float64]) -> Vector:
    x, y, z = (float(number) for number in array)
    return x, y, z


def _conjugate(q: Quaternion) -> Quaternion:
    return -q[0], -q[1], -q[2], q[3]


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _slerp(a: Quaternion, b: Quaternion, share: float) -> Quaternion:
    """Interpolate on the shorter arc (Shoemake 1985)."""
    cosine = sum(p * q for p, q in zip(a, b, strict=True))
    if cosine < 0:  # -b is the same orientation
        b, cosine = (-b[0], -b[1], -b[2], -b[3]), -cosine
    if cosine > _NEARLY:
        first, second = 1 - share, share
    else:
        angle = math.acos(cosine)
        first, second = math.sin((1 - share) * angle), math.sin(share * angle)
    x, y, z, w = (first * p + second * q for p, q in zip(a, b, strict=True))
    return x, y, z, w


class _Track:
    """The transforms of one frame in its parent over time, in the order of their stamps."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.stamps: deque[int] = deque()
        self.transforms: deque[Transform] = deque()

    def add(self, stamp_ns: int, transform: Transform, kept_ns: int) -> None:
        if self.stamps and stamp_ns < self.stamps[-1] - kept_ns:
            self.stamps.clear()  # time began anew
            self.transforms.clear()
        at = len(self.stamps)
        while at and self.stamps[at - 1] >= stamp_ns:
            at -= 1
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self.transforms[at] = transform
            return
        self.stamps.insert(at, stamp_ns)
        self.transforms.insert(at, transform)
        while self.stamps[-1] - self.stamps[0] > kept_ns or len(self.stamps) > _MOST:
            self.stamps.popleft()
            self.transforms.popleft()

    def at(self, stamp_ns: int, ahead_ns: int, gap_ns: int) -> Transform:
        """Return the transform at a stamp; raises ``LookupError`` with the reason."""
        index = bisect_left(self.stamps, stamp_ns)
        if index < len(self.stamps) and self.stamps[index] == stamp_ns:
            return self.transforms[index]
        if index == 0:
            raise LookupError(f'the stamp is {(self.stamps[0] - stamp_ns) / 1e9:.3f} s too old')
        if index == len(self.stamps):
            late_ns = stamp_ns - self.stamps[-1]
            if late_ns > ahead_ns:
                raise LookupError(f'the newest transform is {late_ns / 1e9:.3f} s too old')
            if index == 1:
                return self.transforms[0]
            index -= 1
            before = self._base(index, late_ns, gap_ns)
        else:
            before = index - 1
        first, last = self.stamps[before], self.stamps[index]
        if last - first > gap_ns:
            raise LookupError(f'transforms are {(last - first) / 1e9:.3f} s apart')
        share = (stamp_ns - first) / (last - first)
        return self.transforms[before].towards(self.transforms[index], share)

    def _base(self, last: int, late_ns: int, gap_ns: int) -> int:
        """
        Return by which transform the last one is extrapolated.

        As long before it as the stamp is behind it, if there is one: of two that are nearly of
        one time the difference is noise, which would grow without bounds.
        """
        newest = self.stamps[last]
        base = max(0, bisect_right(self.stamps, newest - late_ns) - 1)
        while base < last - 1 and newest - self.stamps[base] > gap_ns:
            base += 1
        return min(base, last - 1)


class TransformBuffer:
    """
    Keeps transforms for ``kept_s`` and finds those between two frames at a stamp.

    Not for several threads at once. Bounded: ``max_frames`` frames, 16384 transforms of each.
    """

    def __init__(self, kept_s: float = 10.0, max_frames: int = 512) -> None:
        self._kept_ns, self._max_frames = round(1e9 * kept_s), max_frames
        self._tracks: dict[str, _Track] = {}
        self._fixed: dict[str, tuple[str, Transform]] = {}

    def add(self, parent: str, child: str, stamp_ns: int, transform: Transform) -> None:
        """Add where ``child`` is in ``parent`` at a stamp (ns)."""
        track = self._tracks.get(child)
        if track is None or track.parent != parent:
            if track is None and len(self._tracks) >= self._max_frames:
                return
            track = self._tracks[child] = _Track(parent)
        track.add(stamp_ns, transform, self._kept_ns)

    def add_fixed(self, parent: str, child: str, transform: Transform) -> None:
        """Add where ``child`` is in ``parent`` at all times."""
        if child in self._fixed or len(self._fixed) < self._max_frames:
            self._fixed[child] = parent, transform

    def find(
        self, target: str, source: str, stamp_ns: int, ahead_s: float = 0.2, gap_s: float = 1.0
    ) -> Transform:
        """
        Return where ``source`` is in ``target`` at a stamp (ns).

        Between two transforms it is interpolated, up to ``ahead_s`` behind the newest one
        extrapolated. Raises ``LookupError`` with the reason where the frames are not connected,
        the stamp lies outside what is kept, or transforms are over ``gap_s`` apart.
        """
        limits = round(1e9 * ahead_s), round(1e9 * gap_s)
        up: dict[str, Transform] = {}
        reason = LookupError(f'frames {target} and {source} are not connected')
        try:
            for frame, transform in self._chain(source, stamp_ns, *limits):
                if frame == target:  # what is above it need not be known
                    return transform
                up[frame] = transform
        except LookupError as error:
            reason = error
        for frame, transform in self._chain(target, stamp_ns, *limits):
            if frame in up:
                return transform.inverse @ up[frame]
        raise reason

    def _chain(
        self, frame: str, stamp_ns: int, ahead_ns: int, gap_ns: int
    ) -> Iterator[tuple[str, Transform]]:
        """Yield the frames above one, and where it is in each."""
        transform = IDENTITY
        yield frame, transform
        for _ in range(_DEPTH):
            if frame in self._fixed:
                parent, step = self._fixed[frame]
            elif frame in self._tracks:
                track = self._tracks[frame]
                parent = track.parent
                try:
                    step = track.at(stamp_ns, ahead_ns, gap_ns)
                except LookupError as error:
                    raise LookupError(f'{parent} to {frame}: {error}') from None
            else:
                return
            transform, frame = step @ transform, parent
            yield frame, transform
