"""
Datagrams: the one format that crosses the air, its fragments and their reassembly.

A datagram is an 8-byte header around a fragment of a payload, big-endian::

    byte 0      version (3 bits) | end (1 bit) | cut (1 bit) | class (3 bits)
    bytes 1-2   number of the payload within its class, modulo 65536
    byte 3      index of this fragment
    ...         the fragment
    last 4      CRC-32 of all before it, started from a constant of this format

That is version 1, which keeps damage out and nobody who means harm; `security.py` has version 2.

A payload is a *prefix code*: its leading bytes are worth something alone. So the receiver hands
up either the whole or the longest unbroken beginning, never anything that was not checked. The
last fragment says so (`end`), and whether the sender left off a tail (`cut`): there is no count,
because a sender may decide to stop while a payload is on its way. Order is kept on a radio: a
datagram of a newer payload means that no more of an older one will come.

A frame may be *guarded*: behind its last fragment comes parity (`erasure.py`), from which lost
fragments are restored. Two more values of the class field say so: 4 is a frame's last fragment
that has parity behind it, 5 is parity. Fragments of a guarded frame are equally long but for the
last. Parity has an index of its own, `end` on the last of it, `cut` as the frame's end has it, and
the number of bytes that it protects (uint16) before its own. A guarded frame waits for its parity
when something is missing; any other is handed up as soon as its end came.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Protocol

from gsc_ros.link import erasure

MIN_MTU = 50
MAX_MTU = 65507  # what UDP over IPv4 carries
MAX_FRAGMENTS = 256
_PLACE = struct.Struct('>HB')
HEAD_BYTES = 1 + _PLACE.size
_CRC = struct.Struct('>I')
OVERHEAD = HEAD_BYTES + _CRC.size  # of a datagram with a CRC
# Seeding the CRC keeps out foreign datagrams that happen to end in a plain CRC-32 of their own.
_CRC_SEED = zlib.crc32(b'gsc datagram')
_END, _CUT, _CLASS = 0x10, 0x08, 0x07
_GUARDED, _PARITY = 4, 5  # in the class field, both of frames
_SIZE = struct.Struct('>H')
PARITY_HEAD_BYTES = _SIZE.size
MAX_GUARDED = 0xFFFF  # bytes of a payload that parity can tell
_VERSION_SHIFT = 5
# Numbers this close behind the current one are late; farther ones mean that the sender restarted.
_LATE_WINDOW = 16


class Class(IntEnum):
    """Kinds of payload, most urgent first."""

    COMMAND = 0
    SETUP = 1
    FRAME = 2
    REQUEST = 3
    REPORT = 6


class FramingError(ValueError):
    """A datagram that is not ours or was damaged."""


class ReplayError(FramingError):
    """A datagram that came before, or one so old that it might have."""


class SealError(RuntimeError):
    """A datagram that cannot be sealed and so must not go out."""


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

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """Return first byte and rest; raises :class:`FramingError` for what is not proven."""


class Checksum:
    """A CRC-32 keeps damage out."""

    version = 1
    overhead = OVERHEAD

    def close(self, first: bytes, rest: bytes) -> bytes:
        """See :class:`Seal`."""
        body = first + rest
        return body + _CRC.pack(zlib.crc32(body, _CRC_SEED))

    def open(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Seal`."""
        body, crc = data[: -_CRC.size], data[-_CRC.size :]
        if _CRC.unpack(crc)[0] != zlib.crc32(body, _CRC_SEED):
            raise FramingError('the CRC does not fit')
        return body[:1], body[1:]


CHECKSUM = Checksum()


@dataclass(frozen=True)
class Datagram:
    """
    One fragment and its place; `end`: it is the last; `cut`: a tail was left off behind it.

    guarded: parity comes behind this end; parity: it is some (both of frames only).
    """

    klass: Class
    number: int
    index: int
    fragment: bytes
    end: bool = False
    cut: bool = False
    guarded: bool = False
    parity: bool = False

    def __post_init__(self) -> None:
        if (self.guarded or self.parity) and self.klass is not Class.FRAME:
            raise ValueError(f'only frames have parity, not {self.klass.name}')

    def pack(self, seal: Seal = CHECKSUM) -> bytes:
        """Return the bytes for the air."""
        kind = _PARITY if self.parity else _GUARDED if self.guarded else self.klass
        first = seal.version << _VERSION_SHIFT | _END * self.end | _CUT * self.cut | kind
        return seal.close(bytes([first]), _PLACE.pack(self.number, self.index) + self.fragment)

    @classmethod
    def unpack(cls, data: bytes, seal: Seal = CHECKSUM) -> 'Datagram':
        """Read and check a datagram; raises FramingError for anything else."""
        if len(data) <= seal.overhead:
            raise FramingError(f'a datagram has more than {seal.overhead} bytes, got {len(data)}')
        first, rest = seal.open(data)
        if first[0] >> _VERSION_SHIFT != seal.version:
            raise FramingError(f'version {first[0] >> _VERSION_SHIFT} is not {seal.version}')
        kind, end, cut = first[0] & _CLASS, bool(first[0] & _END), bool(first[0] & _CUT)
        guarded, parity = kind == _GUARDED, kind == _PARITY
        if not (guarded or parity or kind in Class._value2member_map_):
            raise FramingError(f'unknown class {kind}')
        klass = Class.FRAME if guarded or parity else Class(kind)
        number, index = _PLACE.unpack_from(rest)
        fragment = bytes(rest[_PLACE.size :])
        if parity and index >= erasure.max_parity(_Guard.of(fragment).count):
            raise FramingError(f'there is no parity {index} of such a payload')
        return cls(klass, number, index, fragment, end, cut, guarded, parity)


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
    payload: bytes, klass: Class, number: int, mtu: int, overhead: int = OVERHEAD
) -> Iterator[Datagram]:
    """
    Split a payload into datagrams of at most `mtu` bytes, most important bytes first.

    Raises ValueError for an empty payload or one above `max_payload`.
    """
    check_payload(len(payload), mtu, overhead)
    step = mtu - overhead
    for at in range(0, len(payload), step):
        end = at + step >= len(payload)
        yield Datagram(klass, number & 0xFFFF, at // step, payload[at : at + step], end)


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
    """A payload, or its unbroken beginning, as it came out of the air."""

    klass: Class
    number: int
    payload: bytes
    truncated: bool


@dataclass
class _Partial:
    number: int
    heard: float
    parts: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None
    cut: bool = False
    guard: _Guard | None = None
    parity: dict[int, bytes] = field(default_factory=dict)
    restored: bytes | None = None

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

    def received(self, klass: Class) -> Received | None:
        if self.restored is not None:
            return Received(klass, self.number, self.restored, self.cut)
        prefix: list[bytes] = []
        while len(prefix) in self.parts:
            prefix.append(self.parts[len(prefix)])
        if not prefix:
            return None
        whole = self.end is not None and len(prefix) > self.end and not self.cut
        return Received(klass, self.number, b''.join(prefix), not whole)


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
    when nothing of it was heard for `quiet_s`. Counters: `malformed` (not ours, damaged, or not of
    one piece with what came before), `replayed` (the seal has seen it before), `late` (duplicates,
    and fragments of payloads already handed up), `spare` (parity that was not needed any more),
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
        self.malformed = 0
        self.replayed = 0
        self.late = 0
        self.spare = 0
        self.restored = 0
        self.headless = 0
        self.heard = self.expected = self.gaps = 0
        self._partial: dict[Class, _Partial] = {}
        self._done: dict[Class, int] = {}
        self._last: dict[Class, _Last] = {}

    def push(self, data: bytes, now: float) -> list[Received]:
        """Take one datagram off the air at `now` (s); return what it completes. Never raises."""
        try:
            datagram = Datagram.unpack(data, self.seal)
        except ReplayError:
            self.replayed += 1
            return []
        except FramingError:
            self.malformed += 1
            return []
        klass = datagram.klass
        partial = self._partial.get(klass)
        ready: list[Received] = []
        if partial is None or partial.number != datagram.number:
            newest = partial.number if partial else self._done.get(klass)
            if newest is not None and (newest - datagram.number) % 0x10000 < _LATE_WINDOW:
                self.spare += datagram.parity
                self.late += not datagram.parity
                return []
            ready = self._finish(klass)
            partial = self._partial[klass] = _Partial(datagram.number, now)
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
        # Numbers that jump far mean an outage or another sender: nobody knows what was sent.
        skipped = (partial.number - self._done.get(klass, partial.number - 1) - 1) % 0x10000
        skipped = skipped if skipped < _LATE_WINDOW else 0
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
        received = partial.received(klass)
        if received is None:
            self.headless += 1
            return []
        return [received]
