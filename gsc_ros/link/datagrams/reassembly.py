"""
Payloads out of datagrams: whole, restored from parity, or their longest unbroken beginning.

The reassembler follows one session at a time. When another begins, the one before is over for
good: what still comes of it is dropped, so that nothing old is mixed with what is new. Order is
kept on a radio: a datagram of a newer payload means that no more of an older one will come.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from gsc_ros.link.datagrams import erasure
from gsc_ros.link.datagrams.framing import (
    PER_CAMERA,
    SIZE,
    Datagram,
    PayloadId,
    ProtectedPayload,
    Stream,
    TrafficClass,
)
from gsc_ros.link.datagrams.seals import (
    CHECKSUM,
    FramingError,
    OlderVersionError,
    Opened,
    ReplayError,
    Seal,
)

# Numbers up to so far behind the newest are late; the others are ahead of it. An outage may skip
# more of them than that: the order of the seal shows it, without one a silence of so many seconds.
_HALF = 0x8000
_NUMBERS_S = 60.0
# A gap of so many numbers means an outage: how many were sent is unknown.
_MOST_SKIPPED = 16
_RETIRED_KEPT = 64  # sessions


@dataclass(frozen=True)
class Received:
    """
    A payload, or its unbroken beginning, as it came out of the air.

    session, camera: of its datagrams; key, order: how the first of them that came was proven, as
    in :class:`Opened`.
    """

    traffic_class: TrafficClass
    number: int
    payload: bytes
    truncated: bool
    session: int = 1
    camera: int = 0
    key: int = 0
    order: int | None = None


@dataclass
class _Partial:
    first: Datagram  # that came
    opened: Opened
    updated_at: float  # when its last datagram came, s
    parts: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None
    cut: bool = False
    protected: ProtectedPayload | None = None
    parity: dict[int, bytes] = field(default_factory=dict)
    restored: bytes | None = None

    @property
    def number(self) -> int:
        return self.first.number

    @property
    def count(self) -> int | None:
        """How many fragments of data there are, once it is known."""
        if self.protected is not None:
            return self.protected.count
        return None if self.end is None else 1 + self.end

    @property
    def whole(self) -> bool:
        return self.end is not None and all(i in self.parts for i in range(self.end + 1))

    def add(self, datagram: Datagram) -> bool:
        """Keep a datagram's part; False for one that does not belong to those before."""
        index, fragment = datagram.index, datagram.fragment
        if datagram.parity:
            protected = ProtectedPayload.of(fragment)
            known = self.protected or (protected if self._agrees(protected) else None)
            if protected != known:
                return False
            self.protected, self.cut = protected, datagram.cut
            self.parity[index] = fragment[SIZE.size :]
            return True
        if self.end is not None and index > self.end:
            return False
        if self.protected is not None and not self.protected.fits(index, fragment, datagram.end):
            return False
        self.parts[index] = fragment
        if datagram.end:
            self.end, self.cut = index, datagram.cut
        return True

    def _agrees(self, protected: ProtectedPayload) -> bool:
        return all(protected.fits(i, part, i == self.end) for i, part in self.parts.items())

    def restore(self) -> bool:
        """Make it whole from its parity, if there is enough of it."""
        protected = self.protected
        if protected is None or len(self.parts) + len(self.parity) < protected.count:
            return False
        known = self.parts | {protected.count + j: part for j, part in self.parity.items()}
        self.restored = b''.join(erasure.restore(known, protected.count))[: protected.size]
        return True

    def received(self) -> Received | None:
        if self.restored is not None:
            return _received(self.first, self.opened, self.restored, self.cut)
        prefix: list[bytes] = []
        while len(prefix) in self.parts:
            prefix.append(self.parts[len(prefix)])
        if not prefix:
            return None
        whole = self.end is not None and len(prefix) > self.end and not self.cut
        return _received(self.first, self.opened, b''.join(prefix), not whole)


def _received(first: Datagram, opened: Opened, payload: bytes, truncated: bool) -> Received:
    return Received(
        first.traffic_class,
        first.number,
        payload,
        truncated,
        first.session,
        first.camera,
        opened.key,
        opened.order,
    )


@dataclass(frozen=True)
class _Last:
    """What is known of a finished payload: its fragments of data, whether its end was lost."""

    count: int
    lost: bool


class Reassembler:
    """
    Puts datagrams together again; holds at most one unfinished payload per class and camera.

    A payload is handed up when it is whole or can be restored, when the last that was sent of it
    came (what is missing then is lost, as order is kept), when a newer one of its class and camera
    begins, or when nothing of it came for `timeout_s`. All of them are of one `session`, that of
    the sender as it runs now (0: none came yet). What is unfinished of a session when the next one
    begins is given up. A session that is over stays so: where datagrams have a proven order, those
    from before the current session's newest cannot begin another, nor can those under a key that
    another has replaced; else the last 64 sessions are remembered. A STOP is handed up all the
    same: the command gate decides on it. Of several `cameras` each has payloads of its own; what
    comes of others is counted and dropped; ``lacked`` is the first of them in this session.

    Counters: `accepted` (datagrams of the other end as it runs now), `malformed` (not ours,
    damaged, or not of one piece with what came before), `older` (in the format of an older
    release), `replayed` (the seal has seen it before), `retired` (of a session that is over),
    `other_camera` (of a camera that there is not, or of a class that is of no camera), `late`
    (duplicates, and fragments of payloads already handed up), `spare` (parity that was not needed
    any more),
    `restored` (payloads that parity made whole), `headless` (payloads whose beginning was lost:
    nothing to hand up), `fragments` (of data that came of finished payloads), `expected` (how many
    of them there must have been: a payload whose end did not come counts as many as the one
    before, one of which nothing came as the one after) and `gaps` (runs of those that did not
    come).
    """

    def __init__(self, timeout_s: float, seal: Seal = CHECKSUM, cameras: int = 1) -> None:
        if not timeout_s > 0:
            raise ValueError(f'timeout_s must be above 0 s, got {timeout_s}')
        self.timeout_s = timeout_s
        self.seal = seal
        self._cameras = cameras
        self.accepted = 0
        self.malformed = 0
        self.older = 0
        self.replayed = 0
        self.retired = 0
        self.other_camera = 0
        self.lacked: int | None = None
        self.late = 0
        self.spare = 0
        self.restored = 0
        self.headless = 0
        self.fragments = self.expected = self.gaps = 0
        self.session = 0
        self._key, self._order = 0, -1  # of the session, and its greatest order
        self._over: deque[int] = deque(maxlen=_RETIRED_KEPT)
        self._over_keys: set[int] = set()
        self._partial: dict[Stream, _Partial] = {}
        self._done: dict[Stream, int] = {}
        # Of each stream the greatest order, and when its last datagram came (s).
        self._recent: dict[Stream, tuple[int, float]] = {}
        self._last: dict[Stream, _Last] = {}

    @property
    def refused(self) -> int:
        """How many datagrams were not taken for those of the other end as it runs now."""
        return self.unreadable + self.played_back

    @property
    def unreadable(self) -> int:
        """How many of them are damaged, foreign or of an older release."""
        return self.malformed + self.older

    @property
    def played_back(self) -> int:
        """How many of them came before, or are of a session that is over."""
        return self.replayed + self.retired

    def push(self, data: bytes, now: float) -> list[Received]:
        """Take one datagram off the air at `now` (s); return what it completes. Never raises."""
        try:
            opened = self.seal.open(data)
            datagram = Datagram.of(opened)
        except ReplayError:
            self.replayed += 1
            return []
        except OlderVersionError:
            self.older += 1
            return []
        except FramingError:
            self.malformed += 1
            return []
        if not self._follow(datagram.session, opened):
            self.retired += 1
            whole = (
                datagram.traffic_class is TrafficClass.STOP and datagram.end and not datagram.index
            )
            return [_received(datagram, opened, datagram.fragment, datagram.cut)] if whole else []
        self.accepted += 1
        stream = datagram.traffic_class, datagram.camera
        if datagram.camera and not self._knows(*stream):
            self.other_camera += 1
            # The first: by turns they would change each report, and so send it early.
            self.lacked = datagram.camera if self.lacked is None else self.lacked
            return []
        partial = self._partial.get(stream)
        ready: list[Received] = []
        if partial is None or partial.number != datagram.number:
            newest = partial.number if partial else self._done.get(stream)
            if newest is not None and self._is_late(datagram, opened.order, newest, now):
                self.spare += datagram.parity
                self.late += not datagram.parity
                return []
            ready = self._finish(stream)
            partial = self._partial[stream] = _Partial(datagram, opened, now)
        order, _ = self._recent.get(stream, (-1, now))
        self._recent[stream] = max(order, -1 if opened.order is None else opened.order), now
        if datagram.index in (partial.parity if datagram.parity else partial.parts):
            self.late += 1
            return ready
        if not partial.add(datagram):
            self.malformed += 1
            return ready
        partial.updated_at = now
        restored = not partial.whole and partial.restore()
        self.restored += restored
        if restored or partial.whole or (datagram.end and not datagram.protected):
            ready += self._finish(stream)
        return ready

    def _knows(self, traffic_class: TrafficClass, camera: int) -> bool:
        return camera < self._cameras and traffic_class in PER_CAMERA

    def _is_late(self, datagram: Datagram, order: int | None, newest: int, now: float) -> bool:
        """Whether a datagram is of no later payload; an outage may skip any number of them."""
        if datagram.number == newest:
            return True
        last, at = self._recent[datagram.traffic_class, datagram.camera]
        if order is not None:
            return order < last
        return (newest - datagram.number) % 0x10000 < _HALF and now <= at + _NUMBERS_S

    def _follow(self, session: int, opened: Opened) -> bool:
        """Begin another session where a datagram is of one; False for one that is over."""
        order = self._order if opened.order is None else opened.order
        if session != self.session:
            same_key = opened.key == self._key
            behind = session in self._over if opened.order is None else order < self._order
            if (same_key and behind) or opened.key in self._over_keys:
                return False
            if self.session:
                self._over.append(self.session)
                if not same_key:
                    self._over_keys.add(self._key)
            if not same_key:
                self._key, self._order = opened.key, -1
            self.session, self.lacked = session, None
            for known in (self._partial, self._done, self._last, self._recent):
                known.clear()
        self._order = max(self._order, order)
        return True

    def expire(self, now: float) -> list[Received]:
        """Hand up payloads of which nothing came for too long at time `now` (s)."""
        expired = [k for k, p in self._partial.items() if now >= p.updated_at + self.timeout_s]
        return [received for stream in expired for received in self._finish(stream)]

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do next (s), or None."""
        return min((p.updated_at + self.timeout_s for p in self._partial.values()), default=None)

    @property
    def held_bytes(self) -> int:
        """Bytes of unfinished payloads."""
        held = (parts for p in self._partial.values() for parts in (p.parts, p.parity))
        return sum(len(part) for parts in held for part in parts.values())

    @property
    def unfinished_payloads(self) -> set[PayloadId]:
        """Class, camera and number of the payloads that are not finished."""
        return {(*stream, partial.number) for stream, partial in self._partial.items()}

    def _finish(self, stream: Stream) -> list[Received]:
        partial = self._partial.pop(stream, None)
        if partial is None:
            return []
        skipped = (partial.number - self._done.get(stream, partial.number - 1) - 1) % 0x10000
        skipped = skipped if skipped < _MOST_SKIPPED else 0
        before = self._last.get(stream, _Last(1, False))
        # A payload whose end did not come is taken to be like the one before.
        count = partial.count or max(before.count, 1 + max(partial.parts))
        lost = [i not in partial.parts for i in range(count)]
        self.fragments += len(partial.parts)
        self.expected += count * (1 + skipped)
        fates = pairwise([before.lost, *[True] * skipped, *lost])
        self.gaps += sum(now and not then for then, now in fates)
        self._last[stream] = _Last(count, lost[-1] and not partial.parity)
        self._done[stream] = partial.number
        received = partial.received()
        if received is None:
            self.headless += 1
            return []
        return [received]
