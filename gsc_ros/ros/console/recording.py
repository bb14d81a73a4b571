"""Recordings that begin and end while a node runs: an MCAP bag each, in a folder."""

import threading
import time
from pathlib import Path
from typing import Any

from rclpy.node import Node

from gsc_ros.ros.bag import Bag


class Recording:
    """Writes what it is given into the bag that is open; ``name`` of that, empty for none."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node, self.folder = node, folder
        self.name = ''
        self._bag: Bag | None = None
        self._lock = threading.Lock()

    def begin(self) -> str:
        """Begin a bag; returns what was done, or why not."""
        with self._lock:
            if self._bag is not None:
                return f'{self.name} is being recorded'
            name = time.strftime('run_%Y%m%dT%H%M%S', time.gmtime())
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._bag = Bag(self.folder / name)
            except (ImportError, OSError, ValueError) as error:
                return f'no recording: {error}'
            self.name = name
        return f'recording {name}'

    def stop(self) -> str:
        """End the bag; returns what was done."""
        with self._lock:
            bag, name, self._bag, self.name = self._bag, self.name, None, ''
            if bag is None:
                return 'nothing is being recorded'
            try:
                bag.close()
            except OSError as error:
                return f'{name} is damaged: {error}'
        return f'{name} is recorded'

    def write(self, topic: str, message: Any) -> None:
        """Append a message, if a bag is open; trouble ends the recording."""
        if self._bag is None:
            return
        failed: Exception | None = None
        with self._lock:
            if self._bag is not None:
                nanoseconds = self._node.get_clock().now().nanoseconds
                try:
                    self._bag.write(self._node.resolve_topic_name(topic), message, nanoseconds)
                except Exception as error:  # of disk, types or library: the node goes on
                    failed = error
        if failed is not None:
            self._node.get_logger().error(f'the recording ends: {failed}; {self.stop()}')
