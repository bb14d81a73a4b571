"""
Watch the link: a status line every second, and on request images, a bag and a summary.

Subscribes the decoded topics, the camera and its truth, link/status and /diagnostics; publishes
nothing.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('monitor'))


import json
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.record.mosaic import side_by_side
from gsc_ros.record.summary import Figures, truth_errors
from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.worker import NewestWorker

# Originals that wait for their decoded image to come down the link, and their bytes in all.
_KEPT = 256
_KEPT_BYTES = 256 * 2**20

Stamp = tuple[int, int]

_STOPS = {LinkStatus.STOP_SENT: 'STOP on its way | ', LinkStatus.STOP_HELD: 'STOP held | '}


@dataclass(frozen=True)
class MonitorParameters(Parameters):
    """What the monitor can be told."""

    output: str = parameter('', 'Folder for images, bag and summary; empty: none', read_only=True)
    picture_every_s: float = parameter(2.0, 'Seconds between images', 0.1, 3600.0)
    bag: bool = parameter(True, 'Write an MCAP bag into output', read_only=True)
    truth: bool = parameter(
        True, "Compare with the simulator's depth and segmentation", read_only=True
    )


class Monitor(lifecycle.GscNode[MonitorParameters]):
    """Matches what was decoded with what was seen, by stamp."""

    Parameters = MonitorParameters

    def __init__(self, **options: object) -> None:
        super().__init__('monitor', **options)

    def setup(self) -> None:
        """Make the output folder and the bag."""
        self._folder = Path(self.values.output).expanduser() if self.values.output else None
        self._bag = None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self.values.bag:
                from gsc_ros.ros.bag import Bag

                self._bag = Bag(self._folder / 'bag')
        self._figures = Figures()
        self._sets: OrderedDict[Stamp, dict[str, Any]] = OrderedDict()
        self._status: LinkStatus | None = None
        self._caption = ''
        self._decoder: dict[str, str] = {}
        self._shown: Stamp | None = None
        self._last_bytes = 0
        self._frames = 0
        self._images = 0
        self._next_image = 0.0

    def start(self) -> None:
        """Subscribe."""
        self._worker = NewestWorker(self._compare, self._failed)
        parts = [
            (topics.IMAGE, Image, topics.SENSOR),
            (topics.DECODED, Image, topics.IMAGES),
            (topics.DECODED_DEPTH, Image, topics.IMAGES),
            (topics.DECODED_SEGMENTATION, Image, topics.IMAGES),
            (topics.TRUST, Image, topics.IMAGES),
            (topics.RECEIVED, SemanticFrame, topics.NEWEST),
        ]
        if self.values.truth:
            parts += [
                (topics.DEPTH, Image, topics.SENSOR),
                (topics.SEGMENTATION, Image, topics.SENSOR),
            ]
        self._inputs = [
            self.create_subscription(
                kind, topic, lambda message, topic=topic: self._on_part(topic, message), quality
            )
            for topic, kind, quality in parts
        ]
        others = [
            (topics.STATUS, LinkStatus, topics.LATCHED),
            (topics.DECODED_INFO, CameraInfo, topics.IMAGES),
            (topics.CAPTION, String, topics.IMAGES),
        ]
        self._inputs += [
            self.create_subscription(
                kind, topic, lambda message, topic=topic: self._on_other(topic, message), quality
            )
            for topic, kind, quality in others
        ]
        self._inputs.append(
            self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 50)
        )
        self._timer = self.create_timer(1.0, self._say)

    def stop(self) -> None:
        """Unsubscribe; write the summary."""
        self.destroy_timer(self._timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._worker.close()
        if self._folder is not None:
            self._summarise(self._folder)

    def teardown(self) -> None:
        """Close the bag."""
        if self._bag is not None:
            self._bag.close()
            self._bag = None

    def _record(self, topic: str, message: Any) -> None:
        if self._bag is not None:
            self._bag.write(
                self.resolve_topic_name(topic), message, self.get_clock().now().nanoseconds
            )

    def _on_other(self, topic: str, message: Any) -> None:
        if topic == topics.STATUS:
            self._status = message
        elif topic == topics.CAPTION:
            self._caption = message.data
        self._record(topic, message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._record('/diagnostics', message)
        for status in message.status:
            if status.name.split(':')[0].split('/')[-1] == 'decoder':
                self._decoder = {v.key: v.value for v in status.values}

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
        decoded = (
            topics.DECODED,
            topics.DECODED_DEPTH,
            topics.DECODED_SEGMENTATION,
            topics.TRUST,
            topics.RECEIVED,
        )
        if topic in decoded and all(t in parts for t in decoded):
            self._shown = stamp
            for part, kept in parts.items():  # of the images, those that belong to a shown frame
                self._record(part, kept)
            self._worker.offer({**parts, topics.CAPTION: self._caption})
            for old in [s for s in self._sets if s <= stamp]:
                del self._sets[old]

    def _held(self) -> int:
        """Bytes of the messages that wait."""
        return sum(len(m.data) for parts in self._sets.values() for m in parts.values())

    def _compare(self, parts: dict[str, Any]) -> None:
        """Measure a shown frame against the truth and, now and then, keep its image."""
        depth = convert.to_array(parts[topics.DECODED_DEPTH])
        classes = convert.to_array(parts[topics.DECODED_SEGMENTATION])
        true_depth, true_classes = (
            convert.to_array(parts[t]) if t in parts else None
            for t in (topics.DEPTH, topics.SEGMENTATION)
        )
        self._figures.add(truth_errors(depth, classes, true_depth, true_classes))
        now = time.monotonic()
        if self._folder is None or topics.IMAGE not in parts or now < self._next_image:
            return
        self._next_image = now + self.values.picture_every_s
        frame = parts[topics.RECEIVED]
        image = side_by_side(
            convert.to_rgb(parts[topics.IMAGE]),
            convert.to_rgb(parts[topics.DECODED]),
            depth,
            classes,
            convert.to_array(parts[topics.TRUST]),
            len(frame.data),
            parts[topics.CAPTION],
        )
        self._images += 1
        path = self._folder / f'frame_{self._images:04d}.png'
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _failed(self, error: Exception) -> None:
        if self.context.ok():
            self.get_logger().warning(f'frame not measured: {error}', throttle_duration_sec=5.0)

    def _age(self) -> float:
        if self._shown is None:
            return math.nan
        taken = self._shown[0] + 1e-9 * self._shown[1]
        unchanged_s = float(self._decoder.get('unchanged_s', 0))
        return self.get_clock().now().nanoseconds * 1e-9 - taken + unchanged_s

    def _say(self) -> None:
        """Print the status line and note its figures."""
        status, decode_ms = self._status, float(self._decoder.get('decode_ms', 'nan'))
        age = self._age()
        if status is None:
            line = 'waiting for the link'
        else:
            kbps = status.rate_bps / 1000
            offered, used = status.offered_bps / 1000, status.used_bps / 1000
            line = (
                f'{_STOPS.get(status.stop, "")}'
                f'frame age {age:5.1f} s | {status.profile}: {offered:.2f} kbps offered, '
                f'{used:.2f} used of {kbps:.2f} | loss {100 * status.loss:.0f} % | '
                f'{self._last_bytes} B a frame | decode {decode_ms:.0f} ms | {self._frames} frames'
            )
            self._figures.add(
                {
                    'frame age s': age,
                    'kbps offered': offered,
                    'kbps used': used,
                    'loss': status.loss,
                    'decode ms': decode_ms,
                }
            )
        print(line, flush=True)  # noqa: T201

    def _summarise(self, folder: Path) -> None:
        status = self._status
        facts = {
            'profile': status.profile if status else None,
            'link rate bps': status.rate_bps if status else None,
            'link delay s': status.delay_s if status else None,
            'frames received': self._frames,
            'images': self._images,
        }
        table = {'facts': facts, 'figures': self._figures.table()}
        (folder / 'summary.json').write_text(json.dumps(table, indent=2) + '\n')
        lines = [f'* {name}: {value}' for name, value in facts.items()]
        text = '\n'.join(['# A run of the link', '', *lines, '', self._figures.markdown(), ''])
        (folder / 'summary.md').write_text(text)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Monitor, args)
