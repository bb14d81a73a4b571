"""A camera's images: messages become what the page shows, on a thread of their own."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from gsc_ros.console import overlays, words
from gsc_ros.ros import convert, topics
from gsc_ros.ros.console.spot import Spot
from gsc_ros.ros.worker import NewestWorker

Stamp = tuple[int, int]

_IMAGE, _ORIGINAL = 'image', 'original'
_KINDS = {
    topics.DECODED: _IMAGE,
    topics.TRUST: 'trust',
    topics.DECODED_SEGMENTATION: 'classes',
    topics.DECODED_DEPTH: 'depth',
    topics.HAZARDS: 'hazards',
}
# Original images that wait for their decoded one.
_KEPT, _KEPT_BYTES = 256, 64 * 2**20


class Screen:
    """
    Encodes the newest image and the maps that somebody looks at; ``show(kind, data)`` gets them.

    ``spot``: the camera, as topics and page know it. ``wanted`` returns the kinds that are looked
    at. Original images are subscribed while they are.
    """

    TOPICS = tuple(_KINDS)

    def __init__(
        self,
        node: Node,
        spot: Spot,
        wanted: Callable[[], Set[str]],
        show: Callable[[str, bytes], None],
    ) -> None:
        self._node, self._wanted, self._show = node, wanted, show
        self._spot = spot
        self.newest: dict[str, Image] = {}  # by kind
        self._shown: dict[str, Stamp] = {}
        self._originals: OrderedDict[Stamp, Image] = OrderedDict()
        self._subscription: Subscription | None = None
        self._worker: NewestWorker[bool] = NewestWorker(self._encode, self._failed)

    def close(self) -> None:
        """End the thread; the node closes subscriptions."""
        self._worker.close()

    # On the executor's thread

    def take(self, topic: str, message: Image) -> None:
        """Take an image or a map."""
        self.newest[_KINDS[topic]] = message
        if topic == topics.DECODED:
            original = self._originals.get(_stamp(message))
            if original is not None:
                self.newest[_ORIGINAL] = original
        self._worker.offer(True)

    def follow(self) -> None:
        """Subscribe to original images while somebody looks at them; encode what is new."""
        wanted = _ORIGINAL in self._wanted()
        if wanted and self._subscription is None:
            self._subscription = self._node.create_subscription(
                Image, self._spot.topic(topics.IMAGE), self._on_original, topics.SENSOR
            )
        elif not wanted and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self._originals.clear()
        self._worker.offer(True)

    def _on_original(self, message: Image) -> None:
        self._originals[_stamp(message)] = message
        held = sum(len(one.data) for one in self._originals.values())
        while len(self._originals) > 1 and (len(self._originals) > _KEPT or held > _KEPT_BYTES):
            held -= len(self._originals.popitem(last=False)[1].data)

    # On the worker's thread

    def _encode(self, _token: bool) -> None:
        """Encode what is looked at and has not been shown yet, the image first."""
        wanted = self._wanted()
        for kind in (_IMAGE, *words.OVERLAYS, _ORIGINAL):
            message = self.newest.get(kind)
            if message is None or not (kind in wanted or kind == _IMAGE):
                continue
            stamp = _stamp(message)
            if self._shown.get(kind) == stamp:
                continue
            self._shown[kind] = stamp
            head = {'kind': kind, 'stamp': text(stamp), **self._spot.label}
            self._show(kind, words.pack(head, _file(kind, message)))

    def _failed(self, error: Exception) -> None:
        if self._node.context.ok():
            self._node.get_logger().warning(
                f'an image cannot be shown: {error}', throttle_duration_sec=5.0
            )

    # On any thread

    def maps(self, stamp: str) -> dict[str, NDArray]:
        """Return the maps of the image of a stamp that have come, by kind."""
        newest = dict(self.newest)
        return {
            kind: convert.to_array(newest[kind])
            for kind in words.OVERLAYS
            if kind in newest and text(_stamp(newest[kind])) == stamp
        }

    def keep(self, folder: Path, state: str) -> str:
        """
        Write the image as PNG, and its stamp and the state as JSON; returns what was done.

        Raises ``ValueError`` without an image, and ``OSError`` where it cannot be written.
        """
        message = self.newest.get(_IMAGE)
        if message is None:
            raise ValueError('there is no image to keep yet')
        stamp = _stamp(message)
        when = time.strftime('%Y%m%dT%H%M%S', time.gmtime(stamp[0]))
        of = f'{self._spot.name}_' if self._spot.name else ''
        path = folder / f'snapshot_{of}{when}_{stamp[1] // 1_000_000:03d}.png'
        beside: dict[str, Any] = json.loads(state)
        beside = {'stamp': {'sec': stamp[0], 'nanosec': stamp[1]},
                  'frame_id': message.header.frame_id, **beside}  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        pixels = cv2.cvtColor(convert.to_rgb(message), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(path), pixels):
            raise OSError(f'{path} cannot be written')
        path.with_suffix('.json').write_text(json.dumps(beside, indent=2) + '\n')
        return f'kept as {path.name}'


def still(message: CompressedImage, spot: Spot) -> bytes:
    """Pack one whole image of a camera, which is a file already, for the page."""
    head = {'kind': 'still', 'stamp': text(_stamp(message)), 'format': message.format,
            **spot.label}  # fmt: skip
    return words.pack(head, bytes(message.data))


def text(stamp: Stamp) -> str:
    """Write a stamp as the page knows it: s since 1970, exactly."""
    return f'{stamp[0]}.{stamp[1]:09d}'


def _stamp(message: Image | CompressedImage) -> Stamp:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _file(kind: str, message: Image) -> bytes:
    """Encode a message as the page shows its kind."""
    if kind in (_IMAGE, _ORIGINAL):
        return overlays.jpeg(convert.to_rgb(message))
    draw: Any = getattr(overlays, kind)
    return overlays.png(draw(convert.to_array(message)))
