"""
Shared memory of Fast DDS whose process has died: 35 MB a node, for as long as the machine runs.

A process that is killed, or respawned again and again, cannot give it back. Each segment has a
file beside it, `<segment>_el`, that its process holds a lock on (as `fastdds shm clean` knows).
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

FOLDER = Path('/dev/shm')
_LOCK = '_el'
_LEAST_AGE_S = 5.0  # one that is being made has no lock yet


def clean(folder: Path = FOLDER) -> int:
    """Remove the segments of dead processes, if they are ours to remove; returns how many."""
    removed = 0
    for lock in folder.glob(f'fastdds_*{_LOCK}'):
        with contextlib.suppress(OSError):
            removed += _remove(lock)
    return removed


def _remove(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if time.time() < os.fstat(descriptor).st_mtime + _LEAST_AGE_S:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its process lives
        lock.with_name(lock.name.removesuffix(_LOCK)).unlink(missing_ok=True)
        lock.unlink()
        return True
    finally:
        os.close(descriptor)
