"""
The operator's console: a web page with the image, its age, the link, the wheel and the STOP.

Subscribes the decoded topics, the status of link, encoder and decoder, and /diagnostics; publishes
teleop/* and decoded/key_missed. What it decides is in gsc_ros/console. A thread on the monotonic
clock publishes velocities, and zero when the driver's browser falls silent or the image is stale;
it waits neither for the web server nor for the executor. Link and guard stop the robot too when
commands end.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('console'))


import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Bool, Empty, Float32, String, UInt16

from gsc_ros.console import panel, words
from gsc_ros.console.access import Access, read_password
from gsc_ros.console.desk import Desk
from gsc_ros.console.drive import Velocity
from gsc_ros.console.files import Files
from gsc_ros.console.freshness import Age, Freshness
from gsc_ros.console.stops import State
from gsc_ros.msg import DecoderStatus, EncoderStatus, LinkStatus, SemanticFrame
from gsc_ros.region import WHOLE, Region
from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.console.parameters import ConsoleParameters
from gsc_ros.ros.console.path import GroundPath
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.console.screen import Screen
from gsc_ros.ros.diagnostics import ERROR, OK, WARN, Report
from gsc_ros.ros.monotonic import Alarm, locked

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
        self.add_cleanup(self._recording.stop)
        self._velocity: Any = self.create_publisher(
            TwistStamped if v.stamped else Twist, topics.TELEOP, topics.NEWEST
        )
        self._stops = self.create_publisher(Bool, topics.STOP, topics.NEWEST)
        self._regions = self.create_publisher(RegionOfInterest, topics.REGION, topics.NEWEST)
        self._keys = self.create_publisher(Empty, topics.KEY_MISSED, topics.NEWEST)
        self._budgets = self.create_publisher(UInt16, topics.BUDGET, topics.NEWEST)
        self._rates = self.create_publisher(Float32, topics.RATE, topics.NEWEST)
        self._path = GroundPath(self, lambda: self._screen)
        settings = Settings(v.host, v.port, v.tls_certificate, v.tls_key, v.max_viewers)
        self._reset()
        self._lock = threading.Lock()
        self._alarm = Alarm()
        self._disk = threading.Lock()
        self.server: Server = Server(settings, access, self, Files(folder))
        self.add_cleanup(self.server.close)
        self._login = access.needs_password
        self._open_elsewhere = self._login and not v.tls_certificate

    def _reset(self) -> None:
        self._freshness = Freshness(self.values.stale_after_s)
        self.desk = Desk(self.values.limits(), lambda: self.age().reason, self)
        self._statuses: dict[str, Any] = {}  # the newest, by topic
        self._troubles = panel.Troubles()
        self._history = panel.History()
        self._caption = ''
        self._size = (0, 0)
        self._frame_bytes = 0

    def parameters_changed(self) -> None:
        """Apply limits."""
        with locked(self._lock, _LOCK_S):
            self.desk.drive.limits = self.values.limits()
            self._freshness.stale_after_s = self.values.stale_after_s

    def start(self) -> None:
        """Subscribe, watch, and serve."""
        self._screen = Screen(self, lambda: self.server.views, self.server.show)
        self.add_cleanup(self._screen.close)
        for topic in Screen.TOPICS:
            self.create_subscription(Image, topic, partial(self._on_image, topic), topics.IMAGES)
        for topic, kind, quality in (
            (topics.STATUS, LinkStatus, topics.LATCHED),
            (topics.ENCODER_STATUS, EncoderStatus, topics.LATCHED),
            (topics.DECODER_STATUS, DecoderStatus, topics.LATCHED),
            (topics.DECODED_INFO, CameraInfo, topics.IMAGES),
            (topics.CAPTION, String, topics.IMAGES),
            (topics.GOAL_STATE, String, topics.LATCHED),
            (topics.RECEIVED, SemanticFrame, topics.NEWEST),
            ('/diagnostics', DiagnosticArray, topics.DIAGNOSTICS),
        ):
            self.create_subscription(kind, topic, partial(self._on_other, topic), quality)
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
        with locked(self._lock, _LOCK_S):
            drove = desk.drive.driver is not None
            desk.drive.halt()
        if drove:
            self.velocity((0.0, 0.0))

    # On the executor's thread

    def _on_image(self, topic: str, message: Image) -> None:
        if topic == topics.DECODED:
            decoder = self._statuses.get(topics.DECODER_STATUS)
            unchanged_s = decoder.unchanged_s if decoder else 0.0
            with locked(self._lock, _LOCK_S):
                self._freshness.on_image(
                    convert.seconds(message.header.stamp), self._steady_s(), unchanged_s
                )
            self._size = message.width, message.height
            if self.server.viewers:
                self._tell()
        self._screen.take(topic, message)
        self._recording.write(topic, message)

    def _on_other(self, topic: str, message: Any) -> None:
        self._recording.write(topic, message)
        if topic == '/diagnostics':
            for status in message.status:
                self._troubles.add(status.name, status.level[0], status.message, time.monotonic())
            return
        self._statuses[topic] = message
        if topic == topics.CAPTION:
            self._caption = message.data
        elif topic == topics.DECODED_INFO:
            self._path.on_info(message)
        elif topic == topics.RECEIVED:
            self._frame_bytes = len(message.data)
            self._freshness.on_frame(self._frame_bytes)
        elif topic == topics.STATUS:
            before, self.desk.state = self.desk.state, State(min(message.stop, max(State)))
            if self.desk.state != before:
                self._alarm.set()
                self._tell()

    def _on_timer(self) -> None:
        self._screen.follow()
        if self.server.viewers:
            self._tell()

    # For the page

    def _steady_s(self) -> float:
        """Return a time for how long an image has been shown: simulated where stamps are."""
        if self.get_parameter('use_sim_time').value:
            return 1e-9 * self.get_clock().now().nanoseconds
        return time.monotonic()

    def age(self) -> Age:
        """Return the age of the image on screen, now."""
        names = topics.STATUS, topics.ENCODER_STATUS, topics.DECODER_STATUS
        way = panel.way(*(self._statuses.get(name) for name in names))
        clock_s = 1e-9 * self.get_clock().now().nanoseconds
        return self._freshness.age(clock_s, self._steady_s(), way)

    def _state(self) -> str:
        """Return what the page shows, as a message."""
        now = time.monotonic()
        age, link = self.age(), self._statuses.get(topics.STATUS)
        encoder = self._statuses.get(topics.ENCODER_STATUS)
        decoder = self._statuses.get(topics.DECODER_STATUS)
        goal, way_s = self._statuses.get(topics.GOAL_STATE), link.delay_s if link else 0.0
        with locked(self._lock, _LOCK_S):
            desk = self.desk.figures()
        figures = panel.link_figures(link, self._frame_bytes)
        self._history.add(now, figures, age.age_s)
        return words.dump(
            'state',
            age=vars(age) | {'stale': age.stale},
            stamp=self._freshness.stamp_s or 0.0,
            link=figures,
            encoder=panel.coder_figures(encoder),
            decoder=panel.coder_figures(decoder),
            caption=self._caption,
            goal=goal.data if goal is not None else '',
            ways=self._path.drawn(way_s),
            size=list(self._size),
            troubles=self._troubles.listed(now),
            viewers=self.server.viewers,
            recording=self._recording.name,
            simulated=bool(self.get_parameter('use_sim_time').value),
            **desk,
        )

    def _tell(self) -> None:
        self.server.tell(self._state())

    # For the server, on its thread

    def opened(self, viewer: int, address: str) -> list[str]:
        """Greet a viewer."""
        self.get_logger().info(f'viewer {viewer} has come from {address}')
        limits = {'linear': self.values.max_linear, 'angular': self.values.max_angular}
        greeting = words.dump(
            'hello', viewer=viewer, limits=limits, heartbeat=self.values.heartbeat_s,
            history=self._history.rows(), login=self._login,
        )  # fmt: skip
        return [greeting, self._state()]

    def heard(self, viewer: int, word: words.Word) -> list[str]:
        """Follow a viewer's word."""
        with locked(self._lock, _LOCK_S):
            answers = self.desk.hear(viewer, word, time.monotonic())
        if not isinstance(word, words.Beat):
            self._alarm.set()
        if isinstance(word, words.Plain | words.Confirm | words.Record):
            self._tell()
        return answers

    def gone(self, viewer: int) -> None:
        """Note that a viewer is gone: one that drove lets go."""
        with locked(self._lock, _LOCK_S):
            self.desk.gone(viewer)
        self._alarm.set()
        if self.context.ok():
            self.get_logger().info(f'viewer {viewer} is gone')

    # What the desk has done

    def velocity(self, velocity: Velocity) -> None:
        """Publish a velocity."""
        twist = Twist()
        twist.linear.x, twist.angular.z = map(float, velocity)
        self._path.on_told(1e-9 * self.get_clock().now().nanoseconds, velocity)
        if not self.values.stamped:
            self._velocity.publish(twist)
            return
        message = TwistStamped(twist=twist)
        message.header.frame_id = self.values.frame_id
        message.header.stamp = self.get_clock().now().to_msg()
        self._velocity.publish(message)

    def give_stop(self, stop: bool) -> None:
        """Publish a STOP, or its release."""
        self._stops.publish(Bool(data=stop))

    def key_frame(self) -> None:
        """Ask for a key frame."""
        self._keys.publish(Empty())

    def region(self, region: Region) -> None:
        """Ask for a region; the whole image cancels it."""
        empty = region == WHOLE or not all(self._size)
        self._regions.publish(RegionOfInterest() if empty else convert.to_roi(region, self._size))

    def ask(self, budget: int | None, rate: float | None) -> None:
        """Ask for frames of so many bytes, or so many a second at most."""
        if budget is not None:
            self._budgets.publish(UInt16(data=budget))
        if rate is not None:
            self._rates.publish(Float32(data=rate))

    def go(self, x: float, y: float, stamp: str) -> str:
        """Send the robot to what the image of a stamp shows there; raises ``NoGround``."""
        return self._path.go(x, y, stamp)

    def end_goal(self) -> None:
        """Have the robot give up its goal."""
        self._path.end()

    def record(self, on: bool) -> str:
        """Begin or end a recording; the disk may take its time."""
        return self._aside(self._recording.begin if on else self._recording.stop)

    def snapshot(self) -> str:
        """Keep the image on screen, with a side-car of what the page says."""
        return self._aside(lambda: self._screen.keep(self._recording.folder, self._state()))

    def _aside(self, work: Callable[[], str]) -> str:
        """Work in a thread, and tell everybody what was done; one work at a time."""
        if not self._disk.acquire(blocking=False):
            return 'the disk is busy: try again'

        def run() -> None:
            bad = False
            try:
                text = work()
            except Exception as error:  # of disk or library: who asked is told
                text, bad = f'that did not work: {error}', True
            finally:
                self._disk.release()
            self.server.tell(words.dump('note', text=text, bad=bad))
            self._tell()

        threading.Thread(target=run, daemon=True, name='console-disk').start()
        return ''

    # The watch, on its own thread

    def _watch(self) -> None:
        """Publish velocities and stops when it is time, whatever else hangs."""
        while self._running:
            try:
                with locked(self._lock, _LOCK_S):
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
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Console, args)
