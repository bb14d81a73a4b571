"""Threads of a node: a worker on the newest item, and values that are handed over whole."""

import threading
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

    def close(self) -> None:
        """Finish the item at work and end the thread."""
        with self._condition:
            self._open = False
            self._condition.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

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
