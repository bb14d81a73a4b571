"""
The robot's side of a link: frames go down, commands, requests and reports come up.

`robot_camera` has the topics of a camera, `robot_commands` executes commands, `robot_goals` hands
goals on. Several cameras share the air by their weights, of which those that send have all; the
operator's choice has most of it.
"""

import time
from typing import Any

from gsc_ros.link.datagrams import payloads
from gsc_ros.link.datagrams.framing import TrafficClass
from gsc_ros.link.datagrams.goals import Goal
from gsc_ros.link.datagrams.payloads import (
    NO_CAMERA,
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
    RobotReportTimer,
    pause_s,
)
from gsc_ros.link.traffic.sharing import shares
from gsc_ros.link.traffic.statistics import Statistics
from gsc_ros.msg import LinkStatus
from gsc_ros.ros.diagnostics import OK, WARN, Report
from gsc_ros.ros.link.node import LinkBase, or_inf
from gsc_ros.ros.link.robot_camera import RobotCamera
from gsc_ros.ros.link.robot_commands import RobotCommands
from gsc_ros.ros.link.robot_goals import RobotGoals
from gsc_ros.ros.link.robot_stills import RobotStills
from gsc_ros.ros.link.side import Side, missing_from
from gsc_ros.ros.link.state_report import report_of
from gsc_ros.ros.robot_state.telemetry_input import TelemetryInput


class RobotSide(Side):
    """Joins the robot's topics to a link: ``down`` takes its frames, ``up`` brings commands."""

    sends, receives = 'down', 'up'

    def __init__(self, node: LinkBase) -> None:
        super().__init__(node)
        self.commands = RobotCommands(node)
        self.goals = RobotGoals(node, node.values.frame_id)
        self.cameras = [
            RobotCamera(node, stream, number, self._protect)
            for number, stream in enumerate(node.cameras)
        ]
        self._telemetry = [
            TelemetryInput(node, stream, number) for number, stream in enumerate(node.cameras)
        ]
        self._stills = RobotStills(node)

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
        for camera in self.cameras:
            camera.reset(down)
        self._reported = self.cameras[0]  # in the last report
        self._first: int | None = None  # number of the camera that the operator chose
        self._lacked: int | None = None  # of one that was chosen and is not there
        self._share(0.0)
        self.commands.reset()
        self._command_loss = CommandLoss()
        self._report_timer = RobotReportTimer()
        for telemetry in self._telemetry:
            telemetry.reset()
        self.goals.reset(down, up)
        self._stills.reset(down)
        self._ground_session = 0

    def start(self) -> None:
        """Subscribe to the robot."""
        self.commands.start()
        for telemetry in self._telemetry:
            telemetry.start()
        self.goals.start()
        self._stills.start()
        for camera in self.cameras:
            camera.start()

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
        others = [one.next_deadline for one in self._telemetry]
        return min(report_at, *map(or_inf, [*others, self._stills.next_deadline]))

    def step(self, now: float) -> None:
        """Log stops; report to the ground when it is time."""
        self.commands.log_stops()
        self.goals.step(now, self.commands.gate.held, self.report_pause_s)
        if self._up.receiver.session != self._ground_session:
            # A ground that begins needs this session to command, and the setup to show a frame.
            self._ground_session = self._up.receiver.session
            self._report_timer.on_ground_session()
            self._repeat_setups()
        report = self._report()
        if now >= self._report_timer.next_deadline(report, self._pause_s):
            self._down.offer(report.pack(), now, TrafficClass.REPORT)
            self._report_timer.on_sent(report, now)
        for telemetry in self._telemetry:
            telemetry.step(now, self._down, self._up)
        self._stills.step(now)
        self._share(now)

    def _share(self, now: float) -> None:
        """Give each camera its share of the air, and state it."""
        if len(self.cameras) > 1:
            sending = [camera.number for camera in self.cameras if camera.is_sending(now)]
            weights = [camera.stream.weight for camera in self.cameras]
            self._node.shares = tuple(shares(weights, sending, self._first))
            self._down.sender.share.set_weights(dict(enumerate(self._node.shares)))

    def _protect(self) -> None:
        """Set the parity behind the frame that goes next."""
        if self._node.values.protection == 'auto':
            feedback = self._reported.feedback
            self._down.sender.set_fec(feedback.loss, feedback.burst)
        else:
            self._down.sender.set_fec(0.0)

    def _repeat_setups(self) -> None:
        """Send again what seldom changes: the ground may not have it."""
        for camera in self.cameras:
            camera.repeat_setup()
        for telemetry in self._telemetry:
            telemetry.repeat()

    def _report(self) -> RobotReport:
        """Return the report to the ground on what came."""
        gate, count = self.commands.gate, self._node.received_count('up')
        refused = gate.times.refused(time.monotonic())
        late_s, held_up = refused[2] if refused else (None, False)
        loss, goal = self._command_loss.loss, self.goals.keeper
        first = None
        if len(self.cameras) > 1:
            first = NO_CAMERA if self._first is None else self._first
        return RobotReport(
            gate.acknowledged,
            gate.held,
            loss,
            count,
            late_s,
            held_up,
            goal.number,
            goal.state,
            first,
            self._up.receiver.lacked if self._lacked is None else self._lacked,
        )

    @property
    def _pause_s(self) -> float:
        """Time between reports, so that they take a twentieth of the air, s."""
        size = ROBOT_REPORT_BYTES + (len(self.cameras) > 1)
        return max(LEAST_PAUSE_S, pause_s(self._down, self._up, size))

    def on_received(self, received: Received, now: float) -> None:
        """Handle a payload that came up the link."""
        self.goals.heard(now)
        if received.truncated and received.traffic_class is not TrafficClass.STOP:
            return  # its beginning may read as something else, as a shorter request
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
            'camera_info unmatched': sum(camera.unmatched for camera in self.cameras),
            'telemetry sent': sum(telemetry.sent for telemetry in self._telemetry),
            **self._camera_figures(),
        }

    def _camera_figures(self) -> dict[str, object]:
        """Return the share of the air of each camera, where there are several."""
        named = zip(self.cameras, self._node.shares, strict=False)
        return {f'share of {camera.stream.name}': share for camera, share in named}

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

    def statistics(self, end: End, now: float, camera: int | None = None) -> Statistics:
        """Return the counters of frames; what came of them is what the ground reports."""
        cameras = self.cameras if camera is None else [self.cameras[camera]]
        delivered = sum(one.feedback.delivered for one in cameras)
        lost = sum(one.feedback.lost for one in cameras)
        return end.sent_statistics(now, delivered, lost, camera)

    @property
    def loss(self) -> float:
        """Share of datagrams lost recently, as the ground reports it, 0..1."""
        return self._reported.feedback.loss

    def trouble(self, now: float) -> str:
        """Return that the ground is silent, or that its commands are refused."""
        refused = self.commands.trouble(time.monotonic())
        return '; '.join(filter(None, (self._node.silence(self.report_pause_s), refused)))

    def missing_frames(self, now: float) -> str:
        """Return that no frames come from the encoder; empty when they do."""
        missing = [camera for camera in self.cameras if camera.is_missing(now)]
        return missing_from(missing, self.cameras, 'no frames come from the encoder')

    @property
    def report_pause_s(self) -> float:
        """Time between the ground's reports, s."""
        return max(LEAST_PAUSE_S, pause_s(self._up, self._down, REPORT_BYTES))

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
            self._on_still_asked(request.still, received.camera)
        if request.setup:
            self._telemetry[received.camera].repeat()
        if request.first is not None:
            self._put_first(request.first)
        self.cameras[received.camera].on_request(request)

    def _put_first(self, number: int) -> None:
        """Let a camera come first, or none."""
        if number != NO_CAMERA and number >= len(self.cameras):
            self._node.refuse(f'camera {number} cannot come first: there is none')
            self._lacked = number
            return
        self._lacked = None
        self._first = None if number == NO_CAMERA else number
        name = 'no camera' if self._first is None else f'camera {self.cameras[number].stream.name}'
        self._node.get_logger().info(f'the operator lets {name} come first')

    def _on_still_asked(self, ask: bytes, camera: int) -> None:
        try:
            self._stills.ask(ask, camera)
        except PayloadError as error:
            self._node.refuse(f'request refused: {error}')

    def _on_report(self, received: Received) -> None:
        try:
            report = payloads.Report.unpack(received.payload)
            self._reported = self.cameras[received.camera]
            self._reported.feedback.on_report(report, received.session)
            self._node.peer_received('down', received, report.count)
        except PayloadError as error:
            self._node.refuse(f'report refused: {error}')
