"""What a depth sensor measured, for the images taken at about the same time: scale and hazards."""

import math

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from gsc_ros.codec.caption import median_depth
from gsc_ros.ros import convert

_KEPT = 64
_SAMPLES = 256  # along a side, that a median is made of
_MAPS, _SIDE = 8, 160  # maps that are kept, and pixels of their longer side at least
_SAME_S = 0.1  # from an image's stamp to that of a map of what it shows


class DepthScale:
    """
    Medians of the last depth images, of any size, and the last few images, thinned.

    ``topic``: where they come, for messages.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # Stamp (s) and metres; immutable, as another thread reads it.
        self._medians: tuple[tuple[float, float], ...] = ()
        self._maps: tuple[tuple[float, str, NDArray[np.float32]], ...] = ()  # and frame_id
        self.unused = ''
        """Why the last image had no scale of a sensor."""

    def add(self, message: Image) -> None:
        """Take a depth image; raises ``ValueError`` as :func:`convert.to_metres`."""
        metres = convert.to_metres(message)
        rows, columns = (max(1, side // _SAMPLES) for side in metres.shape)
        median = median_depth(metres[::rows, ::columns])
        newest = convert.seconds(message.header.stamp), median
        self._medians = (*self._medians, newest)[-_KEPT:]
        step = max(1, max(metres.shape) // _SIDE)  # one for both sides: the aspect stays
        seen = newest[0], message.header.frame_id, metres[::step, ::step].copy()
        self._maps = (*self._maps, seen)[-_MAPS:]

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

    def seen_with(self, stamp: float, frame_id: str) -> NDArray[np.float32] | None:
        """
        Return the depth of what an image shows: float32 (h, w) in metres, NaN where unknown.

        None unless a depth image has the frame of the image, as one that is registered to it has,
        and about its stamp (s).
        """
        near = [
            (abs(taken - stamp), metres)
            for taken, frame, metres in self._maps
            if frame and frame == frame_id and abs(taken - stamp) <= _SAME_S
        ]
        return min(near, key=lambda one: one[0])[1] if near else None
