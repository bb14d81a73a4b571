"""What became of what was offered to a link."""

from dataclasses import dataclass, fields

from gsc_ros.link.datagrams.framing import Stream, TrafficClass


@dataclass
class Count:
    """What came of the payloads of a class; see :class:`Statistics`."""

    offered: int = 0
    sent: int = 0
    stale: int = 0
    delivered: int = 0
    truncated: int = 0
    lost: int = 0


class Counts:
    """Counts of each class and camera; ``counts[traffic_class]`` is that of all its cameras."""

    def __init__(self) -> None:
        self._of: dict[Stream, Count] = {}

    def of(self, traffic_class: TrafficClass, camera: int = 0) -> Count:
        """Return the count of one camera, which goes on counting."""
        return self._of.setdefault((traffic_class, camera), Count())

    def __getitem__(self, traffic_class: TrafficClass) -> Count:
        counts = [count for (one, _), count in self._of.items() if one == traffic_class]
        return Count(*(sum(getattr(c, field.name) for c in counts) for field in fields(Count)))


@dataclass(frozen=True)
class Statistics:
    """
    Counters of one direction since its start, and its queue now.

    Payloads are those of one class, packets and bytes those of all: offered = sent + stale +
    waiting; sent = delivered + lost + under way. `stale` died at the sender because a newer one
    came or they waited too long; `truncated` are those among the delivered that lost their tail.
    Some of the packets lost came with wrong bits, and are malformed at the far end. Packets
    replayed came before, or are of a sender that has ended or is another one. Bytes are
    bytes on air, overhead included (`offered_bytes` what the offered payloads would have taken).
    """

    offered: int = 0
    sent: int = 0
    delivered: int = 0
    truncated: int = 0
    stale: int = 0
    lost: int = 0
    packets_sent: int = 0
    packets_lost: int = 0
    packets_malformed: int = 0
    packets_replayed: int = 0
    offered_bytes: int = 0
    sent_bytes: int = 0
    queue_bytes: int = 0
    queue_age_s: float = 0.0
