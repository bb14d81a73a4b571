"""
What is done when a node's process ends by itself: one policy, with and without `ros2 launch`.

It is started again after a delay that doubles each time, for ever: a robot in the field has nobody
to start it. A node that cannot begin (exit code 1: a parameter, a file or a library that is not
right) ends the whole graph, so that the mistake is seen; if it ran before, with the same
parameters, it is tried again.
"""

import signal

from gsc_ros.start import NOT_BEGUN

FIRST_S = 1.0
MOST_S = 30.0
# A process that ran for so long was sound: the next delay is the first again.
SOUND_S = 60.0


class Respawn:
    """The policy for one node; ``wanted``: whether it is started again at all."""

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted
        self._ran = False
        self._delay_s = FIRST_S

    def after(self, code: int, lasted_s: float) -> float | None:
        """
        Return in how many seconds to start the node again, or None to end the graph.

        ``code``: the exit code, negative for a signal; ``lasted_s``: how long the process ran.
        """
        if not self._wanted or (code == NOT_BEGUN and not self._ran):
            return None
        self._ran = True
        if lasted_s >= SOUND_S:
            self._delay_s = FIRST_S
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, MOST_S)
        return delay_s


def cause(code: int) -> str:
    """Return how a process ended."""
    if code >= 0:
        return f'has ended with exit code {code}'
    try:
        return f'was ended by {signal.Signals(-code).name}'
    except ValueError:
        return f'was ended by signal {-code}'
