"""An MCAP bag of a run, written without rosbag2."""

from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message

from gsc_ros.paths import message_dir


class Bag:
    """
    Writes messages to an MCAP bag (chunks compressed with zstd).

    Raises ``ImportError`` with the remedy without rosbags, ``ValueError`` if ``path`` is taken.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import (
                CompressionFormat,
                CompressionMode,
                StoragePlugin,
                Writer,
            )
            from rosbags.typesys import Stores, get_types_from_msg, get_typestore
        except ImportError as error:
            raise ImportError("a bag needs rosbags: pip install 'gsc_ros[demo]'") from error
        if path.exists():
            raise ValueError(f'{path} exists already: remove it or name another output')
        self._types = get_typestore(Stores.ROS2_JAZZY)
        for file in message_dir().glob('*.msg'):
            name = f'gsc_ros/msg/{file.stem}'
            self._types.register(get_types_from_msg(file.read_text(), name))
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, message: Any, nanoseconds: int) -> None:
        """Append a message received at a time in nanoseconds."""
        connection = self._connections.get(topic)
        if connection is None:
            package, kind = type(message).__module__.split('.')[0], type(message).__name__
            connection = self._writer.add_connection(
                topic, f'{package}/msg/{kind}', typestore=self._types
            )
            self._connections[topic] = connection
        self._writer.write(connection, nanoseconds, serialize_message(message))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
