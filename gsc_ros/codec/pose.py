"""
The pose of the camera at an image's stamp, in ten or twelve bytes: the content of a POSE section.

Big-endian, one integer of 80 or 96 bits, highest part first::

    2 bits             accuracy
    31 bits            orientation: one of 4 x 812 x 812 x 812
    17, 17 and 13 bits x, y, z in steps of 2 cm, offset binary (10 bytes)
    21 bits each       x, y, z in the same steps (12 bytes)

The short form reaches 1310 m in x and y and 81 m in z, the long one 20.9 km in all three. A
section has two bytes beside its content, so that a pose takes 12 bytes on air near the origin of
the odometry, and 14 far from it.

A pose is absolute in delta frames, too: against that of the reference it would take three bytes
less, one in a hundred of a frame, and a pose would be void where its reference is.

The orientation is a unit quaternion, its greatest component left out, as it is in *smallest
three*. The other three are kept as the arc tangent of their ratio to it, -45 to 45 degrees, in
812 equal steps, as on an equiangular cube (Ronchi, Iacono and Paolucci 1996, there of a
sphere). Equal steps of the components themselves would need 34 bits for the same error.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

from gsc_ros.transforms import Quaternion, Transform

STEP_M = 0.02
ANGLE_STEPS = 812
MAX_ERROR_M = STEP_M / 2  # of each coordinate
MAX_ERROR_RAD = math.radians(0.2)  # of the orientation
MOST_M = 20900.0
SHORT_BYTES, LONG_BYTES = 10, 12
SECTION_BYTES = LONG_BYTES + 2  # of a section at most
_ACCURACY_BITS, _ORIENTATION_BITS = 2, 31
_BITS = {SHORT_BYTES: (17, 17, 13), LONG_BYTES: (21, 21, 21)}


class Accuracy(IntEnum):
    """
    How well the robot knows its pose, by the standard deviations that it states.

    ``FINE``: up to 0.1 m and 2 degrees; ``FAIR``: up to 1 m and 10 degrees; ``POOR``: more;
    ``UNKNOWN``: it states none.
    """

    UNKNOWN = 0
    FINE = 1
    FAIR = 2
    POOR = 3

    @property
    def deviations(self) -> tuple[float, float]:
        """Standard deviations in m and rad that stand for it; zeros where it is unknown."""
        return _DEVIATIONS[self]


_DEVIATIONS = {
    Accuracy.UNKNOWN: (0.0, 0.0),
    Accuracy.FINE: (0.1, math.radians(2)),
    Accuracy.FAIR: (1.0, math.radians(10)),
    Accuracy.POOR: (10.0, math.radians(45)),
}


def accuracy_of(position_m: float, angle_rad: float) -> Accuracy:
    """Return the accuracy of standard deviations in m and rad; zeros and NaN are unknown."""
    if not (position_m > 0 or angle_rad > 0):
        return Accuracy.UNKNOWN
    for one in (Accuracy.FINE, Accuracy.FAIR):
        if position_m <= one.deviations[0] and angle_rad <= one.deviations[1]:
            return one
    return Accuracy.POOR


@dataclass(frozen=True)
class Pose:
    """Where the camera's optical frame is in the robot's odometry frame, and how well known."""

    transform: Transform
    accuracy: Accuracy = Accuracy.UNKNOWN

    def pack(self) -> bytes:
        """Return 10 or 12 bytes; raises ``ValueError`` for a position beyond 20.9 km."""
        if max(map(abs, self.transform.position)) > MOST_M:
            raise ValueError(
                f'a position of {self.transform.position} m cannot be sent: it is over '
                f'{MOST_M:.0f} m from the origin of the odometry'
            )
        steps = [round(x / STEP_M) for x in self.transform.position]
        size = SHORT_BYTES if _fits(steps, _BITS[SHORT_BYTES]) else LONG_BYTES
        packed = int(self.accuracy) << _ORIENTATION_BITS | _pack(self.transform.orientation)
        for step, bits in zip(steps, _BITS[size], strict=True):
            packed = packed << bits | (step + (1 << bits - 1))
        return packed.to_bytes(size, 'big')

    @classmethod
    def unpack(cls, data: bytes) -> 'Pose':
        """Read a pose; raises ``ValueError`` for anything else."""
        if len(data) not in _BITS:
            raise ValueError(f'{len(data)} bytes are no pose: it has 10 or 12')
        packed = int.from_bytes(data, 'big')
        position = []
        for bits in reversed(_BITS[len(data)]):
            packed, value = packed >> bits, packed & ((1 << bits) - 1)
            position.append(STEP_M * (value - (1 << bits - 1)))
        orientation = packed & ((1 << _ORIENTATION_BITS) - 1)
        z, y, x = position
        if max(map(abs, position)) > MOST_M:
            raise ValueError(f'not a pose: {(x, y, z)} m is over {MOST_M:.0f} m from the origin')
        transform = Transform((x, y, z), _unpack(orientation))
        return cls(transform, Accuracy(packed >> _ORIENTATION_BITS))


def _fits(steps: list[int], bits: tuple[int, ...]) -> bool:
    return all(-(1 << b - 1) <= step < 1 << b - 1 for step, b in zip(steps, bits, strict=True))


def _pack(orientation: Quaternion) -> int:
    """Return the number of the cell of an orientation, below 4 * 812 ** 3."""
    greatest = max(range(4), key=lambda i: abs(orientation[i]))
    packed = greatest
    for index, component in enumerate(orientation):
        if index != greatest:
            angle = math.atan(component / orientation[greatest])  # -q is the same as q
            share = angle / (math.pi / 2) + 0.5
            packed = packed * ANGLE_STEPS + min(int(share * ANGLE_STEPS), ANGLE_STEPS - 1)
    return packed


def _unpack(packed: int) -> Quaternion:
    """Return the middle of a cell; raises ``ValueError`` where there is none of that number."""
    cells = []
    for _ in range(3):
        packed, cell = divmod(packed, ANGLE_STEPS)
        cells.append(cell)
    if packed > 3:
        raise ValueError('not a pose: its orientation is out of range')
    ratios = [math.tan(((cell + 0.5) / ANGLE_STEPS - 0.5) * math.pi / 2) for cell in cells[::-1]]
    ratios.insert(packed, 1.0)
    length = math.sqrt(sum(r * r for r in ratios))
    x, y, z, w = (r / length for r in ratios)
    return x, y, z, w
