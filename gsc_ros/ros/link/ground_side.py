"""
The ground's side of a link: frames come down, commands and requests go up.

Publishes link/image/gsc and link/camera_info, one of each per frame, with the robot's acquisition
stamp; subscribes teleop/cmd_vel, teleop/stop, teleop/roi and decoded/key_missed. What is published
is rebuilt from what crossed the link and from nothing else. Tells the robot what was received, in
reports that take a twentieth of the air at most, calls it until it answers, and asks for the setup
of frames that none describes.
"""

import array
from collections import deque
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Bool, Empty, Header

from gsc_ros.codec import bitstream
from gsc_ros.link.datagrams.frames import FrameReceiver
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import (
    Command,
    PayloadError,
    Region,
    Request,
    RobotReport,
    Velocity,
)
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.reports import LEAST_PAUSE_S, ReceiverStats, ReportTimes, pause_s
from gsc_ros.link.traffic.requests import Backoff
from gsc_ros.link.traffic.teleop import CommandSender, StopSender
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.ros import convert, topics
from gsc_ros.ros.link.node import LOG_PERIOD_S, LinkBase, nanoseconds, time_of
from gsc_ros.ros.link.velocity_input import VelocityInput
from gsc_ros.ros.parameters import Parameters, parameter

_LEAST_WAIT_S = 0.5  # for what was asked for: a robot has to draw breath
_AGES_S = 10.0  # of which the least tells how far the clocks are apart
_FUTURE_S = 0.5
_OLD_S = 5.0


@dataclass(frozen=True)
class GroundSideParameters(Parameters):
    """What the ground's side can be told."""

    stamped: bool = parameter(
        False,
        'Commands on teleop/cmd_vel are TwistStamped, not Twist; where only the other type is '
        'published, that is taken',
        read_only=True,
    )
    stamp_max_age_s: float = parameter(
        1.0,
        'A TwistStamped with an older stamp, in s, is refused; a younger stamp is the time of the '
        'command',
        low=0.0,
        high=1e4,
    )


class GroundSide:
    """Joins the ground's topics to a link: ``down`` brings frames, ``up`` takes commands."""

    def __init__(self, node: LinkBase) -> None:
        self._node = node
        self._frames = node.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
        self._cameras = node.create_publisher(CameraInfo, topics.RECEIVED_INFO, topics.NEWEST)
        self._stopped = False  # by the operator, whatever begins anew

    def begin(self, down: LinkPort, up: LinkPort) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down, self._up = down, up
        self._receiver = FrameReceiver()
        self.receiver_stats = ReceiverStats(down.receiver)
        self._reports = ReportTimes()
        self._region_at = 0.0
        self._region: Region | None = None  # to be asked for
        self._size = (0, 0)  # of the last image
        self.key_requests, self.setup_requests = Backoff(), Backoff()
        self._setup_missing = True  # until the robot has answered
        self._robot_session = 0
        self.robot_report: RobotReport | None = None  # the last
        self.commands = CommandSender(up)
        self.stops = StopSender(up, lambda: up.turn_s + down.turn_s, self._node.session & 0xFF)
        if self._stopped:
            self.stops.want(True, 0.0)
        self._ages: deque[tuple[float, float]] = deque()
        self.delivered = 0
        self.delivered_at = self.frame_age_s = 0.0
        self._frame_s = 0.0  # time on air of the last frame

    def start(self) -> None:
        """Listen to the operator."""
        node = self._node
        self._inputs = [
            node.create_subscription(Bool, topics.STOP, self._on_stop, topics.NEWEST),
            node.create_subscription(Empty, topics.KEY_MISSED, self._on_missed, topics.NEWEST),
            node.create_subscription(
                RegionOfInterest, topics.REGION, self._on_region, topics.NEWEST
            ),
        ]
        self._commands = VelocityInput(
            node, topics.TELEOP, self._on_command, topics.NEWEST, node.values.stamped
        )

    def stop(self) -> None:
        """Listen no more."""
        self._commands.close()
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)

    def teardown(self) -> None:
        """Take the publishers down."""
        self._node.destroy_publisher(self._frames)
        self._node.destroy_publisher(self._cameras)

    @property
    def undescribed(self) -> int:
        """Frames that came before their setup, and so could not be shown."""
        return self._receiver.undescribed

    def work(self, now: float) -> None:
        """Let what is due wait for the air: stops and repeats, reports, requests."""
        stamp_us, robot = self._node.last_ns // 1000, self._down.receiver.session & 0xFF
        self.stops.work(now, stamp_us, robot)
        self.commands.work(now)
        self._report(now)
        if self._setup_missing:
            self._ask_setup(now)
        if self._region is not None and now >= self._region_at:
            payload = self._request(Request(region=self._region), now)
            self._region_at = now + max(LEAST_PAUSE_S, self._pause_s(payload))
            self._region = None

    @property
    def due(self) -> float:
        """When there is something to tell (s)."""
        times = [self._reports.due, self.commands.due, self.stops.due]
        if self._region is not None:
            times.append(self._region_at)
        if self._setup_missing:
            times.append(self.setup_requests.next_at)
        return min(times)

    def _report(self, now: float) -> None:
        """Tell the robot what was received, also where all of it was refused as played back."""
        count = self._node.received_count('down')
        if now < self._reports.due and not self._reports.early(now, self.receiver_stats.seen.loss):
            return
        known = self._down.receiver.session or count is not None
        payload = self.receiver_stats.report(count).pack() if known else b''
        if known:
            self._up.offer(payload, now, TrafficClass.REPORT)
        pause = max(LEAST_PAUSE_S, self._pause_s(payload) if known else 0.0)
        self._reports.went(now, pause, self.receiver_stats.seen.loss)

    def _ask_setup(self, now: float) -> None:
        """Call a robot that has not been received yet, or ask it for the setup of its frames."""
        request = Request(setup=True)
        wait, pause = self._wait_s(request), self._pause_s(request.pack())
        if self.setup_requests.ask(now, wait, pause):
            self._request(request, now)

    def _wait_s(self, request: Request) -> float:
        """Time until the answer to a request comes, s."""
        # It goes up, a frame that has begun is finished, the answer comes down.
        there_s = self._up.turn_s + self._up.frame_s(len(request.pack())) + self._up.delay_s
        back_s = self._down.turn_s + self._down.delay_s + 2 * self._frame_s
        return max(there_s + back_s, _LEAST_WAIT_S)

    def _pause_s(self, payload: bytes) -> float:
        """Time after a payload until the next of its kind may go, s."""
        return pause_s(self._up, self._down, len(payload))

    def take(self, received: Received, now: float) -> None:
        """Publish what came down the link."""
        if received.traffic_class not in (
            TrafficClass.FRAME,
            TrafficClass.SETUP,
            TrafficClass.REPORT,
        ):
            self._node.refuse(f'{received.traffic_class.name} does not come down the link')
            return
        if received.session != self._robot_session:
            self._robot_began(received.session, now)
        if received.traffic_class is TrafficClass.FRAME:
            self.receiver_stats.came_up(received.number, received.session)
        try:
            if received.traffic_class is TrafficClass.REPORT:
                self._take_report(received, now)
                return
            if received.traffic_class is TrafficClass.SETUP:
                if not received.truncated:
                    self._receiver.setup(received.payload, received.session)
                    self._setup_missing = False
                return
            frame = self._receiver.frame(received.payload, received.session)
            self._setup_missing = frame is None
            if frame is None:
                return
            self.setup_requests.answered()
            header = bitstream.read_header(frame.data, received.truncated)
        except (PayloadError, bitstream.BitstreamError) as error:
            self._node.refuse(f'{received.traffic_class.name.lower()} lost: {error}')
            return
        stamp = Header(stamp=time_of(frame.stamp_ns), frame_id=frame.camera.frame_id)
        self._cameras.publish(convert.from_camera(frame.camera, stamp))
        self._frames.publish(
            SemanticFrame(
                header=stamp,
                sequence=frame.sequence,
                session=received.session,
                frame_type=header.frame_type,
                reference_sequence=header.reference_of(frame.sequence) % 2**32,
                preset=header.preset,
                model_fingerprint=header.fingerprint,
                width=header.width,
                height=header.height,
                data=array.array('B', frame.data),
                truncated=received.truncated,
            )
        )
        self._size = header.width, header.height
        self.delivered += 1
        self.delivered_at = now
        self.frame_age_s = (self._node.last_ns - frame.stamp_ns) * 1e-9
        self._frame_s = self._down.frame_s(len(received.payload))
        self._note_age(now)
        if header.frame_type == bitstream.KEY and not received.truncated:
            self.key_requests.answered()

    def tell(self, status: LinkStatus) -> None:
        """Put what is known of commands and the stop into a status."""
        status.commands_offered = self.commands.offered
        status.commands_dropped = self.commands.dropped
        status.stop = self.stops.state.value

    def trouble(self, now: float) -> str:
        """Say what keeps the operator from driving, or from trusting stamps; empty for nothing."""
        return self.commands.advice(now) or self._clock_trouble()

    def figures(self) -> dict[str, object]:
        """Return what diagnostics show of this side."""
        return {
            'frame age on arrival s': self.frame_age_s,
            'key frames asked for': self.key_requests.asked,
            'setups asked for': self.setup_requests.asked,
            'frames without setup': self.undescribed,
            'commands given': self.commands.offered,
            'commands that did not fit': self.commands.dropped,
            'loss of commands': self.commands.loss,
            'stop': self.stops.state.name,
        }

    def _robot_began(self, session: int, now: float) -> None:
        """Begin anew with a robot that was not received before, or has begun anew."""
        self._robot_session = session
        self._setup_missing = False
        self.setup_requests.answered()
        self.key_requests.answered()
        self.stops.robot_began(now)
        self._reports.hurry()
        self._ages.clear()
        self._node.get_logger().info(f'the robot is there (session {session})')

    def _take_report(self, received: Received, now: float) -> None:
        report = RobotReport.unpack(received.payload)
        self.robot_report = report
        self.stops.take(report, now)
        self.commands.loss = report.loss
        self._node.peer_received('up', received, report.count)

    def _note_age(self, now: float) -> None:
        """Take note of how much older a frame is than the link makes it."""
        link_s = self._down.delay_s + self._down.turn_s + self._frame_s
        self._ages.append((now, self.frame_age_s - link_s))
        while self._ages[0][0] < now - _AGES_S:
            self._ages.popleft()

    def _clock_trouble(self) -> str:
        """Say that the clocks of both ends differ; empty when they may be right."""
        least_s = min((age for _, age in self._ages), default=0.0)
        remedy = 'set both clocks right (NTP, PTP or GPS)'
        if least_s < -_FUTURE_S:
            ahead = f'images come from {-least_s:.1f} s ahead'
            return f'{ahead}: the clocks of both ends differ; {remedy}'
        if least_s > _OLD_S:
            return (
                f'images are {least_s:.1f} s older than the link makes them: the clocks of both '
                f'ends differ, or the camera stamps late; {remedy}'
            )
        return ''

    def _on_command(self, message: Twist, stamp: Time | None) -> None:
        now = self._node.now()
        given_ns = self._node.last_ns
        velocity = convert.to_velocity(message)
        if self.stops.wanted and any(velocity):
            self.commands.refuse(now)
            self._node.get_logger().warning(
                'command not sent: the robot is stopped; release it with false on teleop/stop',
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return
        if stamp is not None and any(velocity):
            # What waited on its way here is that old; a stamp in the future says nothing. To stop
            # it is never too late.
            given_ns = min(nanoseconds(stamp), given_ns)
        age_s = (self._node.last_ns - given_ns) * 1e-9
        try:
            if age_s > self._node.values.stamp_max_age_s:
                raise ValueError(
                    f'its stamp is {age_s:.2f} s old. Set the clock of who publishes it right, '
                    'leave the stamp zero, or raise stamp_max_age_s'
                )
            self._command(given_ns, velocity, now)
        except ValueError as error:
            self._node.refuse(f'command refused: {error}')
            return
        self._node.set_alarm(now)

    def _command(self, given_ns: int, velocity: Velocity, now: float) -> None:
        """Send a command; raises ValueError for a velocity out of range."""
        stamp_us = self.commands.stamp(given_ns // 1000)
        payload = Command(stamp_us, velocity, self._down.receiver.session & 0xFF).pack()
        self.commands.give(payload, now)

    def _on_stop(self, message: Bool) -> None:
        """Stop the robot, or release it."""
        now = self._node.now()
        self._stopped = message.data
        self.stops.want(message.data, now)
        if message.data and self._up.sender.waits(TrafficClass.COMMAND) is not None:
            # Takes the place of a command that waits and would move the robot if the STOP is lost.
            self._command(self._node.last_ns, (0.0,) * 6, now)
        elif message.data:
            self.commands.forget()
        self._node.wake()

    def _on_missed(self, _message: Empty) -> None:
        """Ask for a key frame, if it is not on its way already."""
        now = self._node.now()
        request = Request(key_frame=True)
        wait, pause = self._wait_s(request), self._pause_s(request.pack())
        if self.key_requests.ask(now, wait, pause):
            self._request(request, now)
            self._node.set_alarm(now)

    def _on_region(self, message: RegionOfInterest) -> None:
        """Ask for a part of the image, the newest one wanted."""
        try:
            self._region = convert.to_region(message, self._size)
        except ValueError as error:
            self._node.refuse(f'region refused: {error}')
            return
        self._node.wake()

    def _request(self, request: Request, now: float) -> bytes:
        """Let a request wait for the air, with one that waits already."""
        waiting = self._up.sender.waits(TrafficClass.REQUEST)
        payload = (Request.unpack(waiting).also(request) if waiting else request).pack()
        self._up.offer(payload, now, TrafficClass.REQUEST)
        return payload
