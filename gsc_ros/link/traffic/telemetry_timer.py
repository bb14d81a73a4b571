"""When telemetry goes, and when what seldom changes of it goes along; in explicit time."""

from gsc_ros.link.datagrams.telemetry import Telemetry

SELDOM = 32  # payloads, from one with what seldom changes to the next
IDLE_PAUSES = 10  # after which what did not change goes again
_COPIES = 3  # of what seldom changes


class TelemetryTimer:
    """Decides when the robot's state goes, and how much of it."""

    def __init__(self) -> None:
        self._sent_at: float | None = None
        self._last: Telemetry | None = None
        self._copies = 0  # payloads that what seldom changes still goes with
        self._since = 0

    def repeat(self) -> None:
        """Send what seldom changes with the next three payloads: the ground may not have it."""
        self._copies = _COPIES

    def next_at(self, telemetry: Telemetry, pause_s: float) -> float | None:
        """
        Return when a state is to be sent (s); None for one that states nothing.

        ``pause_s``: least time since the last payload.
        """
        if telemetry.empty:
            return None
        if self._sent_at is None:
            return 0.0
        waits = 1 if self._copies or telemetry.differs(self._last) else IDLE_PAUSES
        return self._sent_at + waits * pause_s

    def next(self, now: float, telemetry: Telemetry) -> Telemetry:
        """Return what of a state goes at ``now`` (s)."""
        last = self._last
        if last is None or (telemetry.mount, telemetry.names) != (last.mount, last.names):
            self.repeat()
        self._since += 1
        full = self._copies > 0 or self._since >= SELDOM or telemetry.frequent.empty
        self._copies = max(0, self._copies - 1)
        self._sent_at, self._last = now, telemetry
        if full:
            self._since = 0
            return telemetry
        return telemetry.frequent
