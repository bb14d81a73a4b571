"""
The sending end of a link: what goes out next, and when; all in explicit time.

How age stays bounded, the rule that the whole link rests on: per class at most one payload waits;
a newer one replaces it and the older is *stale*. A frame that waits for the frame before it has
to leave the radio within one frame time (its own serialisation time) of the moment it was
offered, and of the moment the one before had left. For that its tail is cut to what still fits,
which a prefix code allows, but never to less than a quarter. So a frame is at most one frame time
+ delay old when it is shown, its successor comes at most one frame time later on a busy link, and
the frame on the screen is never older than two frame times + delay, however much is offered. (A
quarter is reached only when offers pause for most of a frame time, or urgent traffic takes as
much: then the newest frame is still the best there is.) A link with room to spare cuts nothing.

A key frame (`offer(is_keyframe=True)`) that waits is not replaced by a delta frame, which needs
it, for as long as the key frame is not stale.

With losses (`Sender.set_fec`) parity goes behind a frame (`erasure.py`). Its own
time on air includes that, so the rule stays. A frame that is held up on its way loses its parity
first, from the end.

What goes first: a stop before everything, then commands, between the fragments of other payloads
too; what has begun is finished before anything else begins. Requests and reports come last, but
while one of them waits up to half of the air is theirs, by turns, so that no stream of commands or
frames starves them. They are small, and who sends them keeps them to a twentieth of the air each.

While the link is closed nothing goes and one payload a class waits. When it opens, a frame of
which less than that quarter would come in time is stale, and so is the rest of one that had
begun: what is shown first is younger than one frame time + delay.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from gsc_ros.link.datagrams import erasure, framing
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.seals import CHECKSUM, Seal, SealError
from gsc_ros.link.radio.airtime import PLAIN, OnAir
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.statistics import Count

# Smallest share of a frame that is worth sending.
MIN_SHARE = 0.25
# Share of a frame time that a frame which waited may take: the rest is for late wake-ups.
SLOT = 0.98
BACKGROUND = frozenset((TrafficClass.REQUEST, TrafficClass.REPORT))
# Slack for sums of floating-point times, in seconds.
EPSILON_S = 1e-6

_Load = list[tuple[int, int]]  # sizes of datagrams in bytes, and how many there are of each


@dataclass
class Pacer:
    """
    Bytes a second, in explicit time.

    rate_bps: of the bits; on_air: what datagrams take besides their bytes; gap_s: silence behind
    each. The pacer holds no credit: a datagram may go when the debt of the one before is paid,
    and its own is paid exactly when its last bit has left. So the radio never bursts above its
    rate.
    """

    rate_bps: float
    gap_s: float = 0.0
    on_air: OnAir = PLAIN
    free_at: float = float('-inf')

    def __post_init__(self) -> None:
        for name in ('rate_bps', 'gap_s'):
            if not 0.0 <= getattr(self, name) < float('inf'):
                raise ValueError(
                    f'{name} must be finite and at least 0, got {getattr(self, name)}'
                )

    def air_s(self, size: int, datagrams: int = 1) -> float:
        """Time on air of so many datagrams of `size` bytes each, with the gaps behind them."""
        if self.rate_bps == 0:
            return float('inf')
        return datagrams * (self.on_air.bits(size) / self.rate_bps + self.gap_s)

    @property
    def fixed_s(self) -> float:
        """Time of each datagram besides that of its bytes at the rate, s; see `OnAir`."""
        if self.rate_bps == 0:
            return self.gap_s
        return self.on_air.fixed_bits / self.rate_bps + self.gap_s

    def send(self, size: int, start: float) -> float:
        """Send `size` bytes from `start` on; returns when the last bit leaves."""
        self.free_at = start + self.air_s(size)
        return self.free_at - self.gap_s


@dataclass(frozen=True)
class _Waiting:
    payload: bytes
    offered_at: float
    is_keyframe: bool


@dataclass
class _Sending:
    rest: bytes
    number: int
    deadline: float
    step: int  # bytes of a fragment
    index: int = 0
    cut: bool = False
    parity: list[bytes] = field(default_factory=list)


class Sender:
    """
    The sending end: what goes out next, and when. Bounded: one waiting payload per class.

    mtu: bytes a datagram at most; max_age_s: a payload that waited longer is stale (None: no limit
    but the frame-time rule above); schedule: the rate over time (None: the pacer's for ever);
    seal: how datagrams are proven; session: of this end, see `framing.py`. `set_fec` sets
    the losses that parity is for. Raises ValueError for values out of range.
    """

    def __init__(
        self,
        pacer: Pacer,
        mtu: int,
        max_age_s: float | None = None,
        schedule: Schedule | None = None,
        seal: Seal = CHECKSUM,
        session: int = 1,
    ) -> None:
        framing.check_mtu(mtu)
        if not framing.is_session(session):
            raise ValueError(f'session must be 1 to 65535, its low byte not 0, got {session}')
        if max_age_s is not None and not max_age_s > 0:
            raise ValueError(f'max_age_s must be above 0 s, got {max_age_s}')
        self.pacer = pacer
        self.mtu = mtu
        self.seal = seal
        self.session = session
        self._loss, self._burst = 0.0, 1.0
        self.parity = 0.0  # share of the last frame's bytes on air
        self.max_age_s = max_age_s
        self.schedule = schedule or Schedule.constant(pacer.rate_bps)
        self._check_windows()
        self._turn_at = float('-inf')
        self._opens: float | None = None  # of a closed link that traffic waits for
        self.counts = {traffic_class: Count() for traffic_class in TrafficClass}
        self.offered_bytes = self.sent_bytes = 0
        self.sent_s = 0.0  # of air that datagrams took, with the gaps behind them
        self.unsealed = 0  # datagrams that could not be proven, and did not go out
        self.trouble = ''
        self._waiting: dict[TrafficClass, _Waiting] = {}
        self._sending: dict[TrafficClass, _Sending] = {}
        # Air that others had while something in the background waited, and who went there when.
        self._owed_s = 0.0
        self._went_at = dict.fromkeys(BACKGROUND, float('-inf'))
        # When the last payload of a class leaves; infinite when the next one came only after that,
        # and so does not wait for it.
        self._left = dict.fromkeys(TrafficClass, float('-inf'))

    def set_fec(self, loss: float, burst: float = 1.0) -> None:
        """Put parity behind the frames that follow, against losses as in `erasure.how_many`."""
        # A change of a hundredth is no reason to compute anew.
        self._loss, self._burst = round(loss, 2), round(burst, 1)

    def offer(
        self, payload: bytes, now: float, traffic_class: TrafficClass, is_keyframe: bool = False
    ) -> None:
        """
        Let a payload wait for the air, in the place of an older one of its class.

        ``is_keyframe``: only another key frame takes its place, until it is stale.
        """
        framing.check_payload(len(payload), self.mtu, self.seal.overhead)
        self.offered_bytes += _bytes(self._air(len(payload), traffic_class))
        if traffic_class is TrafficClass.FRAME:
            room = self.mtu - self.seal.overhead
            plain_s = self._fragments_s(len(payload), room)
            self.parity = 1 - min(1.0, plain_s / self.air_s(len(payload)))
        self.counts[traffic_class].offered += 1
        waiting = self._waiting.get(traffic_class)
        if waiting is not None:
            self.counts[traffic_class].stale += 1
            if waiting.is_keyframe and not is_keyframe and self._fresh(waiting, now):
                return
        elif traffic_class not in self._sending and self._left[traffic_class] <= now:
            self._left[traffic_class] = float('inf')
        self._waiting[traffic_class] = _Waiting(payload, now, is_keyframe)
        self.pacer.free_at = max(self.pacer.free_at, now)

    def take_turn(self, start: float) -> None:
        """Begin at `start` (s), after others had the air: waiting for them cuts no frame."""
        self.pacer.free_at = self._turn_at = start

    def advance(self, now: float) -> Iterator[tuple[float, Datagram, bytes]]:
        """Yield datagrams whose turn comes up to `now`: when the last bit leaves, and bytes."""
        while (sent := self.step(now)) is not None:
            yield sent

    def step(self, now: float) -> tuple[float, Datagram, bytes] | None:
        """Return the next of :meth:`advance`, or None."""
        while self._busy and self.pacer.free_at <= now:
            start = self.pacer.free_at
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
            left = self.pacer.send(len(data), start)
            self.sent_s += self.pacer.free_at - start
            self._account(datagram.traffic_class, self.pacer.free_at - start)
            self._left[datagram.traffic_class] = self.pacer.free_at
            return left, datagram, data
        return None

    def air_s(self, payload_bytes: int, traffic_class: TrafficClass = TrafficClass.FRAME) -> float:
        """Time that a payload of so many bytes takes on air with its parity, s."""
        return self._seconds(self._air(payload_bytes, traffic_class))

    def _air(self, payload_bytes: int, traffic_class: TrafficClass) -> _Load:
        """Say what a payload puts on air."""
        step, parity = self._fec(payload_bytes, traffic_class)
        size = step + framing.PARITY_HEAD_BYTES + self.seal.overhead
        return [*self._fragments(payload_bytes, step), (size, parity)]

    def _fragments(self, size: int, step: int) -> _Load:
        """Say what so many bytes in fragments of ``step``, without parity, put on air."""
        full, rest = divmod(size, step)
        overhead = self.seal.overhead
        return [(step + overhead, full), (rest + overhead, int(rest > 0))]

    def _fragments_s(self, size: int, step: int) -> float:
        return self._seconds(self._fragments(size, step))

    def _seconds(self, load: _Load) -> float:
        return sum(self.pacer.air_s(size, count) for size, count in load if count)

    def _fec(self, payload_bytes: int, traffic_class: TrafficClass) -> tuple[int, int]:
        """Bytes of a fragment, and how many of parity follow."""
        room = self.mtu - self.seal.overhead
        if (
            traffic_class is TrafficClass.FRAME
            and self._loss
            and payload_bytes <= framing.MAX_PROTECTED_BYTES
        ):
            count = -(-payload_bytes // (room - framing.PARITY_HEAD_BYTES))
            parity = erasure.how_many(count, self._loss, self._burst)
            if parity:
                # Parity is as long as the longest fragment: they are best equally long.
                return -(-payload_bytes // count), parity
        return room, 0

    @property
    def rate_bps(self) -> float:
        """Bits a second on air with full datagrams: the last computed rate less the gaps."""
        return self.mtu * 8 / self.pacer.air_s(self.mtu)

    def rate_at(self, now: float) -> tuple[float, float]:
        """Return `rate_bps` at a time (0: closed), and when it changes (s; infinite: never)."""
        rate, end = self.schedule.at(now)
        return self.mtu * 8 / replace(self.pacer, rate_bps=rate).air_s(self.mtu), end

    @property
    def max_payload(self) -> int:
        """Greatest payload in bytes that can be offered."""
        return framing.max_payload(self.mtu, self.seal.overhead)

    @property
    def next_start(self) -> float | None:
        """When the next datagram may go (s), or None when there is nothing to send."""
        return self.pacer.free_at if self._busy else None

    def waits(self, traffic_class: TrafficClass) -> bytes | None:
        """Return the payload of a class that waits, if there is one."""
        waiting = self._waiting.get(traffic_class)
        return waiting.payload if waiting else None

    @property
    def under_way(self) -> set[tuple[TrafficClass, int]]:
        """Class and number of payloads that are partly sent."""
        return {
            (traffic_class, sending.number) for traffic_class, sending in self._sending.items()
        }

    def queue(self, now: float) -> tuple[int, float]:
        """Bytes that have yet to go on air, and the age of the oldest waiting payload (s)."""
        rests = [
            _bytes(self._air(len(w.payload), traffic_class))
            for traffic_class, w in self._waiting.items()
        ]
        rests += [_bytes(self._rest(sending)) for sending in self._sending.values()]
        age = max((now - w.offered_at for w in self._waiting.values()), default=0.0)
        return sum(rests), age

    @property
    def _busy(self) -> bool:
        return bool(self.schedule.rates) and bool(self._sending or self._waiting)

    def _check_windows(self) -> None:
        """Raise ValueError when no window is long enough for a datagram."""
        if not self.schedule.rates:
            return
        slowest = replace(self.pacer, rate_bps=self.schedule.rates[0])
        least = min(one.seconds for one in self.schedule.intervals if one.rate_bps)
        if math.isfinite(self.schedule.closes(0.0)) and slowest.air_s(self.mtu) > least:
            raise ValueError(
                f'a window of {least:g} s is too short for a datagram of {self.mtu} bytes'
            )

    def _open(self, start: float) -> bool:
        """Whether a datagram can go at `start`; else wait for the window that it can go in."""
        rate = self.schedule.interval(start).rate_bps
        if rate:
            self.pacer.rate_bps = rate
            closes = self.schedule.closes(start)
            if start + self.pacer.air_s(self.mtu) <= closes + EPSILON_S:
                if self._opens is not None and start >= self._opens - EPSILON_S:
                    self._reopen(start)
                return bool(self._sending or self._waiting)
            start = closes
        self._opens = self.pacer.free_at = self.schedule.opens(start)
        return False

    def _reopen(self, start: float) -> None:
        """Drop frames that the outage has made old."""
        self._opens = None
        self._sending.pop(TrafficClass.FRAME, None)
        self._left[TrafficClass.FRAME] = start  # what waits now waits for this
        waiting = self._waiting.get(TrafficClass.FRAME)
        if waiting is None:
            return
        if not self._fresh(waiting, start):
            del self._waiting[TrafficClass.FRAME]
            self.counts[TrafficClass.FRAME].stale += 1

    def _fresh(self, waiting: _Waiting, now: float) -> bool:
        """Whether enough of a frame leaves within its own time on air of when it was offered."""
        frame_s = self.air_s(len(waiting.payload))
        return now - waiting.offered_at <= (1 - MIN_SHARE) * frame_s

    def _next(self, start: float) -> Datagram | None:
        """Choose the datagram that goes at `start`; None when a payload was dropped instead."""
        traffic_class = self._choose()
        sending = self._sending.get(traffic_class)
        if sending is None:
            sending = self._begin(traffic_class, start)
            if sending is None:
                return None
            self._sending[traffic_class] = sending
        elif traffic_class is TrafficClass.FRAME and traffic_class in self._waiting:
            # Urgent traffic may have come between; then the tail would delay the newer payload.
            self._cut(sending, start)
        datagram = self._take(sending, traffic_class) if sending.rest or sending.parity else None
        if not (sending.rest or sending.parity):
            del self._sending[traffic_class]
        return datagram

    def _choose(self) -> TrafficClass:
        """Return whose turn it is among what has begun and what waits."""
        first = min({*self._sending, *self._waiting})
        if first is TrafficClass.STOP or first in self._sending:
            return first
        if self._sending and first is not TrafficClass.COMMAND:
            return min(self._sending)
        # A payload begins now.
        waiting = (traffic_class for traffic_class in self._waiting if traffic_class in BACKGROUND)
        traffic_class = min(waiting, key=lambda k: (self._went_at[k], k), default=first)
        size = len(self._waiting[traffic_class].payload)
        return (
            traffic_class if self._owed_s >= self.air_s(size, traffic_class) - EPSILON_S else first
        )

    def _account(self, traffic_class: TrafficClass, air_s: float) -> None:
        """Note who had the air, for what is owed to those in the background that wait."""
        if traffic_class in BACKGROUND:
            self._owed_s = max(0.0, self._owed_s - air_s)
            self._went_at[traffic_class] = self.pacer.free_at
        elif traffic_class is not TrafficClass.STOP:
            self._owed_s += air_s
        if not any(waiting in BACKGROUND for waiting in self._waiting):
            self._owed_s = 0.0

    def _take(self, sending: _Sending, traffic_class: TrafficClass) -> Datagram:
        """Take the next datagram of a payload: its data, then its parity."""
        parity = not sending.rest
        if parity:
            fragment = sending.parity.pop(0)
            end = not sending.parity
        else:
            fragment, sending.rest = sending.rest[: sending.step], sending.rest[sending.step :]
            end = not sending.rest
        index, sending.index = sending.index, sending.index + 1
        protected = end and not parity and bool(sending.parity)
        if protected:
            sending.index = 0  # parity has its own
        cut = (end or parity) and sending.cut
        return Datagram(
            traffic_class,
            sending.number,
            index,
            fragment,
            end,
            cut,
            protected,
            parity,
            self.session,
        )

    def _begin(self, traffic_class: TrafficClass, start: float) -> _Sending | None:
        waiting = self._waiting.pop(traffic_class)
        count = self.counts[traffic_class]
        if self.max_age_s is not None and start - waiting.offered_at > self.max_age_s:
            count.stale += 1
            return None
        size = len(waiting.payload)
        backlog = math.isfinite(self._left[traffic_class])
        begin = min(waiting.offered_at, self._left[traffic_class]) if backlog else start
        slot = SLOT if backlog else 1.0
        if begin <= self._turn_at:
            begin, slot = self._turn_at, 1.0
        deadline = begin + self.air_s(size, traffic_class) * slot
        keep = size
        if traffic_class is TrafficClass.FRAME:
            fitting = _longest(size, deadline - start, self.air_s)
            keep = max(fitting, math.ceil(MIN_SHARE * size))
        data = waiting.payload[:keep]
        step, parity = self._fec(keep, traffic_class)
        sending = _Sending(data, count.sent & 0xFFFF, deadline, step, cut=keep < size)
        if parity:
            sending.parity = framing.parity(data, step, parity)
        sending.deadline = max(deadline, start + self._rest_s(sending))
        count.sent += 1
        return sending

    def _cut(self, sending: _Sending, start: float) -> None:
        """
        Leave off what would not be sent by the deadline, but for a byte.

        Parity goes first, from its end; with data missing the rest of it would be of no use.
        """
        while self._rest_s(sending) > sending.deadline - start + EPSILON_S:
            if sending.parity:
                sending.parity.pop()
                continue
            rest = sending.rest
            seconds = partial(self._fragments_s, step=sending.step)
            keep = _longest(len(rest), sending.deadline - start, seconds)
            sending.rest = rest[: max(1, keep)]
            sending.cut |= len(sending.rest) < len(rest)
            sending.deadline = max(sending.deadline, start + self._rest_s(sending))

    def _rest(self, sending: _Sending) -> _Load:
        """Say what has yet to go."""
        parity = [(len(data) + self.seal.overhead, 1) for data in sending.parity]
        return [*self._fragments(len(sending.rest), sending.step), *parity]

    def _rest_s(self, sending: _Sending) -> float:
        return self._seconds(self._rest(sending))


def _bytes(load: _Load) -> int:
    return sum(size * count for size, count in load)


def _longest(size: int, seconds: float, air_s: Callable[[int], float]) -> int:
    """Return the greatest size, of at most ``size`` bytes, that is on air for so long at most."""
    if air_s(size) <= seconds + EPSILON_S:
        return size
    return bisect_right(range(1, size), seconds + EPSILON_S, key=air_s)
