"""
Monitors the link: a status line every second, and on request images, a bag and a summary.

Subscribes the decoded topics, the camera and its ground truth, the status of link, encoder and
decoder, and /diagnostics; publishes nothing.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('monitor'))


import json
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from gsc_ros.labels import UNLABELLED
from gsc_ros.msg import DecoderStatus, EncoderStatus, LinkStatus, SemanticFrame
from gsc_ros.record.mosaic import side_by_side
from gsc_ros.record.summary import Figures, truth_errors
from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.worker import NewestWorker

# Original images that wait for their decoded image, and their bytes in all.
_KEPT = 256
_KEPT_BYTES = 256 * 2**20

Stamp = tuple[int, int]

_STOPS = {LinkStatus.STOP_SENT: 'STOP on its way | ', LinkStatus.STOP_HELD: 'STOP held | '}
_NEEDED = topics.DECODED, topics.RECEIVED
# Maps that a preset may lack, and the value of an unknown pixel.
_MAPS: dict[str, np.generic] = {
    topics.DECODED_DEPTH: np.float32(np.nan),
    topics.DECODED_SEGMENTATION: np.uint8(UNLABELLED),
    topics.TRUST: np.uint8(0),
}


@dataclass(frozen=True)
class MonitorParameters(Parameters):
    """Parameters of the monitor."""

    output: str = parameter('', 'Folder for images, bag and summary; empty: none', read_only=True)
    image_interval_s: float = parameter(
        2.0, 'Time between two saved images', 0.1, 3600.0, formerly='picture_every_s'
    )
    bag: bool = parameter(True, 'Write an MCAP bag into output', read_only=True)
    truth: bool = parameter(
        True, "Compare with the simulator's depth and segmentation", read_only=True
    )


class Monitor(lifecycle.GscNode[MonitorParameters]):
    """Matches decoded images with the original ones, by stamp."""

    Parameters = MonitorParameters

    def __init__(self, **options: object) -> None:
        super().__init__('monitor', **options)

    def setup(self) -> None:
        """Make the output folder and the bag."""
        self._folder = Path(self.values.output).expanduser() if self.values.output else None
        self._bag = None
        self._figures = Figures()
        self._sets: OrderedDict[Stamp, dict[str, Any]] = OrderedDict()
        self._statuses: dict[str, Any] = {}  # the newest, by topic
        self._caption = ''
        self._shown: Stamp | None = None
        self._last_bytes = 0
        self._frames = 0
        self._images = 0
        self._next_image = 0.0
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self.values.bag:
                from gsc_ros.ros.bag import Bag

                self._bag = Bag(self._folder / 'bag')
                self.add_cleanup(self._bag.close)

    def start(self) -> None:
        """Subscribe."""
        if self._folder is not None:
            self.add_cleanup(self._summarise)
        self._worker = NewestWorker(self._compare, self._failed)
        self.add_cleanup(self._worker.close)
        parts: list[tuple[str, type, QoSProfile]] = [
            (topics.IMAGE, Image, topics.SENSOR),
            (topics.DECODED, Image, topics.IMAGES),
            *((topic, Image, topics.IMAGES) for topic in _MAPS),
            (topics.RECEIVED, SemanticFrame, topics.NEWEST),
        ]
        if self.values.truth:
            parts += [
                (topics.DEPTH, Image, topics.SENSOR),
                (topics.SEGMENTATION, Image, topics.SENSOR),
            ]
        for topic, kind, quality in parts:
            self.create_subscription(kind, topic, partial(self._on_part, topic), quality)
        for topic, kind, quality in (
            (topics.STATUS, LinkStatus, topics.LATCHED),
            (topics.ENCODER_STATUS, EncoderStatus, topics.LATCHED),
            (topics.DECODER_STATUS, DecoderStatus, topics.LATCHED),
            (topics.DECODED_INFO, CameraInfo, topics.IMAGES),
            (topics.CAPTION, String, topics.IMAGES),
            ('/diagnostics', DiagnosticArray, topics.DIAGNOSTICS),
        ):
            self.create_subscription(kind, topic, partial(self._on_other, topic), quality)
        self.create_timer(1.0, self._print_status)

    def _record(self, topic: str, message: Any) -> None:
        if self._bag is not None:
            self._bag.write(
                self.resolve_topic_name(topic), message, self.get_clock().now().nanoseconds
            )

    def _on_other(self, topic: str, message: Any) -> None:
        if topic == topics.CAPTION:
            self._caption = message.data
        elif topic in (topics.STATUS, topics.ENCODER_STATUS, topics.DECODER_STATUS):
            self._statuses[topic] = message
        self._record(topic, message)

    def _on_part(self, topic: str, message: Image | SemanticFrame) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        parts = self._sets.setdefault(stamp, {})
        parts[topic] = message
        while len(self._sets) > _KEPT or (len(self._sets) > 1 and self._held() > _KEPT_BYTES):
            self._sets.popitem(last=False)
        if topic == topics.RECEIVED:
            self._frames += 1
            self._last_bytes = len(message.data)
            self._figures.add({'bytes a frame': self._last_bytes})
        if topic == topics.DECODED:
            # Of a frame two before it no map is on its way any more: the preset lacks some.
            decoded = sorted(s for s, p in self._sets.items() if all(t in p for t in _NEEDED))
            for old in decoded[:-2]:
                self._show(old)
        if topic in (*_NEEDED, *_MAPS) and all(t in parts for t in (*_NEEDED, *_MAPS)):
            self._show(stamp)

    def _show(self, stamp: Stamp) -> None:
        """Record and measure a decoded frame; it and all older ones are done with."""
        self._shown, parts = stamp, self._sets[stamp]
        for topic, message in parts.items():  # of the images, those that belong to a shown frame
            self._record(topic, message)
        self._worker.offer({**parts, topics.CAPTION: self._caption})
        for old in [s for s in self._sets if s <= stamp]:
            del self._sets[old]

    def _held(self) -> int:
        """Bytes of the messages that wait."""
        return sum(len(m.data) for parts in self._sets.values() for m in parts.values())

    def _compare(self, parts: dict[str, Any]) -> None:
        """Measure a frame against the ground truth and, now and then, save its image."""
        rgb = convert.to_rgb(parts[topics.DECODED])
        depth, classes, trust = (
            convert.to_array(parts[topic]) if topic in parts else np.full(rgb.shape[:2], unknown)
            for topic, unknown in _MAPS.items()
        )
        true_depth, true_classes = (
            convert.to_array(parts[truth]) if {truth, decoded} <= parts.keys() else None
            for truth, decoded in (
                (topics.DEPTH, topics.DECODED_DEPTH),
                (topics.SEGMENTATION, topics.DECODED_SEGMENTATION),
            )
        )
        self._figures.add(truth_errors(depth, classes, true_depth, true_classes))
        now = time.monotonic()
        if self._folder is None or topics.IMAGE not in parts or now < self._next_image:
            return
        self._next_image = now + self.values.image_interval_s
        image = side_by_side(
            convert.to_rgb(parts[topics.IMAGE]),
            rgb,
            depth,
            classes,
            trust,
            len(parts[topics.RECEIVED].data),
            parts[topics.CAPTION],
        )
        self._images += 1
        path = self._folder / f'frame_{self._images:04d}.png'
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _failed(self, error: Exception) -> None:
        if self.context.ok():
            self.get_logger().warning(f'frame not measured: {error}', throttle_duration_sec=5.0)

    def _age(self) -> float:
        """Return the time since a pixel of the shown image changed, s; NaN: there is none."""
        if self._shown is None:
            return math.nan
        taken = self._shown[0] + 1e-9 * self._shown[1]
        decoder = self._statuses.get(topics.DECODER_STATUS)
        unchanged_s = decoder.unchanged_s if decoder else 0.0
        return self.get_clock().now().nanoseconds * 1e-9 - taken + unchanged_s

    def _print_status(self) -> None:
        """Print the status line and add its figures."""
        link, encoder, decoder = (
            self._statuses.get(topic)
            for topic in (topics.STATUS, topics.ENCODER_STATUS, topics.DECODER_STATUS)
        )
        decode_ms = decoder.decode_ms if decoder else math.nan
        age = self._age()
        if link is None:
            line = 'waiting for the link'
        else:
            kbps = link.rate_bps / 1000
            offered, used = link.offered_bps / 1000, link.used_bps / 1000
            line = (
                f'{_STOPS.get(link.stop, "")}'
                f'frame age {age:5.1f} s | {link.profile}: {offered:.2f} kbps offered, '
                f'{used:.2f} used of {kbps:.2f} | loss {100 * link.loss:.0f} % | '
                f'{self._last_bytes} B a frame | decode {decode_ms:.0f} ms | {self._frames} frames'
            )
            self._figures.add(
                {
                    'frame age s': age,
                    'kbps offered': offered,
                    'kbps used': used,
                    'loss': link.loss,
                    'encode ms': encoder.encode_ms if encoder else math.nan,
                    'decode ms': decode_ms,
                }
            )
        print(line, flush=True)  # noqa: T201

    def _summarise(self) -> None:
        """Write what was measured into the folder."""
        assert self._folder is not None
        link = self._statuses.get(topics.STATUS)
        facts = {
            'profile': link.profile if link else None,
            'link rate bps': link.rate_bps if link else None,
            'link delay s': link.delay_s if link else None,
            'frames received': self._frames,
            'images': self._images,
        }
        table = {'facts': facts, 'figures': self._figures.table()}
        (self._folder / 'summary.json').write_text(json.dumps(table, indent=2) + '\n')
        lines = [f'* {name}: {value}' for name, value in facts.items()]
        text = '\n'.join(['# A run of the link', '', *lines, '', self._figures.markdown(), ''])
        (self._folder / 'summary.md').write_text(text)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Monitor, args)
