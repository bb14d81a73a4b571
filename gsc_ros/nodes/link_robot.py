"""
The robot's end of a real link: a radio modem on a serial line, or UDP.

Topics as in `robot_side`, and link/status, which says what the ground reports.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('link_robot'))


from collections.abc import Iterable
from dataclasses import dataclass

from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import lifecycle
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Report
from gsc_ros.ros.link.end_node import LinkEnd, LinkEndParameters
from gsc_ros.ros.link.node import QUIET_S, closed, figures
from gsc_ros.ros.link.robot_side import RobotSide, RobotSideParameters


@dataclass(frozen=True)
class LinkRobotParameters(RobotSideParameters, LinkEndParameters):
    """Parameters of the robot's end."""


class LinkRobot(LinkEnd[LinkRobotParameters]):
    """Sends frames down, executes commands and requests that come up."""

    Parameters = LinkRobotParameters
    out, into = 'down', 'up'

    def __init__(self, **options: object) -> None:
        super().__init__('link_robot', **options)

    def setup(self) -> None:
        """Open the transport; raises ValueError or OSError with the remedy."""
        self.max_age_s = self.values.max_age_s or None
        super().setup()
        self.robot = RobotSide(self)

    def start(self) -> None:
        """Listen to the robot and to the link."""
        self.robot.start()
        super().start()

    def stop(self) -> None:
        """Close the link; a robot that moves is stopped."""
        self.robot.stop()  # first: the rest may wait for a disk
        super().stop()

    def halt(self) -> None:
        """Stop a robot that moves."""
        if self.active:
            self.robot.commands.close()

    def parameters_changed(self) -> None:
        """Take note of new limits for commands."""
        self.robot.commands.parameters_changed()

    def status(self) -> LinkStatus:
        """Return what the link carries and how it fares."""
        status = super().status()
        self.robot.tell(status)
        return status

    def teardown(self) -> None:
        """Take the publishers down."""
        self.robot.teardown()
        super().teardown()

    def begin(self) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""
        super().begin()
        self.robot.begin(self.end, self.end)

    def work(self, now: float) -> None:
        """Take what came, and send what is due."""
        super().work(now)
        self.robot.work(now)

    def due(self, now: float) -> Iterable[float | None]:
        """Return the times (s) of what is due next."""
        return *super().due(now), self.robot.due

    def take(self, received: Received, now: float) -> None:
        """Do what came up the link."""
        self.robot.take(received, now)

    def statistics(self, now: float) -> Statistics:
        """Return the counters of frames; what came of them is what the ground reports."""
        feedback = self.robot.feedback
        return self.end.sent_statistics(now, feedback.delivered, feedback.lost)

    def loss(self, stats: Statistics, old: Statistics) -> float:
        """Return the share of datagrams lost, as the ground reports it, 0..1."""
        return self.robot.feedback.loss

    def diagnose(self) -> Report:
        """Say how the link fares."""
        if not self.active:
            return Report(OK, 'inactive')
        return self.robot.guarded(self._fares())

    def _fares(self) -> Report:
        status = self.status()
        values = figures(status) | self.transport_figures() | self.robot.figures()
        if (keys := self.key_report(values)) is not None:
            return keys
        if not status.open:
            return Report(WARN, closed(status), values)
        silence = self.silence(self.robot.report_pause_s)
        if trouble := self.peer.trouble(self.now()) or self.trouble or silence:
            return Report(WARN, trouble, values)
        if self.now() > self.robot.offered_at + QUIET_S:
            return Report(STALE, 'no frames come from the encoder', values)
        return Report(OK, 'ok', values)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(LinkRobot, args)
