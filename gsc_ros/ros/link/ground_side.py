"""
The ground's side of a link: frames come down, commands and requests go up.

`ground_camera` and `ground_stills` have the topics of a camera, `ground_first` and `ground_goals`
what their names say. Subscribes teleop/cmd_vel and teleop/stop. What is published is rebuilt from
what crossed the link and from nothing else. Reports to the robot what was received, in a twentieth
of the air at most, of several cameras by turns; calls it until it answers, and asks for the setup
of frames that none describes.
"""

from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from std_msgs.msg import Bool

from gsc_ros.codec import bitstream
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.payloads import (
    Command,
    PayloadError,
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
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.link.traffic.teleop import CommandSender, StopSender, StopState
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import convert, topics
from gsc_ros.ros.link.ground_camera import GroundCamera
from gsc_ros.ros.link.ground_first import GroundFirst
from gsc_ros.ros.link.ground_goals import GroundGoals
from gsc_ros.ros.link.ground_stills import GroundStills
from gsc_ros.ros.link.node import LOG_PERIOD_S, NO_FRAMES_S, LinkBase, nanoseconds, time_of
from gsc_ros.ros.link.side import Side, missing_from
from gsc_ros.ros.link.velocity_input import VelocityInput
from gsc_ros.ros.parameters import parameter
from gsc_ros.ros.robot_state.output import RobotState, RobotStateParameters


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
        self._robot = RobotState(node, node.cameras)
        self.cameras = [
            GroundCamera(node, stream, number, self._robot, self._on_age)
            for number, stream in enumerate(node.cameras)
        ]
        self._first = GroundFirst(node, self.cameras)
        self._goals = GroundGoals(node, lambda: self.stops.wanted, self._address)
        self._stills = [GroundStills(node, camera) for camera in self.cameras]
        self._stopped = False  # by the operator, whatever is reset

    def reset(self, down: LinkPort, up: LinkPort) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down, self._up = down, up
        for camera in self.cameras:
            camera.reset(down, up)
        self.receiver_stats = ReceiverStats(down.receiver)
        self._next_report = 0  # number of the camera that it is on
        self._first.reset()
        self._report_timer = GroundReportTimer()
        self._robot_session = 0
        self._robot.reset()
        self.robot_report: RobotReport | None = None  # the last
        self.commands = CommandSender(up)
        self.stops = StopSender(up, lambda: up.turn_s + down.turn_s, self._node.session & 0xFF)
        self._goals.reset(up)
        for stills in self._stills:
            stills.reset(up)
        if self._stopped:
            self.stops.want(True, 0.0)
        self.clocks = ClockCheck(self._node.one_clock)
        self.frame_age_s = 0.0

    def start(self) -> None:
        """Subscribe to the operator."""
        node = self._node
        node.create_subscription(Bool, topics.STOP, self._on_stop, topics.NEWEST)
        for camera in self.cameras:
            camera.start()
        self._first.start()
        self._goals.start()
        for stills in self._stills:
            stills.start()
        commands = VelocityInput(
            node, topics.TELEOP, self._on_command, topics.NEWEST, node.values.stamped
        )
        node.add_cleanup(commands.close)  # which subscribes anew where another type comes

    @property
    def undescribed(self) -> int:
        """Frames that came before their setup, and so could not be shown."""
        return sum(camera.undescribed for camera in self.cameras)

    @property
    def delivered(self) -> int:
        """Frames that were published."""
        return sum(camera.delivered for camera in self.cameras)

    @property
    def incomplete(self) -> int:
        """Frames of which a part came that does not decode alone."""
        return sum(camera.incomplete for camera in self.cameras)

    def step(self, now: float) -> None:
        """Offer what it is time for: stops and repeats, reports, requests."""
        self.receiver_stats.update()
        stamp_us, robot = self._node.time_ns // 1000, self._down.receiver.session & 0xFF
        self.stops.step(now, stamp_us, robot)
        self.commands.step(now)
        self._goals.step(now)
        for stills in self._stills:
            stills.step(now)
        self._report(now)
        for camera in self.cameras:
            camera.step(now)
        self._first.step(now)

    @property
    def next_deadline(self) -> float | None:
        """When there is something to send (s)."""
        times = [
            self._report_timer.next_deadline,
            self.commands.next_deadline,
            self.stops.next_deadline,
            self._goals.next_deadline,
            *(stills.next_deadline for stills in self._stills),
            self._first.next_deadline,
            *(camera.next_deadline for camera in self.cameras),
        ]
        return min(at for at in times if at is not None)

    def _report(self, now: float) -> None:
        """Report what was received, also where all of it was refused as played back."""
        timer, loss = self._report_timer, self.receiver_stats.estimate.loss
        count = self._node.received_count('down')
        if now < timer.next_deadline and not timer.is_early(now, loss):
            return
        known = self._down.receiver.session or count is not None
        camera = self.cameras[self._next_report]
        payload = self.receiver_stats.report(camera.stats, count).pack() if known else b''
        if known:
            self._up.offer(payload, now, TrafficClass.REPORT, camera=camera.number)
            self._next_report = (self._next_report + 1) % len(self.cameras)
        air_s = pause_s(self._up, self._down, len(payload)) if known else 0.0
        pause = max(LEAST_PAUSE_S, air_s)
        timer.on_sent(now, pause, loss)

    def on_received(self, received: Received, now: float) -> None:
        """Publish what came down the link."""
        handlers = {
            TrafficClass.FRAME: self._on_frame,
            TrafficClass.SETUP: self._on_setup,
            TrafficClass.REPORT: self._on_report,
            TrafficClass.TELEMETRY: self._on_telemetry,
            TrafficClass.STILL: self._on_still,
        }
        handle = handlers.get(received.traffic_class)
        if handle is None:
            self._node.refuse(f'{received.traffic_class.name} does not come down the link')
            return
        if received.session != self._robot_session:
            self._on_robot_session(received.session, now)
        if received.truncated and received.traffic_class is not TrafficClass.FRAME:
            return  # its beginning may read as something else
        try:
            handle(received, now)
        except (PayloadError, bitstream.BitstreamError) as error:
            self._node.refuse(f'{received.traffic_class.name.lower()} lost: {error}')

    def _on_setup(self, received: Received, now: float) -> None:
        self.cameras[received.camera].on_setup(received)

    def _on_frame(self, received: Received, now: float) -> None:
        self.cameras[received.camera].on_frame(received, now)

    def _on_still(self, received: Received, now: float) -> None:
        self._stills[received.camera].on_part(received, now)

    def _on_age(self, now: float, age_s: float, link_s: float) -> None:
        """Note how old a frame was on arrival, and how long the link took for it."""
        self.frame_age_s = age_s
        self.clocks.on_frame(now, age_s, link_s)

    def _on_telemetry(self, received: Received, now: float) -> None:
        sent_ns = self._node.time_ns - round(1e9 * self._down.delay_s)
        telemetry = Telemetry.unpack(received.payload)
        stamp = time_of(max(0, sent_ns))
        self._robot.on_telemetry(telemetry, stamp, received.camera)

    def statistics(self, end: End, now: float, camera: int | None = None) -> Statistics:
        """Return the counters of frames that came down."""
        cameras = self.cameras if camera is None else [self.cameras[camera]]
        lost = sum(one.stats.lost + one.undescribed for one in cameras)
        return end.received_statistics(sum(one.delivered for one in cameras), lost)

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
        missing = [camera for camera in self.cameras if now > camera.delivered_at + usual_s]
        if len(missing) < len(self.cameras):
            return missing_from(missing, self.cameras, 'no frames come through')
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
        found = (
            self.refused_commands,
            self.commands.advice(now),
            self.clocks.trouble,
            self._first.trouble,
            *dict.fromkeys(camera.trouble for camera in self.cameras),
            self._same_frames,
        )
        return '; '.join(filter(None, found))

    @property
    def _same_frames(self) -> str:
        """That cameras have one frame, so that one would be placed where the other is."""
        by: dict[str, list[str]] = {}
        for camera in self.cameras:
            if camera.frame_id:
                by.setdefault(camera.frame_id, []).append(camera.stream.name)
        return '; '.join(
            f'cameras {" and ".join(names)} have one frame_id, {frame}: give each its own'
            for frame, names in by.items()
            if len(names) > 1
        )

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
            'key frames asked for': sum(one.key_requests.asked for one in self.cameras),
            'setups asked for': sum(one.setup_requests.asked for one in self.cameras),
            'frames without setup': self.undescribed,
            'frames incomplete': self.incomplete,
            'parts of stills dropped': sum(one.receiver.dropped for one in self._stills),
            'restored': self._down.receiver.restored,
            'of unknown cameras': self._down.receiver.other_camera,
            'commands given': self.commands.offered,
            'commands that did not fit': self.commands.dropped,
            'loss of commands': self.commands.loss,
            'stop': self.stops.state.name,
        }

    def _on_robot_session(self, session: int, now: float) -> None:
        """Begin anew with a robot that was not received before, or has begun anew."""
        self._robot_session = session
        for camera in self.cameras:
            camera.on_robot_session()
        self._first.on_robot_session()
        self.stops.on_robot_session(now)
        self._goals.on_robot_session()
        for stills in self._stills:
            stills.on_robot_session(now)
        self._report_timer.send_early()
        self.clocks.clear()
        self._robot.reset()
        self._node.get_logger().info(f'the robot is there (session {session})')

    def _on_report(self, received: Received, now: float) -> None:
        report = RobotReport.unpack(received.payload)
        self.robot_report = report
        self.stops.on_report(report, now)
        self._first.on_report(report)
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
