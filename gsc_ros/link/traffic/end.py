"""
One end of a link over a real transport, in explicit time.

What it is offered is paced as on a simulated link, by the same sender; what comes in is proven and
put together by the same receiver. There is no clock and no thread: `outgoing` yields what goes to
the transport now, `push` takes what came, `next_event` returns when to call again.
"""

from collections.abc import Iterator

from gsc_ros.link.datagrams.framing import TrafficClass, random_session
from gsc_ros.link.datagrams.reassembly import Reassembler, Received
from gsc_ros.link.datagrams.seals import CHECKSUM, Seal
from gsc_ros.link.radio.airtime import PLAIN, OnAir
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.sender import Sender
from gsc_ros.link.traffic.statistics import Statistics

# The far end gives a payload up when nothing of it came for so many full datagrams' time and
# for what networks hold back.
_TIMEOUT_DATAGRAMS = 3
_JITTER_S = 1.0
# A sender that was held up may catch up so much, s: a burst would drown a radio's buffer.
_CATCH_UP_S = 0.1


class End:
    """
    One end: a `sender` in one direction, a `receiver` in the other.

    schedule: bits a second that may go out over time, the same at both ends; mtu: bytes a
    datagram; delay_s: how long a datagram is on its way when nothing holds it up, where the
    schedule does not say; turn_s: how long the radio takes to get the air, where both directions
    share it; gap_s, on_air: see `Pacer`; max_age_s: see `Sender`; out, into: how datagrams
    are proven that go out and come in; session: of this end, None for a random one; cameras: how
    many share the air. Raises ValueError for values out of range.
    """

    def __init__(
        self,
        schedule: Schedule,
        mtu: int,
        *,
        delay_s: float = 0.0,
        turn_s: float = 0.0,
        gap_s: float = 0.0,
        on_air: OnAir = PLAIN,
        max_age_s: float | None = None,
        out: Seal = CHECKSUM,
        into: Seal = CHECKSUM,
        session: int | None = None,
        cameras: int = 1,
    ) -> None:
        pacer = Pacer(min(schedule.rates, default=0.0), gap_s, on_air)
        self._delay_s, self.turn_s = delay_s, turn_s
        self._now = 0.0
        session = random_session() if session is None else session
        self.sender = Sender(pacer, mtu, max_age_s, schedule, out, session)
        timeout_s = _TIMEOUT_DATAGRAMS * pacer.air_s(mtu) if pacer.rate_bps else 0.0
        self.receiver = Reassembler(timeout_s + _JITTER_S, into, cameras)
        self.sent = self.received_bytes = 0

    @property
    def delay_s(self) -> float:
        """Propagation delay at the time of the last call, one way, s."""
        delay_s = self.sender.schedule.interval(self._now).delay_s
        return self._delay_s if delay_s is None else delay_s

    def offer(
        self,
        payload: bytes,
        now: float,
        traffic_class: TrafficClass = TrafficClass.FRAME,
        is_keyframe: bool = False,
        divisible: bool = True,
        camera: int = 0,
    ) -> None:
        """
        Offer a payload at time `now`; see `Sender.offer`.

        Raises ValueError when it is empty or too large for the MTU.
        """
        self.sender.offer(payload, now, traffic_class, is_keyframe, divisible, camera)

    def frame_s(self, payload_bytes: int) -> float:
        """Time that a payload of so many bytes takes on air, s."""
        return self.sender.air_s(payload_bytes)

    def outgoing(self, now: float) -> Iterator[bytes]:
        """Yield the datagrams whose turn it is at `now`."""
        self._now = now
        self.sender.wait_until(now - _CATCH_UP_S)
        for _, _, data in self.sender.advance(now):
            self.sent += 1
            yield data

    def push(self, data: bytes, now: float) -> tuple[bool, list[Received]]:
        """Take a datagram that came at `now`; returns whether it is ours, and what is complete."""
        receiver = self.receiver
        before = receiver.refused
        received = receiver.push(data, now)
        ours = receiver.refused == before
        self.received_bytes += len(data) * ours
        return ours, received

    def expire(self, now: float) -> list[Received]:
        """Return payloads of which nothing came for too long at `now`."""
        return self.receiver.expire(now)

    def next_event(self) -> float | None:
        """Return when to call again (s); None: when something comes."""
        times = self.sender.next_start, self.receiver.next_expiry
        return min((t for t in times if t is not None), default=None)

    def sent_statistics(
        self, now: float, delivered: int, lost: int, camera: int | None = None
    ) -> Statistics:
        """
        Return the counters of frames sent, of one camera or all.

        ``delivered``, ``lost``: what came of them, as the far end reports it.
        """
        sender, frame = self.sender, TrafficClass.FRAME
        count = sender.counts[frame] if camera is None else sender.counts.of(frame, camera)
        queue_bytes, queue_age = sender.queue(now)
        return Statistics(
            offered=count.offered,
            sent=count.sent,
            stale=count.stale,
            delivered=delivered,
            lost=lost,
            packets_sent=self.sent,
            packets_malformed=self.receiver.unreadable,
            packets_replayed=self.receiver.played_back,
            offered_bytes=sender.offered_bytes,
            sent_bytes=sender.sent_bytes,
            queue_bytes=queue_bytes,
            queue_age_s=queue_age,
        )

    def received_statistics(self, delivered: int, lost: int) -> Statistics:
        """Return the counters of frames that came, and were lost before this end."""
        receiver = self.receiver
        return Statistics(
            offered=delivered + lost,
            sent=delivered + lost,
            delivered=delivered,
            lost=lost,
            packets_sent=receiver.expected,
            packets_lost=receiver.expected - receiver.fragments,
            packets_malformed=receiver.unreadable,
            packets_replayed=receiver.played_back,
            offered_bytes=self.received_bytes,
            sent_bytes=self.received_bytes,
        )
