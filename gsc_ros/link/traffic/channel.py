"""
One direction of a simulated radio: bounded queue, pacing, loss, delay; all in explicit time.

A `Sender` decides what goes out next and when, `GilbertElliott` which datagrams are lost, a `Code`
which bits are wrong; `Channel` joins them with a propagation delay and a `Reassembler` at the far
end. Every call takes the time `now` in seconds, from 0 on; there is no clock, no thread and no
hidden randomness, so a run can be repeated exactly.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from gsc_ros.link.datagrams.framing import Datagram, PayloadId, TrafficClass
from gsc_ros.link.datagrams.reassembly import Reassembler, Received
from gsc_ros.link.datagrams.seals import CHECKSUM, Seal
from gsc_ros.link.radio.airtime import PLAIN, OnAir
from gsc_ros.link.radio.codes import WRONG_SHARE, Code
from gsc_ros.link.radio.losses import GilbertElliott, GilbertElliottModel
from gsc_ros.link.radio.schedule import Interval, Schedule
from gsc_ros.link.traffic.duplex import HalfDuplex, Station
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.packetizer import EPSILON_S
from gsc_ros.link.traffic.sender import Sender
from gsc_ros.link.traffic.statistics import Statistics

# The far end gives a payload up when nothing of it came for so many full datagrams' time.
_TIMEOUT_DATAGRAMS = 3


class Channel:
    """
    One direction, from payloads offered at one end to payloads delivered at the other.

    rate_bps: bits a second on air, overhead included (0: nothing passes); delay_s: propagation,
    one way; mtu: bytes a datagram; loss: burst model; seed: of the losses; gap_s: silence behind
    every datagram; on_air: what datagrams take besides their bytes; max_age_s: see `Sender`;
    schedule: rate, delay and signal over time, in the place of `rate_bps` and `delay_s`; seal: how
    datagrams are proven; session: of the sending end; code: what makes bits wrong when the signal
    is weak (None: nothing); cameras: how many share the air. ``fade_db``, by how much the signal
    is weaker than in the schedule, may be set at any time. Raises ValueError for values out of
    range.

    Use: `offer` payloads, `poll` for what has come out, `next_event` for when to poll again.
    Times must not run backwards.
    """

    def __init__(
        self,
        rate_bps: float,
        delay_s: float = 0.0,
        mtu: int = 1115,
        *,
        loss: GilbertElliottModel | None = None,
        seed: int = 0,
        gap_s: float = 0.0,
        on_air: OnAir = PLAIN,
        max_age_s: float | None = None,
        schedule: Schedule | None = None,
        seal: Seal = CHECKSUM,
        session: int = 1,
        code: Code | None = None,
        cameras: int = 1,
    ) -> None:
        if not 0.0 <= delay_s < float('inf'):
            raise ValueError(f'delay_s must be finite and at least 0, got {delay_s}')
        rates = schedule.rates if schedule else []
        delays = [one.delay_s for one in schedule.intervals if one.rate_bps] if schedule else []
        self._least_delay_s = min((d for d in delays if d is not None), default=delay_s)
        pacer = Pacer(rates[0] if rates else rate_bps, gap_s, on_air)
        self._delay_s = delay_s
        self.fade_db = 0.0
        self._duplex: HalfDuplex | None = None  # see `share_air`
        self.sender = Sender(pacer, mtu, max_age_s, schedule, seal, session)
        timeout_s = _TIMEOUT_DATAGRAMS * pacer.air_s(mtu) if pacer.rate_bps else 1.0
        self.receiver = Reassembler(timeout_s + EPSILON_S, seal, cameras)
        self._loss = GilbertElliott(loss or GilbertElliottModel(), seed)
        self._code = code
        self._noise = random.Random(f'noise {seed}')
        self._air: deque[tuple[float, PayloadId, bytes]] = deque()
        self._open: set[PayloadId] = set()
        self._settle_at = 1000
        self._now = self._arrived_at = 0.0
        self._packets_sent = self._packets_lost = 0

    @property
    def delay_s(self) -> float:
        """Propagation delay at the time of the last call, one way, s."""
        return self._delay(self.sender.schedule.interval(self._now))

    @property
    def turn_s(self) -> float:
        """Time that it takes to get the air when nobody sends, s."""
        return self._duplex.turnaround_s if self._duplex else 0.0

    @property
    def excess_db(self) -> float | None:
        """By how much the signal is above the code's threshold now, dB; None: not known."""
        return self._excess_db(self.sender.schedule.interval(self._now))

    @property
    def rate_bps(self) -> float:
        """Bits a second on air with full datagrams: the last computed rate less the gaps."""
        return self.sender.rate_bps

    def frame_s(self, payload_bytes: int) -> float:
        """Time that a payload of so many bytes takes on air, s."""
        return self.sender.air_s(payload_bytes)

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
        self._advance(now)
        self.sender.offer(payload, now, traffic_class, is_keyframe, divisible, camera)

    def poll(self, now: float) -> list[Received]:
        """Return what has come out at the far end up to `now`, in order."""
        self._advance(now)
        out: list[Received] = []
        while self._air and self._air[0][0] <= now:
            arrival, _, data = self._air.popleft()
            out += self.receiver.expire(arrival)
            out += self.receiver.push(data, arrival)
        out += self.receiver.expire(now)
        for received in out:
            stream = received.traffic_class, received.camera
            self._open.discard((*stream, received.number))
            count = self.sender.counts.of(*stream)
            count.delivered += 1
            count.truncated += received.truncated
        if len(self._open) > self._settle_at:
            self._settle()
            self._settle_at = 1000 + 2 * len(self._open)
        return out

    def next_event(self) -> float | None:
        """Return when to poll again (s): never too late, at times too early. None: idle."""
        start = self.sender.next_start
        times = (
            self._air[0][0] if self._air else None,
            None if start is None else start + self._least_delay_s,
            self.receiver.next_expiry,
        )
        return min((t for t in times if t is not None), default=None)

    def statistics(
        self,
        now: float,
        traffic_class: TrafficClass = TrafficClass.FRAME,
        camera: int | None = None,
    ) -> Statistics:
        """Return the counters up to the last `poll`, of one camera or all, and the queue now."""
        sender = self.sender
        queue_bytes, queue_age = sender.queue(now)
        counts, of_all = sender.counts, camera is None
        count = counts[traffic_class] if camera is None else counts.of(traffic_class, camera)
        lost = sum(c is traffic_class and (of_all or k == camera) for c, k, _ in self._lost())
        return Statistics(
            **vars(replace(count, lost=count.lost + lost)),
            packets_sent=self._packets_sent,
            packets_lost=self._packets_lost,
            packets_malformed=self.receiver.unreadable,
            packets_replayed=self.receiver.played_back,
            offered_bytes=sender.offered_bytes,
            sent_bytes=sender.sent_bytes,
            queue_bytes=queue_bytes,
            queue_age_s=queue_age,
        )

    def _advance(self, now: float) -> None:
        if now < self._now:
            raise ValueError(f'time ran backwards, from {self._now} s to {now} s')
        self._now = now
        if self._duplex is not None:
            self._duplex.advance(now)
            return
        for left, datagram, data in self.sender.advance(now):
            self._launch(left, datagram, data)

    def _launch(self, left: float, datagram: Datagram, data: bytes) -> None:
        """Take a datagram on its way whose last bit left at a time (s)."""
        key = datagram.traffic_class, datagram.camera, datagram.number
        self._packets_sent += 1
        if datagram.index == 0:
            self._open.add(key)
        interval = self.sender.schedule.interval(left - EPSILON_S)
        received = self._with_bit_errors(data, self._excess_db(interval))
        lost = self._loss.lost()
        self._packets_lost += lost or received is not data
        if not lost:
            # Order is kept, also where the way grows shorter.
            self._arrived_at = max(left + self._delay(interval), self._arrived_at)
            self._air.append((self._arrived_at, key, received))

    def _delay(self, interval: Interval) -> float:
        return self._delay_s if interval.delay_s is None else interval.delay_s

    def _excess_db(self, interval: Interval) -> float | None:
        return None if interval.excess_db is None else interval.excess_db - self.fade_db

    def _with_bit_errors(self, data: bytes, excess_db: float | None) -> bytes:
        """Return a datagram with the bits that the radio gets wrong; the same one for none."""
        if self._code is None or excess_db is None:
            return data
        if self._noise.random() >= self._code.datagrams_hit(excess_db, len(data)):
            return data
        bits = 8 * len(data)
        share = WRONG_SHARE if self._code.block_bits else self._code.bits_wrong(excess_db)
        word = int.from_bytes(data, 'big')
        for _ in range(max(1, round(share * bits))):
            word ^= 1 << self._noise.randrange(bits)
        return word.to_bytes(len(data), 'big')

    def _lost(self) -> set[PayloadId]:
        """Return what was sent, was not delivered and has nothing left on its way."""
        alive = self.sender.in_progress | {key for _, key, _ in self._air}
        alive |= self.receiver.unfinished_payloads
        return self._open - alive

    def _settle(self) -> None:
        """Count what was lost, and forget it."""
        lost = self._lost()
        for traffic_class, camera, _ in lost:
            self.sender.counts.of(traffic_class, camera).lost += 1
        self._open -= lost


def share_air(channels: Sequence[Channel], turnaround_s: float) -> HalfDuplex:
    """
    Join channels to a half-duplex link: their senders have the air by turns.

    turnaround_s: see `HalfDuplex`. Raises ValueError as that does.
    """
    stations = [Station(channel.sender, channel._launch) for channel in channels]
    duplex = HalfDuplex(stations, turnaround_s)
    for channel in channels:
        channel._duplex = duplex
    return duplex
