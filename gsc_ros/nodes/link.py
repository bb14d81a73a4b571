"""
The link between robot and operator, simulated: frames down, commands up.

Robot side: camera/image/gsc and camera/camera_info in, cmd_vel and camera/key_wanted out. Ground
side: link/image/gsc and link/camera_info out (one of each per frame, with the robot's acquisition
stamp), teleop/cmd_vel and decoded/key_missed in. link/status says twice a second what the link
carries. What is published at the far end is rebuilt from what crossed the channel and from nothing
else.
"""

import array
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Empty, Header

from gsc_ros.codec import bitstream
from gsc_ros.link import budget, profiles, schedule, units
from gsc_ros.link.ccsds import seal_for
from gsc_ros.link.channel import Channel, GilbertElliottModel, Statistics
from gsc_ros.link.framing import Class, Reassembler, Received
from gsc_ros.link.keys import KeyRing, default_path
from gsc_ros.link.payloads import (
    FRAME_OVERHEAD,
    Camera,
    Command,
    Frame,
    FrameReceiver,
    FrameSender,
    PayloadError,
    Request,
)
from gsc_ros.link.requests import Backoff
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.nodes import topics
from gsc_ros.nodes.diagnostics import ERROR, OK, STALE, WARN, Report
from gsc_ros.nodes.lifecycle import GscNode, run
from gsc_ros.nodes.parameters import Parameters, parameter

STATUS_PERIOD_S = 0.5
# Rates and loss are those of so many seconds.
WINDOW_S = 10.0
# Shortest sleep: keeps rounding from waking the node again and again for one event.
_LEAST_SLEEP_S = 2e-4
_LOG_PERIOD_S = 5.0
_QUIET_S = 5.0
_HIGH_LOSS = 0.5
_LEAST_WAIT_S = 0.5  # for a key frame that was asked for: a robot has to draw breath


@dataclass(frozen=True)
class LinkParameters(Parameters):
    """Parameters of the link node."""

    profile: str = parameter(
        'moon_dte_s_13m',
        'Link profile: a name that `gsc link-budget --list` shows, or the path of a .yaml file',
        read_only=True,
    )
    seed: int = parameter(1, 'Seed of the losses', low=0, high=2**31 - 1, read_only=True)
    loss: float = parameter(
        -1.0,
        'Mean share of datagrams lost, 0 to 1, in place of the profile; -1 keeps the profile',
        low=-1.0,
        high=1.0,
        read_only=True,
    )
    burst: float = parameter(
        0.0,
        'Mean length of a burst of losses in datagrams (at least 1) where loss is set; '
        '0: every datagram on its own',
        low=0.0,
        high=1e6,
        read_only=True,
    )
    rate_scale: float = parameter(
        1.0, 'Factor on the computed rate', low=1e-3, high=1e3, read_only=True
    )
    delay_scale: float = parameter(
        1.0, 'Factor on the delay; 0 takes it away', low=0.0, high=1e3, read_only=True
    )
    mtu: int = parameter(
        0,
        'Datagram size in bytes, 50 or more; 0 keeps the profile',
        low=0,
        high=65535,
        read_only=True,
    )
    security: bool = parameter(
        True, 'Encrypt and authenticate every datagram, both ways', read_only=True
    )
    key_file: str = parameter(
        '',
        'Key of the link, as `gsc key` makes it; empty: ~/.ros/gsc_ros/link.key, made if missing',
        read_only=True,
    )
    max_age_s: float = parameter(
        0.0,
        'A frame that waited longer for the air is dropped, in s; 0: only for a newer one',
        low=0.0,
        high=1e5,
        read_only=True,
    )
    max_frame_bytes: int = parameter(16384, 'Larger frames are refused', low=64, high=65535)
    command_max_age_s: float = parameter(
        1.0,
        'A command is not executed when it took so much longer, in s, than an idle link takes',
        low=0.0,
        high=1e4,
    )
    command_timeout_s: float = parameter(
        1.0, 'The robot is stopped when no command came for so long, in s', low=0.05, high=1e4
    )


class LinkNode(GscNode[LinkParameters]):
    """Both ends of the simulated link in one node."""

    Parameters = LinkParameters

    def __init__(self, **options: object) -> None:
        super().__init__('link', **options)

    # Lifecycle

    def setup(self) -> None:
        """Compute the link; raises ValueError for a bad profile or parameter."""
        self.budget = budget.compute(profiles.load(self.values.profile))
        self._keys: KeyRing | None = None
        if self.values.security:
            named = self.values.key_file
            self._keys = KeyRing(Path(named) if named else default_path(), make=not named)
        self._make_channels()
        rate, delay = self.down.rate_bps, self.down.delay_s
        self.get_logger().info(
            f'{self.budget.profile.name}: {units.show(rate, "rate")}, one way '
            f'{units.show(delay, "time")}, datagrams of {self.down.sender.mtu} B'
        )
        if not self.budget.closes:
            self.get_logger().error('the link does not close: nothing will pass')
        self._frames = self.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
        self._cameras = self.create_publisher(CameraInfo, topics.RECEIVED_INFO, topics.NEWEST)
        self._commands = self.create_publisher(Twist, topics.CMD_VEL, topics.NEWEST)
        self._wanted = self.create_publisher(Empty, topics.KEY_WANTED, topics.NEWEST)
        self._status = self.create_publisher(LinkStatus, topics.STATUS, topics.LATCHED)

    def start(self) -> None:
        """Open the link."""
        self._begin()
        self._moving = False
        self._inputs = [
            self.create_subscription(SemanticFrame, topics.CODED, self._on_frame, topics.NEWEST),
            self.create_subscription(
                CameraInfo, topics.CAMERA_INFO, self._on_camera, topics.SENSOR
            ),
            self.create_subscription(Twist, topics.TELEOP, self._on_command, topics.NEWEST),
            self.create_subscription(Empty, topics.KEY_MISSED, self._on_missed, topics.NEWEST),
        ]
        self._alarm = self.create_timer(STATUS_PERIOD_S, self._on_alarm)
        self._status_timer = self.create_timer(STATUS_PERIOD_S, self._publish_status)
        self._publish_status()

    def stop(self) -> None:
        """Close the link; a robot that moves is stopped."""
        if self._moving:
            self._halt('the link is closed')
        self._note_keys()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self.destroy_timer(self._alarm)
        self.destroy_timer(self._status_timer)

    def teardown(self) -> None:
        """Take the publishers down."""
        for publisher in (
            self._frames, self._cameras, self._commands, self._wanted, self._status,
        ):  # fmt: skip
            self.destroy_publisher(publisher)

    def _make_channels(self) -> None:
        values, profile = self.values, self.budget.profile
        if values.loss >= 0:
            loss = GilbertElliottModel.from_mean(values.loss, values.burst or None)
        elif values.loss == -1:
            loss = GilbertElliottModel(
                profile.burst_start, profile.burst_end, profile.loss_bad, profile.loss_good
            )
        else:
            raise ValueError(f'parameter loss must be 0 to 1, or -1, got {values.loss}')

        times = schedule.of(profile, values.rate_scale)

        def channel(direction: str, seed: int, max_age_s: float | None) -> Channel:
            return Channel(
                self.budget.rate_bps * values.rate_scale,
                self.budget.delay_s * values.delay_scale,
                values.mtu or int(profile.mtu),
                loss=loss,
                seed=seed,
                gap_s=profile.packet_gap,
                max_age_s=max_age_s,
                schedule=times,
                seal=seal_for(
                    profile.packets, direction, self._keys.seal(direction) if self._keys else None
                ),
            )

        # Each direction has the whole rate and losses of its own.
        self.down = channel('down', 2 * values.seed, values.max_age_s or None)
        self.up = channel('up', 2 * values.seed + 1, None)

    def _begin(self) -> None:
        """Begin at time zero with nothing on its way and nothing counted."""
        self._make_channels()
        self._sender, self._receiver = FrameSender(), FrameReceiver()
        self._camera_info: CameraInfo | None = None
        self._epoch_ns = self._last_ns = self.get_clock().now().nanoseconds
        self._refused = self._delivered = self._late = self._stops = 0
        self._offered_at = self._delivered_at = self._moved_at = self._frame_age_s = 0.0
        self._told_bps = -1.0  # in the last status
        self._frame_s = 0.0  # time on air of the last frame
        self._key_requests = Backoff()
        self._history: deque[tuple[float, Statistics]] = deque()

    # Time

    def _now_ns(self) -> int:
        now = self.get_clock().now().nanoseconds
        if now < self._last_ns:
            # Simulated time began anew: what was on its way belongs to the past.
            self.get_logger().warning('time ran backwards: the link starts afresh')
            camera_info = self._camera_info
            self._begin()
            self._camera_info = camera_info
        self._last_ns = now
        return now

    def _now(self) -> float:
        """Seconds since the channels were made: small numbers keep their microseconds."""
        return (self._now_ns() - self._epoch_ns) * 1e-9

    def _on_alarm(self) -> None:
        now = self._now()
        for received in self.down.poll(now):
            self._deliver(received, now)
        for received in self.up.poll(now):
            if received.klass is Class.REQUEST:
                self._ask(received)
            else:
                self._execute(received, now)
        if self._moving and now >= self._moved_at + self.values.command_timeout_s:
            self._halt('no command came')
        if self.down.rate_at(now)[0] != self._told_bps:
            self._publish_status()  # who waits for the link to open need not wait longer
        self._set_alarm(now)

    def _set_alarm(self, now: float) -> None:
        """Sleep until the next thing is due."""
        times = [self.down.next_event(), self.up.next_event(), self.down.rate_at(now)[1]]
        if self._moving:
            times.append(self._moved_at + self.values.command_timeout_s)
        due = min(time for time in times if time is not None)
        if math.isinf(due):
            self._alarm.cancel()
            return
        self._alarm.timer_period_ns = int(max(due - now, _LEAST_SLEEP_S) * 1e9)
        self._alarm.reset()

    # Robot side

    def _on_camera(self, message: CameraInfo) -> None:
        try:
            _camera(message, message.header.frame_id)
        except ValueError as error:
            self._refuse(f'camera_info refused: {error}')
            return
        self._camera_info = message

    def _on_frame(self, message: SemanticFrame) -> None:
        data = bytes(message.data)
        limit = min(self.values.max_frame_bytes, self.down.sender.max_payload - FRAME_OVERHEAD)
        try:
            if not 0 < len(data) <= limit:
                raise ValueError(f'{len(data)} bytes, 1 to {limit} can be sent')
            header = bitstream.read_header(data, message.truncated)
            camera = Camera(message.header.frame_id, header.width, header.height)
            if self._camera_info is not None:
                camera = _camera(self._camera_info, message.header.frame_id)
        except ValueError as error:
            self._refuse(f'frame refused: {error}')
            return
        now = self._now()
        frame = Frame(_nanoseconds(message.header.stamp), message.sequence, camera, data)
        sent = self.down.statistics(now).sent
        for klass, payload in self._sender.pack(frame, sent):
            self.down.offer(payload, now, klass)
        self._offered_at = now
        self._set_alarm(now)

    def _execute(self, received: Received, now: float) -> None:
        now_ns = self._last_ns
        try:
            command = Command.unpack(received.payload, now_ns)
        except PayloadError as error:
            self._refuse(f'command refused: {error}')
            return
        idle_s = self.up.delay_s + self.up.frame_s(len(received.payload))
        late_s = (now_ns - command.stamp_ns) * 1e-9 - idle_s
        if late_s > self.values.command_max_age_s:
            self._late += 1
            self.get_logger().warning(
                f'command not executed: it came {late_s:.2f} s later than on an idle link',
                throttle_duration_sec=_LOG_PERIOD_S,
            )
            return
        self._moving = any(command.velocity)
        self._moved_at = now
        self._commands.publish(_twist(command.velocity))

    def _ask(self, received: Received) -> None:
        try:
            Request.unpack(received.payload)
        except PayloadError as error:
            self._refuse(f'request refused: {error}')
            return
        self._wanted.publish(Empty())

    def _halt(self, reason: str) -> None:
        self._moving = False
        self._stops += 1
        self._commands.publish(Twist())
        self.get_logger().warning(f'robot stopped: {reason}', throttle_duration_sec=_LOG_PERIOD_S)

    # Ground side

    def _deliver(self, received: Received, now: float) -> None:
        try:
            if received.klass is Class.SETUP:
                if not received.truncated:
                    self._receiver.setup(received.payload)
                return
            frame = self._receiver.frame(received.payload)
            if frame is None:
                return
            header = bitstream.read_header(frame.data, received.truncated)
        except (PayloadError, bitstream.BitstreamError) as error:
            self._refuse(f'frame lost: {error}')
            return
        stamp = Header(stamp=_time(frame.stamp_ns), frame_id=frame.camera.frame_id)
        self._cameras.publish(_camera_info(frame.camera, stamp))
        self._frames.publish(
            SemanticFrame(
                header=stamp,
                sequence=frame.sequence,
                frame_type=header.frame_type,
                reference_sequence=header.reference_of(frame.sequence),
                preset=header.preset,
                model_fingerprint=header.fingerprint,
                width=header.width,
                height=header.height,
                data=array.array('B', frame.data),
                truncated=received.truncated,
            )
        )
        self._delivered += 1
        self._delivered_at = now
        self._frame_s = self.down.frame_s(len(received.payload))
        if header.frame_type == bitstream.KEY and not received.truncated:
            self._key_requests.answered()
        self._frame_age_s = (self._last_ns - frame.stamp_ns) * 1e-9

    def _on_command(self, message: Twist) -> None:
        linear, angular = message.linear, message.angular
        velocity = (linear.x, linear.y, linear.z, angular.x, angular.y, angular.z)
        now = self._now()
        try:
            payload = Command(self._last_ns, velocity).pack()
        except ValueError as error:
            self._refuse(f'command refused: {error}')
            return
        self.up.offer(payload, now, Class.COMMAND)
        self._set_alarm(now)

    def _on_missed(self, _message: Empty) -> None:
        """Ask for a key frame, if it is not on its way already."""
        now = self._now()
        # The request goes up, a frame that has begun is finished, the key frame comes down.
        request = Request.KEY_FRAME.pack()
        wait = self.up.frame_s(len(request)) + 2 * self.up.delay_s + 2 * self._frame_s
        if self._key_requests.ask(now, max(wait, _LEAST_WAIT_S)):
            self.up.offer(request, now, Class.REQUEST)
            self._set_alarm(now)

    # State

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        self.get_logger().warning(reason, throttle_duration_sec=_LOG_PERIOD_S)

    @property
    def _receivers(self) -> tuple[Reassembler, Reassembler]:
        """Both far ends: what is forged on the way up counts as well."""
        return self.down.receiver, self.up.receiver

    def _statistics(self, now: float) -> tuple[Statistics, Statistics, float]:
        """Return counters now, counters a window ago, and the seconds between."""
        stats = self.down.statistics(now)
        self._history.append((now, stats))
        while len(self._history) > 1 and self._history[0][0] < now - WINDOW_S:
            self._history.popleft()
        then, old = self._history[0]
        return stats, old, now - then

    def status(self) -> LinkStatus:
        """Return what the link carries and how it fares."""
        now = self._now()
        stats, old, seconds = self._statistics(now)
        sent = stats.packets_sent - old.packets_sent
        lost = stats.packets_lost - old.packets_lost
        rate, end = self.down.rate_at(now)
        status = LinkStatus(
            profile=self.budget.profile.name,
            rate_bps=rate,
            changes_in_s=end - now,
            delay_s=self.down.delay_s,
            loss=lost / sent if sent else 0.0,
            queue_age_s=stats.queue_age_s,
            queue_bytes=stats.queue_bytes,
            open=rate > 0,
            frames_sent=stats.sent,
            frames_delivered=self._delivered,
            frames_stale=stats.stale,
            frames_lost=stats.lost + self._receiver.undescribed,
            packets_malformed=sum(r.malformed + r.replayed for r in self._receivers)
            + self._refused,
        )
        if seconds > 0:
            status.offered_bps = (stats.offered_bytes - old.offered_bytes) * 8 / seconds
            status.used_bps = (stats.sent_bytes - old.sent_bytes) * 8 / seconds
        status.header.stamp = _time(self._last_ns)
        return status

    def _publish_status(self) -> None:
        self._told_bps = self.down.rate_at(self._now())[0]
        self._note_keys()
        self._status.publish(self.status())

    def _note_keys(self) -> None:
        """Note what was heard; a full disk is no reason to close the link."""
        if self._keys is None:
            return
        try:
            self._keys.note()
        except OSError as error:
            self.get_logger().error(
                f'{self._keys.path}: counts cannot be noted ({error.strerror}): after a restart '
                'old datagrams could be played back',
                throttle_duration_sec=_LOG_PERIOD_S,
            )

    def diagnose(self) -> Report:
        """Say how the link fares."""
        if not self.active:
            return Report(OK, 'inactive')
        status = self.status()
        now = self._now()
        values = {
            'profile': status.profile,
            'rate kbps': status.rate_bps / 1e3,
            'changes in s': status.changes_in_s,
            'delay s': status.delay_s,
            'offered kbps': status.offered_bps / 1e3,
            'used kbps': status.used_bps / 1e3,
            'loss': status.loss,
            'queue age s': status.queue_age_s,
            'frame age on arrival s': self._frame_age_s,
            'frames delivered': status.frames_delivered,
            'frames stale': status.frames_stale,
            'frames lost': status.frames_lost,
            'replayed': sum(r.replayed for r in self._receivers),
            'refused': self._refused,
            'commands too late': self._late,
            'key frames asked for': self._key_requests.asked,
            'stops': self._stops,
        }
        for channel in (self.down, self.up):
            if channel.sender.unsealed:
                return Report(ERROR, channel.sender.trouble, values)
        if not self.down.sender.schedule.rates:
            return Report(ERROR, 'the link does not close', values)
        if not status.open:
            wait = units.show(status.changes_in_s, 'time')
            return Report(WARN, f'the link is closed and opens in {wait}', values)
        if now > self._offered_at + _QUIET_S:
            return Report(STALE, 'no frames come from the encoder', values)
        if now > self._delivered_at + self.down.delay_s + _QUIET_S:
            return Report(STALE, 'no frames come through', values)
        if status.loss > _HIGH_LOSS:
            return Report(WARN, f'{status.loss:.0%} of the datagrams are lost', values)
        return Report(OK, 'ok', values)


def _nanoseconds(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _time(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def _twist(velocity: tuple[float, ...]) -> Twist:
    twist = Twist()
    twist.linear.x, twist.linear.y, twist.linear.z = velocity[:3]
    twist.angular.x, twist.angular.y, twist.angular.z = velocity[3:]
    return twist


def _camera(message: CameraInfo, frame_id: str) -> Camera:
    """Take a CameraInfo apart; raises ValueError for what cannot be sent."""
    roi = message.roi
    return Camera(
        frame_id,
        message.width,
        message.height,
        message.distortion_model,
        tuple(message.d),
        tuple(map(float, message.k)),
        tuple(map(float, message.r)),
        tuple(map(float, message.p)),
        (
            message.binning_x,
            message.binning_y,
            roi.x_offset,
            roi.y_offset,
            roi.height,
            roi.width,
            int(roi.do_rectify),
        ),
    )


def _camera_info(camera: Camera, header: Header) -> CameraInfo:
    message = CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=list(camera.d),
        k=list(camera.k),
        r=list(camera.r),
        p=list(camera.p),
    )
    roi = message.roi
    message.binning_x, message.binning_y, roi.x_offset, roi.y_offset = camera.window[:4]
    roi.height, roi.width = camera.window[4:6]
    roi.do_rectify = bool(camera.window[6])
    return message


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(LinkNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
