"""How many images are lost between a camera and its subscriber, by those that arrive."""

from collections import deque

import numpy as np

_WINDOW_S = 20.0
_LEAST = 8  # steps between stamps, to see a period
_TOLERANCE = 0.15  # of a period, by which a regular camera's stamps may be off
_REGULAR = 0.93  # share of the images that keep to the period
_SINGLE = 0.08  # share of them that follow the one before at once
_CHANGES = 4  # between lost and not lost: a camera that slows down has one
_RESTART = 1000  # more missing images than this: another publisher
_CLOCK_STEP_S = 1.0  # by which stamps go on further than time does: a clock was set


class Gaps:
    """
    Counts the images that are missing between those that came.

    Most middlewares number what a publisher sends. Images that a relay lost before that, and those
    of other middlewares, show in the stamps of a regular camera: these are whole periods apart.
    Stamps that go on further than time did meanwhile are those of a clock that was set.
    """

    def __init__(self) -> None:
        self._came: deque[tuple[float, float, int]] = deque()  # when, stamp, numbers passed over
        self._number: int | None = None

    def note(self, now: float, stamp: float, number: int | None = None) -> None:
        """Note an image at ``now``, taken at ``stamp`` (s), the ``number``-th of its publisher."""
        missing = 0
        if number is not None and self._number is not None:
            missing = number - self._number - 1
            if not 0 <= missing < _RESTART:
                missing = 0
        self._number = number
        self._came.append((now, stamp, missing))
        self._trim(now)

    def lost(self, now: float) -> tuple[int, int]:
        """Return how many images were lost, and of how many, in the last twenty seconds."""
        self._trim(now)
        if not self._came:
            return 0, 0
        came, stamps, missing = map(np.array, zip(*self._came, strict=True))
        lost = max(int(missing[1:].sum()), _between(_steps(came, stamps)))
        return lost, len(self._came) + lost

    def _trim(self, now: float) -> None:
        while self._came and not now - _WINDOW_S <= self._came[0][0] <= now:
            self._came.popleft()


def _steps(came: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Return the steps between stamps (s) in which no clock was set, by when they ``came`` (s)."""
    steps, waits = np.diff(stamps), np.diff(came)
    forward = steps > 0
    if not forward.any():
        return steps[forward]
    # A recording may be played faster.
    pace = max(1.0, np.median(steps[forward]) / max(np.median(waits[forward]), 1e-3))
    return steps[forward & (steps <= pace * waits + _CLOCK_STEP_S)]


def _between(steps: np.ndarray) -> int:
    """Count the images missing in steps of stamps (s) of a regular camera; 0 for another."""
    if steps.size < _LEAST:
        return 0
    shortest = np.quantile(steps, _SINGLE / 2)
    period = np.median(steps[steps < 1.5 * shortest])
    for _ in range(2):  # longer steps are more exact
        periods = np.maximum(1, np.round(steps / period))
        near = periods <= 4
        period = steps[near].sum() / periods[near].sum()
    periods = np.maximum(1, np.round(steps / period))
    regular = np.abs(steps / period - periods) <= _TOLERANCE
    single = periods == 1
    if regular.mean() < _REGULAR or single.mean() < _SINGLE:
        return 0
    if np.count_nonzero(np.diff(single)) < _CHANGES:
        return 0
    return int(periods.sum()) - steps.size
