"""
The decoder on the ground: semantic frames in; image, depth, classes and trust out.

Subscribes link/image/gsc and link/camera_info; publishes decoded/*, every message of a frame with
the robot's acquisition stamp and frame_id, and its status.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('decoder'))


import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Empty, Header

from gsc_ros.codec.backend import PRESETS, DecoderBackend, load_decoder
from gsc_ros.codec.bitstream import MissingReferenceError, read_header
from gsc_ros.msg import DecoderStatus, LinkStatus, SemanticFrame
from gsc_ros.ros import convert, lifecycle, per_camera, shared, topics
from gsc_ros.ros.diagnostics import OK, STALE, WARN, Drops, Rate, Report, Troubles
from gsc_ros.ros.images.camera_info import CameraInfos, calibrated
from gsc_ros.ros.images.clouds import CloudParameters
from gsc_ros.ros.images.decoded_output import DecodedOutput
from gsc_ros.ros.parameters import NetworkParameters, parameter
from gsc_ros.ros.renderer import RendererParameters
from gsc_ros.ros.status import status_of
from gsc_ros.ros.worker import NewestWorker, Received

if TYPE_CHECKING:  # torch is imported when the node is configured
    from gsc_ros.codec import DecodedFrame, SequenceDecoder
    from gsc_ros.codec.renderers import Renderer

_DEFAULT_PRESET = next(iter(PRESETS))
_RETRY_S = 5.0  # from one try to load a preset to the next
_AHEAD_S = 1.0  # that images may lie in the future
_COUNTS = (
    'frames_received',
    'frames_without_subscriber',
    'frames_truncated',
    'frames_decoded',
    'keyframes_requested',
)


@dataclass(frozen=True)
class DecoderParameters(RendererParameters, CloudParameters, NetworkParameters):
    """Parameters of the decoder."""

    min_trust: float = parameter(
        0.0,
        'Below this trust (a probability) depth is NaN and classes are 255; 0: all is published',
        0.0,
        1.0,
    )
    image_max_age_s: float = parameter(
        10.0,
        'Warn of an image that is older on arrival than the link accounts for by so much, or lies '
        'over 1 s in the future; 0: never',
        0.0,
        1e9,
    )
    stale_after_s: float = parameter(
        5.0, 'Time without a frame after which the status is STALE', 0.1, 36000.0
    )
    preset: str = parameter(
        '', 'Of no effect', read_only=True, deprecated='every frame carries its preset'
    )


@dataclass(frozen=True)
class Shown:
    """
    The image that was published last.

    ``unchanged_s``: for how long no pixel had changed; ``objects_lost``: seen, and not in it.
    """

    header: Header
    preset: str
    unchanged_s: float
    objects_lost: int


def _began_anew(frame: SemanticFrame, before: SemanticFrame) -> bool:
    """Whether the robot's link or encoder began anew between two frames."""
    return frame.session != before.session or frame.sequence < before.sequence


class Decoder(lifecycle.GscNode[DecoderParameters]):
    """
    Decodes the newest frame while a decoded topic has a subscriber.

    The executor's thread takes messages, a worker's thread decodes. What one hands to the other is
    immutable and replaced as a whole: ``_link``, ``_key``, ``_shown``, ``values``.
    """

    Parameters = DecoderParameters

    def __init__(self, **options: object) -> None:
        super().__init__('decoder', **options)

    def setup(self) -> None:
        """Load the codec; a pretrained renderer is loaded while images are drawn already."""
        from gsc_ros.codec import renderers
        from gsc_ros.codec.device import resolve
        from gsc_ros.models.pretrained import Options

        v = self.values
        self._device = str(resolve(v.device))
        self._models = Options(self._device, v.perception_dtype, v.offline, self._warn, self._tell)
        wanted = v.renderer_options()
        options = replace(wanted, offline=wanted.offline or v.offline)
        # The decoders of several cameras in one process load all networks once, and take turns.
        self._shared: shared.Lease[Renderer] = shared.share(
            ('renderer', options, self._device),
            lambda: renderers.load_or_fall_back(
                options, self._device, self._tell, self._warn, background=True
            ),
        )
        self.add_cleanup(self._shared.release)  # also where the node cannot be configured
        self._renderer = self._shared.value
        renderers.steps_of(self._renderer, self._steps())
        self._decoders: dict[str, SequenceDecoder] = {}
        self._loaded: list[shared.Lease[DecoderBackend]] = []
        self.add_cleanup(self._release)
        self._failed: dict[str, Received[str]] = {}
        self._decoder(_DEFAULT_PRESET)  # so that a mistake shows now
        self._missed = self.create_publisher(Empty, topics.KEY_MISSED, topics.NEWEST)
        self._status = self.create_publisher(DecoderStatus, topics.DECODER_STATUS, topics.LATCHED)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._drops, self._troubles = Drops(self, 'frame'), Troubles(self)
        self._infos = CameraInfos()
        self._output = DecodedOutput(self, self._infos, self._troubles)
        self._shown: Shown | None = None
        self._last_frame = -np.inf
        self._decode_ms = float('nan')
        self._frames, self._bits = Rate(), Rate()

    def start(self) -> None:
        """Subscribe."""
        self._link: LinkStatus | None = None
        self._key: SemanticFrame | None = None  # the newest that came, decoded or not
        self._last: SemanticFrame | None = None  # the frame that was decoded last
        for decoder in self._decoders.values():
            decoder.forget()
        self._worker = NewestWorker(self._decode, self._drops.note)
        self.add_cleanup(self._worker.close)  # the frame at work is finished
        # First, so that a frame's camera_info is known before the frame.
        self.create_subscription(CameraInfo, topics.RECEIVED_INFO, self._infos.add, topics.IMAGES)
        self.create_subscription(SemanticFrame, topics.RECEIVED, self._on_frame, topics.NEWEST)
        self.create_subscription(LinkStatus, topics.STATUS, self._on_status, topics.LATCHED)

    def _release(self) -> None:
        """Give back what was loaded for the presets that came."""
        for lease in self._loaded:
            lease.release()

    def teardown(self) -> None:
        """Free the networks."""
        del self._decoders, self._renderer, self._shared

    def _validate(self, wanted: list[Parameter]) -> SetParametersResult:
        """Refuse also steps that the renderer does not take: no frame could be drawn."""
        result = super()._validate(wanted)
        for item in wanted if result.successful else ():
            if item.name == 'steps' and item.value > 0:
                from gsc_ros.codec.renderers import steps_of

                try:
                    steps_of(self._renderer, item.value)
                except ValueError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return result

    # On the executor's thread

    def _on_status(self, message: LinkStatus) -> None:
        self._link = message

    def _on_frame(self, message: SemanticFrame) -> None:
        now = time.monotonic()
        self._check_age(message)
        self._last_frame = now
        self._counts['frames_received'] += 1
        self._bits.add(now, 8 * len(message.data))
        if message.frame_type == SemanticFrame.KEY and not message.truncated:
            self._key = message
        if self._output.wanted:
            self._worker.offer(message)
        else:
            self._counts['frames_without_subscriber'] += 1

    def _check_age(self, message: SemanticFrame) -> None:
        """Warn of an image that is older, or newer, than the link accounts for."""
        most_s, delay_s, sending_s, link = self.values.image_max_age_s, 0.0, 0.0, self._link
        if link is not None:
            delay_s = link.delay_s
            if link.rate_bps:
                sending_s = 8 * len(message.data) / link.rate_bps
        stamp_s, text = convert.seconds(message.header.stamp), ''
        age_s = self._clock_s() - stamp_s
        if most_s and not delay_s - _AHEAD_S <= age_s <= delay_s + sending_s + most_s:
            how = f'{age_s:.1f} s old' if age_s > 0 else f'stamped {-age_s:.1f} s in the future'
            link_s = delay_s + sending_s
            text = (
                f'images are {how} on arrival, where the link takes {link_s:.1f} s: the clocks of '
                'robot and ground differ, or the image is old'
            )
            if not stamp_s:
                text = 'images have no stamp: the camera sets no stamp'
        self._troubles.note('age', text)

    def _clock_s(self) -> float:
        return 1e-9 * self.get_clock().now().nanoseconds

    def _tell(self, text: str) -> None:
        """Log what a renderer does; from any thread."""
        if self.context.ok():
            self.get_logger().info(text)

    def _warn(self, text: str) -> None:
        """Log why a renderer cannot draw; from any thread."""
        if self.context.ok():
            self.get_logger().warning(text)

    def _steps(self) -> int | None:
        """Return the steps to take, None for the renderer's own."""
        steps = self.values.steps
        return None if steps < 0 else steps

    # On the worker's thread

    def _load(self, preset: str) -> DecoderBackend:
        v = self.values
        lease = shared.share(
            ('decoder', *v.networks(preset), id(self._renderer)),
            lambda: load_decoder(
                preset,
                v.weights_of(preset),
                v.threads,
                self._device,
                self._renderer,
                v.perception,
                self._models,
            ),
        )
        self._loaded.append(lease)
        return lease.value

    def _decoder(self, preset: str) -> 'SequenceDecoder':
        """Return the decoder of a preset; it is loaded for its first frame."""
        from gsc_ros.codec import SequenceDecoder

        if preset not in self._decoders:
            # Loading what is missing may take long: it is not tried again for every frame.
            failed, now = self._failed.get(preset), time.monotonic()
            if failed is not None and now - failed.at_s < _RETRY_S:
                raise ValueError(failed.message)
            try:
                self._decoders[preset] = SequenceDecoder(self._load(preset))
            except Exception as error:  # also what a library raises, as of too little memory
                self._failed[preset] = Received(str(error), time.monotonic())
                raise
        return self._decoders[preset]

    def _decode(self, message: SemanticFrame) -> None:
        start = time.monotonic()
        from gsc_ros.codec.trust import withhold

        with self._shared.lock:
            frame = withhold(self._read(message), self.values.min_trust)
        self._output.publish(frame, message.header)
        now = time.monotonic()
        self._decode_ms = 1000 * (now - start)
        self._frames.add(now)
        unchanged_s = frame.notes.timing.frozen_s if frame.notes else 0.0
        lost = frame.objects.lost if frame.objects else 0
        self._shown = Shown(message.header, frame.header.preset, unchanged_s, lost)
        warning = frame.notes.warning if frame.notes else ''
        self._troubles.note('image', f'the robot reports: {warning}' if warning else '')
        self._counts['frames_decoded'] += 1
        self._counts['frames_truncated'] += message.truncated

    def _read(self, message: SemanticFrame) -> 'DecodedFrame':
        """Decode a frame; where its reference is missing, ask for a key frame."""
        data, key = bytes(message.data), self._key
        decoder = self._decoder(read_header(data).preset)
        last, self._last = self._last, message
        if last is not None and _began_anew(message, last):
            # Numbers count anew: references from before belong to other frames, of every preset.
            for one in self._decoders.values():
                one.forget()
        try:
            return decoder.decode(data, message.truncated, self._steps())
        except MissingReferenceError:
            # The key frame may have come without a subscriber, or while another was decoded.
            try:
                if key is None or _began_anew(message, key):
                    raise
                decoder.add_reference(bytes(key.data))
                return decoder.decode(data, message.truncated, self._steps())
            except MissingReferenceError:
                self._counts['keyframes_requested'] += 1
                self._missed.publish(Empty())
                raise

    # State

    def diagnose(self) -> Report:
        """Return the state; its values are the fields of DecoderStatus."""
        now, shown, steps = time.monotonic(), self._shown, self._steps()
        retry = getattr(self._renderer, 'retry', None)
        if retry is not None:
            retry()
        level, message = self._level(now)
        decoder = self._decoders[shown.preset if shown else _DEFAULT_PRESET].decoder
        unchanged_s = shown.unchanged_s if shown else 0.0
        age_s = float('nan')
        if shown is not None:
            age_s = self._clock_s() - convert.seconds(shown.header.stamp) + unchanged_s
        return Report(
            level,
            message,
            {
                'preset': shown.preset if shown else '',
                'device': self._device,
                'model_fingerprint': decoder.fingerprint,
                'renderer': self._renderer.name,
                'steps': self._renderer.default_steps if steps is None else steps,
                **self._counts,
                'frames_rejected': self._drops.count,
                'frames_skipped': self._worker.skipped if self.active else 0,
                'camera_info_unmatched': self._infos.unmatched,
                'frame_age_s': age_s,
                'unchanged_s': unchanged_s,
                'objects_lost': shown.objects_lost if shown else 0,
                'frame_rate_hz': self._frames.per_second(now),
                'rate_kbps': self._bits.per_second(now) / 1000,
                'decode_ms': self._decode_ms,
            },
        )

    def _level(self, now: float) -> tuple[bytes, str]:
        """Return level and message: STALE when the image on screen is old."""
        if not self.active:
            return OK, 'not active'
        if self._last_frame == -np.inf:
            return STALE, 'no frames have come yet'
        if now - self._last_frame > self.values.stale_after_s:
            return STALE, 'no frames: the image on screen is old'
        messages = self._troubles.recent()
        problem = getattr(self._renderer, 'problem', '')
        if problem:
            messages.append(f'{problem} (images are deterministic)')
        info = self._infos.newest
        if self._drops.recent():
            messages.append(f'frames were dropped: {self._drops.last}')
        elif info is None:
            messages.append('no camera_info yet: depth cannot be projected')
        elif not calibrated(info):
            messages.append('the camera is not calibrated: depth cannot be projected')
        return (WARN, '; '.join(messages)) if messages else (OK, 'decoding')

    def publish_status(self, report: Report) -> None:
        """Publish the state as a message."""
        self._status.publish(status_of(self, DecoderStatus, report))


def main(args: list[str] | None = None) -> int:
    """Run the node, or one for each camera of ``--cameras``."""
    return per_camera.run(Decoder, args)
