"""
`<key file>.counts`: what was used of each key and direction, and what was received.

JSON, numbers by name: `<key> <direction> used`, the counts from 0 up to which may have been given
out; `<key> <direction> received`, the greatest that was received; `session`, the last session that
may have been. A key is named by the beginning of its SHA-256.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gsc_ros.link.datagrams import trusted_files
from gsc_ros.link.datagrams.trusted_files import KeyFileError

# Left out where counts may have been used that are not noted here: 14 hours of 20 a second.
MARGIN = 1 << 20
SESSIONS = 256 * 255  # 1..65535 without those whose low byte is 0
SESSION = 'session'
_FORMERLY = ' heard'  # end of the names of what was received, in files of earlier versions
_LOCK_S = 2.0


class CountFile:
    """The counts beside a key file (its path, with symbolic links resolved)."""

    def __init__(self, key: Path) -> None:
        self._key = key
        self.path = key.with_name(f'{key.name}.counts')

    def make(self) -> None:
        """Make it with nothing used; the caller holds the lock. Raises ``OSError``."""
        self._write({})

    def load(self) -> dict[str, int]:
        """Read it; raises ``OSError`` and, with the remedy, :class:`KeyFileError`."""
        try:
            noted = json.loads(trusted_files.read(self.path, secret=False))
            if not all(isinstance(v, int) and v >= 0 for v in noted.values()):
                raise ValueError
        except KeyFileError:
            raise
        except (FileNotFoundError, ValueError, AttributeError):
            raise KeyFileError(
                f'{self.path}: missing or damaged, so that it is unknown what was used of it; '
                'was it copied with the key? Else make a new one with `gsc key` and bring both '
                'files to both ends'
            ) from None
        return _renamed(noted)

    def update(self, change: Callable[[dict[str, int]], dict[str, int]]) -> dict[str, int]:
        """
        Replace what it holds by what ``change`` makes of that, against every other process.

        Returns it when no power cut can take it back any more. Raises as :meth:`load`.
        """
        with trusted_files.locked(self._key, _LOCK_S):
            noted = self.load()
            changed = change(dict(noted))
            if changed != noted:
                self._write(changed)
            return changed

    def _write(self, noted: dict[str, int]) -> None:
        trusted_files.write(self.path, json.dumps(noted, indent=1))


def used(name: str) -> str:
    """Name the number of counts used of a key and direction."""
    return f'{name} used'


def received(name: str) -> str:
    """Name the greatest count received of a key and direction."""
    return f'{name} received'


def _renamed(noted: Mapping[str, int]) -> dict[str, int]:
    """Return what a file holds by the names of today; of two the greater number counts."""
    renamed: dict[str, int] = {}
    for old, count in noted.items():
        name = received(old.removesuffix(_FORMERLY)) if old.endswith(_FORMERLY) else old
        renamed[name] = max(count, renamed.get(name, 0))
    return renamed


def beginning(noted: Mapping[str, int], name: str, ours: Iterable[str]) -> tuple[int, bool]:
    """
    Return the first count of a key and direction that this end may use, and whether it moved.

    It moved when the file is the other end's: it does not hold what was sent by the end whose
    place this one takes, but for what the other received of it. ``ours``: the keys and directions
    that this process sends in.
    """
    count = noted.get(used(name), 0)
    newest = noted.get(received(name), -1)
    if newest >= count:
        return newest + 1 + MARGIN, True
    key = name.split(maxsplit=1)[0]
    sent = {
        one for one, n in noted.items() if n and one.startswith(key) and one.endswith(used(''))
    }
    if not count and sent - {used(one) for one in ours}:
        return MARGIN, False  # what the other end has not received at all
    return count, False


def session_of(place: int) -> int:
    """Return a session, 1..65535 with a low byte that is not 0, by its place in their order."""
    high, low = divmod(place % SESSIONS, 255)
    return high << 8 | (low + 1)


def next_places(noted: Mapping[str, int], count: int, moved: bool) -> list[int]:
    """Return the places of so many new sessions, anywhere when the file is new or set back."""
    last = secrets.randbelow(SESSIONS) if moved else noted.get(SESSION)
    if last is None:
        last = secrets.randbelow(SESSIONS)
    return [(last + 1 + one) % SESSIONS for one in range(count)]
