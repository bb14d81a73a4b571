"""How the robot learns what the ground has heard, and both the loss of the link."""

from gsc_ros.link.framing import Reassembler
from gsc_ros.link.payloads import Report

# Datagrams after which what was heard before counts 1/e.
MEMORY = 200
_SPAN = 0x10000


class LossSeen:
    """What was lost lately: the mean over about the last `MEMORY` datagrams, older ones fading."""

    def __init__(self) -> None:
        self._sent = self._lost = self._gaps = 0.0

    def add(self, sent: int, lost: int, gaps: int) -> None:
        """Note that of so many more datagrams so many were lost, in so many runs."""
        keep = max(0.0, 1 - sent / MEMORY)
        self._sent = self._sent * keep + sent
        self._lost = self._lost * keep + lost
        self._gaps = self._gaps * keep + gaps

    @property
    def loss(self) -> float:
        """The share of datagrams, 0..1; 0 before anything was sent."""
        return min(1.0, max(0.0, self._lost / self._sent)) if self._sent else 0.0

    @property
    def burst(self) -> float:
        """Mean length of a run of losses, in datagrams; 1 before there was one."""
        return max(1.0, self._lost / self._gaps) if self._gaps else 1.0


class Hearing:
    """Ground's end: what came of the frames, worked out of the receiver's counters."""

    def __init__(self, receiver: Reassembler) -> None:
        self._receiver = receiver
        self._seen = LossSeen()
        self._expected = self._heard = self._gaps = 0
        self.newest: int | None = None
        self.came = self.lost = 0

    @property
    def seen(self) -> LossSeen:
        """What was lost lately."""
        receiver = self._receiver
        sent = receiver.expected - self._expected
        if sent:
            lost = sent - (receiver.heard - self._heard)
            self._seen.add(sent, lost, receiver.gaps - self._gaps)
            self._expected, self._heard = receiver.expected, receiver.heard
            self._gaps = receiver.gaps
        return self._seen

    def came_up(self, number: int) -> None:
        """Note that the frame of this number came; those that it skipped were lost."""
        if self.newest is not None:
            self.lost += _ahead(number, self.newest) - 1
        self.newest = number
        self.came += 1

    def report(self) -> Report | None:
        """Make a report; None before any frame."""
        if self.newest is None:
            return None
        seen = self.seen
        return Report(self.newest, self.came, seen.loss, seen.burst)


class Feedback:
    """Robot's end: what the reports say. Counters of frames since the first report."""

    def __init__(self) -> None:
        self.delivered = self.lost = 0
        self.loss, self.burst = 0.0, 1.0
        self._last: Report | None = None

    def take(self, report: Report) -> None:
        """Take the newest report."""
        last, self._last = self._last, report
        self.loss, self.burst = report.loss, report.burst
        if last is None:
            self.delivered += report.shown
            self.lost += max(0, (report.newest + 1) % _SPAN - report.shown)
            return
        sent = (report.newest - last.newest) % _SPAN
        # More came than were sent: the ground counts anew.
        came = (report.shown - last.shown) % _SPAN
        came = min(came, sent) if came <= sent else min(report.shown, sent)
        self.delivered += came
        self.lost += sent - came


def _ahead(number: int, newest: int) -> int:
    """How far a number is ahead of another; 1 after a jump, which tells of another sender."""
    ahead = (number - newest) % _SPAN
    return ahead if 0 < ahead < _SPAN // 2 else 1
