"""
Commands and STOP at the robot's side: what the command gate accepts goes to the guard.

Publishes link/cmd_vel and link/command_timeout; subscribes guard/alive. Stops go to cmd_vel as
well, so that they arrive whatever became of the guard. A thread does what must not wait for
anything else that the node does: it stops a robot that nobody commands or guards any more, and
repeats a STOP.
"""

import threading
import time
from collections import deque
from contextlib import AbstractContextManager

from geometry_msgs.msg import Twist
from rclpy.clock import ROSClock
from rclpy.duration import Duration
from std_msgs.msg import Empty, Float32

from gsc_ros.link.datagrams.goals import Goal
from gsc_ros.link.datagrams.payloads import Command, Stop
from gsc_ros.link.datagrams.reassembly import Received
from gsc_ros.link.traffic.command_gate import CommandGate, Now, Origin, Refusal
from gsc_ros.ros import convert, topics
from gsc_ros.ros.link.node import LOG_PERIOD_S, LinkBase
from gsc_ros.ros.link.velocity import CmdVel, moves
from gsc_ros.ros.monotonic import Alarm, locked

# A guard that was silent for so long is missing; at most the command timeout.
_SILENT_S = 0.5
_REPEAT_S = 0.2
_REPEATS = 2
# Who holds the lock for longer hangs in a publisher.
_LOCK_S = 0.01
_ACKNOWLEDGED_S = 0.2
# A ground that has just received this session addresses it, there and back, after so long.
_ADDRESS_S = 5.0
_RECENT_S = 10.0  # commands for another session are reported for so long after the last
_JOIN_S = 1.0


class RobotCommands:
    """
    Executes commands. ``gate`` accepts or refuses them, ``stops`` counts stops as no
    commands came.

    :meth:`halt` and :meth:`halt_and_wait` may be called in any thread, all else in the node's.
    """

    def __init__(self, node: LinkBase) -> None:
        self._node = node
        values = node.values
        self._velocities = node.create_publisher(Twist, topics.LINK_CMD_VEL, topics.NEWEST)
        self._timeout = node.create_publisher(Float32, topics.COMMAND_TIMEOUT, topics.LATCHED)
        self._cmd_vel = CmdVel(node, values.stamped, values.frame_id)
        self.gate = CommandGate(values.command_max_age_s, values.command_timeout_s)
        self.stops = 0
        self._lock = threading.Lock()
        self._woken = Alarm()
        self._running = False
        self._zeros = 0  # yet to be published
        self._zero_at = 0.0
        # When the guard was last received, written by the node's thread, and which of these times
        # the robot was stopped after, as nothing more came, written by the thread that watches.
        self._guarded_at: float | None = None
        self._lost_at: float | None = None
        self._log_lines: deque[str] = deque(maxlen=8)  # on stops, yet to be logged
        self._misaddressed_at: float | None = None  # since when all commands have been,
        self._misaddressed_last = 0.0  # and when the last one was

    def before_reset(self) -> None:
        """Stop a robot that moves, before anything that may take time or fail."""
        if self.gate.moving:
            self.halt(self._node.reset_reason)

    def reset(self) -> None:
        """Begin as another session of the robot, which stands."""
        self.gate.reset(self._node.session)
        self.gate.refused.clear()
        self.gate.ran = self.stops = 0
        self._misaddressed_at = None

    def start(self) -> None:
        """Subscribe to the guard, and watch."""
        self._node.create_subscription(Empty, topics.GUARD_ALIVE, self._on_alive, topics.SENSOR)
        self.parameters_changed()
        self._thread = threading.Thread(target=self._watch, name='stop', daemon=True)
        self._running = True
        self._node.add_cleanup(self.stop)
        self._thread.start()

    def stop(self) -> None:
        """Stop a robot that moves, and watch no more; a second call does nothing."""
        if not self._running:
            return
        self.halt_and_wait()
        self._running = False
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def parameters_changed(self) -> None:
        """Apply changed parameters, and publish the timeout for the guard."""
        values = self._node.values
        self.gate.max_age_s = values.command_max_age_s
        self.gate.timeout_s = values.command_timeout_s
        self._timeout.publish(Float32(data=values.command_timeout_s))
        self._woken.set()

    def log_stops(self) -> None:
        """Log why the robot was stopped, and errors of the thread that stops it."""
        while self._log_lines:
            self._node.get_logger().warning(self._log_lines.popleft())

    # State

    @property
    def guard_missing(self) -> bool:
        """Whether nothing came from the guard recently, so that no command moves the robot."""
        at = self._guarded_at
        return at is None or time.monotonic() > at + self._silent_s

    @property
    def alone(self) -> str:
        """Topic that this node alone stops the robot on, as the guard has another; or empty."""
        topic = self._cmd_vel.topic
        return topic if self._node.count_publishers(topic) < 2 else ''

    def trouble(self, now: float) -> str:
        """Return why most commands do not run, at a time (s, monotonic); empty for nothing."""
        misaddressed = ''
        if self._is_misaddressed(now) and now < self._misaddressed_last + _RECENT_S:
            misaddressed = (
                'commands are refused as they are for another session of the robot: the ground '
                'does not receive this robot, or drives another one'
            )
        return '; '.join(filter(None, (self.gate.times.trouble(now), misaddressed)))

    @property
    def _silent_s(self) -> float:
        return min(_SILENT_S, self.gate.timeout_s)

    @property
    def late(self) -> int:
        """How many commands were not executed for their age."""
        refused = self.gate.refused
        return refused[Refusal.LATE] + refused[Refusal.FUTURE] + refused[Refusal.DELAYED]

    # Messages

    def on_received(self, received: Received, message: Command | Stop, idle_s: float) -> None:
        """Execute a command, STOP or release; idle_s: what it takes over an idle link."""
        origin, now = self._origin(received, idle_s)
        if isinstance(message, Command):
            self._command(origin, message, now)
        elif message.stop:
            again = self.gate.held and self.gate.acknowledged == message.number
            if self.gate.stop(origin, message.number, message.stamp_us, now) and not again:
                self.halt('STOP by the operator')
        else:
            self._release(origin, message, now)

    def judge_goal(self, received: Received, goal: Goal, idle_s: float) -> str:
        """Return why the robot may not go to a goal; empty where it may, or for an end."""
        origin, now = self._origin(received, idle_s)
        with self._locked():
            if goal.place is None:
                self.gate.end_goals(origin, goal.stamp_us, now)
                return ''
            refusal = self.gate.goal(origin, goal.robot, goal.stamp_us, now)
        return refusal.value if refusal is not None else ''

    def _origin(self, received: Received, idle_s: float) -> tuple[Origin, Now]:
        """Return where what came is from, and when that is."""
        node = self._node
        clock = node.get_clock()
        steady = not (isinstance(clock, ROSClock) and clock.ros_time_is_active)
        now = Now(node.time_ns // 1000, time.monotonic(), idle_s, steady)
        return Origin(received.session, received.number, received.key, received.order), now

    def _command(self, origin: Origin, command: Command, now: Now) -> None:
        twist = convert.to_twist(command.velocity)
        with self._locked():
            refusal = self.gate.command(origin, command.robot, command.stamp_us, moves(twist), now)
            if refusal is None:
                self._zeros = 0
                self._woken.set()  # before what may take long
                self._velocities.publish(twist)
        if refusal is None:
            self._expire()
            if moves(twist) and not self.gate.moving:
                # It was stopped while the publisher took its time, which has not the last word.
                with self._locked():
                    self._publish_zero()
            self._misaddressed_at = None
        elif refusal is Refusal.ADDRESS:
            self._note_address(now.monotonic_s)
        elif refusal is not Refusal.REPEAT:
            trouble = self.gate.times.trouble(now.monotonic_s)
            self._warn(f'command not executed: {refusal.value}{trouble and f" ({trouble})"}')

    def _note_address(self, now: float) -> None:
        """Note a command for another session, which is usual until the ground has found this."""
        if self._misaddressed_at is None:
            self._misaddressed_at = now
        self._misaddressed_last = now
        if self._is_misaddressed(now):
            self._warn(f'command not executed: {Refusal.ADDRESS.value}')

    def _is_misaddressed(self, now: float) -> bool:
        """Whether commands have been for another session for longer than is usual."""
        at = self._misaddressed_at
        return at is not None and now > at + 2 * self._node.delay_s + _ADDRESS_S

    def _release(self, origin: Origin, message: Stop, now: Now) -> None:
        held = self.gate.held
        refusal = self.gate.release(origin, message.number, message.robot, message.stamp_us, now)
        if not held:
            return
        if refusal is None:
            self._node.get_logger().warning('STOP released by the operator')
        else:
            self._warn(f'STOP not released: the release is {refusal.value}')

    def _on_alive(self, _message: Empty) -> None:
        self._guarded_at = time.monotonic()

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(text, throttle_duration_sec=LOG_PERIOD_S)

    # Stopping

    def halt(self, reason: str) -> None:
        """Stop the robot now, and repeat the zero a few times."""
        with self._locked():
            self.gate.halt()
            self._zeros = _REPEATS
            self._publish_zero()
        self._log_lines.append(f'robot stopped: {reason}')
        self._woken.set()

    def halt_and_wait(self) -> None:
        """Stop a robot that moves, and wait a little until that has arrived."""
        if self._running and self.gate.moving:
            self.halt('the link is closed')
            self._cmd_vel.wait()
            # What the guard has yet to pass on came before.
            self._velocities.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
            self.log_stops()

    def _publish_zero(self) -> None:
        self._zero_at = time.monotonic() + _REPEAT_S
        if self._node.context.ok():
            self._cmd_vel.stop()
            self._velocities.publish(Twist())

    def _expire(self) -> None:
        with self._locked():
            expired = self.gate.expire(time.monotonic())
        if expired:
            self.stops += 1
            self.halt('no command came')

    def _locked(self) -> AbstractContextManager[bool]:
        """Keep decisions and their messages in one order, as far as nobody hangs."""
        return locked(self._lock, _LOCK_S)

    # The thread

    def _watch(self) -> None:
        """Stop the robot when it is time, whatever the node's thread does; logs nothing."""
        while self._running:
            try:
                self._woken.wait(self._pause_s())
                if self._running:
                    self._check()
            except Exception as error:
                self._log_lines.append(f'error in the thread that stops the robot: {error}')
                time.sleep(_LOCK_S)

    def _check(self) -> None:
        self._expire()
        guarded_at = self._watched_guard()
        if guarded_at is not None and time.monotonic() > guarded_at + self._silent_s:
            self._lost_at = guarded_at
            self.halt('nothing comes from the node guard; see that it runs')
        if (self._zeros or self.gate.held) and time.monotonic() >= self._zero_at:
            with self._locked():
                if self._zeros or self.gate.held:
                    self._zeros = max(0, self._zeros - 1)
                    self._publish_zero()

    def _watched_guard(self) -> float | None:
        """Return when the guard was last received; None where its silence stops no robot."""
        guarded_at = self._guarded_at
        return guarded_at if self.gate.moving and guarded_at != self._lost_at else None

    def _pause_s(self) -> float | None:
        """Return how long there is nothing to do, s; None: until something comes."""
        deadlines = [self.gate.next_deadline]
        guarded_at = self._watched_guard()
        if guarded_at is not None:
            deadlines.append(guarded_at + self._silent_s)
        if self._zeros or self.gate.held:
            deadlines.append(self._zero_at)
        times = [at for at in deadlines if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None
