"""
The sending end of a link: what goes out next, and when; all in explicit time.

How age stays bounded, the rule that the whole link rests on: per class and camera at most one
payload waits;
a newer one replaces it and the older is *stale*. A frame that waits for the frame before it has
to leave the radio within one frame time (its own serialisation time) of the moment it was
offered, and of the moment the one before had left. For that its tail is cut to what still fits,
which a prefix code allows, but never to less than a quarter. So a frame is at most one frame time
+ delay old when it is shown, its successor comes at most one frame time later on a busy link, and
the frame on the screen is never older than two frame times + delay, however much is offered. (A
quarter is reached only when offers pause for most of a frame time, or urgent traffic takes as
much: then the newest frame is still the best there is.) A link with room to spare cuts nothing.

A frame whose prefix does not decode (``offer(divisible=False)``) is never cut. It leaves whole,
up to one frame time later than a divisible one; what an outage breaks off is lost.

A key frame (``offer(is_keyframe=True)``) that waits is not replaced by a delta frame, which needs
it, for as long as the key frame is not stale.

With losses (`Sender.set_fec`) parity goes behind a frame (`erasure.py`). The frame's time on air
includes that, so the rule stays. A frame that is held up on its way loses its parity first, from
the end.

What goes first: a stop before everything, then commands, between the fragments of other payloads
too; what has begun is finished before anything else begins. Requests, reports, telemetry and parts
of stills come last, but while one of them waits up to half of the air is theirs, by turns, so that
no stream of commands or frames starves them. They are small, and who sends them keeps them to a
twentieth of the air each, stills to a share that is a parameter.

While the link is closed nothing goes and one payload a class waits. When it opens, a frame of
which less than that quarter would come in time is stale, and so is the rest of one that had
begun: what is shown first is younger than one frame time + delay.

Several cameras share the air by weights, frame by frame (`sharing.py`). The rules hold for each
of them; the frame time of one counts from when the others' frames before it have left, so that
waiting for these cuts none. A frame of a camera with the share s of the air is then as old as
1 + 1 / s times its own time and one frame of each other camera at most.
"""

import math
from collections.abc import Iterator

from gsc_ros.link.datagrams import framing
from gsc_ros.link.datagrams.framing import Datagram, PayloadId, Stream, TrafficClass
from gsc_ros.link.datagrams.seals import CHECKSUM, Seal, SealError
from gsc_ros.link.radio.schedule import Schedule
from gsc_ros.link.traffic.background import Background
from gsc_ros.link.traffic.pacer import Pacer
from gsc_ros.link.traffic.packetizer import EPSILON_S, Packetizer, air_bytes
from gsc_ros.link.traffic.sending import Sending, Waiting, longest
from gsc_ros.link.traffic.sharing import FairShare
from gsc_ros.link.traffic.statistics import Counts

# Smallest share of a frame that is sent.
MIN_SHARE = 0.25
# Share of a frame time that a frame which waited may take: the rest is for late wake-ups.
SLOT = 0.98


class Sender:
    """
    The sending end: what goes out next, and when. Bounded: one waiting payload per class and
    camera.

    pacer: of the radio; mtu: bytes a datagram at most; max_age_s: a payload that waited longer is
    stale (None: no limit but the frame-time rule above); schedule: the rate over time (None: the
    pacer's for ever); seal: how datagrams are proven; session: of this end, see `framing.py`.
    `set_fec` sets the losses that parity is for, `share` how cameras share the air. Raises
    ValueError for values out of range.
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
        self._packetizer = Packetizer(pacer, mtu, seal.overhead)
        self.parity = 0.0  # share of the last frame's bytes on air
        self.max_age_s = max_age_s
        self.schedule = schedule or Schedule.constant(pacer.rate_bps)
        self._check_windows()
        self.share = FairShare()
        self.counts = Counts()
        self.offered_bytes = self.sent_bytes = 0
        self.sent_s = 0.0  # of air that datagrams took, with the gaps behind them
        self.unsealed = 0  # datagrams that could not be proven, and did not go out
        self.trouble = ''
        self._waiting: dict[Stream, Waiting] = {}
        self._sending: dict[Stream, Sending] = {}
        # When the turn began, where others share the air.
        self._turn_at: float | None = None
        # When the link opens that traffic waits for; None while it is open.
        self._opens_at: float | None = None
        self._background = Background()
        # When the payload leaves that the waiting one of its stream waits for; None: for none.
        self._left_at: dict[Stream, float | None] = {}
        self._frame_left_at: dict[int, float] = {}  # the last datagram of each camera's frames

    # What waits for the air

    def set_fec(self, loss: float, burst: float = 1.0) -> None:
        """Put parity behind the frames that follow, against losses as in `erasure.how_many`."""
        self._packetizer.set_fec(loss, burst)

    def offer(
        self,
        payload: bytes,
        now: float,
        traffic_class: TrafficClass,
        is_keyframe: bool = False,
        divisible: bool = True,
        camera: int = 0,
    ) -> None:
        """
        Let a payload wait for the air, in the place of an older one of its class and camera.

        ``is_keyframe``: only another key frame takes its place, until it is stale; ``divisible``:
        a frame whose beginning is of use alone, so that its tail may be cut. Raises ValueError
        when it is empty or too large for the MTU, and for a camera that cannot be.
        """
        framing.check_camera(camera, traffic_class)
        framing.check_payload(len(payload), self.mtu, self.seal.overhead)
        self.offered_bytes += air_bytes(self._packetizer.datagrams(len(payload), traffic_class))
        if traffic_class is TrafficClass.FRAME:
            self.parity = self._packetizer.parity_share(len(payload))
        stream = traffic_class, camera
        count = self.counts.of(*stream)
        count.offered += 1
        waiting = self._waiting.get(stream)
        left_at = self._left_at.get(stream)
        if waiting is not None:
            count.stale += 1
            since = self._after_others(camera, waiting.offered_at)
            if waiting.is_keyframe and not is_keyframe and self._is_fresh(waiting, since, now):
                return
        elif stream not in self._sending:
            if traffic_class is TrafficClass.FRAME:
                self.share.begin(camera)
            if left_at is not None and left_at <= now:
                self._left_at[stream] = None
        self._waiting[stream] = Waiting(payload, now, is_keyframe, divisible)
        self.pacer.wait_until(now)

    def wait_until(self, at: float) -> None:
        """Let nothing go before a time (s), as others have the air."""
        self.pacer.wait_until(at)

    def take_turn(self, start: float) -> None:
        """Begin at `start` (s), after others had the air: waiting for them cuts no frame."""
        self.pacer.wait_until(start)
        self._turn_at = start

    def waiting_payload(self, traffic_class: TrafficClass, camera: int = 0) -> bytes | None:
        """Return the payload of a class and camera that waits, if there is one."""
        waiting = self._waiting.get((traffic_class, camera))
        return waiting.payload if waiting else None

    @property
    def in_progress(self) -> set[PayloadId]:
        """Class, camera and number of payloads that are partly sent."""
        return {(*stream, one.number) for stream, one in self._sending.items()}

    def queue(self, now: float) -> tuple[int, float]:
        """Bytes that have yet to go on air, and the age of the oldest waiting payload (s)."""
        rests = [
            air_bytes(self._packetizer.datagrams(len(waiting.payload), traffic_class))
            for (traffic_class, _), waiting in self._waiting.items()
        ]
        rests += [air_bytes(one.datagrams(self._packetizer)) for one in self._sending.values()]
        age = max((now - w.offered_at for w in self._waiting.values()), default=0.0)
        return sum(rests), age

    # Times and rates

    def air_s(self, size: int, traffic_class: TrafficClass = TrafficClass.FRAME) -> float:
        """Time that a payload of so many bytes takes on air with its parity, s."""
        return self._packetizer.air_s(size, traffic_class)

    @property
    def rate_bps(self) -> float:
        """Bits a second on air with full datagrams: the last computed rate less the gaps."""
        return self.mtu * 8 / self.pacer.air_s(self.mtu)

    def rate_at(self, now: float) -> tuple[float, float | None]:
        """Return `rate_bps` at a time (0: closed), and when it changes (s; None: never)."""
        rate, end = self.schedule.at(now)
        return self.mtu * 8 / self.pacer.air_s(self.mtu, rate_bps=rate), end

    @property
    def max_payload(self) -> int:
        """Greatest payload in bytes that can be offered."""
        return framing.max_payload(self.mtu, self.seal.overhead)

    @property
    def next_start(self) -> float | None:
        """When the next datagram may go (s), or None when there is nothing to send."""
        return self.pacer.free_at if self._has_traffic else None

    @property
    def _has_traffic(self) -> bool:
        return bool(self.schedule.rates) and bool(self._sending or self._waiting)

    def _check_windows(self) -> None:
        """Raise ValueError when no window is long enough for a datagram."""
        if not self.schedule.rates or self.schedule.closes(0.0) is None:
            return
        least = min(one.seconds or 0.0 for one in self.schedule.intervals if one.rate_bps)
        if self.pacer.air_s(self.mtu, rate_bps=self.schedule.rates[0]) > least:
            raise ValueError(
                f'a window of {least:g} s is too short for a datagram of {self.mtu} bytes'
            )

    # What goes out

    def advance(self, now: float) -> Iterator[tuple[float, Datagram, bytes]]:
        """Yield datagrams whose turn comes up to `now`: when the last bit leaves, and bytes."""
        while (sent := self.send_next(now)) is not None:
            yield sent

    def send_next(self, now: float) -> tuple[float, Datagram, bytes] | None:
        """Send the next datagram of :meth:`advance`; None when there is none up to `now`."""
        while self._has_traffic and self.pacer.free_at <= now:
            start = self.pacer.free_at
            opens_at = self._next_opening(start)
            self._enter(start, opens_at)
            if opens_at > start or not self._has_traffic:
                continue
            datagram = self._next_datagram(start)
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
            self._account(datagram, self.pacer.free_at - start)
            return left, datagram, data
        return None

    def _next_opening(self, start: float) -> float:
        """Return when a datagram can go: at `start`, or when the next window opens (s)."""
        rate_bps = self.schedule.interval(start).rate_bps
        closes_at = self.schedule.closes(start)
        if closes_at is None:
            return start
        fits = start + self.pacer.air_s(self.mtu, rate_bps=rate_bps) <= closes_at + EPSILON_S
        opens_at = start if rate_bps and fits else self.schedule.opens(closes_at)
        assert opens_at is not None  # only a schedule with a rate has traffic
        return opens_at

    def _enter(self, start: float, opens_at: float) -> None:
        """Go on at the rate of `start`, or wait for the window that opens at another time."""
        if rate_bps := self.schedule.interval(start).rate_bps:
            self.pacer.set_rate(rate_bps)
        if opens_at > start:
            self._opens_at = opens_at
            self.pacer.wait_until(opens_at)
        elif self._opens_at is not None and start >= self._opens_at - EPSILON_S:
            self._opens_at = None
            self._drop_outdated(start)

    def _drop_outdated(self, start: float) -> None:
        """Drop frames that the outage has made old."""
        for stream in [one for one in self._sending if one[0] is TrafficClass.FRAME]:
            del self._sending[stream]
        for stream in [one for one in self._waiting if one[0] is TrafficClass.FRAME]:
            self._left_at[stream] = start  # what waits now waits for this
            waiting = self._waiting[stream]
            if not self._is_fresh(waiting, waiting.offered_at, start):
                del self._waiting[stream]
                self.counts.of(*stream).stale += 1

    def _is_fresh(self, waiting: Waiting, since: float, now: float) -> bool:
        """Whether enough of a frame leaves within its own time on air of a time (s)."""
        return now - since <= (1 - MIN_SHARE) * self.air_s(len(waiting.payload))

    def _after_others(self, camera: int, begin: float) -> float:
        """Return when the frames of other cameras so far have left, but not before `begin` (s)."""
        others = (at for one, at in self._frame_left_at.items() if one != camera)
        return max(begin, max(others, default=begin))

    def _next_datagram(self, start: float) -> Datagram | None:
        """Choose the datagram that goes at `start`; None when a payload was dropped instead."""
        stream = self._choose()
        sending = self._sending.get(stream)
        if sending is None:
            sending = self._begin_payload(stream, start)
            if sending is None:
                return None
            self._sending[stream] = sending
        elif stream[0] is TrafficClass.FRAME and stream in self._waiting:
            # Urgent traffic may have come between; then the tail would delay the newer payload.
            sending.cut(start, self._packetizer)
        datagram = None if sending.done else sending.pop(stream, self.session)
        if sending.done:
            del self._sending[stream]
        return datagram

    def _choose(self) -> Stream:
        """Return whose turn it is among what has begun and what waits."""
        first = min({*self._sending, *self._waiting})
        if first[0] is TrafficClass.STOP or first in self._sending:
            return first
        if self._sending and first[0] is not TrafficClass.COMMAND:
            return min(self._sending)
        # A payload begins now.
        owed = self._background.owed(self._waiting, self.air_s)
        if owed is not None:
            return owed
        if first[0] is TrafficClass.FRAME:
            return first[0], self.share.choose(self._cameras_waiting(first[0]))
        return first

    def _cameras_waiting(self, traffic_class: TrafficClass) -> list[int]:
        return [camera for one, camera in self._waiting if one is traffic_class]

    def _account(self, datagram: Datagram, air_s: float) -> None:
        """Note who had the air, for what is owed to others that wait."""
        traffic_class, camera = datagram.traffic_class, datagram.camera
        self._left_at[traffic_class, camera] = self.pacer.free_at
        if traffic_class is TrafficClass.FRAME:
            self._frame_left_at[camera] = self.pacer.free_at
            self.share.account(camera, air_s)
        self._background.account(traffic_class, air_s, self._waiting)

    def _begin_payload(self, stream: Stream, start: float) -> Sending | None:
        """Begin the waiting payload of a class and camera; None when it is stale."""
        traffic_class = stream[0]
        waiting = self._waiting.pop(stream)
        count = self.counts.of(*stream)
        if self.max_age_s is not None and start - waiting.offered_at > self.max_age_s:
            count.stale += 1
            return None
        size = len(waiting.payload)
        deadline = self._deadline(waiting, stream, start)
        keep = size
        if traffic_class is TrafficClass.FRAME and waiting.divisible:
            fitting = longest(size, deadline - start, self.air_s)
            keep = max(fitting, math.ceil(MIN_SHARE * size))
        data = waiting.payload[:keep]
        step, parity = self._packetizer.plan(keep, traffic_class)
        sending = Sending(
            data, count.sent & 0xFFFF, deadline, step, waiting.divisible, is_cut=keep < size
        )
        if parity:
            sending.parity = framing.parity(data, step, parity)
        sending.deadline = max(deadline, start + sending.seconds(self._packetizer))
        count.sent += 1
        return sending

    def _deadline(self, waiting: Waiting, stream: Stream, start: float) -> float:
        """Return when a payload that begins at `start` has to have left, s."""
        left_at = self._left_at.get(stream)
        begin, slot = start, 1.0
        if left_at is not None:
            begin, slot = min(waiting.offered_at, left_at), SLOT
        if self._turn_at is not None and begin <= self._turn_at:
            begin, slot = self._turn_at, 1.0
        if stream[0] is TrafficClass.FRAME:
            others_at = self._after_others(stream[1], begin)
            if begin < others_at:
                begin, slot = others_at, 1.0
        return begin + self.air_s(len(waiting.payload), stream[0]) * slot
