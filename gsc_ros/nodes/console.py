"""
The operator's console: a web page with the image, its age, the link, the wheel and the STOP.

Subscribes the decoded topics, the status of link, encoder and decoder, and /diagnostics; publishes
teleop/* and decoded/key_missed. What it decides is in gsc_ros/console; what it has of each camera
is in gsc_ros/ros/console/camera.py. A thread on the monotonic clock publishes velocities, and zero
when the driver's browser falls silent or the image is stale; it waits neither for the web server
nor for the executor. Link and guard stop the robot too when commands end.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('console'))


import threading
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from std_msgs.msg import String

from gsc_ros.console import panel, words
from gsc_ros.console.access import Access, read_password
from gsc_ros.console.desk import Desk
from gsc_ros.console.files import Files
from gsc_ros.console.freshness import Age
from gsc_ros.console.stops import State
from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import lifecycle, topics
from gsc_ros.ros.console.camera import CameraView
from gsc_ros.ros.console.outputs import Outputs
from gsc_ros.ros.console.parameters import ConsoleParameters
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.diagnostics import ERROR, OK, WARN, Report
from gsc_ros.ros.monotonic import Alarm, locked
from gsc_ros.ros.worker import NewestWorker

_STATE_S = 0.5
# Who holds the lock for longer hangs in a publisher.
_LOCK_S = 0.05
_JOIN_S = 1.0
_EXTRA = "the console needs starlette, uvicorn and websockets: pip install 'gsc_ros[console]'"


class Console(lifecycle.GscNode[ConsoleParameters]):
    """
    Joins topics, desk and web server.

    The executor's thread takes messages, the server's thread the operators' words, and the watch
    publishes velocities; a lock is held around the desk.
    """

    Parameters = ConsoleParameters

    def __init__(self, **options: object) -> None:
        super().__init__('console', **options)

    def setup(self) -> None:
        """Check who may connect, and listen."""
        v = self.values
        password = read_password(v.password_file) if v.password_file else None
        if bool(v.tls_certificate) != bool(v.tls_key):
            raise ValueError('tls_certificate and tls_key belong together: set both, or neither')
        access = Access(v.host, password, v.session_s, v.session_idle_s)
        try:
            # The web libraries are imported when the node is configured.
            from gsc_ros.console.server import Server, Settings
        except ImportError as error:
            raise ImportError(f'{_EXTRA} ({error})') from error
        folder = Path(v.output).expanduser()
        self._recording = Recording(self, folder)
        self.add_cleanup(self._recording.close)
        self._lock = threading.Lock()
        self._alarm = Alarm()
        self.cameras = [
            CameraView(self, number, stream, self._recording, self._hold, self._tell)
            for number, stream in enumerate(parse_cameras(v.cameras))
        ]
        self._outputs = Outputs(
            self, self.cameras, self._recording, self._hold, self._snapshot, self._note
        )
        self.add_cleanup(self._outputs.close)
        self._reset()
        settings = Settings(
            v.host, v.port, v.tls_certificate, v.tls_key, v.max_viewers, len(self.cameras)
        )
        self.server: Server = Server(settings, access, self, Files(folder))
        self.add_cleanup(self.server.close)
        self._login = access.needs_password
        self._open_elsewhere = self._login and not v.tls_certificate

    def _reset(self) -> None:
        self.desk = Desk(
            self.values.limits(), lambda camera: self.cameras[camera].age().reason, self._outputs
        )
        self._statuses: dict[str, Any] = {}  # the newest, by topic
        self._troubles = panel.Troubles()
        self._history = panel.History()

    def parameters_changed(self) -> None:
        """Apply limits."""
        with self._hold():
            self.desk.drive.limits = self.values.limits()
            for camera in self.cameras:
                camera.freshness.stale_after_s = self.values.stale_after_s

    def start(self) -> None:
        """Subscribe, watch, and serve."""
        self._teller: NewestWorker[bool] = NewestWorker(self._tell_now, self._untold)
        self.add_cleanup(self._teller.close)
        for camera in self.cameras:
            camera.start(self.server)
        for topic, kind, quality in (
            (topics.STATUS, LinkStatus, topics.LATCHED),
            (topics.FIRST_STATED, String, topics.LATCHED),
            (topics.GOAL_STATE, String, topics.LATCHED),
            ('/diagnostics', DiagnosticArray, topics.DIAGNOSTICS),
        ):
            self.create_subscription(kind, topic, partial(self._on_message, topic), quality)
        self._running = True
        thread = threading.Thread(target=self._watch, daemon=True, name='console-watch')
        thread.start()
        self.add_cleanup(partial(thread.join, _JOIN_S))
        self.add_cleanup(self._end_watch)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_STATE_S, self._on_timer, clock=steady)
        self.server.start()
        self.get_logger().info(f'the console is at {self.server.url}')

    def _end_watch(self) -> None:
        self._running = False
        self._alarm.set()

    def stop(self) -> None:
        """Stop the robot that is driven from here."""
        self.halt()

    def halt(self) -> None:
        """Stop the robot that is driven from here; any thread."""
        desk = getattr(self, 'desk', None)
        if desk is None or not self.context.ok():
            return
        with self._hold():
            drove = desk.drive.driver is not None
            desk.drive.halt()
        if drove:
            self._outputs.velocity((0.0, 0.0))

    # On the executor's thread

    def _on_message(self, topic: str, message: Any) -> None:
        self._recording.write(topic, message)
        if topic == '/diagnostics':
            for status in message.status:
                self._troubles.add(status.name, status.level[0], status.message, time.monotonic())
            return
        self._statuses[topic] = message
        if topic == topics.STATUS:
            if not self.cameras[0].name:  # several have a status each
                self.cameras[0].on_link(message)
            before, self.desk.state = self.desk.state, State(min(message.stop, max(State)))
            if self.desk.state != before:
                self._alarm.set()
                self._tell()

    def _on_timer(self) -> None:
        for camera in self.cameras:
            camera.screen.follow()
        self._tell()

    # For the page

    def age(self) -> Age:
        """Return the age of the image that is driven by, now."""
        return self.cameras[self.desk.camera(self.desk.drive.driver)].age()

    def _state(self, camera: int) -> str:
        """Return what the page shows of a camera and the robot, as a message."""
        now, link = time.monotonic(), self._statuses.get(topics.STATUS)
        with self._hold():
            desk = self.desk.figures(camera)
        figures = panel.link_figures(link, self.cameras[camera].frame_bytes)
        self._history.add(now, figures, self.age().age_s)
        return words.dump(
            'state',
            **self.cameras[camera].figures(),
            first=self._data(topics.FIRST_STATED, ''),
            link=figures,
            goal=self._data(topics.GOAL_STATE, ''),
            troubles=self._troubles.listed(now),
            viewers=self.server.viewers,
            recording=self._recording.name,
            simulated=bool(self.get_parameter('use_sim_time').value),
            **desk,
        )

    def _data(self, topic: str, default: Any) -> Any:
        message = self._statuses.get(topic)
        return default if message is None else message.data

    def _tell(self) -> None:
        """Tell all viewers how it is, from a thread of its own: no STOP waits for that."""
        if self.server.viewers:
            self._teller.offer(True)

    def _tell_now(self, _token: bool) -> None:
        for camera in range(len(self.cameras)):
            if self.server.views(camera):
                self.server.tell(self._state(camera), camera, 'state')

    def _untold(self, error: Exception) -> None:
        if self.context.ok():
            self.get_logger().warning(
                f'viewers cannot be told how it is: {error}', throttle_duration_sec=5.0
            )

    def _note(self, text: str, bad: bool) -> None:
        self.server.tell(words.dump('note', text=text, bad=bad))
        self._tell()

    def _snapshot(self, camera: int) -> str:
        return self.cameras[camera].screen.keep(self._recording.folder, self._state(camera))

    def _hold(self) -> AbstractContextManager[None]:
        """Hold the desk, as far as nobody hangs."""
        return locked(self._lock, _LOCK_S)

    # For the server, on its thread

    def opened(self, viewer: int, address: str) -> list[str]:
        """Greet a viewer."""
        self.get_logger().info(f'viewer {viewer} has come from {address}')
        limits = {'linear': self.values.max_linear, 'angular': self.values.max_angular}
        greeting = words.dump(
            'hello', viewer=viewer, limits=limits, heartbeat=self.values.heartbeat_s,
            history=self._history.rows(), login=self._login,
            cameras=[camera.name for camera in self.cameras] if len(self.cameras) > 1 else [],
        )  # fmt: skip
        self._tell()
        return [greeting]

    def heard(self, viewer: int, word: words.Word) -> list[str]:
        """Follow a viewer's word."""
        try:
            with self._hold():
                answers = self.desk.hear(viewer, word, time.monotonic())
        finally:  # a zero goes out also where publishing the STOP fails
            if not isinstance(word, words.Beat):
                self._alarm.set()
        if isinstance(word, words.Plain | words.Confirm | words.Record | words.Watch):
            self._tell()
        return answers

    def gone(self, viewer: int) -> None:
        """Note that a viewer is gone: one that drove lets go."""
        with self._hold():
            self.desk.gone(viewer)
        self._alarm.set()
        if self.context.ok():
            self.get_logger().info(f'viewer {viewer} is gone')

    # The watch, on its own thread

    def _watch(self) -> None:
        """Publish velocities and stops when it is time, whatever else hangs."""
        while self._running:
            try:
                with self._hold():
                    due = self.desk.step(time.monotonic()) if self.context.ok() else None
                self._alarm.wait(None if due is None else due - time.monotonic())
            except Exception as error:  # of any kind: this thread must not end
                if not self.context.ok():
                    return
                self.get_logger().error(
                    f'trouble with a command: {error}', throttle_duration_sec=5.0
                )
                time.sleep(_LOCK_S)

    # State

    def diagnose(self) -> Report:
        """Return who looks and who drives."""
        drive = self.desk.drive
        level, message = OK, f'serving {self.server.url}'
        if not self.active:
            message = 'not active'
        elif self.server.problem:
            level, message = ERROR, f'the web server has ended: {self.server.problem}'
        elif self.server.trouble:
            level, message = WARN, self.server.trouble
        elif self._recording.lost:
            level, message = WARN, 'the recording lacks messages: the disk is too slow'
        elif self._open_elsewhere:
            level = WARN
            message += '; the password crosses the network in the clear: set tls_certificate'
        return Report(
            level,
            message,
            {
                'viewers': self.server.viewers,
                'driver': drive.driver or 0,
                'image age s': self.age().age_s,
                'stale': self.age().stale,
                'browser fell silent': drive.timeouts,
                'wishes held up': drive.late,
                'requests refused': self.server.refused,
                'messages not recorded': self._recording.lost,
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Console, args)
