"""
The robot's end: pictures in, semantic frames out, as many as the link can take.

Subscribes camera/image (or its compressed form), camera/camera_info and camera/depth/image if
asked to, link/status, camera/key_wanted and camera/roi_wanted; publishes camera/image/gsc, and its
camera_info where it rectifies.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('encoder'))


import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Empty, Header

from gsc_ros.codec.bitstream import MIN_BUDGET, PRESETS
from gsc_ros.graph import dds_profile
from gsc_ros.link.pacing import Carrier, Pace, budget
from gsc_ros.link.payloads import WHOLE, Region
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.nodes import convert, lifecycle, topics
from gsc_ros.nodes.camera_info import CameraInfos, Rectifier
from gsc_ros.nodes.depth_scale import DepthScale
from gsc_ros.nodes.diagnostics import OK, STALE, WARN, Drops, Rate, Report
from gsc_ros.nodes.encodings import Levels, Stretch, full_range
from gsc_ros.nodes.gaps import Gaps
from gsc_ros.nodes.parameters import Parameters, parameter
from gsc_ros.nodes.worker import NewestWorker

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

STATUS_TIMEOUT_S = 10.0
_NAP_S = 0.002
_FORGET = 0.9  # of a slow picture at each one after it
_LOST = 5, 0.1  # images, and share of them, that are worth a warning


@dataclass(frozen=True)
class EncoderParameters(Parameters):
    """What the encoder can be told."""

    preset: str = parameter('gsc', 'Which streams a frame has', choices=PRESETS, read_only=True)
    budget_bytes: int = parameter(300, 'Bytes of a frame on air, never exceeded', 40, 2000)
    key_every: int = parameter(
        1,
        'A key frame after so many frames at most, the others are delta frames where that tells '
        'more, at two to three times the work; 1: key frames only, 0: as few as the scenes need',
        0,
        10_000,
    )
    max_rate: float = parameter(
        5.0, 'Frames a second at most, however fast the link is', 0.01, 60.0
    )
    min_rate: float = parameter(
        0.1,
        'Frames a second at least: on a slower link they have fewer bytes, down to 40; 0: never',
        0.0,
        60.0,
    )
    image_transport: str = parameter(
        'raw', 'Form of the incoming pictures', choices=('raw', 'compressed'), read_only=True
    )
    image_qos: str = parameter(
        'best_effort',
        'Quality of service of the incoming images; reliable where the camera offers it and '
        'images are lost',
        choices=('best_effort', 'reliable'),
        read_only=True,
    )
    stretch: str = parameter(
        'auto',
        'Black and white of images of more than 8 bits: at percentiles that are held from one '
        'image to the next (auto), or the whole range of their type (off)',
        choices=('auto', 'off'),
    )
    stretch_percent: float = parameter(
        1.0, 'Share of the pixels that is black, and that is white, in percent', 0.0, 40.0
    )
    stretch_hold_s: float = parameter(
        2.0, 'Time in which black and white follow the scene', 0.0, 1e4
    )
    rectify: bool = parameter(
        False,
        "Take the lens' distortion out of the images, by camera/camera_info",
        read_only=True,
    )
    use_depth: bool = parameter(
        False,
        "Set the depth's scale by the robot's own sensor on camera/depth/image",
        read_only=True,
    )
    depth_max_age_s: float = parameter(
        1.0, "A depth image further than this from the image's stamp is not used", 0.0, 1e4
    )
    roi_timeout_s: float = parameter(
        60.0, 'A region of interest counts for so long after it was asked for', 0.0, 1e5
    )
    stale_after_s: float = parameter(
        3.0, 'Say STALE when no picture came for so long', 0.1, 3600.0
    )
    threads: int = parameter(1, 'CPU threads of the networks', 1, 64, read_only=True)
    weights: str = parameter(
        '', "Folder of weights; empty for the shipped ones, 'random' for untrained (tests)",
        read_only=True,
    )  # fmt: skip


class Encoder(lifecycle.GscNode[EncoderParameters]):
    """Encodes the newest picture whenever the link has room for it."""

    Parameters = EncoderParameters

    def __init__(self, **options: object) -> None:
        super().__init__('encoder', **options)
        self._sequence = 0

    def setup(self) -> None:
        """Load the codec."""
        from gsc_ros.codec import FilmEncoder, SemanticCodec

        v = self.values
        codec = SemanticCodec.load(v.preset, v.weights or None, v.threads)
        self._fingerprint = codec.fingerprint
        # Deltas lean on the last key frame: a lost delta harms no other frame.
        self._film: FilmEncoder = FilmEncoder(codec, v.key_every, chained=False)
        self._publisher = self.create_publisher(SemanticFrame, topics.CODED, topics.NEWEST)
        self._counts = {'received': 0, 'encoded': 0, 'unread': 0, 'held': 0, 'wanted': 0}
        self._drops = Drops(self, 'picture')
        self._depth = DepthScale()
        self._stretch, self._form = Stretch(), ('', '')
        self._infos, self._rectifier, self._unrectified = CameraInfos(), Rectifier(), ''
        self._info_publisher = None
        if v.rectify:
            self._info_publisher = self.create_publisher(
                CameraInfo, topics.CODED_INFO, topics.PICTURES
            )
        self._region: RegionOfInterest | None = None
        self._region_at = -np.inf
        self._status: LinkStatus | None = None
        self._pace, self._paced_at = Pace(), -np.inf
        self._status_at = self._last_image = -np.inf
        self._encode_ms = float('nan')
        self._encode_s = 0.0  # what coding is expected to take
        self._budget_bytes = self.values.budget_bytes  # of the last picture
        self._bits = Rate()
        self._frames = Rate()

    def start(self) -> None:
        """Subscribe."""
        self._stopping = threading.Event()
        self._worker = NewestWorker(self._encode, self._drops.note, self._wait_s)
        self._gaps = Gaps()
        compressed = self.values.image_transport == 'compressed'
        images = self.create_subscription(
            CompressedImage if compressed else Image,
            topics.compressed(self) if compressed else topics.IMAGE,
            self._on_image,
            topics.PICTURES if self.values.image_qos == 'reliable' else topics.SENSOR,
        )
        self._image_topic = images.topic_name
        status = self.create_subscription(
            LinkStatus, topics.STATUS, self._on_status, topics.LATCHED
        )
        wanted = self.create_subscription(
            Empty, topics.KEY_WANTED, self._on_key_wanted, topics.NEWEST
        )
        region = self.create_subscription(
            RegionOfInterest, topics.REGION_WANTED, self._on_region, topics.NEWEST
        )
        self._inputs = [images, status, wanted, region]
        if self.values.rectify:
            self._inputs.append(
                self.create_subscription(
                    CameraInfo, topics.CAMERA_INFO, self._infos.add, topics.INFOS
                )
            )
        if self.values.use_depth:
            self._inputs.append(
                self.create_subscription(Image, topics.DEPTH, self._on_depth, topics.SENSOR)
            )

    def stop(self) -> None:
        """Unsubscribe and let the frame at work finish."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._stopping.set()
        self._worker.close()

    def teardown(self) -> None:
        """Let go of the networks."""
        self.destroy_publisher(self._publisher)
        if self._info_publisher is not None:
            self.destroy_publisher(self._info_publisher)
        del self._film

    def _on_status(self, message: LinkStatus) -> None:
        self._status, self._status_at = message, time.monotonic()

    def _on_key_wanted(self, _message: Empty) -> None:
        self._counts['wanted'] += 1
        self._film.restart()

    def _on_region(self, message: RegionOfInterest) -> None:
        self._region, self._region_at = message, self._clock_s()

    def _interest(self, now: float, size: tuple[int, int]) -> Region | None:
        """Return the part of pictures of a size (W, H) that is to be told most of."""
        if self._region is None or not 0 <= now - self._region_at <= self.values.roi_timeout_s:
            return None
        try:
            region = convert.to_region(self._region, size)
        except ValueError as error:  # of pictures of another size
            self._drops.note(error)
            self._region = None
            return None
        return None if region == WHOLE else region

    def _on_depth(self, message: Image) -> None:
        try:
            self._depth.add(message)
        except ValueError as error:
            self._drops.note(error)

    def _on_image(self, message: Image | CompressedImage, about: 'MessageInfo') -> None:
        now = time.monotonic()
        self._last_image = now
        number = about.get('publication_sequence_number')
        self._gaps.note(now, convert.seconds(message.header.stamp), number)
        self._counts['received'] += 1
        if self._publisher.get_subscription_count() == 0:
            self._counts['unread'] += 1
        else:
            # The newest waits for the link to open.
            self._counts['held'] += self._link_closed(now)
            self._worker.offer(message)

    def _link_closed(self, now: float) -> bool:
        fresh = now - self._status_at < STATUS_TIMEOUT_S
        return fresh and self._status is not None and not self._status.open

    def _carrier(self, now: float) -> Carrier | None:
        """Return what the link has said of itself lately."""
        status = self._status
        if status is None or now - self._status_at > STATUS_TIMEOUT_S:
            return None
        return Carrier(status.rate_bps, status.mtu, status.overhead, status.gap_s, status.parity)

    def _wait_s(self) -> float:
        """Seconds until a frame is due."""
        now = self._now()
        carrier = self._carrier(time.monotonic())
        return self._pace.due(now, carrier, self._encode_s, self.values.max_rate) - now

    def _clock_s(self) -> float:
        """Seconds on the clock of the link, simulated or not."""
        return 1e-9 * self.get_clock().now().nanoseconds

    def _now(self) -> float:
        """Return the time as the worker paces itself by it, s."""
        now = self._clock_s()
        if now < self._paced_at:
            self._pace = Pace()  # simulated time began anew
        self._paced_at = now
        return now

    def _rgb(self, message: Image | CompressedImage) -> NDArray[np.uint8]:
        levels: Levels = full_range
        form = message.format if isinstance(message, CompressedImage) else message.encoding
        if (form, message.header.frame_id) != self._form:
            # Another camera: what was black and white in the last one's images says nothing.
            self._form, self._stretch = (form, message.header.frame_id), Stretch()
        if self.values.stretch == 'auto':
            self._stretch.percent = self.values.stretch_percent
            self._stretch.hold_s = self.values.stretch_hold_s
            levels = partial(self._stretch, convert.seconds(message.header.stamp))
        if isinstance(message, CompressedImage):
            return convert.compressed_to_rgb(message, levels)
        return convert.to_rgb(message, levels)

    def _rectified(
        self, rgb: NDArray[np.uint8], header: Header
    ) -> tuple[NDArray[np.uint8], CameraInfo | None]:
        """Return the image without distortion and its camera_info; where that fails, as it is."""
        info = self._infos.of(header.stamp)
        self._unrectified = ''
        if info is None:
            self._unrectified = f'no camera_info has come on {topics.CAMERA_INFO}'
            return rgb, None
        try:
            rgb, info = self._rectifier.rectify(rgb, info)
        except ValueError as error:
            self._unrectified = str(error)
        info.header = header
        return rgb, info

    def _scale(self, header: Header) -> NDArray[np.float32] | None:
        """Return the depth that a sensor has measured, as the codec takes it."""
        if not self.values.use_depth:
            return None
        stamp = convert.seconds(header.stamp)
        median = self._depth.of(stamp, self.values.depth_max_age_s)
        return None if median is None else np.full((1, 1), median, np.float32)

    def _encode(self, message: Image | CompressedImage) -> None:
        start, begun = time.monotonic(), self._now()
        self._pace.begun(begun)
        v, carrier = self.values, self._carrier(start)
        budget_bytes = budget(carrier, MIN_BUDGET, v.budget_bytes, min(v.min_rate, v.max_rate))
        rgb = self._rgb(message)
        info = None
        if v.rectify:
            rgb, info = self._rectified(rgb, message.header)
        self._film.key_every = self.values.key_every
        region = self._interest(begun, (rgb.shape[1], rgb.shape[0]))
        depth = self._scale(message.header)
        frame = self._film.encode(rgb, budget_bytes, depth, self._sequence, region)
        encoded = self._now()
        self._encode_ms = 1000 * (time.monotonic() - start)
        # The first call takes longer than any other.
        if self._counts['encoded']:
            self._encode_s = max(encoded - begun, _FORGET * self._encode_s)
        while 0 < self._pace.free_at - self._now() <= self._encode_s:
            if self._stopping.wait(_NAP_S):
                return
        if info is not None and self._info_publisher is not None:
            self._info_publisher.publish(info)
        self._publisher.publish(
            SemanticFrame(
                header=message.header,
                sequence=self._sequence,
                frame_type=frame.header.frame_type,
                reference_sequence=frame.header.reference_of(self._sequence) % 2**32,
                preset=self.values.preset,
                model_fingerprint=self._fingerprint,
                width=rgb.shape[1],
                height=rgb.shape[0],
                caption=frame.caption,
                data=frame.data,
            )
        )
        now = time.monotonic()
        self._pace.sent(self._now(), len(frame.data), carrier)
        self._sequence = (self._sequence + 1) % 2**32
        self._counts['encoded'] += 1
        self._budget_bytes = budget_bytes
        self._bits.add(now, 8 * len(frame.data))
        self._frames.add(now)

    def _trouble(self, now: float) -> list[str]:
        """Say what is not as it should be."""
        if not self.active:
            return []
        said = []
        if self._drops.recent():
            said.append(f'images were dropped: {self._drops.last}')
        if self._link_closed(now):
            said.append('the link is closed: images are held back')
        if self._unrectified:
            said.append(f'images are not rectified: {self._unrectified}')
        if self._depth.unused:
            said.append(f'depth is not used: {self._depth.unused}')
        lost, among = self._gaps.lost(now)
        if lost >= _LOST[0] and lost > _LOST[1] * among:
            said.append(
                f'{lost} of {among} images are lost between camera and encoder: {self._remedy()}'
            )
        return said

    def _silence(self) -> str:
        """Say why no images come."""
        topic, offered = self._image_topic, self._offered()
        if not offered:
            return f'no images: nobody publishes {topic}. Is the camera running, the topic right?'
        if self.values.image_qos == 'reliable' and ReliabilityPolicy.RELIABLE not in offered:
            return f'no images: {topic} is offered as best effort only, set image_qos so'
        return (
            f'no images come on {topic}: has the camera stopped? If they are lost, '
            f'{self._remedy()}'
        )

    def _offered(self) -> set[ReliabilityPolicy]:
        """Return what the cameras offer."""
        publishers = self.get_publishers_info_by_topic(self._image_topic)
        return {one.qos_profile.reliability for one in publishers}

    def _remedy(self) -> str:
        """Say what helps against lost images."""
        said = f'start the camera with {"=".join(dds_profile())}'
        if self.values.image_qos != 'reliable' and ReliabilityPolicy.RELIABLE in self._offered():
            said += ', or set image_qos to reliable'
        return f'{said} (docs/cameras.md)'

    def diagnose(self) -> Report:
        """Rate, bits and trouble."""
        now = time.monotonic()
        level, message = OK, 'encoding'
        trouble = self._trouble(now)
        if not self.active:
            message = 'not active'
        elif now - self._last_image > self.values.stale_after_s:
            level, message = STALE, self._silence()
        elif trouble:
            level, message = WARN, '; '.join(trouble)
        lost, _ = self._gaps.lost(now) if self.active else (0, 0)
        skipped = self._worker.skipped if self.active else 0
        return Report(
            level,
            message,
            {
                **self._counts,
                'rejected': self._drops.count,
                'skipped': skipped,
                'lost': lost,
                'camera_info_unmatched': self._infos.unmatched,
                'frames_per_s': self._frames.per_second(now),
                'kbps': self._bits.per_second(now) / 1000,
                'encode_ms': self._encode_ms,
                'budget_bytes': self._budget_bytes,
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Encoder, args)
