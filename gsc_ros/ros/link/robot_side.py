"""
The robot's side of a link: frames go down, commands, requests and reports come up.

Subscribes camera/image/gsc, camera/camera_info and, where the encoder rectifies,
camera/image/gsc/camera_info; publishes what the ground asks for (camera/key_wanted, roi_wanted,
budget_wanted, rate_wanted). `robot_commands` executes commands, `robot_goals` hands goals on.
"""

import time
from typing import Any

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Empty, Float32, UInt16

from gsc_ros.codec import bitstream
from gsc_ros.link.datagrams import payloads
from gsc_ros.link.datagrams.frames import FRAME_OVERHEAD, Camera, Frame, FrameSender
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.goals import Goal
from gsc_ros.link.datagrams.payloads import (
    REPORT_BYTES,
    ROBOT_REPORT_BYTES,
    Command,
    PayloadError,
    Request,
    RobotReport,
    Stop,
)
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.command_gate import Refusal
from gsc_ros.link.traffic.end import End
from gsc_ros.link.traffic.port import LinkPort
from gsc_ros.link.traffic.reports import (
    LEAST_PAUSE_S,
    CommandLoss,
    Feedback,
    RobotReportTimer,
    pause_s,
)
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus, SemanticFrame
from gsc_ros.ros import convert, topics
from gsc_ros.ros.diagnostics import OK, WARN, Report
from gsc_ros.ros.images.camera_info import CameraInfos
from gsc_ros.ros.link.node import NO_FRAMES_S, LinkBase, nanoseconds, or_inf, report_of
from gsc_ros.ros.link.robot_commands import RobotCommands
from gsc_ros.ros.link.robot_goals import RobotGoals
from gsc_ros.ros.link.robot_stills import RobotStills
from gsc_ros.ros.link.side import Side
from gsc_ros.ros.robot_state.telemetry_input import TelemetryInput

_RARELY_S = 60.0


class RobotSide(Side):
    """Joins the robot's topics to a link: ``down`` takes its frames, ``up`` brings commands."""

    sends, receives = 'down', 'up'

    def __init__(self, node: LinkBase) -> None:
        super().__init__(node)
        self.commands = RobotCommands(node)
        self.goals = RobotGoals(node, node.values.frame_id)
        self._telemetry = TelemetryInput(node)
        self._stills = RobotStills(node)
        self._wanted = node.create_publisher(Empty, topics.KEY_WANTED, topics.NEWEST)
        self._regions = node.create_publisher(
            RegionOfInterest, topics.REGION_WANTED, topics.NEWEST
        )
        self._budgets = node.create_publisher(UInt16, topics.BUDGET_WANTED, topics.NEWEST)
        self._rates = node.create_publisher(Float32, topics.RATE_WANTED, topics.NEWEST)
        self._infos, self._coded_infos = CameraInfos(), CameraInfos()
        self._size = (0, 0)  # of the last image

    @classmethod
    def frame_max_age_s(cls, values: Any) -> float | None:
        """Return after how long a frame that waits is stale, s; None: no limit."""
        return values.max_age_s or None

    def before_reset(self) -> None:
        """Stop a robot that moves: after a reset the age of its last command is unknown."""
        self.commands.before_reset()

    def reset(self, down: LinkPort, up: LinkPort) -> None:
        """Begin with nothing on its way and nothing counted."""
        self._down, self._up = down, up
        self._sender = FrameSender()
        self.feedback = Feedback(self._node.session & 0xFF)
        self.offered_at = 0.0
        self.commands.reset()
        self._command_loss = CommandLoss()
        self._report_timer = RobotReportTimer()
        self._telemetry.reset()
        self.goals.reset(down, up)
        self._stills.reset(down)
        self._ground_session = 0

    def start(self) -> None:
        """Subscribe to the robot."""
        self.commands.start()
        node = self._node
        self._infos, self._coded_infos = CameraInfos(), CameraInfos()
        # Before the frames, so that a frame's camera_info is known before the frame.
        node.create_subscription(
            CameraInfo, topics.CAMERA_INFO, lambda m: self._on_camera(m, self._infos), topics.INFOS
        )
        coded = node.create_subscription(
            CameraInfo,
            topics.CODED_INFO,
            lambda m: self._on_camera(m, self._coded_infos),
            topics.IMAGES,
        )
        self._coded_topic = coded.topic_name
        self._telemetry.start()
        self.goals.start()
        self._stills.start()
        node.create_subscription(SemanticFrame, topics.CODED, self._on_frame, topics.NEWEST)

    def stop(self) -> None:
        """Stop a robot that moves, and watch no more."""
        self.commands.stop()
        # No STOP would reach a robot on its way to a goal.
        self.goals.cancel('the link is closed')

    def halt(self) -> None:
        """Stop a robot that moves; in any thread."""
        self.commands.halt_and_wait()

    def parameters_changed(self) -> None:
        """Apply new limits for commands."""
        self.commands.parameters_changed()

    @property
    def next_deadline(self) -> float | None:
        """When there is a report to be sent (s)."""
        report_at = self._report_timer.next_deadline(self._report(), self._pause_s)
        others = self._telemetry.next_deadline, self._stills.next_deadline
        return min(report_at, *map(or_inf, others))

    def step(self, now: float) -> None:
        """Log stops; report to the ground when it is time."""
        self.commands.log_stops()
        self.goals.step(now, self.commands.gate.held, self.report_pause_s)
        if self._up.receiver.session != self._ground_session:
            # A ground that begins needs this session to command, and the setup to show a frame.
            self._ground_session = self._up.receiver.session
            self._report_timer.on_ground_session()
            self._sender.repeat_setup()
            self._telemetry.repeat()
        report = self._report()
        if now >= self._report_timer.next_deadline(report, self._pause_s):
            self._down.offer(report.pack(), now, TrafficClass.REPORT)
            self._report_timer.on_sent(report, now)
        self._telemetry.step(now, self._down, self._up)
        self._stills.step(now)

    def _report(self) -> RobotReport:
        """Return the report to the ground on what came."""
        gate, count = self.commands.gate, self._node.received_count('up')
        refused = gate.times.refused(time.monotonic())
        late_s, held_up = refused[2] if refused else (None, False)
        loss, goal = self._command_loss.loss, self.goals.keeper
        return RobotReport(
            gate.acknowledged, gate.held, loss, count, late_s, held_up, goal.number, goal.state
        )

    @property
    def _pause_s(self) -> float:
        """Time between reports, so that they take a twentieth of the air, s."""
        return max(LEAST_PAUSE_S, pause_s(self._down, self._up, ROBOT_REPORT_BYTES))

    def on_received(self, received: Received, now: float) -> None:
        """Handle a payload that came up the link."""
        self.goals.heard(now)
        if received.traffic_class is TrafficClass.REQUEST:
            self._on_request(received)
        elif received.traffic_class in (TrafficClass.COMMAND, TrafficClass.STOP):
            self._on_command(received)
        elif received.traffic_class is TrafficClass.REPORT:
            self._on_report(received)
        elif received.traffic_class is TrafficClass.GOAL:
            self._on_goal(received)
        else:
            self._node.refuse(f'{received.traffic_class.name} does not go up the link')

    def figures(self) -> dict[str, object]:
        """Return what diagnostics show of this side."""
        gate = self.commands.gate
        return {
            'commands executed': gate.ran,
            'commands too late': self.commands.late,
            'commands refused': sum(gate.refused.values()),
            'stops': self.commands.stops,
            'STOP held': gate.held,
            'goal ends after a silence of s': self.goals.silence_s(self.report_pause_s),
            'camera_info unmatched': self.unmatched,
            'telemetry sent': self._telemetry.sent,
        }

    def complete(self, report: Report) -> Report:
        """Add to a report why nothing moves: a STOP, or a guard that is missing or elsewhere."""
        troubles = [(report.level, '' if report.level == OK else report.message)]
        if self.commands.gate.held:
            held = "the operator's STOP is held, so that nothing moves until it is released"
            troubles.append((WARN, held))
        if self.commands.guard_missing:
            wrong = 'the node guard is missing and nothing moves without it: start it'
            troubles.append((WARN, wrong))
        elif topic := self.commands.alone:
            wrong = (
                f'the node guard does not publish {topic}, so that the robot goes on when the '
                'guard dies: remap cmd_vel alike at both'
            )
            troubles.append((WARN, wrong))
        return report_of(troubles, report.values)

    def fill_status(self, status: LinkStatus) -> None:
        """Fill in the fields of a status on commands."""
        gate = self.commands.gate
        refused = sum(gate.refused.values()) - gate.refused[Refusal.REPEAT]
        status.commands_offered, status.commands_dropped = gate.ran + refused, refused
        if gate.held:
            status.stop = LinkStatus.STOP_HELD

    def statistics(self, end: End, now: float) -> Statistics:
        """Return the counters of frames; what came of them is what the ground reports."""
        return end.sent_statistics(now, self.feedback.delivered, self.feedback.lost)

    @property
    def loss(self) -> float:
        """Share of datagrams lost recently, as the ground reports it, 0..1."""
        return self.feedback.loss

    def trouble(self, now: float) -> str:
        """Return that the ground is silent, or that its commands are refused."""
        refused = self.commands.trouble(time.monotonic())
        return '; '.join(filter(None, (self._node.silence(self.report_pause_s), refused)))

    def missing_frames(self, now: float) -> str:
        """Return that no frames come from the encoder; empty when they do."""
        missing = now > self.offered_at + NO_FRAMES_S
        return 'no frames come from the encoder' if missing else ''

    @property
    def camera_info(self) -> CameraInfo | None:
        """The newest camera_info of the frames."""
        return self._frames_infos().newest

    @property
    def unmatched(self) -> int:
        """How many frames had no camera_info of their stamp, and took an older one."""
        return self._infos.unmatched + self._coded_infos.unmatched

    @property
    def report_pause_s(self) -> float:
        """Time between the ground's reports, s."""
        return max(LEAST_PAUSE_S, pause_s(self._up, self._down, REPORT_BYTES))

    def _frames_infos(self) -> CameraInfos:
        """Return the camera's camera_infos, or, where it changes images, the encoder's."""
        coded = self._node.count_publishers(self._coded_topic)
        return self._coded_infos if coded else self._infos

    def _on_camera(self, message: CameraInfo, infos: CameraInfos) -> None:
        try:
            convert.to_camera(message, message.header.frame_id)
        except ValueError as error:
            self._node.refuse(f'camera_info refused: {error}')
            return
        infos.add(message)

    def _on_frame(self, message: SemanticFrame) -> None:
        data = bytes(message.data)
        most = self._down.sender.max_payload - FRAME_OVERHEAD
        limit = min(self._node.values.max_frame_bytes, most)
        try:
            if not 0 < len(data) <= limit:
                raise ValueError(f'{len(data)} bytes, 1 to {limit} can be sent')
            header = bitstream.read_header(data, not message.truncated)
            self._size = header.width, header.height
            camera = Camera(message.header.frame_id, header.width, header.height)
            infos = self._frames_infos()
            unmatched = infos.unmatched
            info = infos.of(message.header)
            if infos.unmatched > unmatched:
                self._node.get_logger().warning(
                    "no camera_info has the image's stamp, the newest older one is taken: "
                    'publish one with every image',
                    throttle_duration_sec=_RARELY_S,
                )
            if info is not None:
                camera = convert.to_camera(info, message.header.frame_id)
        except ValueError as error:
            self._node.refuse(f'frame refused: {error}')
            return
        now = self._node.update_time()
        frame = Frame(nanoseconds(message.header.stamp), message.sequence, camera, data)
        sender = self._down.sender
        if self._node.values.protection == 'auto':
            sender.set_fec(self.feedback.loss, self.feedback.burst)
        else:
            sender.set_fec(0.0)
        sent = sender.counts[TrafficClass.FRAME].sent
        for traffic_class, payload in self._sender.pack(frame, sent):
            # A key frame that waits is not replaced by a delta frame that needs it.
            is_keyframe = (
                traffic_class is TrafficClass.FRAME and header.frame_type == bitstream.KEY
            )
            self._down.offer(payload, now, traffic_class, is_keyframe, message.divisible)
        self.offered_at = now
        self._node.set_alarm(now)

    def _on_command(self, received: Received) -> None:
        kind: type[Command] | type[Stop] = (
            Command if received.traffic_class is TrafficClass.COMMAND else Stop
        )
        try:
            message = kind.unpack(received.payload, self._node.time_ns // 1000)
        except PayloadError as error:
            self._node.refuse(f'command refused: {error}')
            return
        gate = self.commands.gate
        before = gate.held, gate.acknowledged
        self.commands.on_received(received, message, self._idle_s(received))
        if gate.held and (gate.held, gate.acknowledged) != before:  # after what stops the robot
            self.goals.cancel('STOP by the operator', surely=True)
        elif gate.moving:
            self.goals.cancel('the robot is driven by hand')
        if kind is Stop:
            self._report_timer.on_stop()
        else:
            self._command_loss.on_command(received.number, received.session)
            self._report_timer.on_command()

    def _idle_s(self, received: Received) -> float:
        """Return how long what came takes over an idle link, s."""
        return self._up.turn_s + self._up.delay_s + self._up.frame_s(len(received.payload))

    def _on_goal(self, received: Received) -> None:
        try:
            goal = Goal.unpack(received.payload, self._node.time_ns // 1000)
        except PayloadError as error:
            self._node.refuse(f'goal refused: {error}')
            return
        refusal = self.commands.judge_goal(received, goal, self._idle_s(received))
        self.goals.take(goal, refusal)
        self._report_timer.on_command()

    def _on_request(self, received: Received) -> None:
        try:
            request = Request.unpack(received.payload)
        except PayloadError as error:
            self._node.refuse(f'request refused: {error}')
            return
        if request.still is not None:
            self._on_still_asked(request.still)
        if request.setup:
            self._sender.repeat_setup()
            self._telemetry.repeat()
        if request.key_frame:
            self._wanted.publish(Empty())
        if request.region:
            self._regions.publish(convert.to_roi(request.region, self._size))
        if request.budget is not None:
            self._budgets.publish(UInt16(data=request.budget))
        if request.rate is not None:
            self._rates.publish(Float32(data=request.rate))

    def _on_still_asked(self, ask: bytes) -> None:
        try:
            self._stills.ask(ask)
        except PayloadError as error:
            self._node.refuse(f'request refused: {error}')

    def _on_report(self, received: Received) -> None:
        try:
            report = payloads.Report.unpack(received.payload)
            self.feedback.on_report(report, received.session)
            self._node.peer_received('down', received, report.count)
        except PayloadError as error:
            self._node.refuse(f'report refused: {error}')
