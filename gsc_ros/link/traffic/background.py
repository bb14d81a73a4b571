"""
What comes last and is not starved: requests, reports, goals, telemetry and parts of stills.

While one of them waits, up to half of the air is theirs, by turns: they are owed as much as frames
and commands had meanwhile.
"""

from collections.abc import Callable, Collection, Mapping

from gsc_ros.link.datagrams.framing import Stream, TrafficClass
from gsc_ros.link.traffic.packetizer import EPSILON_S
from gsc_ros.link.traffic.sending import Waiting

CLASSES = (
    TrafficClass.REQUEST,
    TrafficClass.REPORT,
    TrafficClass.GOAL,
    TrafficClass.TELEMETRY,
    TrafficClass.STILL,
)


class Background:
    """Keeps whose turn it is, and how much air is owed to it."""

    def __init__(self) -> None:
        self._owed_s = 0.0
        self._turns = list(CLASSES)

    def owed(
        self,
        waiting: Mapping[Stream, Waiting],
        air_s: Callable[[int, TrafficClass], float],
    ) -> Stream | None:
        """Return what has waited for its share of the air, None for nothing of all that waits."""
        classes = {traffic_class for traffic_class, _ in waiting}
        turn = next((one for one in self._turns if one in classes), None)
        if turn is None:
            return None
        # Of several cameras the one that has waited longest.
        candidate = min(
            (stream for stream in waiting if stream[0] is turn),
            key=lambda stream: waiting[stream].offered_at,
        )
        needed_s = air_s(len(waiting[candidate].payload), turn)
        return candidate if self._owed_s >= needed_s - EPSILON_S else None

    def account(
        self, traffic_class: TrafficClass, air_s: float, waiting: Collection[Stream]
    ) -> None:
        """Note that a class had the air for so long (s), while others wait."""
        if traffic_class in CLASSES:
            self._owed_s = max(0.0, self._owed_s - air_s)
            self._turns.remove(traffic_class)
            self._turns.append(traffic_class)
        elif traffic_class is not TrafficClass.STOP:
            self._owed_s += air_s
        if not any(one in CLASSES for one, _ in waiting):
            self._owed_s = 0.0
