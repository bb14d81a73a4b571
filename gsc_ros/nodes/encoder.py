"""
The robot's end: images in, semantic frames out, as many as the link can take.

Takes a camera's topics (see camera_input.py), link/status, camera/key_wanted and
camera/roi_wanted; publishes camera/image/gsc.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('encoder'))


import threading
import time
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Empty

from gsc_ros.codec.bitstream import MIN_BUDGET, PRESETS
from gsc_ros.link.datagrams.payloads import WHOLE, Region
from gsc_ros.link.traffic.pacing import Carrier, Pace, budget
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Drops, Rate, Report, Troubles
from gsc_ros.ros.images.camera_input import CameraInput, CameraInputParameters
from gsc_ros.ros.images.freshness import Arrived, Freshness, FreshnessParameters
from gsc_ros.ros.parameters import parameter
from gsc_ros.ros.worker import NewestWorker

STATUS_TIMEOUT_S = 10.0
_NAP_S = 0.002
_FORGET = 0.9  # of a slow image at each one after it


@dataclass(frozen=True)
class EncoderParameters(CameraInputParameters, FreshnessParameters):
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
    roi_timeout_s: float = parameter(
        60.0, 'A region of interest counts for so long after it was asked for', 0.0, 1e5
    )
    stale_after_s: float = parameter(3.0, 'Say STALE when no image came for so long', 0.1, 3600.0)
    threads: int = parameter(1, 'CPU threads of the networks', 1, 64, read_only=True)
    weights: str = parameter(
        '', "Folder of weights; empty for the shipped ones, 'random' for untrained (tests)",
        read_only=True,
    )  # fmt: skip


class Encoder(lifecycle.GscNode[EncoderParameters]):
    """Encodes the newest image whenever the link has room for it."""

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
        self._counts = {
            'received': 0,
            'encoded': 0,
            'unread': 0,
            'held': 0,
            'wanted': 0,
            'partly_lost': 0,
            'blank': 0,
        }
        self._drops, self._troubles = Drops(self, 'image'), Troubles(self)
        self._camera = CameraInput(self, self._drops, self._on_image)
        self._region: RegionOfInterest | None = None
        self._region_at = -np.inf
        self._status: LinkStatus | None = None
        self._pace, self._paced_at = Pace(), -np.inf
        self._status_at = self._last_image = -np.inf
        self._encode_ms = float('nan')
        self._encode_s = 0.0  # what coding is expected to take
        self._budget_bytes = self.values.budget_bytes  # of the last image
        self._bits = Rate()
        self._frames = Rate()

    def start(self) -> None:
        """Subscribe."""
        self._stopping = threading.Event()
        self._worker = NewestWorker(self._encode, self._drops.note, self._wait_s)
        self._freshness = Freshness(self, self._troubles)
        self._camera.start()
        status = self.create_subscription(
            LinkStatus, topics.STATUS, self._on_status, topics.LATCHED
        )
        wanted = self.create_subscription(
            Empty, topics.KEY_WANTED, self._on_key_wanted, topics.NEWEST
        )
        region = self.create_subscription(
            RegionOfInterest, topics.REGION_WANTED, self._on_region, topics.NEWEST
        )
        self._inputs = [status, wanted, region]

    def stop(self) -> None:
        """Unsubscribe and let the frame at work finish."""
        self._camera.stop()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._stopping.set()
        self._worker.close()

    def teardown(self) -> None:
        """Let go of the networks."""
        self.destroy_publisher(self._publisher)
        self._camera.teardown()
        del self._film

    def _on_status(self, message: LinkStatus) -> None:
        self._status, self._status_at = message, time.monotonic()

    def _on_key_wanted(self, _message: Empty) -> None:
        self._counts['wanted'] += 1
        self._film.restart()

    def _on_region(self, message: RegionOfInterest) -> None:
        self._region, self._region_at = message, self._clock_s()

    def _interest(self, now: float, size: tuple[int, int]) -> Region | None:
        """Return the part of images of a size (W, H) that is to be told most of."""
        if self._region is None or not 0 <= now - self._region_at <= self.values.roi_timeout_s:
            return None
        try:
            region = convert.to_region(self._region, size)
        except ValueError as error:  # of images of another size
            self._drops.note(error)
            self._region = None
            return None
        return None if region == WHOLE else region

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        self._last_image = now
        self._counts['received'] += 1
        arrived = self._freshness.arrived(message)
        if self._publisher.get_subscription_count() == 0:
            self._counts['unread'] += 1
        else:
            # The newest waits for the link to open.
            self._counts['held'] += self._link_closed(now)
            self._worker.offer(arrived)

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

    def _encode(self, image: Arrived) -> None:
        message = image.message
        start, begun = time.monotonic(), self._now()
        self._pace.begun(begun)
        v, carrier = self.values, self._carrier(start)
        budget_bytes = budget(carrier, MIN_BUDGET, v.budget_bytes, min(v.min_rate, v.max_rate))
        taken = self._camera.take(message)
        rgb = taken.rgb
        self._film.key_every = self.values.key_every
        region = self._interest(begun, (rgb.shape[1], rgb.shape[0]))
        timing = self._freshness.timing(image)
        frame = self._film.encode(rgb, budget_bytes, taken.depth, self._sequence, region, timing)
        loss = frame.notes.loss if frame.notes else None
        if loss is not None:
            self._counts['blank' if loss.whole else 'partly_lost'] += 1
            self._troubles.note('loss', f'{loss}: is the lens covered, the camera broken?')
        encoded = self._now()
        self._encode_ms = 1000 * (time.monotonic() - start)
        # The first call takes longer than any other.
        if self._counts['encoded']:
            self._encode_s = max(encoded - begun, _FORGET * self._encode_s)
        while 0 < self._pace.free_at - self._now() <= self._encode_s:
            if self._stopping.wait(_NAP_S):
                return
        self._camera.describe(taken)
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
        return said + self._troubles.recent() + self._camera.trouble()

    def diagnose(self) -> Report:
        """Rate, bits and trouble."""
        now = time.monotonic()
        level, message = OK, 'encoding'
        trouble = self._trouble(now)
        if not self.active:
            message = 'not active'
        elif now - self._last_image > self.values.stale_after_s:
            level, message = STALE, self._camera.silence()
        elif trouble:
            level, message = WARN, '; '.join(trouble)
        skipped = self._worker.skipped if self.active else 0
        return Report(
            level,
            message,
            {
                **self._counts,
                'rejected': self._drops.count,
                'skipped': skipped,
                **self._camera.figures(),
                **(self._freshness.figures() if self.active else {}),
                'frames_per_s': self._frames.per_second(now),
                'kbps': self._bits.per_second(now) / 1000,
                'encode_ms': self._encode_ms,
                'budget_bytes': self._budget_bytes,
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Encoder, args)
