"""
The guard: publishes cmd_vel, and stops the robot when the link commands no more movement.

A process of its own, so small that little can hold it up: no torch, no disk, and no network but
DDS, where it keeps away from shared memory, as a process that is paused there may hold a lock.
What the link publishes on link/cmd_vel goes to cmd_vel. A robot that moves is stopped when nothing
came for the link's command_timeout_s, at the start of the guard, and at its end. The link takes
guard/alive, and stops the robot itself when that ends.

A thread stops the robot and publishes guard/alive, on the monotonic clock. The executor's timers
are not enough: a middleware may wait by the wall clock, and one that is set back puts them off.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('guard'))

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Twist
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Empty, Float32

from gsc_ros.ros import parameters, process, topics
from gsc_ros.ros.link.velocity import CmdVel, moves
from gsc_ros.ros.monotonic import Alarm, locked
from gsc_ros.ros.parameters import ParameterError, Schema, parameter

_ALIVE_S = 0.05
# A zero is published so many times more, once every `_ALIVE_S`; at the start subscribers have yet
# to be found.
_REPEATS = 2
_REPEATS_AT_START = 20
_TIMEOUT_S = 1.0  # until the link publishes its own
_LAST_LINES_S = 0.2
# Who holds the lock for longer hangs in a publisher.
_LOCK_S = 0.01
_JOIN_S = 1.0
_LOG_PERIOD_S = 5.0
# Of the process: its log goes to the console only, as a disk may hold it up.
_PROFILE = 'fastdds_shm.xml'  # ours, for the other nodes
_ARGUMENTS = ['--ros-args', '--disable-external-lib-logs', '--disable-rosout-logs']


@dataclass(frozen=True)
class GuardParameters(Schema):
    """Parameters of the guard."""

    command_timeout_s: float = parameter(
        0.0,
        'Time without a command after which the robot stops, in s; 0: as the link states it',
        low=0.0,
        high=1e4,
        read_only=True,
    )
    stamped: bool = parameter(
        False, 'Publish cmd_vel as TwistStamped, and not as Twist', read_only=True
    )
    frame_id: str = parameter('base_link', 'Frame of cmd_vel, where it is stamped', read_only=True)


class Guard(Node):
    """Forwards velocities, and stops the robot. ``refused`` counts velocities that were old."""

    Parameters = GuardParameters
    exit_code = 0
    active = True
    closing = False

    def __init__(self, parameter_overrides: list[Parameter] | None = None, **options: Any) -> None:
        # Services and the time from /clock are work that has no place here.
        no_services = Parameter('start_type_description_service', value=False)
        super().__init__(
            'guard',
            parameter_overrides=[*(parameter_overrides or []), no_services],
            start_parameter_services=False,
            enable_rosout=False,
            **options,
        )
        parameters.declare(self, GuardParameters)
        values = parameters.read(self, GuardParameters)
        if not values.stamped:  # only stamps need it
            self.set_parameters([Parameter('use_sim_time', value=False)])
        self._fixed_timeout = values.command_timeout_s > 0
        self.timeout_s = values.command_timeout_s or _TIMEOUT_S
        self.moving = False
        self._moved_at = 0.0  # when the link sent the last velocity that moves (s, monotonic)
        self.refused = self.stops = 0
        self._zeros = _REPEATS_AT_START
        self._cmd_vel = CmdVel(self, values.stamped, values.frame_id)
        self._cmd_vel.stop()
        self._alive = self.create_publisher(Empty, topics.GUARD_ALIVE, topics.SENSOR)
        self._lock = threading.Lock()
        self._alarm = Alarm()
        self._beat_at = 0.0
        self._beat_within(self.timeout_s)
        self.create_subscription(Twist, topics.LINK_CMD_VEL, self._on_velocity, topics.NEWEST)
        self.create_subscription(Float32, topics.COMMAND_TIMEOUT, self._on_timeout, topics.LATCHED)
        self._running = True
        self._thread = threading.Thread(target=self._watch, name='stop', daemon=True)
        self._thread.start()

    def _on_velocity(self, twist: Twist, info: Any) -> None:
        # What waited while this process, or the whole machine, was paused is no command any more;
        # to stop it is never too late.
        received_at, moving = time.monotonic(), moves(twist)
        age_s = (time.time_ns() - info['source_timestamp']) * 1e-9
        if moving and abs(age_s) > self.timeout_s:
            self.refused += 1
            self.get_logger().warning(
                f'a velocity of the link is {age_s:.2f} s old and is not passed on',
                throttle_duration_sec=_LOG_PERIOD_S,
            )
            return
        with locked(self._lock, _LOCK_S):
            if moving:
                self._zeros = 0
                self._moved_at = received_at - max(0.0, age_s)
            self.moving = moving
            self._alarm.set()  # before what may take long
            self._cmd_vel.publish(twist)
        if moving and not self.moving:
            # It was stopped while the publisher took its time, which has not the last word.
            self._cmd_vel.stop()

    def _on_timeout(self, message: Float32) -> None:
        timeout_s = message.data
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            return
        self._beat_within(timeout_s)
        if self._fixed_timeout:
            return
        # A link that is started again puts no stop off: it counts from the last velocity.
        self.timeout_s = timeout_s
        self._alarm.set()

    def _beat_within(self, timeout_s: float) -> None:
        """Publish often enough that the guard lives: the link misses it after its own timeout."""
        self._beat_s = min(_ALIVE_S, timeout_s / 4)

    # The thread

    def _watch(self) -> None:
        """Stop the robot when it is time, whatever the executor does."""
        while self._running:
            try:
                self._alarm.wait(self._pause_s())
                if self._running and self.context.ok():
                    self._check(time.monotonic())
            except Exception as error:  # of any kind: this thread must not end
                self.get_logger().error(
                    f'trouble with the stop: {error}', throttle_duration_sec=_LOG_PERIOD_S
                )
                time.sleep(_LOCK_S)

    def _pause_s(self) -> float:
        """Return how long there is nothing to do, s."""
        due = [self._beat_at, *([self._moved_at + self.timeout_s] if self.moving else [])]
        return min(due) - time.monotonic()

    def _check(self, now: float) -> None:
        with locked(self._lock, _LOCK_S):
            expired = self.moving and now >= self._moved_at + self.timeout_s
            if expired:
                self.moving = False
                self._zeros = _REPEATS
                self._cmd_vel.stop()
        if expired:
            self.stops += 1
            self.get_logger().warning(
                f'robot stopped: nothing came from the link for {self.timeout_s:g} s'
            )
        if now < self._beat_at:
            return
        self._beat_at = now + self._beat_s
        with locked(self._lock, _LOCK_S):
            if self._zeros:
                self._zeros -= 1
                self._cmd_vel.stop()
        self._alive.publish(Empty())

    def halt(self) -> None:
        """Stop the robot."""
        if self.context.ok():
            self._cmd_vel.stop()
            self._cmd_vel.wait()

    def close(self) -> None:
        """End the thread."""
        self._running = False
        self._alarm.set()
        self._thread.join(_JOIN_S)


def keep_out_of_shared_memory() -> None:
    """Have Fast DDS use UDP alone, unless the user has a profile of his own."""
    names = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
    for name in names:
        if os.path.basename(os.environ.get(name, '')) == _PROFILE:
            del os.environ[name]
    if not any(name in os.environ for name in names):
        os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')


@contextlib.contextmanager
def log_that_never_blocks() -> Iterator[None]:
    """Pass stderr on in a thread: who reads it may be paused, and then lines are lost."""
    kept = os.dup(2)
    read, write = os.pipe()
    os.set_blocking(write, False)
    os.dup2(write, 2)
    os.close(write)

    def pass_on() -> None:
        with contextlib.suppress(OSError):  # nobody reads any more
            while text := os.read(read, 4096):
                os.write(kept, text)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(kept, 2)
        thread.join(_LAST_LINES_S)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    keep_out_of_shared_memory()
    try:
        with log_that_never_blocks():
            return process.run(Guard, [*(sys.argv if args is None else args), *_ARGUMENTS])
    except ParameterError as error:
        print(f'guard: {error}', file=sys.stderr)  # noqa: T201
        return 1
