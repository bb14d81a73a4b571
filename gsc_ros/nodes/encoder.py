"""
The encoder on the robot: images in, semantic frames out, as many as the link can take.

Takes a camera's topics (see camera_input.py), link/status, and what the ground asks for
(camera/key_wanted, roi_wanted, budget_wanted, rate_wanted); publishes camera/image/gsc and its
status.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('encoder'))


import threading
import time
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Empty, Float32, Header, UInt16

from gsc_ros.codec.backend import load_encoder
from gsc_ros.codec.bitstream import MIN_BUDGET, Section
from gsc_ros.link.traffic.frame_scheduler import FrameScheduler, LinkCapacity, frame_budget
from gsc_ros.msg import EncoderStatus, LinkStatus, SemanticFrame
from gsc_ros.region import WHOLE, Region
from gsc_ros.ros import convert, lifecycle, objects, per_camera, shared, topics
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Drops, Rate, Report, Troubles
from gsc_ros.ros.images.camera_input import CameraInput, Taken
from gsc_ros.ros.images.encoder_parameters import EncoderParameters
from gsc_ros.ros.images.freshness import Arrived, Freshness
from gsc_ros.ros.images.still import StillCamera
from gsc_ros.ros.robot_state import messages
from gsc_ros.ros.robot_state.pose_input import LEAST_BUDGET, PoseInput
from gsc_ros.ros.status import status_of
from gsc_ros.ros.worker import NewestWorker, Received

if TYPE_CHECKING:  # torch is imported when the node is configured
    from gsc_ros.codec import EncodedFrame
    from gsc_ros.codec.pose import Pose

STATUS_TIMEOUT_S = 10.0
_NAP_S = 0.002
_FORGET = 0.9  # of a slow image at each one after it


class Encoder(lifecycle.GscNode[EncoderParameters]):
    """
    Encodes the newest image whenever the link has room for it.

    The executor's thread takes messages, a worker's thread codes. What one hands to the other is
    immutable and replaced as a whole: ``_link``, ``_region``, ``values``.
    """

    Parameters = EncoderParameters

    def __init__(self, **options: object) -> None:
        super().__init__('encoder', **options)
        self._sequence = 0

    def setup(self) -> None:
        """Load the codec."""
        from gsc_ros.codec import SequenceEncoder
        from gsc_ros.codec.device import resolve
        from gsc_ros.models.pretrained import Options

        v, logger = self.values, self.get_logger()
        device = str(resolve(v.device))
        models = Options(device, v.perception_dtype, v.offline, logger.warning, logger.info)
        # The encoders of several cameras in one process load the networks once, and take turns.
        self._shared = shared.share(
            ('encoder', *v.networks(v.preset), v.leave_out, v.captioner, v.caption_bytes),
            lambda: load_encoder(
                v.preset,
                v.weights_of(v.preset),
                v.threads,
                device,
                v.perception,
                models,
                v.captioner,
                v.caption_bytes,
                [name.strip() for name in v.leave_out.split(',') if name.strip()],
            ),
        )
        self.add_cleanup(self._shared.release)
        encoder = self._shared.value
        self._model = {
            'preset': v.preset,
            'device': device,
            'model_fingerprint': encoder.fingerprint,
        }
        # Delta frames refer to the last key frame: a lost delta frame harms no other.
        self._encoder = SequenceEncoder(encoder, v.keyframe_interval, chained=False)
        self._publisher = self.create_publisher(SemanticFrame, topics.CODED, topics.NEWEST)
        self._status = self.create_publisher(EncoderStatus, topics.ENCODER_STATUS, topics.LATCHED)
        self._counts = dict.fromkeys(
            (
                'images_received',
                'images_without_subscriber',
                'images_held',
                'images_blank',
                'images_partly_lost',
                'keyframes_requested',
                'frames_encoded',
                'objects_lost',
            ),
            0,
        )
        self._drops, self._troubles = Drops(self, 'image'), Troubles(self)
        self._camera = CameraInput(self, self._drops, self._on_image)
        self._poses = PoseInput(self)
        self._stills = StillCamera(self, self._drops)
        self._last_image = -np.inf
        self._encode_ms = float('nan')
        self._seen_by: dict[str, object] = {}  # of the last image, where hazards are looked for
        self._encode_s = 0.0  # expected time of coding
        self._budget_bytes = v.budget_bytes  # of the last image
        self._bits, self._frames = Rate(), Rate()

    def start(self) -> None:
        """Subscribe."""
        self._link: Received[LinkStatus] | None = None
        self._region: Received[RegionOfInterest] | None = None
        self._refused: Received[RegionOfInterest] | None = None
        self._scheduler, self._scheduled_at = FrameScheduler(), -np.inf
        self._freshness = Freshness(self, self._troubles)
        # The last key frame may not have been sent, or not to this ground.
        self._encoder.force_keyframe()
        self._stopping = threading.Event()
        self._worker = NewestWorker(self._encode, self._drops.note, self._wait_s)
        self.add_cleanup(self._worker.close)  # the frame at work is finished
        self.add_cleanup(self._stopping.set)
        self._poses.start()
        self._stills.start()
        self._camera.start()
        self.create_subscription(LinkStatus, topics.STATUS, self._on_status, topics.LATCHED)
        self.create_subscription(
            Empty, topics.KEY_WANTED, self._on_keyframe_request, topics.NEWEST
        )
        self.create_subscription(
            RegionOfInterest, topics.REGION_WANTED, self._on_region, topics.NEWEST
        )
        for kind, topic, name in (
            (UInt16, topics.BUDGET_WANTED, 'budget_bytes'),
            (Float32, topics.RATE_WANTED, 'max_rate'),
        ):
            self.create_subscription(kind, topic, partial(self._on_wanted, name), topics.NEWEST)

    def teardown(self) -> None:
        """Free the networks."""
        del self._encoder, self._shared

    # On the executor's thread

    def _on_status(self, message: LinkStatus) -> None:
        self._link = Received(message, time.monotonic())

    def _on_keyframe_request(self, _message: Empty) -> None:
        self._counts['keyframes_requested'] += 1
        self._encoder.force_keyframe()  # from any thread

    def _on_wanted(self, name: str, message: UInt16 | Float32) -> None:
        """Set a parameter that the operator asks for, within its limits."""
        field = next(one for one in fields(EncoderParameters) if one.name == name)
        low, high = field.metadata['low'], field.metadata['high']
        value = min(max(message.data, low), high)
        self.set_parameters([Parameter(name, value=value)])
        self.get_logger().info(f'the operator asks for {name} {value:g}')

    def _on_region(self, message: RegionOfInterest) -> None:
        self._region = Received(message, self._clock_s())

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        self._last_image = now
        self._counts['images_received'] += 1
        arrived = self._freshness.arrived(message)
        self._stills.on_image(message)
        if self._publisher.get_subscription_count() == 0:
            self._counts['images_without_subscriber'] += 1
        else:
            # The newest waits for the link to open.
            self._counts['images_held'] += self._link_closed(now)
            self._worker.offer(arrived)

    # On both threads

    def _link_status(self, now: float) -> LinkStatus | None:
        """Return the status of the link, unless it is too old."""
        link = self._link
        return link.message if link and now - link.at_s < STATUS_TIMEOUT_S else None

    def _link_closed(self, now: float) -> bool:
        status = self._link_status(now)
        return status is not None and not status.open

    def _clock_s(self) -> float:
        """Return the time of the link's clock, simulated or not, s."""
        return 1e-9 * self.get_clock().now().nanoseconds

    # On the worker's thread

    def _capacity(self) -> LinkCapacity | None:
        status = self._link_status(time.monotonic())
        if status is None:
            return None
        return LinkCapacity(
            status.rate_bps, status.mtu, status.overhead, status.gap_s, status.parity
        )

    def _wait_s(self) -> float:
        """Return the time until a frame is due, s."""
        now = self._now()
        self._scheduler.set_capacity(now, self._capacity())
        due = self._scheduler.next_deadline(self._encode_s, self.values.max_rate)
        return np.inf if due is None else due - now

    def _now(self) -> float:
        """Return the time that the worker paces itself by, s."""
        now = self._clock_s()
        if now < self._scheduled_at:
            self._scheduler = FrameScheduler()  # simulated time began anew
        self._scheduled_at = now
        return now

    def _interest(self, now: float, size: tuple[int, int]) -> Region | None:
        """Return the region of interest in images of a size (W, H), in shares of it."""
        region = self._region
        if region is None or region is self._refused:
            return None
        if not 0 <= now - region.at_s <= self.values.roi_timeout_s:
            return None
        try:
            shares = convert.to_region(region.message, size)
        except ValueError as error:  # of images of another size
            self._drops.note(error)
            self._refused = region
            return None
        return None if shares == WHOLE else shares

    def _encode(self, image: Arrived) -> None:
        start, begun = time.monotonic(), self._now()
        v, capacity = self.values, self._capacity()
        self._scheduler.set_capacity(begun, capacity)
        self._scheduler.on_begun(begun)
        min_rate = min(v.min_rate, v.max_rate)
        budget_bytes = frame_budget(capacity, MIN_BUDGET, v.budget_bytes, min_rate)
        taken = self._camera.take(image.message)
        pose = self._poses.of(image.message.header) if budget_bytes >= LEAST_BUDGET else None
        frame = self._code(image, taken, budget_bytes, begun, pose)
        encoded = self._now()
        self._drops.right()
        self._encode_ms = 1000 * (time.monotonic() - start)
        # The first call takes longer than any other.
        if self._counts['frames_encoded']:
            self._encode_s = max(encoded - begun, _FORGET * self._encode_s)
        while 0 < self._scheduler.free_at - self._now() <= self._encode_s:
            if self._stopping.wait(_NAP_S):
                return
        self._publish(image, taken, frame, pose)
        self._scheduler.on_sent(self._now(), len(frame.data))
        self._budget_bytes = budget_bytes

    def _see_by(self, taken: Taken, header: Header) -> None:
        """Tell an encoder that finds hazards how the camera sees, and what is one."""
        from gsc_ros.codec.encoder import FrameEncoder
        from gsc_ros.perception.camera import Camera
        from gsc_ros.perception.hazards import Limits

        v, encoder = self.values, self._encoder.encoder
        if isinstance(encoder, FrameEncoder):
            height, width = taken.rgb.shape[:2]
            camera = taken.camera or Camera.of_hfov(v.camera_hfov_deg, width / height)
            height_m = v.camera_height_m or self._poses.height_of(header)
            encoder.see_by(
                replace(camera, height_m=height_m), Limits(v.hazard_height_m, v.hazard_distance_m)
            )
            self._seen_by = {
                'camera': 'assumed' if taken.camera is None else 'camera_info',
                'camera_height_m': height_m or float('nan'),
            }

    def _code(
        self,
        image: Arrived,
        taken: Taken,
        budget_bytes: int,
        now: float,
        pose: 'Pose | None',
    ) -> 'EncodedFrame':
        sections: dict[int, bytes] = {} if pose is None else {Section.POSE: pose.pack()}
        self._encoder.keyframe_interval = self.values.keyframe_interval
        height, width = taken.rgb.shape[:2]
        with self._shared.lock:
            self._see_by(taken, image.message.header)
            frame = self._encoder.encode(
                taken.rgb,
                budget_bytes,
                taken.depth,
                self._sequence,
                self._interest(now, (width, height)),
                self._freshness.timing(image),
                sections,
            )
        self._seen_by |= {'depth_scale': frame.scale} if frame.scale else {}
        loss = frame.notes.loss if frame.notes else None
        if loss is not None:
            self._counts['images_blank' if loss.whole else 'images_partly_lost'] += 1
        message = f'{loss}: is the lens covered, the camera broken?'
        self._troubles.note('loss', '' if loss is None else message)
        return frame

    def _publish(
        self, image: Arrived, taken: Taken, frame: 'EncodedFrame', pose: 'Pose | None'
    ) -> None:
        self._camera.describe(taken)
        kind, lost = frame.kind, frame.objects.lost if frame.objects else 0
        self._publisher.publish(
            SemanticFrame(
                **messages.pose_fields(pose),
                header=image.message.header,
                sequence=self._sequence,
                frame_type=frame.header.frame_type,
                reference_sequence=frame.header.reference_of(self._sequence) % 2**32,
                preset=frame.header.preset,
                model_fingerprint=frame.header.fingerprint,
                width=taken.rgb.shape[1],
                height=taken.rgb.shape[0],
                caption=frame.caption,
                data=frame.data,
                divisible=frame.divisible,
                objects=objects.scene_objects(frame.objects),
                scene=kind.name if kind is not None else '',
                scene_probability=kind.probability if kind is not None else np.nan,
            )
        )
        now = time.monotonic()
        self._sequence = (self._sequence + 1) % 2**32
        self._counts['frames_encoded'] += 1
        self._counts['objects_lost'] += lost
        self._bits.add(now, 8 * len(frame.data))
        self._frames.add(now)

    # State

    def _trouble(self, now: float) -> list[str]:
        """Return what is not as it should be."""
        messages = []
        if self._drops.recent():
            messages.append(f'images were dropped: {self._drops.last}')
        if self._link_closed(now):
            messages.append('the link is closed: images are held back')
        return messages + self._troubles.recent() + self._camera.trouble() + self._poses.trouble()

    def diagnose(self) -> Report:
        """Return the state; its values are the fields of EncoderStatus."""
        now = time.monotonic()
        level, message = OK, 'encoding'
        if not self.active:
            message = 'not active'
        elif now - self._last_image > self.values.stale_after_s:
            level, message = STALE, self._camera.silence()
        elif trouble := self._trouble(now):
            level, message = WARN, '; '.join(trouble)
        return Report(
            level,
            message,
            {
                **self._model,
                **self._counts,
                **self._seen_by,
                **self._camera.figures(),
                **(self._freshness.figures() if self.active else {}),
                'budget_bytes': self._budget_bytes,
                'encode_ms': self._encode_ms,
                'frame_rate_hz': self._frames.per_second(now),
                'rate_kbps': self._bits.per_second(now) / 1000,
                'images_skipped': self._worker.skipped if self.active else 0,
                'images_rejected': self._drops.count,
            },
        )

    def publish_status(self, report: Report) -> None:
        """Publish the state as a message."""
        self._status.publish(status_of(self, EncoderStatus, report))


def main(args: list[str] | None = None) -> int:
    """Run the node, or one for each camera of ``--cameras``."""
    return per_camera.run(Encoder, args, of_robot=(topics.ODOM,))
