"""
The ground's end of a real link: a radio modem on a serial line, or UDP.

Topics as in `ground_side`, and link/status, which says what comes down.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('link_ground'))


from collections.abc import Iterable
from dataclasses import dataclass

from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import lifecycle
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Report
from gsc_ros.ros.link.end_node import LinkEnd, LinkEndParameters
from gsc_ros.ros.link.ground_side import GroundSide, GroundSideParameters
from gsc_ros.ros.link.node import QUIET_S, closed, figures


@dataclass(frozen=True)
class LinkGroundParameters(GroundSideParameters, LinkEndParameters):
    """Parameters of the ground's end."""


class LinkGround(LinkEnd[LinkGroundParameters]):
    """Publishes frames that come down, sends commands, requests and reports up."""

    Parameters = LinkGroundParameters
    out, into = 'up', 'down'

    def __init__(self, **options: object) -> None:
        super().__init__('link_ground', **options)

    def setup(self) -> None:
        """Open the transport; raises ValueError or OSError with the remedy."""
        super().setup()
        self.ground = GroundSide(self)

    def start(self) -> None:
        """Listen to the operator and to the link."""
        self.ground.start()
        super().start()

    def stop(self) -> None:
        """Listen no more."""
        super().stop()
        self.ground.stop()

    def teardown(self) -> None:
        """Take the publishers down."""
        self.ground.teardown()
        super().teardown()

    def begin(self) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""
        super().begin()
        self.ground.begin(self.end, self.end)

    def work(self, now: float) -> None:
        """Take what came, and send what is due."""
        self.ground.work(now)
        super().work(now)

    def due(self, now: float) -> Iterable[float | None]:
        """Return the times (s) of what is due next."""
        return *super().due(now), self.ground.due

    def status(self) -> LinkStatus:
        """Return what comes down, and what the operator's commands come to."""
        status = super().status()
        self.ground.tell(status)
        return status

    def take(self, received: Received, now: float) -> None:
        """Publish what came down the link."""
        self.ground.take(received, now)

    def statistics(self, now: float) -> Statistics:
        """Return the counters of frames that came down."""
        ground = self.ground
        lost = ground.receiver_stats.lost + ground.undescribed
        return self.end.heard_statistics(ground.delivered, lost)

    def loss(self, stats: Statistics, old: Statistics) -> float:
        """Return the share of datagrams lost lately, 0..1."""
        return self.ground.receiver_stats.seen.loss

    def diagnose(self) -> Report:
        """Say how the link fares."""
        if not self.active:
            return Report(OK, 'inactive')
        status = self.status()
        values = figures(status) | self.transport_figures() | self.ground.figures()
        values['restored'] = self.end.receiver.restored
        now = self.now()
        if stop := self.ground.stops.trouble(now):
            return Report(WARN, stop, values)
        if (keys := self.key_report(values)) is not None:
            return keys
        if not status.open:
            return Report(WARN, closed(status), values)
        if trouble := self.peer.trouble(now) or self.trouble or self.ground.trouble(now):
            return Report(WARN, trouble, values)
        if now > self.ground.delivered_at + self.delay_s + QUIET_S:
            return Report(STALE, 'no frames come through', values)
        return Report(OK, 'ok', values)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(LinkGround, args)
