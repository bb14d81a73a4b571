"""Threads of a node: workers on the newest item or on all, and values handed over whole."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar('T')
_CHECK_S = 0.02  # the wait may change meanwhile, and its clock be faster than ours


@dataclass(frozen=True)
class Received(Generic[T]):
    """A message and when it came (s, by a clock of the receiver): one immutable value."""

    message: T
    at_s: float


class NewestWorker(Generic[T]):
    """
    Runs ``work`` on one item at a time, off the executor's thread.

    An item offered while another waits replaces it and is counted in ``skipped``: nothing queues.
    ``wait_s`` returns how long work has to wait yet (s); until then items may be replaced. An
    exception of ``work`` goes to ``failed`` and the thread goes on.
    """

    def __init__(
        self,
        work: Callable[[T], None],
        failed: Callable[[Exception], None],
        wait_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._work, self._failed, self._wait_s = work, failed, wait_s
        self._condition = threading.Condition()
        self._waiting: T | None = None
        self._open = True
        self.skipped = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, item: T) -> None:
        """Give the newest item."""
        with self._condition:
            if self._waiting is not None:
                self.skipped += 1
            self._waiting = item
            self._condition.notify()

    def close(self, seconds: float | None = None) -> None:
        """Finish the item at work and end the thread; waits so long (s) at most."""
        with self._condition:
            self._open = False
            self._condition.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting is not None or not self._open)
                while self._open and (wait_s := self._wait_s()) > 0:
                    self._condition.wait(min(wait_s, _CHECK_S))
                if not self._open:
                    return
                item, self._waiting = self._waiting, None
            try:
                self._work(item)  # type: ignore[arg-type]
            except Exception as error:
                self._failed(error)


class OrderedWorker:
    """
    Calls functions in the order in which they are offered, on a thread of its own.

    ``most``: how many may wait. An exception goes to ``failed`` and the thread goes on.
    """

    def __init__(self, most: int, failed: Callable[[Exception], None]) -> None:
        self._most, self._failed = most, failed
        self._condition = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, work: Callable[[], None]) -> bool:
        """Let a function wait for its turn; False where too many wait: it is not called."""
        with self._condition:
            if len(self._waiting) >= self._most:
                return False
            self._waiting.append(work)
            self._condition.notify()
            return True

    def close(self, seconds: float | None = None) -> None:
        """Finish the call at work and end the thread; waits so long (s) at most."""
        with self._condition:
            self._open = False
            self._condition.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or not self._open)
                if not self._open:
                    return
                work = self._waiting.popleft()
            try:
                work()
            except Exception as error:  # of any kind: the thread goes on
                self._failed(error)
