"""
One direction of a simulated radio: bounded queue, pacing, loss, delay; all in explicit time.

`Sender` decides what goes out next and when, `GilbertElliott` which datagrams die, `Channel`
joins them with a propagation delay and a `Reassembler` at the far end. Every call takes the time
`now` in seconds; there is no clock, no thread and no hidden randomness, so a run can be repeated
exactly.

How age stays bounded, the rule that the whole link rests on: per class at most one payload waits;
a newer one replaces it and the older is *stale*. A frame that waits for the frame before it has
to leave the radio within one frame time (its own serialisation time) of the moment it was
offered, and of the moment the one before had left. For that its tail is cut to what still fits,
which a prefix code allows, but never to less than a quarter. So a frame is at most one frame time
+ delay old when it is shown, its successor comes at most one frame time later on a busy link, and
the frame on the screen is never older than two frame times + delay, however much is offered. (A
quarter is reached only when offers pause for most of a frame time, or urgent traffic takes as
much: then the newest frame is still the best there is.) A link with room to spare cuts nothing.

While the link is closed nothing goes and one payload a class waits. When it opens, a frame of
which less than that quarter would come in time is stale, and so is the rest of one that had
begun: what is shown first is younger than one frame time + delay.
"""

import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gsc_ros.link import framing
from gsc_ros.link.framing import (
    CHECKSUM,
    Class,
    Datagram,
    Reassembler,
    Received,
    Seal,
    SealError,
)
from gsc_ros.link.schedule import Schedule

# Smallest share of a frame that is worth sending.
MIN_SHARE = 0.25
# Share of a frame time that a frame which waited may take: the rest is for late wake-ups.
SLOT = 0.98
# Slack for sums of floating-point times, in seconds.
_EPSILON_S = 1e-6
# The far end gives a payload up when it heard nothing of it for so many full datagrams' time.
_QUIET_DATAGRAMS = 3


@dataclass(frozen=True)
class GilbertElliottModel:
    """
    Two-state burst loss with the meaning of ``tc netem loss gemodel p r 1-h 1-k``.

    start: chance a packet to go from good to bad (p); end: from bad to good (r); loss_bad = 1-h
    and loss_good = 1-k: chance of loss in each state. All within 0..1.
    """

    start: float = 0.0
    end: float = 1.0
    loss_bad: float = 1.0
    loss_good: float = 0.0

    def __post_init__(self) -> None:
        for name in ('start', 'end', 'loss_bad', 'loss_good'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f'{name} must be 0 to 1, got {getattr(self, name)}')

    @classmethod
    def from_mean(cls, loss: float, burst: float | None = None) -> 'GilbertElliottModel':
        """
        Build the model that loses the share `loss` (0..1) of packets in bursts of mean length
        `burst`.

        Without `burst` every packet is lost or not on its own. Raises ValueError where there is
        no such model: bursts under one packet, or too short for that loss.
        """
        if not 0.0 <= loss <= 1.0:
            raise ValueError(f'loss must be 0 to 1, got {loss}')
        if burst is None:
            return cls(loss_good=loss)
        if not burst >= 1.0:
            raise ValueError(f'burst must be at least 1 packet, got {burst}')
        if loss == 1.0:
            return cls(start=1.0, end=0.0)
        start = loss / (burst * (1 - loss))
        if start > 1.0:
            raise ValueError(
                f'a loss of {loss:g} needs bursts of at least {loss / (1 - loss):.3g} packets, '
                f'got {burst:g}'
            )
        return cls(start=start, end=1 / burst)

    @property
    def share_bad(self) -> float:
        """Share of packets that meet the bad state, p / (p + r)."""
        return self.start / (self.start + self.end) if self.start else 0.0

    @property
    def mean_loss(self) -> float:
        """Share of packets lost in the long run."""
        return self.share_bad * self.loss_bad + (1 - self.share_bad) * self.loss_good

    @property
    def mean_burst(self) -> float:
        """Mean stay in the bad state, in packets."""
        return 1 / self.end if self.end else float('inf')


class GilbertElliott:
    """
    A seeded run of the model: the n-th packet's fate depends on seed and n alone.

    It starts in the long-run mixture of both states, so that short runs have the right mean too.
    """

    def __init__(self, model: GilbertElliottModel, seed: int) -> None:
        self.model = model
        self._random = random.Random(seed)
        self._bad = self._random.random() < model.share_bad

    def lost(self) -> bool:
        """Whether the next packet is lost. Always two draws, so that runs stay in step."""
        model = self.model
        fate, change = self._random.random(), self._random.random()
        lost = fate < (model.loss_bad if self._bad else model.loss_good)
        if change < (model.end if self._bad else model.start):
            self._bad = not self._bad
        return lost


@dataclass
class TokenBucket:
    """
    Bytes a second, in explicit time.

    The bucket holds no credit: a datagram may go when the debt of the one before is paid, and its
    own is paid exactly when its last bit has left. So the radio never bursts above its rate.
    """

    rate_bps: float
    gap_s: float = 0.0
    free_at: float = float('-inf')

    def __post_init__(self) -> None:
        for name in ('rate_bps', 'gap_s'):
            if not 0.0 <= getattr(self, name) < float('inf'):
                raise ValueError(
                    f'{name} must be finite and at least 0, got {getattr(self, name)}'
                )

    def air_s(self, size: int, datagrams: int = 1) -> float:
        """Time on air of `size` bytes in so many datagrams, with the gaps behind them."""
        if self.rate_bps == 0:
            return float('inf')
        return size * 8 / self.rate_bps + datagrams * self.gap_s

    def spend(self, size: int, start: float) -> float:
        """Send `size` bytes from `start` on; returns when the last bit leaves."""
        self.free_at = start + self.air_s(size)
        return self.free_at - self.gap_s


@dataclass(frozen=True)
class Statistics:
    """
    Counters of one direction since its start, and its queue now.

    Payloads are those of one class, packets and bytes those of all: offered = sent + stale +
    waiting; sent = delivered + lost + under way. `stale` died at the sender because a newer one
    came or they waited too long; `truncated` are those among the delivered that lost their tail.
    Bytes are bytes on air, overhead included (`offered_bytes` what the offered payloads would
    have taken).
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
    offered_bytes: int = 0
    sent_bytes: int = 0
    queue_bytes: int = 0
    queue_age_s: float = 0.0


@dataclass
class _Count:
    offered: int = 0
    sent: int = 0
    stale: int = 0
    delivered: int = 0
    truncated: int = 0
    lost: int = 0


@dataclass(frozen=True)
class _Waiting:
    payload: bytes
    offered_at: float


@dataclass
class _Sending:
    rest: bytes
    number: int
    deadline: float
    index: int = 0
    cut: bool = False


class Sender:
    """
    The sending end: what goes out next, and when. Bounded: one waiting payload per class.

    mtu: bytes a datagram at most; max_age_s: a payload that waited longer is stale (None: no limit
    but the frame-time rule above); schedule: the rate over time (None: the bucket's for ever);
    seal: how datagrams are proven.
    """

    def __init__(
        self,
        bucket: TokenBucket,
        mtu: int,
        max_age_s: float | None = None,
        schedule: Schedule | None = None,
        seal: Seal = CHECKSUM,
    ) -> None:
        framing.check_mtu(mtu)
        if max_age_s is not None and not max_age_s > 0:
            raise ValueError(f'max_age_s must be above 0 s, got {max_age_s}')
        self.bucket = bucket
        self.mtu = mtu
        self.seal = seal
        self.max_age_s = max_age_s
        self.schedule = schedule or Schedule.constant(bucket.rate_bps)
        self._check_windows()
        self._opens: float | None = None  # of a closed link that traffic waits for
        self.counts = {klass: _Count() for klass in Class}
        self.offered_bytes = self.sent_bytes = 0
        self.unsealed = 0  # datagrams that could not be proven, and did not go out
        self.trouble = ''
        self._waiting: dict[Class, _Waiting] = {}
        self._sending: dict[Class, _Sending] = {}
        # When the last payload of a class leaves; infinite when the next one came only after that,
        # and so does not wait for it.
        self._left = dict.fromkeys(Class, float('-inf'))

    def offer(self, payload: bytes, now: float, klass: Class) -> None:
        """Let a payload wait for the air, in the place of an older one of its class."""
        framing.check_payload(len(payload), self.mtu, self.seal.overhead)
        self.offered_bytes += self._air_bytes(len(payload))
        self.counts[klass].offered += 1
        if klass in self._waiting:
            self.counts[klass].stale += 1
        elif klass not in self._sending and self._left[klass] <= now:
            self._left[klass] = float('inf')
        self._waiting[klass] = _Waiting(payload, now)
        self.bucket.free_at = max(self.bucket.free_at, now)

    def advance(self, now: float) -> Iterator[tuple[float, Datagram, bytes]]:
        """Yield datagrams whose turn comes up to `now`: when the last bit leaves, and bytes."""
        while self._busy and self.bucket.free_at <= now:
            start = self.bucket.free_at
            if not self._open(start):
                continue
            datagram = self._next(start)
            if datagram is None:
                continue
            try:
                data = datagram.pack(self.seal)
            except SealError as error:
                self.unsealed += 1
                self.trouble = str(error)
                continue
            self.sent_bytes += len(data)
            left = self.bucket.spend(len(data), start)
            self._left[datagram.klass] = self.bucket.free_at
            yield left, datagram, data

    def air_s(self, payload_bytes: int) -> float:
        """Time that a payload of so many bytes takes on air, s."""
        count = framing.fragment_count(payload_bytes, self.mtu, self.seal.overhead)
        return self.bucket.air_s(self._air_bytes(payload_bytes), count)

    def _air_bytes(self, payload_bytes: int) -> int:
        return framing.air_bytes(payload_bytes, self.mtu, self.seal.overhead)

    @property
    def rate_bps(self) -> float:
        """Bits a second on air with full datagrams: the last computed rate less the gaps."""
        return self.mtu * 8 / self.bucket.air_s(self.mtu)

    def rate_at(self, now: float) -> tuple[float, float]:
        """Return `rate_bps` at a time (0: closed), and when it changes (s; infinite: never)."""
        rate, end = self.schedule.at(now)
        return self.mtu * 8 / replace(self.bucket, rate_bps=rate).air_s(self.mtu), end

    @property
    def max_payload(self) -> int:
        """Greatest payload in bytes that can be offered."""
        return framing.max_payload(self.mtu, self.seal.overhead)

    @property
    def next_start(self) -> float | None:
        """When the next datagram may go (s), or None when there is nothing to send."""
        return self.bucket.free_at if self._busy else None

    @property
    def under_way(self) -> set[tuple[Class, int]]:
        """Class and number of payloads that are partly sent."""
        return {(klass, sending.number) for klass, sending in self._sending.items()}

    def queue(self, now: float) -> tuple[int, float]:
        """Bytes that have yet to go on air, and the age of the oldest waiting payload (s)."""
        rests = [len(waiting.payload) for waiting in self._waiting.values()]
        rests += [len(sending.rest) for sending in self._sending.values()]
        age = max((now - w.offered_at for w in self._waiting.values()), default=0.0)
        return sum(self._air_bytes(rest) for rest in rests), age

    @property
    def _busy(self) -> bool:
        return bool(self.schedule.rates) and bool(self._sending or self._waiting)

    def _check_windows(self) -> None:
        """Raise ValueError when no window is long enough for a datagram."""
        if not self.schedule.rates:
            return
        slowest = replace(self.bucket, rate_bps=self.schedule.rates[0])
        least = min(seconds for seconds, rate in self.schedule.stretches if rate)
        if math.isfinite(self.schedule.closes(0.0)) and slowest.air_s(self.mtu) > least:
            raise ValueError(
                f'a window of {least:g} s is too short for a datagram of {self.mtu} bytes'
            )

    def _open(self, start: float) -> bool:
        """Whether a datagram can go at `start`; else wait for the window that it can go in."""
        rate, _ = self.schedule.at(start)
        if rate:
            self.bucket.rate_bps = rate
            closes = self.schedule.closes(start)
            if start + self.bucket.air_s(self.mtu) <= closes + _EPSILON_S:
                if self._opens is not None and start >= self._opens - _EPSILON_S:
                    self._reopen(start)
                return bool(self._sending or self._waiting)
            start = closes
        self._opens = self.bucket.free_at = self.schedule.opens(start)
        return False

    def _reopen(self, start: float) -> None:
        """Drop frames that the outage has made old."""
        self._opens = None
        self._sending.pop(Class.FRAME, None)
        self._left[Class.FRAME] = start  # what waits now waits for this
        waiting = self._waiting.get(Class.FRAME)
        if waiting is None:
            return
        frame_s = self.air_s(len(waiting.payload))
        if start - waiting.offered_at > (1 - MIN_SHARE) * frame_s:
            del self._waiting[Class.FRAME]
            self.counts[Class.FRAME].stale += 1

    def _next(self, start: float) -> Datagram | None:
        """Choose the datagram that goes at `start`; None when a payload was dropped instead."""
        # What has begun is finished first; only commands go between fragments of other classes.
        begun = self._sending and Class.COMMAND not in self._waiting
        klass = min(self._sending if begun else {*self._sending, *self._waiting})
        sending = self._sending.get(klass)
        if sending is None:
            sending = self._begin(klass, start)
            if sending is None:
                return None
            self._sending[klass] = sending
        elif klass in self._waiting:
            # Urgent traffic may have come between; then the tail would delay the newer payload.
            self._cut(sending, klass, start, least=1)
        step = self.mtu - self.seal.overhead
        fragment, sending.rest = sending.rest[:step], sending.rest[step:]
        end = not sending.rest
        if end:
            del self._sending[klass]
        sending.index += 1
        cut = end and sending.cut
        return Datagram(klass, sending.number, sending.index - 1, fragment, end, cut)

    def _begin(self, klass: Class, start: float) -> _Sending | None:
        waiting = self._waiting.pop(klass)
        count = self.counts[klass]
        if self.max_age_s is not None and start - waiting.offered_at > self.max_age_s:
            count.stale += 1
            return None
        size = len(waiting.payload)
        backlog = math.isfinite(self._left[klass])
        begin = min(waiting.offered_at, self._left[klass]) if backlog else start
        deadline = begin + self.air_s(size) * (SLOT if backlog else 1.0)
        sending = _Sending(waiting.payload, count.sent & 0xFFFF, deadline)
        self._cut(sending, klass, start, least=math.ceil(MIN_SHARE * size))
        count.sent += 1
        return sending

    def _cut(self, sending: _Sending, klass: Class, start: float, least: int) -> None:
        """Leave off what would not be sent by the deadline, but at most down to `least` bytes."""
        if klass is not Class.FRAME:
            return
        size = len(sending.rest)
        if start + self.air_s(size) <= sending.deadline + _EPSILON_S:
            return
        keep = min(size, max(least, self._fitting(sending.deadline - start)))
        sending.cut |= keep < size
        sending.rest = sending.rest[:keep]
        sending.deadline = max(sending.deadline, start + self.air_s(keep))

    def _fitting(self, seconds: float) -> int:
        """Payload bytes that leave within so many seconds."""
        if seconds <= 0:
            return 0
        step = self.mtu - self.seal.overhead
        whole, rest = divmod(seconds + _EPSILON_S, self.bucket.air_s(self.mtu))
        part = int((rest - self.bucket.gap_s) * self.bucket.rate_bps / 8) - self.seal.overhead
        return int(whole) * step + max(0, part)


class Channel:
    """
    One direction, from payloads offered at one end to payloads delivered at the other.

    rate_bps: bits a second on air, overhead included (0: nothing passes); delay_s: propagation,
    one way; mtu: bytes a datagram; loss: burst model; seed: of the losses; gap_s: silence behind
    every datagram; max_age_s: see `Sender`; schedule: the rate over time, in the place of
    `rate_bps`; seal: how datagrams are proven. Raises ValueError for values out of range.

    Use: `offer` payloads, `poll` for what has come out, `next_event` to know when to poll again.
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
        max_age_s: float | None = None,
        schedule: Schedule | None = None,
        seal: Seal = CHECKSUM,
    ) -> None:
        if not 0.0 <= delay_s < float('inf'):
            raise ValueError(f'delay_s must be finite and at least 0, got {delay_s}')
        rates = schedule.rates if schedule else []
        bucket = TokenBucket(rates[0] if rates else rate_bps, gap_s)
        self.delay_s = delay_s
        self.sender = Sender(bucket, mtu, max_age_s, schedule, seal)
        quiet = _QUIET_DATAGRAMS * bucket.air_s(mtu) if bucket.rate_bps else 1.0
        self.receiver = Reassembler(quiet + _EPSILON_S, seal)
        self._loss = GilbertElliott(loss or GilbertElliottModel(), seed)
        self._air: deque[tuple[float, tuple[Class, int], bytes]] = deque()
        self._open: set[tuple[Class, int]] = set()
        self._settle_at = 1000
        self._now = float('-inf')
        self._packets_sent = self._packets_lost = 0

    @property
    def rate_bps(self) -> float:
        """Bits a second on air with full datagrams: the last computed rate less the gaps."""
        return self.sender.rate_bps

    def frame_s(self, payload_bytes: int) -> float:
        """Time that a payload of so many bytes takes on air, s."""
        return self.sender.air_s(payload_bytes)

    def offer(self, payload: bytes, now: float, klass: Class = Class.FRAME) -> None:
        """Offer a payload at time `now`; ValueError when it is empty or too large for the MTU."""
        self._advance(now)
        self.sender.offer(payload, now, klass)

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
            self._open.discard((received.klass, received.number))
            count = self.sender.counts[received.klass]
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
            None if start is None else start + self.delay_s,
            self.receiver.next_expiry,
        )
        return min((t for t in times if t is not None), default=None)

    def statistics(self, now: float, klass: Class = Class.FRAME) -> Statistics:
        """Return the counters up to the last `poll` and the queue at `now`."""
        self._settle()
        sender = self.sender
        queue_bytes, queue_age = sender.queue(now)
        return Statistics(
            **vars(sender.counts[klass]),
            packets_sent=self._packets_sent,
            packets_lost=self._packets_lost,
            packets_malformed=self.receiver.malformed,
            offered_bytes=sender.offered_bytes,
            sent_bytes=sender.sent_bytes,
            queue_bytes=queue_bytes,
            queue_age_s=queue_age,
        )

    def _advance(self, now: float) -> None:
        if now < self._now:
            raise ValueError(f'time ran backwards, from {self._now} s to {now} s')
        self._now = now
        for left, datagram, data in self.sender.advance(now):
            key = (datagram.klass, datagram.number)
            self._packets_sent += 1
            if datagram.index == 0:
                self._open.add(key)
            if self._loss.lost():
                self._packets_lost += 1
            else:
                self._air.append((left + self.delay_s, key, data))

    def _settle(self) -> None:
        """Count as lost what was sent, was not delivered and has nothing left under way."""
        alive = self.sender.under_way | {key for _, key, _ in self._air}
        for klass in Class:
            number = self.receiver.unfinished(klass)
            if number is not None:
                alive.add((klass, number))
        gone = self._open - alive
        for klass, _ in gone:
            self.sender.counts[klass].lost += 1
        self._open -= gone
