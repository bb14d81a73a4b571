"""
The ground's side of a link: frames come down, commands and requests go up.

Publishes link/image/gsc and link/camera_info, one of each per frame, with the robot's acquisition
stamp; subscribes teleop/* and decoded/key_missed. What is published
is rebuilt from what crossed the link and from nothing else. Reports to the robot what was
received, in a twentieth of the air at most, calls it until it answers, and asks for the setup of
frames that none describes. Over 400 lines, as both directions share the state of one side.
"""

import array
import math
from collections.abc import Callable
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Bool, Empty, Float32, Header, UInt16

from gsc_ros.codec import backend, bitstream
from gsc_ros.codec.bitstream import Section
from gsc_ros.codec.pose import Pose
from gsc_ros.link.datagrams.frames import Frame, FrameReceiver
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import (
    Command,
    PayloadError,
    Request,
    RobotReport,
    Velocity,
)
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.datagrams.telemetry import Telemetry
from gsc_ros.link.traffic.clock_check import ClockCheck
from gsc_ros.link.traffic.command_times import Lateness
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.peer import received_ago
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.reports import (
    LEAST_PAUSE_S,
    GroundReportTimer,
    ReceiverStats,
    pause_s,
)
from gsc_ros.link.traffic.requests import Backoff
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.link.traffic.teleop import CommandSender, StopSender, StopState
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.ros import convert, topics
from gsc_ros.ros.link.ground_goals import GroundGoals
from gsc_ros.ros.link.ground_stills import GroundStills
from gsc_ros.ros.link.node import LOG_PERIOD_S, NO_FRAMES_S, LinkBase, nanoseconds, time_of
from gsc_ros.ros.link.side import Side
from gsc_ros.ros.link.velocity_input import VelocityInput
from gsc_ros.ros.parameters import parameter
from gsc_ros.ros.robot_state import messages
from gsc_ros.ros.robot_state.output import RobotState, RobotStateParameters

_LEAST_WAIT_S = 0.5  # for what was requested: the robot takes time to answer


@dataclass(frozen=True)
class GroundSideParameters(RobotStateParameters):
    """Parameters of the ground's side."""

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


class GroundSide(Side):
    """Joins the ground's topics to a link: ``down`` brings frames, ``up`` takes commands."""

    sends, receives = 'up', 'down'

    def __init__(self, node: LinkBase) -> None:
        super().__init__(node)
        self._frames = node.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
        self._cameras = node.create_publisher(CameraInfo, topics.RECEIVED_INFO, topics.NEWEST)
        self._robot = RobotState(node)
        self._goals = GroundGoals(node, lambda: self.stops.wanted, self._address)
        self._stills = GroundStills(node, self._request, self._wait_s)
        self._stopped = False  # by the operator, whatever is reset

    def reset(self, down: LinkPort, up: LinkPort) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down, self._up = down, up
        self._receiver = FrameReceiver()
        self.receiver_stats = ReceiverStats(down.receiver)
        self._report_timer = GroundReportTimer()
        self._wanted_at = 0.0
        self._wanted: Request | None = None  # region, budget and rate, to be requested
        self._size = (0, 0)  # of the last image
        self.key_requests, self.setup_requests = Backoff(), Backoff()
        self._setup_missing = True  # until the robot has answered
        self._robot_session = 0
        self._robot.reset()
        self.robot_report: RobotReport | None = None  # the last
        self.commands = CommandSender(up)
        self.stops = StopSender(up, lambda: up.turn_s + down.turn_s, self._node.session & 0xFF)
        self._goals.reset(up)
        self._stills.reset(up)
        if self._stopped:
            self.stops.want(True, 0.0)
        self.clocks = ClockCheck(self._node.one_clock)
        self.delivered = 0
        self.incomplete = 0  # frames of which a part came that does not decode alone
        self.delivered_at = self.frame_age_s = 0.0
        self._frame_s = 0.0  # time on air of the last frame

    def start(self) -> None:
        """Subscribe to the operator."""
        node = self._node
        for kind, topic, callback in (
            (Bool, topics.STOP, self._on_stop),
            (Empty, topics.KEY_MISSED, self._on_missed),
            (RegionOfInterest, topics.REGION, self._on_region),
            (UInt16, topics.BUDGET, self._on_budget),
            (Float32, topics.RATE, self._on_rate),
        ):
            node.create_subscription(kind, topic, callback, topics.NEWEST)
        self._goals.start()
        self._stills.start()
        commands = VelocityInput(
            node, topics.TELEOP, self._on_command, topics.NEWEST, node.values.stamped
        )
        node.add_cleanup(commands.close)  # which subscribes anew where another type comes

    @property
    def undescribed(self) -> int:
        """Frames that came before their setup, and so could not be shown."""
        return self._receiver.undescribed

    def step(self, now: float) -> None:
        """Offer what it is time for: stops and repeats, reports, requests."""
        self.receiver_stats.update()
        stamp_us, robot = self._node.time_ns // 1000, self._down.receiver.session & 0xFF
        self.stops.step(now, stamp_us, robot)
        self.commands.step(now)
        self._goals.step(now)
        self._stills.step(now)
        self._report(now)
        if self._setup_missing:
            self._ask_setup(now)
        if self._wanted is not None and now >= self._wanted_at:
            payload = self._request(self._wanted, now)
            self._wanted_at = now + max(LEAST_PAUSE_S, self._pause_s(payload))
            self._wanted = None

    @property
    def next_deadline(self) -> float | None:
        """When there is something to send (s)."""
        times = [
            self._report_timer.next_deadline,
            self.commands.next_deadline,
            self.stops.next_deadline,
            self._goals.next_deadline,
            self._stills.next_deadline,
            None if self._wanted is None else self._wanted_at,
            self.setup_requests.next_at if self._setup_missing else None,
        ]
        return min(at for at in times if at is not None)

    def _report(self, now: float) -> None:
        """Report what was received, also where all of it was refused as played back."""
        timer, loss = self._report_timer, self.receiver_stats.estimate.loss
        count = self._node.received_count('down')
        if now < timer.next_deadline and not timer.is_early(now, loss):
            return
        known = self._down.receiver.session or count is not None
        payload = self.receiver_stats.report(count).pack() if known else b''
        if known:
            self._up.offer(payload, now, TrafficClass.REPORT)
        pause = max(LEAST_PAUSE_S, self._pause_s(payload) if known else 0.0)
        timer.on_sent(now, pause, loss)

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

    def on_received(self, received: Received, now: float) -> None:
        """Publish what came down the link."""
        handlers = {
            TrafficClass.FRAME: self._on_frame,
            TrafficClass.SETUP: self._on_setup,
            TrafficClass.REPORT: self._on_report,
            TrafficClass.TELEMETRY: self._on_telemetry,
            TrafficClass.STILL: self._stills.on_part,
        }
        handle = handlers.get(received.traffic_class)
        if handle is None:
            self._node.refuse(f'{received.traffic_class.name} does not come down the link')
            return
        if received.session != self._robot_session:
            self._on_robot_session(received.session, now)
        try:
            handle(received, now)
        except (PayloadError, bitstream.BitstreamError) as error:
            self._node.refuse(f'{received.traffic_class.name.lower()} lost: {error}')

    def _on_setup(self, received: Received, now: float) -> None:
        if not received.truncated:
            self._receiver.setup(received.payload, received.session)
            self._setup_missing = False

    def _on_frame(self, received: Received, now: float) -> None:
        frame = header = None
        try:
            frame = self._receiver.frame(received.payload, received.session)
            if frame is not None:
                header = bitstream.read_header(frame.data, not received.truncated)
        finally:
            lost = header is not None and received.truncated and not _is_divisible(header)
            self.receiver_stats.on_frame(received.number, received.session, lost)
        self._setup_missing = frame is None
        if frame is None or header is None:
            return
        self.setup_requests.answered()
        if lost:
            self.incomplete += 1
            return
        self._publish(received, frame, header)
        self._size = header.width, header.height
        self.delivered += 1
        self.delivered_at = now
        self.frame_age_s = (self._node.time_ns - frame.stamp_ns) * 1e-9
        self._frame_s = self._down.frame_s(len(received.payload))
        link_s = self._down.delay_s + self._down.turn_s + self._frame_s
        self.clocks.on_frame(now, self.frame_age_s, link_s)
        if header.frame_type == bitstream.KEY and not received.truncated:
            self.key_requests.answered()

    def _publish(self, received: Received, frame: Frame, header: bitstream.FrameHeader) -> None:
        stamp = Header(stamp=time_of(frame.stamp_ns), frame_id=frame.camera.frame_id)
        self._stills.frame_id = frame.camera.frame_id
        pose = self._pose(frame.data)
        if pose is not None:
            self._robot.on_pose(pose, stamp)  # so that it is known when the image is decoded
        self._cameras.publish(convert.from_camera(frame.camera, stamp))
        self._frames.publish(
            SemanticFrame(
                **messages.pose_fields(pose),
                header=stamp,
                sequence=frame.sequence,
                session=received.session,
                frame_type=header.frame_type,
                reference_sequence=header.reference_of(frame.sequence) % 2**32,
                preset=header.preset,
                model_fingerprint=header.fingerprint,
                width=header.width,
                height=header.height,
                scene_probability=math.nan,
                data=array.array('B', frame.data),
                truncated=received.truncated,
                divisible=_is_divisible(header),
            )
        )

    def _pose(self, data: bytes) -> Pose | None:
        """Return the pose that a frame carries, or None."""
        content = bitstream.read_sections(data).get(Section.POSE)
        try:
            return None if content is None else Pose.unpack(content)
        except ValueError as error:
            self._node.refuse(f'pose refused: {error}')
            return None

    def _on_telemetry(self, received: Received, now: float) -> None:
        if received.truncated:
            return
        sent_ns = self._node.time_ns - round(1e9 * self._down.delay_s)
        telemetry = Telemetry.unpack(received.payload)
        self._robot.on_telemetry(telemetry, time_of(max(0, sent_ns)))

    def statistics(self, end: End, now: float) -> Statistics:
        """Return the counters of frames that came down."""
        return end.received_statistics(self.delivered, self.receiver_stats.lost + self.undescribed)

    @property
    def loss(self) -> float:
        """Share of datagrams lost recently, 0..1."""
        return self.receiver_stats.estimate.loss

    def urgent_trouble(self, now: float) -> str:
        """Return that the robot has not acknowledged a stop, or holds one; empty for neither."""
        held = self.stops.state is StopState.HELD
        return self.stops.trouble(now) or (
            'the robot holds the STOP: release it with false on teleop/stop' if held else ''
        )

    def missing_frames(self, now: float) -> str:
        """Return that no frames come, or nothing at all; empty when they do."""
        usual_s = self._down.delay_s + NO_FRAMES_S
        if now <= self.delivered_at + usual_s:
            return ''
        silence_s = self._node.peer.silence_s(now)
        if silence_s is not None and silence_s <= usual_s:
            return 'no frames come through'
        ago = received_ago(silence_s)
        return f'no frames come through; nothing comes from the other end: last received {ago}'

    def fill_status(self, status: LinkStatus) -> None:
        """Put what is known of commands and the stop into a status."""
        status.commands_offered = self.commands.offered
        status.commands_dropped = self.commands.dropped
        status.stop = self.stops.state.value

    def trouble(self, now: float) -> str:
        """Return what keeps the operator from driving or trusting stamps; empty for nothing."""
        found = (self.refused_commands, self.commands.advice(now), self.clocks.trouble)
        return '; '.join(filter(None, found))

    @property
    def refused_commands(self) -> str:
        """What the robot reports that it refuses commands for; empty for nothing."""
        report = self.robot_report
        if report is None or report.late_s is None:
            return ''
        why = Lateness(report.late_s, report.held_up).why
        return f'the robot refuses most commands: {why}'

    def figures(self) -> dict[str, object]:
        """Return what diagnostics show of this side."""
        return {
            'frame age on arrival s': self.frame_age_s,
            'key frames asked for': self.key_requests.asked,
            'setups asked for': self.setup_requests.asked,
            'frames without setup': self.undescribed,
            'frames incomplete': self.incomplete,
            'parts of stills dropped': self._stills.receiver.dropped,
            'restored': self._down.receiver.restored,
            'commands given': self.commands.offered,
            'commands that did not fit': self.commands.dropped,
            'loss of commands': self.commands.loss,
            'stop': self.stops.state.name,
        }

    def _on_robot_session(self, session: int, now: float) -> None:
        """Begin anew with a robot that was not received before, or has begun anew."""
        self._robot_session = session
        self._setup_missing = False
        self.setup_requests.answered()
        self.key_requests.answered()
        self.stops.on_robot_session(now)
        self._goals.on_robot_session()
        self._stills.on_robot_session(now)
        self._report_timer.send_early()
        self.clocks.clear()
        self._robot.reset()
        self._node.get_logger().info(f'the robot is there (session {session})')

    def _on_report(self, received: Received, now: float) -> None:
        report = RobotReport.unpack(received.payload)
        self.robot_report = report
        self.stops.on_report(report, now)
        self._goals.on_report(report)
        self.commands.loss = report.loss
        self._node.peer_received('up', received, report.count)

    def _on_command(self, message: Twist, stamp: Time | None) -> None:
        now = self._node.update_time()
        given_ns = self._node.time_ns
        velocity = convert.to_velocity(message)
        if self.stops.wanted and any(velocity):
            self.commands.refuse(now)
            self._node.get_logger().warning(
                'command not sent: the robot is stopped; release it with false on teleop/stop',
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return
        if stamp is not None and any(velocity):
            # What waited on its way here is that old; a stamp in the future is ignored. To stop
            # it is never too late.
            given_ns = min(nanoseconds(stamp), given_ns)
        age_s = (self._node.time_ns - given_ns) * 1e-9
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
        stamp_us = self.commands.next_stamp(given_ns // 1000)
        payload = Command(stamp_us, velocity, self._down.receiver.session & 0xFF).pack()
        self.commands.send(payload, now)
        if self.stops.trouble(now):
            self.commands.forget()  # the STOP or its release goes first

    def _on_stop(self, message: Bool) -> None:
        """Stop the robot, or release it."""
        now = self._node.update_time()
        self._stopped = message.data
        self.stops.want(message.data, now)
        if message.data and self._up.sender.waiting_payload(TrafficClass.COMMAND) is not None:
            # Takes the place of a command that waits and would move the robot if the STOP is lost.
            self._command(self._node.time_ns, (0.0,) * 6, now)
        elif message.data:
            self.commands.cancel_repeats()
        self.commands.forget()
        if message.data:
            self._goals.on_stop()
        self._node.wake()

    def _address(self) -> tuple[int, int]:
        """Return the stamp of what is given now (µs), and the robot's session, its low byte."""
        stamp_us = self.commands.next_stamp(self._node.time_ns // 1000)
        return stamp_us, self._down.receiver.session & 0xFF

    def _on_missed(self, _message: Empty) -> None:
        """Ask for a key frame, if it is not on its way already."""
        now = self._node.update_time()
        request = Request(key_frame=True)
        wait, pause = self._wait_s(request), self._pause_s(request.pack())
        if self.key_requests.ask(now, wait, pause):
            self._request(request, now)
            self._node.set_alarm(now)

    def _on_region(self, message: RegionOfInterest) -> None:
        """Ask for a part of the image, the newest one requested."""
        self._want('region', lambda: Request(region=convert.to_region(message, self._size)))

    def _on_budget(self, message: UInt16) -> None:
        """Ask for frames of so many bytes."""
        self._want('budget', lambda: Request(budget=message.data))

    def _on_rate(self, message: Float32) -> None:
        """Ask for so many frames a second at most."""
        self._want('rate', lambda: Request(rate=message.data))

    def _want(self, name: str, make: Callable[[], Request]) -> None:
        """Ask for what is made, when the air allows, with what waits already."""
        try:
            request = make()
        except ValueError as error:
            self._node.refuse(f'{name} refused: {error}')
            return
        self._wanted = self._wanted.also(request) if self._wanted else request
        self._node.wake()

    def _request(self, request: Request, now: float) -> bytes:
        """Let a request wait for the air, with one that waits already."""
        waiting = self._up.sender.waiting_payload(TrafficClass.REQUEST)
        payload = (Request.unpack(waiting).also(request) if waiting else request).pack()
        self._up.offer(payload, now, TrafficClass.REQUEST)
        return payload


def _is_divisible(header: bitstream.FrameHeader) -> bool:
    """Whether the beginning of a frame decodes alone."""
    return backend.find(header.preset).progressive
