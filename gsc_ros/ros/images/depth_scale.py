"""The scale of a depth sensor's images, for the images taken at about the same time."""

import math

from sensor_msgs.msg import Image

from gsc_ros.codec.caption import median_depth
from gsc_ros.ros import convert

_KEPT = 64
_SAMPLES = 256  # along a side, that a median is made of


class DepthScale:
    """
    Medians of the last depth images: of any size, as only their medians count.

    ``topic``: where they come, for messages.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # Stamp (s) and metres; immutable, as another thread reads it.
        self._medians: tuple[tuple[float, float], ...] = ()
        self.unused = ''
        """Why the last image had no scale of a sensor."""

    def add(self, message: Image) -> None:
        """Take a depth image; raises ``ValueError`` as :func:`convert.to_metres`."""
        metres = convert.to_metres(message)
        rows, columns = (max(1, side // _SAMPLES) for side in metres.shape)
        median = median_depth(metres[::rows, ::columns])
        newest = convert.seconds(message.header.stamp), median
        self._medians = (*self._medians, newest)[-_KEPT:]

    def of(self, stamp: float, max_age_s: float) -> float | None:
        """
        Return the median (m) of the depth image next to a stamp (s).

        None, with the reason in :attr:`unused`, where it is ``max_age_s`` or more apart or has no
        depth at all.
        """
        medians = self._medians
        if not medians:
            self.unused = f'no depth image has come on {self._topic}: is the topic right?'
            return None
        taken, median = min(medians, key=lambda one: abs(one[0] - stamp))
        apart = stamp - taken
        if abs(apart) > max_age_s:
            how = 'older' if apart > 0 else 'newer'
            self.unused = (
                f'the last depth image is {abs(apart):.1f} s {how} than the image '
                f'(depth_max_age_s {max_age_s:g}): has the sensor stopped, and its clock right?'
            )
            return None
        if math.isnan(median):
            self.unused = 'the depth image holds no depth at all'
            return None
        self.unused = ''
        return median
