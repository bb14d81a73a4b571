"""
What the ends report to each other: what came, what was lost, whether a stop is held.

The ground's report states what came of the robot's frames, from which the robot computes parity.
The robot's report acknowledges stops, and states how many of the ground's commands are lost.
"""

from collections import deque

from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import NO_FRAME, Report, RobotReport
from gsc_ros.link.datagrams.reassembly import Reassembler
from gsc_ros.link.traffic.port import LinkPort

MEMORY = 200  # datagrams
# Losses of two parts of the memory differ by more than chance when they do by so many standard
# deviations; each part has so many datagrams at least, and a loss that was none counts as this.
_DEVIATIONS = 3.7
_LEAST_PART = 8
_LEAST_LOSS = 0.03
_COMMANDS = 30  # the memory for commands, which are few
_SPAN = 0x10000
SHARE = 1 / 20  # of the air, for reports, and for requests of each kind, at most
LEAST_PAUSE_S = 1.0
_EARLY_CHANGE = 0.08  # of the loss, which is reported early
_EARLY_PAUSES = 0.75
_SELDOM_PAUSES = 10


def pause_s(out: LinkPort, back: LinkPort, size: int) -> float:
    """
    Return the time from one small payload of `size` bytes to the next of its kind, s.

    ``out``: where it goes; ``back``: the other direction: where both share the air, a payload
    takes it there and back.
    """
    return (out.sender.air_s(size, TrafficClass.REPORT) + out.turn_s + back.turn_s) / SHARE


class LossEstimator:
    """
    Estimates recent losses: the mean over the last `memory` datagrams, or fewer after a change.

    What is older than a change is forgotten: where the losses before and after some moment differ
    by more than chance explains (a window as in ADWIN, Bifet and Gavalda 2007). So a change shows
    after tens of datagrams, and the estimate of a loss that stays is steady.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._batches: deque[tuple[int, int, int]] = deque()  # sent, lost, gaps
        self._sent = self._lost = self._gaps = 0

    def add(self, sent: int, lost: int, gaps: int) -> None:
        """Note that of so many more datagrams so many were lost, in so many runs."""
        self._batches.append((sent, lost, gaps))
        self._count((sent, lost, gaps), 1)
        while self._sent > self._memory and len(self._batches) > 1:
            self._count(self._batches.popleft(), -1)
        for _ in range(self._before_change()):
            self._count(self._batches.popleft(), -1)

    @property
    def loss(self) -> float:
        """The share of datagrams, 0..1; 0 before anything was sent."""
        return min(1.0, max(0.0, self._lost / self._sent)) if self._sent else 0.0

    @property
    def burst(self) -> float:
        """Mean length of a run of losses, in datagrams; 1 before there was one."""
        return max(1.0, self._lost / self._gaps) if self._gaps else 1.0

    def _count(self, batch: tuple[int, int, int], sign: int) -> None:
        sent, lost, gaps = batch
        self._sent += sign * sent
        self._lost += sign * lost
        self._gaps += sign * gaps

    def _before_change(self) -> int:
        """Return how many batches are older than the clearest change; 0 without one."""
        p = min(max(self.loss, _LEAST_LOSS), 1 - _LEAST_LOSS)
        # Losses in runs scatter more, by the correlation of neighbours in a chain of two states.
        # At a loss of p runs have a length of 1 / (1 - p) by chance.
        after_loss, after_none = 1 - 1 / self.burst, min(1.0, p / (1 - p) / self.burst)
        correlation = max(0.0, after_loss - after_none)
        scatter = p * (1 - p) * (1 + correlation) / (1 - correlation)
        clearest, older = _DEVIATIONS**2, 0
        least = _LEAST_PART * max(1.0, self.burst * (1 - p))
        sent = lost = 0
        for index, batch in enumerate(self._batches):
            rest = self._sent - sent
            if min(sent, rest) >= least:
                difference = lost / sent - (self._lost - lost) / rest
                deviations = difference**2 / (scatter * (1 / sent + 1 / rest))
                if deviations > clearest:
                    clearest, older = deviations, index
            sent, lost = sent + batch[0], lost + batch[1]
        return older


class FrameStats:
    """
    Ground's end: what came of the frames of one camera.

    ``newest``: number of the last frame that came in this session of the robot; ``shown``: how
    many of the session came that are of use; ``received``, ``lost``: frames of all sessions.
    """

    def __init__(self) -> None:
        self.session = 0
        self._session_began = False  # a frame of the session came
        self.shown = 0
        self.newest = NO_FRAME
        self.received = self.lost = 0

    def on_frame(self, number: int, session: int = 0, lost: bool = False) -> None:
        """
        Note that the frame of this number came; those that it skipped were lost.

        ``lost``: so is this one, as the part of it that came is of no use.
        """
        if session != self.session:
            self.session, self.shown, self.newest = session, 0, NO_FRAME
            self._session_began = False
        if self._session_began:
            self.lost += _ahead(number, self.newest) - 1
        self.newest, self._session_began = number, True
        self.shown += not lost
        self.received += not lost
        self.lost += lost


class ReceiverStats:
    """
    Ground's end: what came, worked out of the receiver's counters.

    ``estimate``: of what was lost recently, as of the last `update`.
    """

    def __init__(self, receiver: Reassembler) -> None:
        self._receiver = receiver
        self.estimate = LossEstimator()
        self._expected = self._fragments = self._gaps = 0

    def update(self) -> None:
        """Take over what the receiver has counted since the last call."""
        receiver = self._receiver
        sent = receiver.expected - self._expected
        if sent:
            lost = sent - (receiver.fragments - self._fragments)
            self.estimate.add(sent, lost, receiver.gaps - self._gaps)
            self._expected, self._fragments = receiver.expected, receiver.fragments
            self._gaps = receiver.gaps

    def report(self, frames: FrameStats, count: int | None = None) -> Report:
        """Make a report on frames; ``count``: the greatest that came, see :class:`Report`."""
        session = self._receiver.session
        known = bool(session) and session == frames.session
        newest, shown = (frames.newest, frames.shown) if known else (NO_FRAME, 0)
        loss, burst = self.estimate.loss, self.estimate.burst
        return Report(newest, shown, loss, burst, session & 0xFF, count)


class GroundReportTimer:
    """
    Ground's end: when a report goes up.

    One every pause, or sooner when the loss has changed, at the cost of the next one.
    ``next_deadline``: when the next one goes, s.
    """

    def __init__(self) -> None:
        self.next_deadline = 0.0
        self._early_at = 0.0
        self._loss = 0.0

    def is_early(self, now: float, loss: float) -> bool:
        """Whether a loss has changed so much that it is reported before the deadline."""
        return now >= self._early_at and abs(loss - self._loss) >= _EARLY_CHANGE

    def send_early(self) -> None:
        """Let the next one go as soon as an early one may."""
        self.next_deadline = min(self.next_deadline, self._early_at)

    def on_sent(self, now: float, pause_s: float, loss: float) -> None:
        """Note that one went; ``pause_s``: time between them on average."""
        self.next_deadline = max(now, self.next_deadline) + pause_s
        self._early_at = self.next_deadline - _EARLY_PAUSES * pause_s
        self._loss = loss


class Feedback:
    """
    Robot's end: what the ground reports of one camera. Counters of frames since the first report.

    ``robot``: the low byte of the robot's session; reports on another one are ignored.
    """

    def __init__(self, robot: int = 0) -> None:
        self._robot = robot
        self.delivered = self.lost = 0
        self.loss, self.burst = 0.0, 1.0
        self._ground = 0
        self._newest, self._shown = NO_FRAME, 0

    def on_report(self, report: Report, ground: int = 0) -> None:
        """Take over the newest report, of a session of the ground."""
        if report.robot != self._robot:
            return
        self.loss, self.burst = report.loss, report.burst
        sent = (report.newest - self._newest) % _SPAN
        if ground != self._ground:  # it counts anew
            self._ground, self._shown = ground, 0
            if report.newest == NO_FRAME:
                return
        if sent >= _SPAN // 2:
            return  # an older one
        delivered = min((report.shown - self._shown) % _SPAN, sent)
        self._newest, self._shown = report.newest, report.shown
        self.delivered += delivered
        self.lost += sent - delivered


class CommandLoss:
    """Robot's end: how many of the ground's commands are lost, by the gaps in their numbers."""

    def __init__(self) -> None:
        self._estimate = LossEstimator(_COMMANDS)
        self._last: tuple[int, int] | None = None

    def on_command(self, number: int, session: int) -> None:
        """Note that the command of this number came."""
        if self._last is not None and self._last[0] == session:
            skipped = _ahead(number, self._last[1]) - 1
            self._estimate.add(1 + skipped, skipped, bool(skipped))
        self._last = session, number

    @property
    def loss(self) -> float:
        """The share lost recently, 0..1."""
        return self._estimate.loss


class RobotReportTimer:
    """
    Robot's end: when a report goes down.

    At once when the state of the stop has changed, at the start and when the ground begins a new
    session. Again when a stop comes again, as the acknowledgement may have been lost, in a quarter
    of the air at most. While commands come, or the ground has not been received yet, in a
    twentieth of it; else seldom, so that the ground can see that the robot is there.
    """

    def __init__(self) -> None:
        self._sent: tuple[RobotReport, float] | None = None  # the last one, and when
        self._stop_repeated = self._command_received = False
        self._ground_received = False

    def on_ground_session(self) -> None:
        """Note that another session of the ground began."""
        self._sent, self._ground_received = None, True

    def on_stop(self) -> None:
        """Note that a stop or a release came, be it again."""
        self._stop_repeated = True

    def on_command(self) -> None:
        """Note that a command came."""
        self._command_received = True

    def next_deadline(self, report: RobotReport, pause_s: float) -> float:
        """
        Return when a report with this content goes, s; 0: at once.

        ``pause_s``: time between reports that makes them a twentieth of the air.
        """
        if self._sent is None:
            return 0.0
        last, sent_at = self._sent
        if (last.stop, last.latched) != (report.stop, report.latched):
            return 0.0
        if (last.goal, last.goal_state, last.first, last.lacks) != (
            report.goal,
            report.goal_state,
            report.first,
            report.lacks,
        ):
            return sent_at + pause_s / 5
        if self._stop_repeated:
            return sent_at + pause_s / 5
        often = self._command_received or not self._ground_received
        return sent_at + pause_s * (1 if often else _SELDOM_PAUSES)

    def on_sent(self, report: RobotReport, now: float) -> None:
        """Note that a report was offered to the link."""
        self._sent = report, now
        self._stop_repeated = self._command_received = False


def _ahead(number: int, newest: int) -> int:
    """How far a number is ahead of another; 1 after a jump, as of another sender."""
    ahead = (number - newest) % _SPAN
    return ahead if 0 < ahead < _SPAN // 2 else 1
