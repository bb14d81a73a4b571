"""
Simulated time: publishes /clock, at a multiple of real time.

Nodes with use_sim_time then go through a pass of hours, or a light time of minutes, in seconds.
Computing is not faster, so that coding an image takes longer by that clock.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('clock'))


import time
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rosgraph_msgs.msg import Clock as ClockMessage

from gsc_ros.ros import lifecycle, topics
from gsc_ros.ros.diagnostics import OK, Report
from gsc_ros.ros.link.node import time_of
from gsc_ros.ros.parameters import Parameters, parameter

_PERIOD_S = 0.01


@dataclass(frozen=True)
class ClockParameters(Parameters):
    """Parameters of the clock."""

    speed: int = parameter(
        0, 'Simulated seconds in a second; 0: time stands still', 0, 10_000, read_only=True
    )
    start_s: int = parameter(
        1_000_000_000, 'Simulated time at the start, in s since 1970', 1, 2**31 - 1, read_only=True
    )


class ClockNode(lifecycle.GscNode[ClockParameters]):
    """Publishes simulated time; its own timer runs on the steady clock."""

    Parameters = ClockParameters

    def __init__(self, **options: object) -> None:
        super().__init__('clock', **options)

    def setup(self) -> None:
        """Make the publisher."""
        self._ticks = self.create_publisher(ClockMessage, '/clock', topics.SENSOR)
        self.now_ns = 0

    def start(self) -> None:
        """Begin at the start time."""
        self._began = time.monotonic()
        self.create_timer(_PERIOD_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _tick(self) -> None:
        passed = time.monotonic() - self._began
        self.now_ns = self.values.start_s * 10**9 + round(passed * self.values.speed * 1e9)
        self._ticks.publish(ClockMessage(clock=time_of(self.now_ns)))

    def diagnose(self) -> Report:
        """Return speed and time."""
        return Report(OK, 'ok', {'speed': self.values.speed, 'simulated s': self.now_ns * 1e-9})


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(ClockNode, args)
