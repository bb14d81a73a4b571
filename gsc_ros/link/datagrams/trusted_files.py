"""
Files that nobody but their owner and root can read or change, written so that a crash leaves the
old or the new text and nothing else.

What lies in them decides who may drive a robot. So a file must belong to the user of the process
or to root, and so must the folder that holds its name; others may write into that folder only
where its sticky bit keeps them from taking each other's files away, as in /tmp.
"""

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_MOST_BYTES = 1 << 20
_POLL_S = 0.01


class KeyFileError(ValueError):
    """A key file, or one beside it, that cannot be used, and what to do about it."""


def follow(path: Path) -> Path:
    """
    Return the file that a path leads to, with every symbolic link resolved.

    Raises ``OSError`` where there is none and :class:`KeyFileError` where others could make the
    path lead elsewhere.
    """
    check_folder(path)
    found = path.resolve(strict=True)
    if found.parent != path.parent:
        check_folder(found)
    return found


def check_folder(path: Path) -> None:
    """Raise :class:`KeyFileError` when others can put a file of theirs in the place of this."""
    folder = path.parent
    status = os.stat(folder)
    if not _trusted(status.st_uid):
        raise KeyFileError(
            f'{folder}: belongs to {_user(status.st_uid)}, who could replace {path.name}; keep '
            f'the key in a folder of {_user(os.geteuid())}'
        )
    if _writable(status) and not status.st_mode & stat.S_ISVTX:
        raise KeyFileError(
            f'{folder}: others may write there and could replace {path.name}; chmod go-w {folder}'
        )


def read(path: Path, secret: bool) -> str:
    """
    Read a file that others cannot change, nor read where it is ``secret``.

    Raises ``OSError``, ``UnicodeDecodeError`` and, with the remedy, :class:`KeyFileError`.
    """
    # Not blocking: a pipe of that name must not hold the process up.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with open(os.open(path, flags), encoding='utf-8') as file:
        _check(path, os.fstat(file.fileno()), secret)
        return file.read(_MOST_BYTES)


def write(path: Path, text: str) -> None:
    """
    Put a text in the place of a file's, for its owner alone; the caller holds the lock.

    Nothing is lost by a power cut after this has returned. Raises ``OSError``.
    """
    partial = path.with_name(f'.{path.name}.new')
    partial.unlink(missing_ok=True)  # left over from a crash
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o600)
    try:
        with open(descriptor, 'w', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    # Without this a power cut could bring the old text back.
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have nothing to sync there
            raise
    finally:
        os.close(folder)


@contextlib.contextmanager
def locked(path: Path, patience_s: float) -> Iterator[None]:
    """
    Hold ``<path>.lock``, which is never replaced, against every other process.

    Raises ``OSError``, also when another process did not give it back in time, and
    :class:`KeyFileError` where others own it.
    """
    path = path.with_name(f'{path.name}.lock')
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        _check(path, os.fstat(descriptor), secret=False)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    held = 'another process holds the lock'
                    raise BlockingIOError(errno.EWOULDBLOCK, held) from None
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result, secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f'{path}: not a file; put the file itself there')
    if not _trusted(status.st_uid):
        raise KeyFileError(
            f'{path}: belongs to {_user(status.st_uid)}, who could change it; '
            f'chown {_user(os.geteuid())} {path}'
        )
    if secret and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f'{path}: others may read or change it; chmod 600 {path}')
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFileError(f'{path}: others may change it; chmod 600 {path}')
    if secret and status.st_nlink > 1:
        raise KeyFileError(
            f'{path}: has a second name (a hard link), whose counts would be used again; '
            'remove that name, or make a symbolic link'
        )


def _trusted(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _writable(status: os.stat_result) -> bool:
    """Whether others may write; a group that is the user's alone, as Ubuntu's, is not others."""
    if status.st_mode & stat.S_IWOTH:
        return True
    if not status.st_mode & stat.S_IWGRP:
        return False
    try:
        group, user = grp.getgrgid(status.st_gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return True
    return group.gr_name != user.pw_name or not {user.pw_name}.issuperset(group.gr_mem)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
