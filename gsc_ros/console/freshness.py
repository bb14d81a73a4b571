"""
How old the image on screen is, of what that age is made, and when it is too old to drive by.

Ages are in s. The age of an image is the time since the robot took it, by its stamp. A robot whose
clock is ahead would make its images look young, so that the age is never taken to be less than the
time since the image came and the link's delay.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

_INTERVALS = 9
_LONGEST_INTERVAL_S = 60.0  # an outage does not count as the usual time between images
_MARGIN = 1.5
_FUTURE_S = 0.5


@dataclass(frozen=True)
class Link:
    """
    What the link states of a frame's way: one-way delay (s), rate (bit/s), age of the queue (s).

    ``processing_s``: time that encoder and decoder state for a frame, as far as it is known.
    """

    delay_s: float = 0.0
    rate_bps: float = 0.0
    queue_s: float = 0.0
    processing_s: float = 0.0


@dataclass(frozen=True)
class Age:
    """
    The age of the image on screen: its parts, and when it is too old.

    age_s: NaN before the first image; light_s: the link's delay; queue_s: age of the frame that
    waits for the air; rest_s: everything else (air, coding, waiting on screen); limit_s: the age
    from which it is stale; reason: why nobody may drive by the image, empty where one may.
    """

    age_s: float
    light_s: float
    queue_s: float
    rest_s: float
    limit_s: float
    reason: str

    @property
    def stale(self) -> bool:
        """Whether the image is too old, or its age is not known."""
        return bool(self.reason)


class Freshness:
    """
    Follows the images that are shown.

    ``stamp_s``: of the image on screen (s since 1970), None before the first.
    ``stale_after_s``: the age from which an image is stale; 0: half as much again as the delay,
    two times of a frame and the time of coding, as an image becomes so old before the next one
    comes (docs/link.md, "The sender").
    """

    def __init__(self, stale_after_s: float = 0.0) -> None:
        self.stale_after_s = stale_after_s
        self.stamp_s: float | None = None
        self._came_s = self._unchanged_s = 0.0
        self._bytes = 0
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    def on_image(self, stamp_s: float, now_s: float, unchanged_s: float = 0.0) -> None:
        """
        Note that an image is shown: its stamp (s since 1970) and the time now (s, steady).

        ``unchanged_s``: for how long no pixel had changed at the robot when it was taken.
        """
        if self.stamp_s is not None and now_s > self._came_s:
            self._intervals.append(min(now_s - self._came_s, _LONGEST_INTERVAL_S))
        self.stamp_s, self._came_s, self._unchanged_s = stamp_s, now_s, unchanged_s

    def on_frame(self, size: int) -> None:
        """Note the bytes of the last frame that came."""
        self._bytes = size

    def frame_s(self, link: Link) -> float:
        """Return the usual time from one image to the next, s: on air at least."""
        air_s = 8 * self._bytes / link.rate_bps if link.rate_bps > 0 else 0.0
        return max(air_s, median(self._intervals) if self._intervals else 0.0)

    def limit_s(self, link: Link) -> float:
        """Return the age from which an image is stale, s."""
        if self.stale_after_s > 0:
            return self.stale_after_s
        return _MARGIN * (link.delay_s + 2 * self.frame_s(link) + link.processing_s)

    def age(self, clock_s: float, now_s: float, link: Link) -> Age:
        """Return the age by the clock of stamps (s since 1970) and a steady one (s)."""
        limit_s = self.limit_s(link)
        if self.stamp_s is None:
            nan = math.nan
            return Age(nan, link.delay_s, link.queue_s, nan, limit_s, 'no image has come yet')
        by_stamp_s = clock_s - self.stamp_s
        shown_s = max(0.0, now_s - self._came_s)
        age_s = max(by_stamp_s, shown_s + link.delay_s) + self._unchanged_s
        reason = ''
        if by_stamp_s < -_FUTURE_S:
            reason = f'the image is stamped {-by_stamp_s:.1f} s in the future: set the clocks'
        elif not age_s <= limit_s:
            reason = f'the image is {age_s:.1f} s old, the limit is {limit_s:.1f} s'
        rest_s = max(0.0, age_s - link.delay_s - link.queue_s)
        return Age(age_s, link.delay_s, link.queue_s, rest_s, limit_s, reason)
