"""
Datagrams: the one format that crosses the air, its fragments and their reassembly.

A datagram is a header of 7 bytes around a fragment of a payload, big-endian::

    byte 0      version (3 bits) | traffic class (5 bits)
    bytes 1-2   session of the sender
    bytes 3-4   number of the payload within its class and session, modulo 65536
    byte 5      end (1 bit) | cut (1 bit) | camera (3 bits) | 0 (3 bits)
    byte 6      index of this fragment
    ...         the fragment
    last 4      CRC-32 of all before it, started from a constant of this format

That is version 3, which keeps damage out and nobody who means harm; `security.py` has version 4.
Versions 1 and 2 are those of older releases: they are refused by name.

A *session* is one run of a sender: another one at every start and every time its clock begins
anew. Numbers count within it. What belongs together, as a frame and its setup, is of one session.
The reassembler follows one session at a time. When another begins, the one before is over for
good: what still comes of it is dropped, so that nothing old is mixed with what is new.

A payload is a *prefix code*: its leading bytes are worth something alone. So the receiver hands
up either the whole or the longest unbroken beginning, never anything that was not checked. The
last fragment says so (`end`), and whether the sender left off a tail (`cut`): there is no count,
because a sender may decide to stop while a payload is on its way. Order is kept on a radio: a
datagram of a newer payload means that no more of an older one will come.

A frame may be *guarded*: behind its last fragment comes parity (`erasure.py`), from which lost
fragments are restored. Two more traffic classes say so: 4 is a frame's last fragment that has
parity behind it, 5 is parity. Fragments of a guarded frame are equally long but for the last.
Parity has an index of its own, `end` on the last of it, `cut` as the frame's end has it, and the
number of bytes that it protects (uint16) before its own. A guarded frame waits for its parity
when something is missing; any other is handed up as soon as its end came.
"""

import secrets
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple, Protocol

from gsc_ros.link.datagrams import erasure

MIN_MTU = 50
MAX_MTU = 65507  # what UDP over IPv4 carries
MAX_FRAGMENTS = 256
MAX_SESSION = 0xFFFF
MAX_CAMERA = 7
_PLACE = struct.Struct('>HHBB')
HEAD_BYTES = 1 + _PLACE.size
_CRC = struct.Struct('>I')
OVERHEAD = HEAD_BYTES + _CRC.size  # of a datagram with a CRC
# Seeding the CRC keeps out foreign datagrams that happen to end in a plain CRC-32 of their own.
_CRC_SEED = zlib.crc32(b'gsc datagram')
_VERSION_SHIFT = 5
_CLASS = 0x1F
_END, _CUT, _CAMERA_SHIFT, _SPARE = 0x80, 0x40, 3, 0x07
_GUARDED, _PARITY = 4, 5  # traffic classes, both of frames
_SIZE = struct.Struct('>H')
PARITY_HEAD_BYTES = _SIZE.size
MAX_GUARDED = 0xFFFF  # bytes of a payload that parity can tell
CHECKED_VERSION, SEALED_VERSION, PACKET_VERSION = 3, 4, 5
OLDER_VERSIONS = frozenset((1, 2))
# Numbers up to so far behind the newest are late; the others are ahead of it. An outage may skip
# more of them than that: the order of the seal tells, without one a silence of so many seconds.
_HALF = 0x8000
_NUMBERS_S = 60.0
# A gap of so many numbers means an outage: nobody knows what was sent.
_MOST_SKIPPED = 16
_RETIRED_KEPT = 64  # sessions


class Class(IntEnum):
    """Kinds of payload, most urgent first."""

    STOP = 0
    COMMAND = 1
    SETUP = 2
    FRAME = 3
    REQUEST = 6
    REPORT = 7


# Traffic classes that later releases will use.
RESERVED = {8: 'GOAL', 9: 'POSE', 10: 'TELEMETRY', 11: 'STILL'}


class FramingError(ValueError):
    """A datagram that is not ours or was damaged."""


class OlderVersionError(FramingError):
    """A datagram in the format of an older release."""


class ReplayError(FramingError):
    """A datagram that came before, or one so old that it might have."""


class SealError(RuntimeError):
    """A datagram that cannot be sealed and so must not go out."""


class Opened(NamedTuple):
    """
    A datagram that was proven: its first byte and the rest.

    ``key``: index of the key that fitted, 0 where there is none; ``order``: its count under that
    key, None where datagrams have no order that can be proven.
    """

    first: bytes
    rest: bytes
    key: int = 0
    order: int | None = None


class Seal(Protocol):
    """
    How datagrams of one direction are proven: closed at one end, opened at the other.

    ``overhead``: bytes a datagram has beside its fragment; ``version``: its format, 0..7.
    """

    version: int
    overhead: int

    def close(self, first: bytes, rest: bytes) -> bytes:
        """
        Return the bytes for the air of a datagram's first byte and the rest.

        Raises :class:`SealError` when there is no way to prove it.
        """

    def open(self, data: bytes) -> Opened:
        """
        Return what was closed; raises :class:`FramingError` for what is not proven.

        :class:`OlderVersionError` for another version that an older release has, and
        :class:`ReplayError` for what came before.
        """


def check_version(first: int, expected: int, older: frozenset[int] = OLDER_VERSIONS) -> None:
    """Raise :class:`FramingError` unless a first byte has the expected version."""
    version = first >> _VERSION_SHIFT
    if version in older:
        raise OlderVersionError(
            f'version {version} is that of an older gsc_ros: update the other end'
        )
    if version != expected:
        known = version in (CHECKED_VERSION, SEALED_VERSION, PACKET_VERSION)
        hint = ': security or packets differ at the other end' if known else ''
        raise FramingError(f'version {version} is not {expected}{hint}')


class Checksum:
    """A CRC-32 keeps damage out."""

    version = CHECKED_VERSION
    overhead = OVERHEAD

    def close(self, first: bytes, rest: bytes) -> bytes:
        """See :class:`Seal`."""
        body = first + rest
        return body + _CRC.pack(zlib.crc32(body, _CRC_SEED))

    def open(self, data: bytes) -> Opened:
        """See :class:`Seal`."""
        check_version(data[0] if data else 0, self.version)
        if len(data) < self.overhead:
            raise FramingError(f'a datagram has {self.overhead} bytes at least, got {len(data)}')
        body, crc = data[: -_CRC.size], data[-_CRC.size :]
        if _CRC.unpack(crc)[0] != zlib.crc32(body, _CRC_SEED):
            raise FramingError('the CRC does not fit')
        return Opened(body[:1], body[1:])


CHECKSUM = Checksum()


def random_session() -> int:
    """Draw the number of a session, for senders that cannot note which ones they had."""
    return secrets.randbelow(0x100) << 8 | 1 + secrets.randbelow(0xFF)


def is_session(number: int) -> bool:
    """Whether a number can be that of a session: 1 to 65535, the low byte not 0."""
    return 0 < number <= MAX_SESSION and number & 0xFF != 0


@dataclass(frozen=True)
class Datagram:
    """
    One fragment and its place; `end`: it is the last; `cut`: a tail was left off behind it.

    guarded: parity comes behind this end; parity: it is some (both of frames only). session: of
    the sender; camera: 0 to 7.
    """

    klass: Class
    number: int
    index: int
    fragment: bytes
    end: bool = False
    cut: bool = False
    guarded: bool = False
    parity: bool = False
    session: int = 1
    camera: int = 0

    def __post_init__(self) -> None:
        if (self.guarded or self.parity) and self.klass is not Class.FRAME:
            raise ValueError(f'only frames have parity, not {self.klass.name}')

    def pack(self, seal: Seal = CHECKSUM) -> bytes:
        """Return the bytes for the air."""
        traffic_class = _PARITY if self.parity else _GUARDED if self.guarded else self.klass
        first = seal.version << _VERSION_SHIFT | traffic_class
        flags = _END * self.end | _CUT * self.cut | self.camera << _CAMERA_SHIFT
        place = _PLACE.pack(self.session, self.number, flags, self.index)
        return seal.close(bytes([first]), place + self.fragment)

    @classmethod
    def unpack(cls, data: bytes, seal: Seal = CHECKSUM) -> 'Datagram':
        """Read and check a datagram; raises FramingError for anything else."""
        return cls.of(seal.open(data))

    @classmethod
    def of(cls, opened: Opened) -> 'Datagram':
        """Read a datagram that was proven; raises FramingError for one that cannot be."""
        if len(opened.rest) <= _PLACE.size:
            raise FramingError('a datagram needs a fragment')
        traffic_class = opened.first[0] & _CLASS
        guarded, parity = traffic_class == _GUARDED, traffic_class == _PARITY
        if traffic_class in RESERVED:
            raise FramingError(f'class {RESERVED[traffic_class]} is not used yet')
        if not (guarded or parity or traffic_class in Class._value2member_map_):
            raise FramingError(f'unknown class {traffic_class}')
        klass = Class.FRAME if guarded or parity else Class(traffic_class)
        session, number, flags, index = _PLACE.unpack_from(opened.rest)
        fragment = bytes(opened.rest[_PLACE.size :])
        if flags & _SPARE:
            raise FramingError('bits are set that this version does not use')
        if not is_session(session):
            raise FramingError(f'there is no session {session}')
        if parity and index >= erasure.max_parity(_Guard.of(fragment).count):
            raise FramingError(f'there is no parity {index} of such a payload')
        return cls(
            klass,
            number,
            index,
            fragment,
            end=bool(flags & _END),
            cut=bool(flags & _CUT),
            guarded=guarded,
            parity=parity,
            session=session,
            camera=flags >> _CAMERA_SHIFT & MAX_CAMERA,
        )


@dataclass(frozen=True)
class _Guard:
    """What parity protects: a payload of `size` bytes in fragments of `step`."""

    size: int
    step: int

    @classmethod
    def of(cls, fragment: bytes) -> '_Guard':
        """Read it from a fragment of parity; raises FramingError."""
        if len(fragment) <= _SIZE.size:
            raise FramingError('parity needs bytes behind the size')
        return cls(_SIZE.unpack_from(fragment)[0], len(fragment) - _SIZE.size)

    @property
    def count(self) -> int:
        return -(-self.size // self.step)

    def fits(self, index: int, part: bytes, end: bool) -> bool:
        """Whether a fragment of data can be of this payload."""
        last = self.count - 1
        if index < last:
            return not end and len(part) == self.step
        return index == last and end and len(part) == self.size - last * self.step


def check_mtu(mtu: int) -> None:
    """Raise ValueError unless `mtu` is a possible datagram size in bytes."""
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise ValueError(f'mtu must be {MIN_MTU} to {MAX_MTU} bytes, got {mtu}')


def check_payload(size: int, mtu: int, overhead: int = OVERHEAD) -> None:
    """Raise ValueError unless a payload of `size` bytes goes into datagrams of `mtu` bytes."""
    check_mtu(mtu)
    if not 0 < size <= max_payload(mtu, overhead):
        raise ValueError(
            f'payload must have 1 to {max_payload(mtu, overhead)} bytes at mtu {mtu}, got {size}'
        )


def max_payload(mtu: int, overhead: int = OVERHEAD) -> int:
    """Greatest payload in bytes that goes into datagrams of `mtu` bytes."""
    return MAX_FRAGMENTS * (mtu - overhead)


def air_bytes(payload_bytes: int, mtu: int, overhead: int = OVERHEAD) -> int:
    """Bytes on air of a payload: itself and the overhead of its fragments."""
    return payload_bytes + overhead * fragment_count(payload_bytes, mtu, overhead)


def fragment_count(payload_bytes: int, mtu: int, overhead: int = OVERHEAD) -> int:
    """How many datagrams a payload needs."""
    return -(-payload_bytes // (mtu - overhead))


def fragments(
    payload: bytes,
    klass: Class,
    number: int,
    mtu: int,
    overhead: int = OVERHEAD,
    session: int = 1,
) -> Iterator[Datagram]:
    """
    Split a payload into datagrams of at most `mtu` bytes, most important bytes first.

    Raises ValueError for an empty payload or one above `max_payload`.
    """
    check_payload(len(payload), mtu, overhead)
    step = mtu - overhead
    for at in range(0, len(payload), step):
        end = at + step >= len(payload)
        part = payload[at : at + step]
        yield Datagram(klass, number & 0xFFFF, at // step, part, end, session=session)


def parity(payload: bytes, step: int, count: int) -> list[bytes]:
    """
    Return `count` fragments of parity for a payload that goes in fragments of `step` bytes.

    Each has `step` + 2 bytes. Raises ValueError for a payload above 65535 bytes, and for more
    parity than there is.
    """
    if len(payload) > MAX_GUARDED:
        raise ValueError(f'parity protects up to {MAX_GUARDED} bytes, got {len(payload)}')
    data = [payload[at : at + step] for at in range(0, len(payload), step)]
    return [_SIZE.pack(len(payload)) + part for part in erasure.parity(data, count)]


@dataclass(frozen=True)
class Received:
    """
    A payload, or its unbroken beginning, as it came out of the air.

    session, camera: of its datagrams; key, order: how the first of them that came was proven, as
    in :class:`Opened`.
    """

    klass: Class
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
    heard: float
    parts: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None
    cut: bool = False
    guard: _Guard | None = None
    parity: dict[int, bytes] = field(default_factory=dict)
    restored: bytes | None = None

    @property
    def number(self) -> int:
        return self.first.number

    @property
    def count(self) -> int | None:
        """How many fragments of data there are, once it is known."""
        if self.guard is not None:
            return self.guard.count
        return None if self.end is None else 1 + self.end

    @property
    def whole(self) -> bool:
        return self.end is not None and all(i in self.parts for i in range(self.end + 1))

    def take(self, datagram: Datagram) -> bool:
        """Keep a datagram's part; False for one that does not belong to those before."""
        index, fragment = datagram.index, datagram.fragment
        if datagram.parity:
            guard = _Guard.of(fragment)
            known = self.guard or (guard if self._agrees(guard) else None)
            if guard != known:
                return False
            self.guard, self.cut = guard, datagram.cut
            self.parity[index] = fragment[_SIZE.size :]
            return True
        if self.end is not None and index > self.end:
            return False
        if self.guard is not None and not self.guard.fits(index, fragment, datagram.end):
            return False
        self.parts[index] = fragment
        if datagram.end:
            self.end, self.cut = index, datagram.cut
        return True

    def _agrees(self, guard: _Guard) -> bool:
        return all(guard.fits(i, part, i == self.end) for i, part in self.parts.items())

    def restore(self) -> bool:
        """Make it whole from its parity, if there is enough of it."""
        guard = self.guard
        if guard is None or len(self.parts) + len(self.parity) < guard.count:
            return False
        known = self.parts | {guard.count + j: part for j, part in self.parity.items()}
        self.restored = b''.join(erasure.restore(known, guard.count))[: guard.size]
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
        first.klass,
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
    Puts datagrams together again; holds at most one unfinished payload per class.

    A payload is handed up when it is whole or can be restored, when the last that was sent of it
    came (what is missing then is lost, as order is kept), when a newer one of its class begins, or
    when nothing of it was heard for `quiet_s`. All of them are of one `session`, that of the
    sender as it runs now (0: none came yet). What is unfinished of a session when the next one
    begins is given up. A session that is over stays so: where datagrams have a proven order, those
    from before the current session's newest cannot begin another, nor can those under a key that
    another has replaced; else the last 64 sessions are remembered. A STOP is handed up all the
    same: who obeys it judges it.

    Counters: `accepted` (datagrams of the other end as it runs now), `malformed` (not ours,
    damaged, or not of one piece with what came before), `older` (in the format of an older
    release), `replayed` (the seal has seen it before), `retired` (of a session that is over),
    `other_camera` (of a camera that is not shown), `late` (duplicates, and fragments of payloads
    already handed up), `spare` (parity that was not needed any more),
    `restored` (payloads that parity made whole), `headless` (payloads whose beginning was lost:
    nothing to hand up), `heard` (data fragments that came of finished payloads), `expected` (how
    many of them there must have been: a payload whose end did not come counts as many as the one
    before, one of which nothing came as the one after) and `gaps` (runs of those that did not
    come).
    """

    def __init__(self, quiet_s: float, seal: Seal = CHECKSUM) -> None:
        if not quiet_s > 0:
            raise ValueError(f'quiet_s must be above 0 s, got {quiet_s}')
        self.quiet_s = quiet_s
        self.seal = seal
        self.accepted = 0
        self.malformed = 0
        self.older = 0
        self.replayed = 0
        self.retired = 0
        self.other_camera = 0
        self.late = 0
        self.spare = 0
        self.restored = 0
        self.headless = 0
        self.heard = self.expected = self.gaps = 0
        self.session = 0
        self._key, self._order = 0, -1  # of the session, and its greatest order
        self._over: deque[int] = deque(maxlen=_RETIRED_KEPT)
        self._over_keys: set[int] = set()
        self._partial: dict[Class, _Partial] = {}
        self._done: dict[Class, int] = {}
        # Of each class the greatest order, and when its last datagram came (s).
        self._recent: dict[Class, tuple[int, float]] = {}
        self._last: dict[Class, _Last] = {}

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
            whole = datagram.klass is Class.STOP and datagram.end and not datagram.index
            return [_received(datagram, opened, datagram.fragment, datagram.cut)] if whole else []
        self.accepted += 1
        if datagram.camera:
            self.other_camera += 1
            return []
        klass = datagram.klass
        partial = self._partial.get(klass)
        ready: list[Received] = []
        if partial is None or partial.number != datagram.number:
            newest = partial.number if partial else self._done.get(klass)
            if newest is not None and self._is_late(datagram, opened.order, newest, now):
                self.spare += datagram.parity
                self.late += not datagram.parity
                return []
            ready = self._finish(klass)
            partial = self._partial[klass] = _Partial(datagram, opened, now)
        order, _ = self._recent.get(klass, (-1, now))
        self._recent[klass] = max(order, -1 if opened.order is None else opened.order), now
        if datagram.index in (partial.parity if datagram.parity else partial.parts):
            self.late += 1
            return ready
        if not partial.take(datagram):
            self.malformed += 1
            return ready
        partial.heard = now
        restored = not partial.whole and partial.restore()
        self.restored += restored
        if restored or partial.whole or (datagram.end and not datagram.guarded):
            ready += self._finish(klass)
        return ready

    def _is_late(self, datagram: Datagram, order: int | None, newest: int, now: float) -> bool:
        """Whether a datagram is of no later payload; an outage may skip any number of them."""
        if datagram.number == newest:
            return True
        last, at = self._recent[datagram.klass]
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
            self.session = session
            for known in (self._partial, self._done, self._last, self._recent):
                known.clear()
        self._order = max(self._order, order)
        return True

    def expire(self, now: float) -> list[Received]:
        """Hand up what has been quiet for too long at time `now` (s)."""
        quiet = [k for k, p in self._partial.items() if now >= p.heard + self.quiet_s]
        return [received for klass in quiet for received in self._finish(klass)]

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do next (s), or None."""
        return min((p.heard + self.quiet_s for p in self._partial.values()), default=None)

    @property
    def held_bytes(self) -> int:
        """Bytes of unfinished payloads."""
        held = (parts for p in self._partial.values() for parts in (p.parts, p.parity))
        return sum(len(part) for parts in held for part in parts.values())

    def unfinished(self, klass: Class) -> int | None:
        """Return the number of the unfinished payload of this class, or None."""
        partial = self._partial.get(klass)
        return partial.number if partial else None

    def _finish(self, klass: Class) -> list[Received]:
        partial = self._partial.pop(klass, None)
        if partial is None:
            return []
        skipped = (partial.number - self._done.get(klass, partial.number - 1) - 1) % 0x10000
        skipped = skipped if skipped < _MOST_SKIPPED else 0
        before = self._last.get(klass, _Last(1, False))
        # A payload whose end did not come is taken to be like the one before.
        count = partial.count or max(before.count, 1 + max(partial.parts))
        lost = [i not in partial.parts for i in range(count)]
        self.heard += len(partial.parts)
        self.expected += count * (1 + skipped)
        fates = pairwise([before.lost, *[True] * skipped, *lost])
        self.gaps += sum(now and not then for then, now in fates)
        self._last[klass] = _Last(count, lost[-1] and not partial.parity)
        self._done[klass] = partial.number
        received = partial.received()
        if received is None:
            self.headless += 1
            return []
        return [received]
