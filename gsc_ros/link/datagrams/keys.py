"""
The keys of the link, and the counts that were given out under them.

Beside a key file (`key_file.py`) lies `<file>.counts`: of each key and direction the counts that
may have been used and the greatest that was received. Counts are set aside in blocks that are
noted there before their first is used, under a lock, so that no crash and no second process makes
a count be used twice. Without that file a key would be used again from the beginning: one that is
missing is an error.

A thread of its own reads and writes the file. What sends takes counts from memory and never waits
for the disk; when the disk fails, sending goes on for as long as there are some.
"""

import errno
import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gsc_ros.link.datagrams import count_file, key_file
from gsc_ros.link.datagrams.count_file import CountFile
from gsc_ros.link.datagrams.framing import random_session
from gsc_ros.link.datagrams.seals import SealError
from gsc_ros.link.datagrams.security import MAX_COUNT, Sealed
from gsc_ros.link.datagrams.trusted_files import KeyFileError

# Counts that are set aside at a time; so many at least are in memory, twice as many at most.
BLOCK = 8192
LEAST_LEFT = 1 << 28  # counts, at the start: 155 days of 20 datagrams a second
_SESSIONS_AHEAD = 8
_PATIENCE_S = 1.0  # at the start, for the first counts
_STUCK_S = 5.0  # a disk that answers within this is merely slow
_RETRY_S = 0.5
_REMEDIES = {
    errno.ENOSPC: 'free some space',
    errno.EDQUOT: 'free some space',
    errno.EROFS: 'mount it for writing',
    errno.EACCES: 'make its folder writable for this user',
    errno.EWOULDBLOCK: 'end or resume that process',
    errno.ELOOP: 'put the file itself in the place of the symbolic link',
}

_USED_UP = 'the first key is used up; put a new one before it, from `gsc key --line`'
_ANOTHER_SENDER = (
    'again the other end has received a datagram, {}, that was not sent from here: another sender '
    'uses a copy of this key. This end sends nothing more, or both would use the key up: end the '
    'other sender, make a new key for both ends with `gsc key`, and start this end again'
)


class _Counts:
    """
    Counts of a key and direction that are set aside in memory: an iterator without an end.

    One thread takes them, another one adds blocks of them, each greater than those before.
    """

    def __init__(self, name: str, ask: Callable[[], None], why: Callable[[], str]) -> None:
        self.name = name
        self._ask, self._why = ask, why
        self._blocks: deque[range] = deque()
        self._block = iter(range(0))
        self._span = range(0)  # the counts of that block
        self._last = -1  # greatest that was given out or left out
        self.end = 0  # behind the greatest that was set aside
        self.doubt: int | None = None  # see `received`
        self.jumped = False  # beyond what somebody else sent

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        while self.doubt is None:
            for count in self._block:
                if count > self._last:
                    self._last = count
                    if self.left < BLOCK:
                        self._ask()
                    return count
            try:
                self._span = self._blocks.popleft()
            except IndexError:
                break
            self._block = iter(self._span)
        self._ask()
        raise SealError(f'no counts for the link key: {self._why()}')

    @property
    def rest(self) -> list[range]:
        """What can be given out, in order."""
        spans = (self._span, *tuple(self._blocks))
        rest = (range(max(span.start, self._last + 1), span.stop) for span in spans)
        return [span for span in rest if span]

    @property
    def left(self) -> int:
        """How many can be given out."""
        return 0 if self.doubt is not None else sum(map(len, self.rest))

    def received(self, count: int) -> None:
        """
        Note that the other end has received a count.

        One that this end has yet to give out was sent by somebody else, or before the file was
        set back: none is given out until the other thread has looked into it.
        """
        rest = self.rest
        if count > self._last and (not rest or count >= rest[0].start):
            self.doubt = max(count, -1 if self.doubt is None else self.doubt)
            self._ask()

    def add(self, block: range, doubt: int | None, restart: bool) -> None:
        """Take more; ``doubt`` is settled, and with ``restart`` all before them is left out."""
        self.end = block.stop
        self._blocks.append(block)
        if doubt is not None:
            self._last = max(self._last, block.start - 1 if restart else doubt)
            if self.doubt == doubt:
                self.doubt = None


@dataclass(frozen=True)
class _Grant:
    """Counts that are set aside; with ``restart`` some are left out, see ``notice``."""

    block: range
    doubt: int | None
    restart: bool
    notice: str


class KeyRing:
    """
    The keys of a file, and the seals made of them.

    ``make``: make the file where there is none. Raises :class:`KeyFileError` for files that are
    missing, open to others or damaged. A symbolic link is followed: the counts lie beside the file
    that it leads to, so that a key with two names has one file of counts.

    Making it and the first seals waits for the disk for a second at most, and nothing after that
    waits for it or raises because of it: ``trouble`` is what is wrong with it, ``notices`` what
    else the operator must know, once each. One thread may use it; close it at the end.
    """

    def __init__(self, path: Path, make: bool = False) -> None:
        if make and not path.exists():
            try:
                key_file.create(path)
            except KeyFileError:
                if not path.exists():  # else another process was faster
                    raise
        self._keys = key_file.read(path)
        self.path = path.resolve()
        self._names = [hashlib.sha256(key).hexdigest()[:16] for key in self._keys]
        self._file = CountFile(self.path)
        try:
            self._noted = self._file.load()
        except OSError as error:
            raise KeyFileError(
                f'{self._file.path}: cannot be read ({error.strerror}); chmod 600 it'
            ) from None
        self._seals: dict[str, Sealed] = {}
        self._counts: dict[str, _Counts] = {}
        self._places: deque[int] = deque()  # of sessions
        self.notices: deque[str] = deque(maxlen=8)
        self._failure = ''
        self._busy_since: float | None = None
        self._waiting: deque[threading.Event] = deque()
        self._wake = threading.Event()
        self._closed = threading.Event()
        threading.Thread(target=self._work, name='link counts', daemon=True).start()
        self._settle(_PATIENCE_S)

    def seal(self, direction: str, closes: bool = True) -> Sealed:
        """
        Make the seal of a direction, for either end or both.

        ``closes``: whether it is to close datagrams, and not only to open them. Raises
        :class:`KeyFileError` when the first key has too few counts left.
        """
        noted = self._noted
        names = [f'{name} {direction}' for name in self._names]
        before = self._seals.get(direction)
        if before is not None:  # which has more than was noted, and nothing of other processes
            received = before.newest_counts
        else:
            received = [noted.get(count_file.received(name), -1) for name in names]
        counts = self._counts.get(direction)
        if closes and counts is None:
            if max(noted.get(count_file.used(names[0]), 0), received[0]) > MAX_COUNT - LEAST_LEFT:
                raise KeyFileError(
                    f'{self.path}: the first key is used up; put a new one before it'
                )
            counts = _Counts(names[0], self._wake.set, self._why_none)
            self._counts[direction] = counts
            self._settle(_PATIENCE_S)
        seal = Sealed(self._keys, direction, counts if closes else None, received)
        self._seals[direction] = seal
        return seal

    def next_session(self) -> int:
        """
        Return the number of a new session: 1..65535, its low byte not 0.

        It differs from the last 65,279 of this file, and its low byte from the last 254. While the
        disk keeps new ones from being noted it is a random one.
        """
        try:
            session = count_file.session_of(self._places.popleft())
        except IndexError:
            session = random_session()
        self._wake.set()
        return session

    def peer_received(self, direction: str, count: int) -> None:
        """
        Note that the other end has received this count in a direction, under the first key.

        If this end has yet to give it out, the file was set back (a restored copy), or somebody
        else uses the key: this end goes on beyond that count, and notes it in ``notices``.
        """
        counts = self._counts.get(direction)
        if counts is not None:
            counts.received(min(count, MAX_COUNT))

    def note(self) -> None:
        """Have it noted what was received, so that it cannot be played back after a restart."""
        if any(self._noted.get(name, -1) < count for name, count in self._received().items()):
            self._wake.set()

    @property
    def trouble(self) -> str:
        """What keeps counts from being noted, with the remedy; empty for nothing."""
        failure, since = self._failure, self._busy_since
        stuck_s = 0.0 if since is None else time.monotonic() - since
        if stuck_s > _STUCK_S:
            failure = (
                f'{self._file.path}: the disk has not answered for {stuck_s:.0f} s; '
                'see what holds it up'
            )
        if not failure:
            return ''
        left = self.left
        return f'{failure} ({left} datagrams can be sent until then)' if left else failure

    @property
    def left(self) -> int:
        """How many datagrams can be sealed without the disk, in the direction with the fewest."""
        return min((counts.left for counts in tuple(self._counts.values())), default=0)

    def _why_none(self) -> str:
        return self.trouble or 'new ones are being noted'

    def close(self, wait_s: float = 0.5) -> None:
        """Note what was received, unless the disk takes longer than this, and end."""
        if not self._closed.is_set():
            self._settle(wait_s)
            self._closed.set()
            self._wake.set()

    # What the thread does

    def _settle(self, wait_s: float) -> None:
        """Have everything written that is to be, and wait so long for that or its failure."""
        done = threading.Event()
        self._waiting.append(done)
        self._wake.set()
        done.wait(wait_s)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closed.is_set():
                return
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._busy_since = time.monotonic()
            try:
                self._failure = self._update()
            except KeyFileError as error:
                self._failure = str(error)
            except OSError as error:
                remedy = _REMEDIES.get(error.errno or 0, 'check its disk')
                self._failure = f'{self._file.path}: cannot be noted ({error.strerror}); {remedy}'
            self._busy_since = None
            for done in waiting:
                done.set()
            if self._failure:
                self._closed.wait(_RETRY_S)
                self._wake.set()

    def _update(self) -> str:
        """
        Note what was received, and set counts and sessions aside.

        Returns what could not be done; raises ``OSError`` and :class:`KeyFileError`.
        """
        grants: list[tuple[_Counts, _Grant]] = []
        places: list[int] = []
        failure = ''

        def change(noted: dict[str, int]) -> dict[str, int]:
            nonlocal failure, places
            for name, count in self._received().items():
                noted[name] = max(count, noted.get(name, -1))
            for counts in tuple(self._counts.values()):
                if counts.left >= BLOCK:
                    continue
                grant = self._grant(counts, noted)
                if not grant.block:
                    failure = f'{self.path}: {grant.notice}'
                    continue
                noted[count_file.used(counts.name)] = grant.block.stop
                grants.append((counts, grant))
            moved = any(grant.restart for _, grant in grants)
            if moved or len(self._places) < _SESSIONS_AHEAD // 2:
                places = count_file.next_places(noted, _SESSIONS_AHEAD, moved)
                noted[count_file.SESSION] = places[-1]
            return noted

        # Nothing is given out before it is noted.
        self._noted = self._file.update(change)
        for counts, grant in grants:
            counts.add(grant.block, grant.doubt, grant.restart)
            counts.jumped |= grant.restart and grant.doubt is not None
            if grant.restart:
                self._places.clear()
                self.notices.append(f'{self.path}: {grant.notice}')
        self._places.extend(places)
        return failure

    def _grant(self, counts: _Counts, noted: dict[str, int]) -> _Grant:
        """
        Choose the counts that are set aside next.

        None, with the reason as ``notice``, when the key is used up, and when this end has gone
        on beyond another sender before: two that do so in turn use the key up.
        """
        name, doubt = count_file.used(counts.name), counts.doubt
        # At least what this process has set aside: the file may have been set back meanwhile.
        noted[name] = max(noted.get(name, 0), counts.end)
        if doubt is not None and (
            noted[name] <= doubt or any(doubt in span for span in counts.rest)
        ):
            if counts.jumped:
                return _Grant(range(0), doubt, False, _ANOTHER_SENDER.format(doubt))
            begin, restart = max(noted[name], doubt + 1) + count_file.MARGIN, True
            notice = (
                f'the other end has received datagram {doubt} under this key, which was not sent '
                'from here: its counts were set back (a restored copy?), or somebody else uses '
                'the key. Who recorded two datagrams with one count can read both: change the key'
            )
        else:
            ours = [one.name for one in tuple(self._counts.values())]
            begin, restart = count_file.beginning(noted, counts.name, ours)
            notice = (
                "its counts are a copy of the other end's: this end goes on beyond what the other "
                'has received; better make a new key for both'
            )
        if begin > noted[name]:
            # Where no other end goes on that is set up from the same copy.
            begin += secrets.randbelow(count_file.MARGIN)
        block = range(begin, min(begin + BLOCK, MAX_COUNT + 1))
        return _Grant(block, doubt, restart, notice if block else _USED_UP)

    def _received(self) -> dict[str, int]:
        """Return the greatest counts that were received, by name in the file."""
        return {
            count_file.received(f'{name} {direction}'): newest
            for direction, seal in tuple(self._seals.items())
            for name, newest in zip(self._names, seal.newest_counts, strict=True)
            if newest >= 0
        }
