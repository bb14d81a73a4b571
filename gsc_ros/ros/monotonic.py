"""
Waiting on the monotonic clock, whatever Python and the middleware are built on.

rmw_fastrtps waits by the wall clock, and so do `threading` locks of a Python that is built on a C
library without `sem_clockwait` (glibc before 2.30, as of conda). A wall clock that is set back
prolongs such a wait by the step. What stops a robot waits here. Light: the guard imports this.
"""

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Iterator

_LONGEST_S = 3600.0
_NAP_S = 1e-3


class Alarm:
    """Wakes one thread that waits, at a time or when another thread calls :meth:`set`."""

    def __init__(self) -> None:
        # Not a pipe: a socket that is closed raises, and is no other file's number.
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)

    def set(self) -> None:
        """Wake the thread, or let its next wait return at once; never blocks."""
        with contextlib.suppress(OSError):  # it is set often enough already
            self._write.send(b'.')

    def wait(self, seconds: float | None) -> None:
        """Wait so long, for an hour at most, or until :meth:`set`; None: no time is known."""
        wait_s = _LONGEST_S if seconds is None else min(seconds, _LONGEST_S)
        if self._poll.poll(math.ceil(1e3 * max(0.0, wait_s))):
            with contextlib.suppress(OSError):
                self._read.recv(4096)


@contextlib.contextmanager
def locked(lock: threading.Lock, seconds: float) -> Iterator[bool]:
    """
    Hold a lock, or go on without after so long: who holds it then hangs.

    Gives whether it is held.
    """
    until = time.monotonic() + seconds
    while not (held := lock.acquire(blocking=False)) and time.monotonic() < until:
        time.sleep(_NAP_S)
    try:
        yield held
    finally:
        if held:
            lock.release()
