"""
Keys of the link on disk, and the counts that were given out under them.

A key file is text: a key a line, 64 hexadecimal digits, `#` for comments. The first one seals, all
of them open, so that a link can change keys without a pause: add the new one second at both ends,
make it the first at both ends, take the old one away. Nobody but its owner may read the file.

Beside it lies `<file>.counts`: of each key and direction the counts that may have been used and
the greatest that was heard. Counts are given out in blocks that are noted before their first is
used, under a lock, so that no crash and no second process makes a count be used twice. Without
that file a key would be used again from the beginning: one that is missing is an error.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from gsc_ros.link.framing import SealError
from gsc_ros.link.security import KEY_BYTES, MAX_COUNT, Sealed

BLOCK = 1024  # counts
LEAST_LEFT = 1 << 28  # counts, at the start: 155 days of 20 datagrams a second


class KeyFileError(ValueError):
    """A key file that cannot be used, and what to do about it."""


def default_path() -> Path:
    """Where the key of simulated links lies: `link.key` in `$ROS_HOME/gsc_ros`, else `~/.ros`."""
    return Path(os.environ.get('ROS_HOME') or Path.home() / '.ros') / 'gsc_ros' / 'link.key'


def new_key() -> str:
    """Make the line of a new key."""
    return secrets.token_hex(KEY_BYTES)


def create(path: Path) -> None:
    """Make a key file with a new key; raises :class:`KeyFileError` where it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'w') as file:
            file.write(f'# Copy this and its .counts to the other end only.\n{new_key()}\n')
        _write(_counts_path(path), {})
    except FileExistsError:
        raise KeyFileError(f'{path}: there is a file already; remove it first') from None
    except OSError as error:
        raise KeyFileError(f'{path}: cannot be made ({error.strerror}); name another') from None


def read(path: Path) -> list[bytes]:
    """Read the keys of a file; raises :class:`KeyFileError` with the remedy."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'not text'
        raise KeyFileError(f'{path}: cannot be read ({reason}); make one with `gsc key`') from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f'{path}: others may read or change it; chmod 600 {path}')
    keys = []
    for number, line in enumerate(lines, start=1):
        text = line.partition('#')[0].strip()
        if not text:
            continue
        try:
            keys.append(bytes.fromhex(text))
        except ValueError:
            keys.append(b'')
        if len(keys[-1]) != KEY_BYTES:
            raise KeyFileError(
                f'{path}, line {number}: a key is {2 * KEY_BYTES} hexadecimal digits'
            )
    if not keys:
        raise KeyFileError(f'{path}: holds no key; make one with `gsc key`')
    if len(set(keys)) < len(keys):
        raise KeyFileError(f'{path}: holds a key twice')
    return keys


class _Counts:
    """Counts of a key and direction, without an end."""

    def __init__(self, ring: 'KeyRing', name: str) -> None:
        self._ring, self._name = ring, name
        self._block = iter(range(0))

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        count = next(self._block, None)
        if count is None:
            self._block = iter(self._ring.reserve(self._name))
            count = next(self._block)
        return count


class KeyRing:
    """
    The keys of a file, and the seals made of them.

    ``make``: make the file where there is none. Raises :class:`KeyFileError` for files that are
    missing, open to others, damaged, or whose first key has too few counts left.
    """

    def __init__(self, path: Path, make: bool = False) -> None:
        self.path = path
        if make and not path.exists():
            with contextlib.suppress(KeyFileError):  # another process was quicker
                create(path)
        self._keys = read(path)
        self._names = [hashlib.sha256(key).hexdigest()[:16] for key in self._keys]
        self._seals: dict[str, Sealed] = {}
        self._noted: dict[str, int] = {}

    def seal(self, direction: str) -> Sealed:
        """Make the seal of a direction, for either end or both."""
        noted = self._load()
        names = [f'{name} {direction}' for name in self._names]
        if noted.get(f'{names[0]} used', 0) > MAX_COUNT - LEAST_LEFT:
            raise KeyFileError(f'{self.path}: the first key is used up; put a new one before it')
        heard = [noted.get(f'{name} heard', -1) for name in names]
        before = self._seals.get(direction)
        if before is not None:  # what it took since the last note counts as well
            heard = [max(pair) for pair in zip(heard, before.heard, strict=True)]
        self._seals[direction] = Sealed(self._keys, direction, _Counts(self, names[0]), heard)
        return self._seals[direction]

    def note(self) -> None:
        """Note on disk what was heard, so that it cannot be played back after a restart."""
        fresh = {
            f'{name} {direction} heard': newest
            for direction, seal in self._seals.items()
            for name, newest in zip(self._names, seal.heard, strict=True)
            if newest >= 0
        }
        if fresh == self._noted:
            return
        with self._locked():
            noted = self._load()
            noted |= {k: max(v, noted.get(k, -1)) for k, v in fresh.items()}
            _write(_counts_path(self.path), noted)
        self._noted = fresh

    def reserve(self, name: str) -> range:
        """
        Set aside counts that were never given out before.

        Raises :class:`SealError` when that cannot be noted: they must not be used then.
        """
        try:
            with self._locked():
                noted = self._load()
                first = noted.get(f'{name} used', 0)
                _write(_counts_path(self.path), noted | {f'{name} used': first + BLOCK})
        except (OSError, KeyFileError) as error:
            raise SealError(f'no counts for the link key: {error}') from error
        return range(first, first + BLOCK)

    def _load(self) -> dict[str, int]:
        path = _counts_path(self.path)
        try:
            mode = path.stat().st_mode
            noted = json.loads(path.read_text())
            if not all(isinstance(v, int) and v >= 0 for v in noted.values()):
                raise ValueError
        except (OSError, ValueError, AttributeError):
            raise KeyFileError(
                f'{path}: missing or damaged, so that nobody knows what was used of the key; '
                'was it copied with the key? Else make a new one with `gsc key` and bring both '
                'files to both ends'
            ) from None
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            # Whoever sets the counts back makes them be used twice.
            raise KeyFileError(f'{path}: others may change it; chmod 600 {path}')
        return dict(noted)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _counts_path(path: Path) -> Path:
    return path.with_name(f'{path.name}.counts')


def _write(path: Path, noted: dict[str, int]) -> None:
    """Write counts so that a crash leaves the old or the new ones, and nothing else."""
    partial = path.with_name(f'{path.name}.{os.getpid()}')
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as file:
        json.dump(noted, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    # Without this a power cut could bring the old counts back.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
