"""
Recordings that begin and end while a node runs: an MCAP bag each, in a folder.

A thread writes to the disk: who gives a message does not wait, also where the disk hangs.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

from rclpy.node import Node

from gsc_ros.ros.bag import Bag

_MOST_BYTES = 64 * 2**20  # that wait for the disk
_LEAST_SIZE = 1024  # of a message, as it is counted
_REMEDY = 'make room on the disk, or set output to a folder on another one'
_JOIN_S = 2.0  # for a disk, at the end of the node

Entry = tuple[str, Any, int]  # topic, message, ns


class _Writer:
    """
    Writes a bag in a thread of its own. ``lost`` counts what came while too much waited.

    ``failed`` is called on that thread when the bag can be written no more.
    """

    def __init__(self, bag: Bag, failed: Callable[['_Writer', Exception], None]) -> None:
        self._bag, self._failed = bag, failed
        self._condition = threading.Condition()
        self._waiting: deque[tuple[int, Entry]] = deque()
        self._held = 0  # bytes
        self._open = True
        self.lost = 0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name='console-record')
        self._thread.start()

    def offer(self, entry: Entry) -> None:
        """Let a message wait for the disk."""
        size = _size(entry[1])
        with self._condition:
            if self._held + size > _MOST_BYTES or not self._open:
                self.lost += 1
                return
            self._held += size
            self._waiting.append((size, entry))
            self._condition.notify()

    def close(self, seconds: float | None = None) -> bool:
        """Write what waits, and end; returns whether that was done in so many seconds."""
        with self._condition:
            self._open = False
            self._condition.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (entry := self._next()) is not None:
                self._bag.write(*entry)
            self._bag.close()
        except Exception as error:  # of disk, types or library: the node goes on
            self.error = error
            self._failed(self, error)

    def _next(self) -> Entry | None:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or not self._open)
            if not self._waiting:
                return None
            size, entry = self._waiting.popleft()
            self._held -= size
            return entry


def _size(message: Any) -> int:
    """Return how many bytes a message counts for; the ``data`` of some is a number."""
    data = getattr(message, 'data', None)
    return _LEAST_SIZE + (len(data) if isinstance(data, Sized) else 0)


class Recording:
    """
    Writes what it is given into the bag that is open; ``name`` of that, empty for none.

    ``disk`` is held by who begins or ends a bag, or writes beside it: one work at a time.
    ``trouble``: why the newest bag ended by itself, with the remedy, empty where it did not; given
    to ``broken`` when it does, on a thread of its own.
    """

    def __init__(self, node: Node, folder: Path, broken: Callable[[str], None]) -> None:
        self._node, self.folder, self._broken = node, folder, broken
        self.name = self.trouble = ''
        self.disk = threading.Lock()
        self._writer: _Writer | None = None
        self._lock = threading.Lock()  # never held while a disk works

    @property
    def lost(self) -> int:
        """How many messages the bag that is open lacks, as the disk was too slow."""
        writer = self._writer
        return writer.lost if writer else 0

    def begin(self) -> str:
        """
        Begin a bag; returns what was done. May take as long as the disk.

        Raises ``ImportError``, ``OSError`` or ``ValueError`` where none can be written.
        """
        if self._writer is not None:
            return f'{self.name} is being recorded'
        name = time.strftime('run_%Y%m%dT%H%M%S', time.gmtime())
        self.folder.mkdir(parents=True, exist_ok=True)
        bag = Bag(self.folder / name)
        with self._lock:
            self._writer, self.name, self.trouble = _Writer(bag, self._on_failed), name, ''
        return f'recording {name}'

    def stop(self) -> str:
        """
        End the bag; returns what was done. May take as long as the disk.

        Raises ``OSError`` where the bag is damaged.
        """
        return self._end(None)

    def close(self) -> None:
        """End the bag, as far as the disk works, within seconds."""
        if self._writer is None:
            return
        try:
            self._node.get_logger().info(self._end(_JOIN_S))
        except OSError as error:
            self._node.get_logger().error(str(error))

    def write(self, topic: str, message: Any) -> None:
        """Append a message, if a bag is open; returns at once. Trouble ends the recording."""
        writer = self._writer
        if writer is not None:
            now = self._node.get_clock().now().nanoseconds
            writer.offer((self._node.resolve_topic_name(topic), message, now))

    def _end(self, seconds: float | None) -> str:
        with self._lock:
            writer, name, self._writer, self.name = self._writer, self.name, None, ''
        if writer is None:
            return 'nothing is being recorded'
        if not writer.close(seconds):
            raise OSError(f'{name} is damaged: the disk does not answer')
        if writer.error is not None:
            raise OSError(f'{name} is damaged: {writer.error}')
        lost = f', without {writer.lost} messages: the disk is too slow' if writer.lost else ''
        return f'{name} is recorded{lost}'

    def _on_failed(self, writer: _Writer, error: Exception) -> None:
        self._node.get_logger().error(f'the recording ends: {error}')
        with self._lock:
            if writer is not self._writer:
                return  # who ends it is told
            self.trouble = f'the recording {self.name} has ended by itself: {error}; {_REMEDY}'
            self._writer, self.name = None, ''
        self._broken(self.trouble)
