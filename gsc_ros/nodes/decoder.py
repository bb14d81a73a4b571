"""
The ground's end: semantic frames in; image, depth, classes and trust out.

Subscribes link/image/gsc and link/camera_info; publishes decoded/*, every message of a frame with
the robot's acquisition stamp and frame_id.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('decoder'))


import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Empty, Header, String

from gsc_ros.codec.bitstream import PRESETS, MissingReferenceError
from gsc_ros.labels import LABELS, UNLABELLED, colourise
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Drops, Rate, Report, Troubles
from gsc_ros.ros.images.camera_info import CameraInfos, calibrated, scaled_info
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.worker import NewestWorker

if TYPE_CHECKING:  # torch is imported when the node is configured
    from gsc_ros.codec import DecodedFrame

_AHEAD_S = 1.0  # that images may lie in the future
_IMAGES = {
    topics.DECODED: 'rgb8',
    topics.DECODED_DEPTH: '32FC1',
    topics.DECODED_SEGMENTATION: 'mono8',
    topics.DECODED_COLOUR: 'rgb8',
    topics.TRUST: 'mono8',
}


@dataclass(frozen=True)
class DecoderParameters(Parameters):
    """What the decoder can be told."""

    preset: str = parameter('gsc', 'Which streams a frame has', choices=PRESETS, read_only=True)
    steps: int = parameter(
        0,
        'Steps of the rectified flow that draws the image; 0 shows the deterministic one',
        0,
        8,
    )
    image_max_age_s: float = parameter(
        10.0,
        'Warn of an image that is older on arrival than the link accounts for by so much, or lies '
        'over 1 s in the future; 0: never',
        0.0,
        1e9,
    )
    stale_after_s: float = parameter(5.0, 'Say STALE when no frame came for so long', 0.1, 36000.0)
    threads: int = parameter(1, 'CPU threads of the networks', 1, 64, read_only=True)
    weights: str = parameter(
        '', "Folder of weights; empty for the shipped ones, 'random' for untrained (tests)",
        read_only=True,
    )  # fmt: skip


def _began_anew(frame: SemanticFrame, before: SemanticFrame) -> bool:
    """Whether the robot's link or encoder began anew between two frames."""
    return frame.session != before.session or frame.sequence < before.sequence


def label_message() -> tuple[type, str, Any]:
    """Return type, topic and message that name the classes: vision_msgs where it is installed."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        names = {str(i): name for i, name in enumerate(LABELS)} | {str(UNLABELLED): 'unlabelled'}
        return String, topics.LABELS, String(data=json.dumps(names))
    classes = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(LABELS)]
    classes.append(VisionClass(class_id=UNLABELLED, class_name='unlabelled'))
    return LabelInfo, topics.LABEL_INFO, LabelInfo(class_map=classes)


class Decoder(lifecycle.GscNode[DecoderParameters]):
    """Decodes the newest frame while anybody looks."""

    Parameters = DecoderParameters

    def __init__(self, **options: object) -> None:
        super().__init__('decoder', **options)

    def setup(self) -> None:
        """Load the codec."""
        from gsc_ros.codec import FilmDecoder, SemanticCodec

        v = self.values
        self._film = FilmDecoder(SemanticCodec.load(v.preset, v.weights or None, v.threads))
        self._images: dict[str, Publisher] = {
            topic: self.create_publisher(Image, topic, topics.IMAGES) for topic in _IMAGES
        }
        self._info_outputs = [
            self.create_publisher(CameraInfo, topic, topics.IMAGES)
            for topic in (topics.DECODED_INFO, topics.DECODED_DEPTH_INFO)
        ]
        self._caption = self.create_publisher(String, topics.CAPTION, topics.IMAGES)
        self._missed = self.create_publisher(Empty, topics.KEY_MISSED, topics.NEWEST)
        kind, topic, labels = label_message()
        self._labels: Publisher = self.create_publisher(kind, topic, topics.LATCHED)
        self._labels.publish(labels)
        self._counts = {'received': 0, 'decoded': 0, 'unread': 0, 'truncated': 0}
        self._drops, self._troubles = Drops(self, 'frame'), Troubles(self)
        self._status: LinkStatus | None = None
        self._infos = CameraInfos()
        self._key: SemanticFrame | None = None  # the newest that came, drawn or not
        self._last: SemanticFrame | None = None  # that was drawn
        self._last_frame = -np.inf
        self._decode_ms = float('nan')
        self._shown: Header | None = None
        self._unchanged_s = 0.0  # of the shown image
        self._frames = Rate()
        self._bits = Rate()

    def start(self) -> None:
        """Subscribe."""
        self._worker = NewestWorker(self._decode, self._drops.note)
        self._inputs = [
            # First, so that a frame's camera_info is known before the frame.
            self.create_subscription(
                CameraInfo, topics.RECEIVED_INFO, self._infos.add, topics.IMAGES
            ),
            self.create_subscription(
                SemanticFrame, topics.RECEIVED, self._on_frame, topics.NEWEST
            ),
            self.create_subscription(LinkStatus, topics.STATUS, self._on_status, topics.LATCHED),
        ]

    def stop(self) -> None:
        """Unsubscribe and let the frame at work finish."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._worker.close()

    def teardown(self) -> None:
        """Let go of the networks."""
        outputs = [
            *self._images.values(), *self._info_outputs, self._caption, self._missed, self._labels,
        ]  # fmt: skip
        for publisher in outputs:
            self.destroy_publisher(publisher)
        del self._film

    def _on_status(self, message: LinkStatus) -> None:
        self._status = message

    def _judge_age(self, message: SemanticFrame) -> None:
        """Warn of an image that is older, or newer, than the link accounts for."""
        most_s, delay_s, sending_s = self.values.image_max_age_s, 0.0, 0.0
        if self._status is not None:
            delay_s = self._status.delay_s
            if self._status.rate_bps:
                sending_s = 8 * len(message.data) / self._status.rate_bps
        age_s = self._clock_s() - convert.seconds(message.header.stamp)
        if most_s and not delay_s - _AHEAD_S <= age_s <= delay_s + sending_s + most_s:
            how = f'{age_s:.1f} s old' if age_s > 0 else f'stamped {-age_s:.1f} s in the future'
            link_s = delay_s + sending_s
            self._troubles.note(
                'age',
                f'images are {how} on arrival, where the link takes {link_s:.1f} s: the clocks of '
                'robot and ground differ, or the image is old',
            )

    def _clock_s(self) -> float:
        return 1e-9 * self.get_clock().now().nanoseconds

    def _on_frame(self, message: SemanticFrame) -> None:
        now = time.monotonic()
        self._judge_age(message)
        self._last_frame = now
        self._counts['received'] += 1
        self._bits.add(now, 8 * len(message.data))
        if message.frame_type == SemanticFrame.KEY and not message.truncated:
            self._key = message
        outputs = [*self._images.values(), *self._info_outputs, self._caption]
        if any(p.get_subscription_count() for p in outputs):
            self._worker.offer(message)
        else:
            self._counts['unread'] += 1

    def _decode(self, message: SemanticFrame) -> None:
        start = time.monotonic()
        frame = self._drawn(message)
        header = message.header
        self._caption.publish(
            String(data=frame.caption)
        )  # first: it has no stamp to be matched by
        images: dict[str, NDArray] = {
            topics.DECODED: frame.rgb,
            topics.DECODED_DEPTH: frame.depth,
            topics.DECODED_SEGMENTATION: frame.segmentation,
            topics.TRUST: frame.trust,
        }
        if self._images[topics.DECODED_COLOUR].get_subscription_count():
            images[topics.DECODED_COLOUR] = colourise(frame.segmentation)
        info = self._infos.of(header)
        if info is not None:
            info = scaled_info(info, frame.rgb.shape[1], frame.rgb.shape[0])
            info.header = header
            for publisher in self._info_outputs:
                publisher.publish(info)
        for topic, pixels in images.items():
            publisher = self._images[topic]
            if publisher.get_subscription_count():
                publisher.publish(convert.to_image(pixels, _IMAGES[topic], header))
        now = time.monotonic()
        self._decode_ms = 1000 * (now - start)
        self._frames.add(now)
        self._shown = header
        self._unchanged_s = frame.notes.timing.frozen_s if frame.notes else 0.0
        if frame.notes and frame.notes.warning:
            self._troubles.note('image', f'the robot says: {frame.notes.warning}')
        self._counts['decoded'] += 1
        self._counts['truncated'] += message.truncated

    def _drawn(self, message: SemanticFrame) -> 'DecodedFrame':
        last, self._last = self._last, message
        if last is not None and _began_anew(message, last):
            # Numbers count anew: what is known of the time before is another's.
            self._film.forget()
        arguments = bytes(message.data), message.truncated, self.values.steps
        try:
            return self._film.decode(*arguments)
        except MissingReferenceError:
            # The key frame may have come while nobody looked, or while another was drawn.
            try:
                if self._key is None or _began_anew(message, self._key):
                    raise
                self._film.learn(bytes(self._key.data))
                return self._film.decode(*arguments)
            except MissingReferenceError:
                self._missed.publish(Empty())
                raise

    def _age(self) -> float:
        """Seconds since a pixel of the shown image changed, by this node's clock."""
        if self._shown is None:
            return float('nan')
        return self._clock_s() - convert.seconds(self._shown.stamp) + self._unchanged_s

    def diagnose(self) -> Report:
        """Age, rate and trouble; STALE when the image on screen is old."""
        now = time.monotonic()
        level, message = OK, 'decoding'
        if not self.active:
            message = 'not active'
        elif now - self._last_frame > self.values.stale_after_s:
            level, message = STALE, 'no frames: the image on screen is old'
        elif self._drops.recent():
            level, message = WARN, f'frames were dropped: {self._drops.last}'
        elif self._infos.newest is None:
            level, message = WARN, 'no camera_info yet: depth cannot be projected'
        elif not calibrated(self._infos.newest):
            level, message = WARN, 'the camera is not calibrated: depth cannot be projected'
        troubles = self._troubles.recent() if self.active else []
        if troubles and level != STALE:
            said = [message] if level == WARN else []
            level, message = WARN, '; '.join([*troubles, *said])
        skipped = self._worker.skipped if self.active else 0
        return Report(
            level,
            message,
            {
                **self._counts,
                'rejected': self._drops.count,
                'skipped': skipped,
                'camera_info_unmatched': self._infos.unmatched,
                'frame_age_s': self._age(),
                'unchanged_s': self._unchanged_s,
                'frames_per_s': self._frames.per_second(now),
                'kbps': self._bits.per_second(now) / 1000,
                'decode_ms': self._decode_ms,
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Decoder, args)
