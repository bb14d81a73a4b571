"""How many commands a robot refuses for their time, by how much, and why that may be."""

from collections import deque
from typing import NamedTuple

from gsc_ros.link.traffic.clock_check import REMEDY

_WINDOW_S = 10.0
_FEW = 3  # commands that networks hold up now and then
_MOST = 0.5  # of the commands


class Lateness(NamedTuple):
    """
    By how much commands are too late.

    late_s: later than the link makes them, s; below 0: ahead. held_up: the monotonic clock
    measured that, so that clocks which differ cannot be the reason.
    """

    late_s: float
    held_up: bool = False

    @property
    def why(self) -> str:
        """The reason in words, with the remedy."""
        if self.held_up:
            return (
                f'they are held up on their way by {self.late_s:.1f} s, by the monotonic clock: '
                'give fewer of them, and see what delays the link'
            )
        if self.late_s < 0:
            return (
                f'their stamps are {-self.late_s:.1f} s ahead: the clocks of both ends differ; '
                f'{REMEDY}'
            )
        return (
            f'they come {self.late_s:.1f} s late by the wall clocks, but not by the monotonic '
            f'one: the clocks of both ends differ, or the way always takes that long; {REMEDY}'
        )


class CommandTimes:
    """Commands of the last seconds that ran, or were refused for their time."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Lateness | None]] = deque()
        self._late = 0  # of these
        self._last: Lateness | None = None

    def clear(self) -> None:
        """Begin anew."""
        self._recent.clear()
        self._late, self._last = 0, None

    def add(self, at_s: float, lateness: Lateness | None) -> None:
        """Note a command at a time (s, monotonic): refused for its lateness; None: it is not."""
        self._recent.append((at_s, lateness))
        if lateness is not None:
            self._late, self._last = self._late + 1, lateness
        self._trim(at_s)

    def refused(self, now_s: float) -> tuple[int, int, Lateness] | None:
        """
        Return how many commands were refused for their time, of how many, and the last lateness.

        None where they are few or not most of the commands.
        """
        self._trim(now_s)
        late, of = self._late, len(self._recent)
        if self._last is None or late < _FEW or late <= _MOST * of:
            return None
        return late, of, self._last

    def _trim(self, now_s: float) -> None:
        while self._recent and self._recent[0][0] < now_s - _WINDOW_S:
            self._late -= self._recent.popleft()[1] is not None

    def trouble(self, now_s: float) -> str:
        """Return in words that most commands are refused for their time; empty when not."""
        found = self.refused(now_s)
        if found is None:
            return ''
        refused, of, lateness = found
        return f'{refused} of {of} commands are refused: {lateness.why}'
