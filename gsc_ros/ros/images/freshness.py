"""Whether images are current: stamps against two clocks, pixels against those before."""

import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import ROSClock
from sensor_msgs.msg import CompressedImage, Image

from gsc_ros.codec.notes import NO_STAMP_S, Timing
from gsc_ros.ros import convert
from gsc_ros.ros.diagnostics import Troubles
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.parameters import Parameters, parameter

_WINDOW_S = 60.0  # in which the promptest image shows what the others could do
_STILL_S = 1.0  # a stamp that is repeated for less is a double
_AHEAD_S = 1.0  # that stamps may lie in the future
_STEP_S = 1.0  # between the clocks: one was set
_SAMPLED = 997  # one byte of so many: two live images differ in some of them


@dataclass(frozen=True)
class FreshnessParameters(Parameters):
    """Parameters of the checks of stamps and pixels."""

    image_max_age_s: float = parameter(
        5.0,
        'Greatest age of an image by its stamp on arrival; one that is older, or over 1 s in the '
        'future, has a bad stamp; 0: any stamp is good',
        0.0,
        1e9,
    )
    distrust_stamps: bool = parameter(
        True, 'Send no objects, classes and depth of images with bad stamps'
    )
    frozen_after_s: float = parameter(
        5.0, 'Time without a changed pixel after which robot and ground warn; 0: never', 0.0, 1e9
    )


class Stamps:
    """
    Follows the stamps of images in the order in which they come.

    An image is late by the node's clock, which may be set, and by the time of arrival, which is
    not: then it comes later after its stamp than others did within a minute.
    """

    def __init__(self) -> None:
        self._stamp = self._since = self._apart = float('nan')
        self._lags: deque[tuple[float, float]] = deque()  # arrival, arrival - stamp

    def check(
        self, stamp_s: float, clock_s: float, arrival_s: float, most_s: float
    ) -> tuple[float, float]:
        """
        Return how old an image is and for how long its stamp stands still, 0 where all is right.

        ``clock_s``: the node's clock; ``arrival_s``: a steady one; ``most_s``: seconds that an
        image may be old, 0 for any. Of an image in the future the age is negative.
        """
        if stamp_s != self._stamp:
            self._stamp, self._since = stamp_s, arrival_s
        still_s = arrival_s - self._since
        apart = clock_s - arrival_s
        if not abs(apart - self._apart) <= _STEP_S:
            self._lags.clear()
        self._apart = apart
        while self._lags and self._lags[0][0] < arrival_s - _WINDOW_S:
            self._lags.popleft()
        if not most_s:
            return 0.0, 0.0
        off_s = clock_s - stamp_s
        if -_AHEAD_S <= off_s <= most_s:  # those of a wrong clock are nothing to compare with
            self._lags.append((arrival_s, arrival_s - stamp_s))
            late_s = self._lags[-1][1] - min(lag for _, lag in self._lags)
            off_s = late_s if late_s > most_s else 0.0
        return off_s, still_s if still_s >= _STILL_S else 0.0


class Pixels:
    """Measures for how long the bytes of images have been the same."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None
        self._since = 0.0

    def unchanged_s(self, data: NDArray[np.uint8], now: float) -> float:
        """Return for how long images have been ``data``, uint8 (n,), which is kept, at ``now``."""
        before, self._before = self._before, data
        same = (
            before is not None
            and before.size == data.size
            and np.array_equal(before[::_SAMPLED], data[::_SAMPLED])
            and np.array_equal(before, data)
        )
        if not same or now < self._since:
            self._since = now
        return now - self._since


class Arrived(NamedTuple):
    """An image, when it came, how old it was and for how long its stamp had stood still, s."""

    message: Image | CompressedImage
    at_s: float
    off_s: float
    still_s: float


def _off(off_s: float) -> str:
    """Return what is wrong with images that are ``off_s`` old by their stamps; nothing for 0."""
    if off_s >= NO_STAMP_S:
        return 'images have no stamp: the camera sets no stamp, set it to the time of exposure'
    if off_s > 0:
        return (
            f'images are {off_s:.1f} s old by their stamps: does the camera set them, by a right '
            'clock? A bag is played with --clock, the nodes run with use_sim_time'
        )
    if off_s < 0:
        return (
            f'images are stamped {-off_s:.1f} s in the future: the clocks of camera and robot '
            'differ, or a bag is played and the nodes run without use_sim_time'
        )
    return ''


class Freshness:
    """Compares images with a node's clock and their time of arrival, and reports what is wrong."""

    def __init__(self, node: GscNode, troubles: Troubles) -> None:
        self._node, self._troubles = node, troubles
        self._stamps, self._pixels = Stamps(), Pixels()
        self._bad_stamps, self._unchanged_s = 0, 0.0

    def arrived(self, message: Image | CompressedImage) -> Arrived:
        """Check the stamp of an image that has just come."""
        clock = self._node.get_clock()
        clock_s = 1e-9 * clock.now().nanoseconds
        simulated = isinstance(clock, ROSClock) and clock.ros_time_is_active
        at_s = clock_s if simulated else time.monotonic()
        stamp_s = convert.seconds(message.header.stamp)
        off_s, still_s = self._stamps.check(
            stamp_s, clock_s, at_s, self._node.values.image_max_age_s
        )
        if off_s and not stamp_s:
            off_s = NO_STAMP_S
        self._troubles.note('off', _off(off_s))
        still = f'stamps stand still for {still_s:.1f} s: the camera repeats an image'
        self._troubles.note('still', still if still_s and stamp_s else '')
        self._bad_stamps += bool(off_s or still_s)
        return Arrived(message, at_s, off_s, still_s)

    def timing(self, image: Arrived) -> Timing:
        """Return the timing of an image, for the ground; off the executor's thread."""
        values, data = self._node.values, np.frombuffer(image.message.data, np.uint8)
        self._unchanged_s = self._pixels.unchanged_s(data, image.at_s)
        frozen_s, frozen = 0.0, ''
        if 0 < values.frozen_after_s <= self._unchanged_s:
            frozen_s = self._unchanged_s
            frozen = (
                f'no pixel has changed for {frozen_s:.1f} s: has the camera frozen? A still image '
                'or a simulated scene without noise looks the same'
            )
        self._troubles.note('frozen', frozen)
        if not values.distrust_stamps:
            return Timing(frozen_s=frozen_s)
        return Timing(image.off_s, image.still_s, frozen_s)

    def figures(self) -> dict[str, object]:
        """Return figures, as fields of EncoderStatus."""
        return {'images_bad_stamp': self._bad_stamps, 'unchanged_s': self._unchanged_s}
