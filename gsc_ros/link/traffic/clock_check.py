"""Whether the clocks of both ends can be right, from the ages of frames on arrival."""

from collections import deque

_WINDOW_S = 10.0
_FUTURE_S = 0.5
_OLD_S = 5.0
REMEDY = 'set both clocks right (NTP, PTP or GPS)'


class ClockCheck:
    """
    Compares the ages of frames with what the link takes.

    The least age of the last seconds counts: frames may wait on their way, but none comes early.
    ``one_clock``: both ends have one, so that only the camera's can differ.
    """

    def __init__(self, one_clock: bool = False) -> None:
        self._one_clock = one_clock
        self._ages: deque[tuple[float, float]] = deque()  # when, and age beyond the link's, s

    def clear(self) -> None:
        """Begin anew, as with another robot."""
        self._ages.clear()

    def on_frame(self, now: float, age_s: float, link_s: float) -> None:
        """Note a frame's age on arrival by both clocks, and how long the link took for it, s."""
        self._ages.append((now, age_s - link_s))
        while self._ages[0][0] < now - _WINDOW_S:
            self._ages.popleft()

    @property
    def trouble(self) -> str:
        """How the clocks of both ends differ, and the remedy; empty when they may be right."""
        least_s = min((age for _, age in self._ages), default=0.0)
        if least_s < -_FUTURE_S:
            ahead = f'images come from {-least_s:.1f} s ahead'
            if self._one_clock:
                return f"{ahead}: the camera's clock differs; set it right (NTP, PTP or GPS)"
            return f'{ahead}: the clocks of both ends differ; {REMEDY}'
        if least_s > _OLD_S and self._one_clock:
            return (
                f'images are {least_s:.1f} s older than the link makes them: the camera stamps '
                'late, or its clock differs; set it right (NTP, PTP or GPS)'
            )
        if least_s > _OLD_S:
            return (
                f'images are {least_s:.1f} s older than the link makes them: the clocks of both '
                f'ends differ, or the camera stamps late; {REMEDY}'
            )
        return ''
