"""
Key files of the link on disk.

A key file is text: a key a line, 64 hexadecimal digits, `#` for comments. The first one seals, all
of them open, so that a link can change keys without a pause: add the new one second at both ends,
make it the first at both ends, take the old one away. Nobody but its owner may read the file.
"""

import os
import secrets
from pathlib import Path

from gsc_ros.link.datagrams import trusted_files
from gsc_ros.link.datagrams.count_file import CountFile
from gsc_ros.link.datagrams.security import KEY_BYTES
from gsc_ros.link.datagrams.trusted_files import KeyFileError

_LOCK_S = 2.0


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
        trusted_files.check_folder(path)
        with trusted_files.locked(path, _LOCK_S):
            if os.path.lexists(path):
                raise FileExistsError
            # The key comes last: whoever finds one finds its counts as well.
            CountFile(path).make()
            trusted_files.write(
                path, f'# Copy this and its .counts to the other end only.\n{new_key()}\n'
            )
    except FileExistsError:
        raise KeyFileError(f'{path}: there is a file already; remove it first') from None
    except OSError as error:
        raise KeyFileError(f'{path}: cannot be made ({error.strerror}); name another') from None


def read(path: Path) -> list[bytes]:
    """Read the keys of a file; raises :class:`KeyFileError` with the remedy."""
    try:
        lines = trusted_files.read(trusted_files.follow(path), secret=True).splitlines()
    except KeyFileError:
        raise
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'not text'
        raise KeyFileError(f'{path}: cannot be read ({reason}); make one with `gsc key`') from None
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
