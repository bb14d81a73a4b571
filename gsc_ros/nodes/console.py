"""
The operator's console: a web page with the image, its age, the link, the wheel and the STOP.

Subscribes the decoded topics, the status of link, encoder and decoder, and /diagnostics; publishes
teleop/* and decoded/key_missed: of several robots, of each in the namespace of its name. What it
decides is in gsc_ros/console; what it has of a robot and its cameras is in gsc_ros/ros/console. A
thread on the monotonic clock for each robot publishes velocities, and zero when the driver's
browser falls silent or the image is stale; it waits neither for the web server nor for the
executor. Link and guard stop the robot too when commands end.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('console'))


import time
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType

from gsc_ros.console import panel, words
from gsc_ros.console.access import Access, read_password
from gsc_ros.console.drive import ZERO
from gsc_ros.console.files import Files
from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.robots import cameras_of, parse_robots
from gsc_ros.ros import lifecycle, topics
from gsc_ros.ros.console.parameters import ConsoleParameters
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.console.robot import RobotView
from gsc_ros.ros.diagnostics import ERROR, OK, WARN, Report
from gsc_ros.ros.worker import NewestWorker

_STATE_S = 0.5
_EXTRA = "the console needs starlette, uvicorn and websockets: pip install 'gsc_ros[console]'"


class Console(lifecycle.GscNode[ConsoleParameters]):
    """
    Joins robots and web server.

    The executor's thread takes messages, the server's thread the operators' words, and a watch for
    each robot publishes velocities.
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
        names = parse_robots(v.robots)
        cameras = [parse_cameras(text) for text in cameras_of(v.cameras, names)]
        try:
            # The web libraries are imported when the node is configured.
            from gsc_ros.console.server import Server, Settings
        except ImportError as error:
            raise ImportError(f'{_EXTRA} ({error})') from error
        folder = Path(v.output).expanduser()
        self._recording = Recording(self, folder, lambda text: self._note('', text, True))
        self.add_cleanup(self._recording.close)
        self._troubles = panel.Troubles()
        self._chosen: dict[int, int] = {}  # robots, by viewer
        self.robots = [
            RobotView(
                self,
                number,
                name,
                streams,
                self._recording,
                self._snapshot,
                partial(self._note, name),
                self._offer_states,
            )
            for number, (name, streams) in enumerate(zip(names, cameras, strict=True))
        ]
        settings = Settings(
            v.host,
            v.port,
            v.tls_certificate,
            v.tls_key,
            v.max_viewers,
            tuple(map(len, cameras)),
        )
        self.server: Server = Server(settings, access, self, Files(folder))
        self.add_cleanup(self.server.close)
        self._login = access.needs_password
        self._open_elsewhere = self._login and not v.tls_certificate

    def parameters_changed(self) -> None:
        """Apply limits."""
        for robot in self.robots:
            robot.parameters_changed()

    def start(self) -> None:
        """Subscribe, watch, and serve."""
        self._state_worker: NewestWorker[bool] = NewestWorker(
            self._send_states, self._states_failed
        )
        self.add_cleanup(self._state_worker.close)
        for robot in self.robots:
            robot.start(self.server)
        self.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, topics.DIAGNOSTICS
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_STATE_S, self._on_timer, clock=steady)
        self.server.start()
        self.get_logger().info(f'the console is at {self.server.url}')

    def stop(self) -> None:
        """Stop the robots that are driven from here."""
        self.halt()

    def halt(self) -> None:
        """Stop the robots that are driven from here; any thread."""
        robots = getattr(self, 'robots', ())
        drove = [robot for robot in robots if robot.let_go()]
        for robot in drove:  # should one hang here, the watches of the others do it
            try:
                if self.context.ok():
                    robot.outputs.velocity(ZERO)
            except Exception as error:  # of any kind: the others are stopped, too
                self.get_logger().error(f'{robot.name or "the robot"} is not halted: {error}')

    # On the executor's thread

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._recording.write('/diagnostics', message)
        for status in message.status:
            self._troubles.add(status.name, status.level[0], status.message, time.monotonic())

    def _on_timer(self) -> None:
        now = time.monotonic()
        for robot in self.robots:
            robot.add_history(now)
            for camera in robot.cameras:
                camera.screen.follow()
        self._offer_states()

    # For the page

    def _state(self, place: words.Place, summaries: list[dict[str, Any]]) -> str:
        """Return what the page shows of a camera, its robot and, in short, of all robots."""
        now = time.monotonic()
        return words.dump(
            'state',
            **self.robots[place[0]].figures(place[1]),
            **({'robots': summaries} if summaries else {}),
            troubles=self._troubles.listed(now),
            viewers=self.server.viewers,
            recording=self._recording.name,
            simulated=bool(self.get_parameter('use_sim_time').value),
        )

    def _summaries(self) -> list[dict[str, Any]]:
        """Return a summary of each robot, where there are several."""
        now = time.monotonic()
        return [robot.summary(now) for robot in self.robots] if len(self.robots) > 1 else []

    def _offer_states(self) -> None:
        """Have the states sent to all viewers by a thread of their own: no STOP waits for that."""
        if self.server.viewers:
            self._state_worker.offer(True)

    def _send_states(self, _token: bool) -> None:
        summaries = self._summaries()
        for robot in self.robots:
            for camera in range(len(robot.cameras)):
                place = robot.number, camera
                if self.server.views(place):
                    self.server.tell(self._state(place, summaries), place, 'state')

    def _states_failed(self, error: Exception) -> None:
        if self.context.ok():
            self.get_logger().warning(
                f'no state is sent to viewers: {error}', throttle_duration_sec=5.0
            )

    def _note(self, robot: str, text: str, bad: bool) -> None:
        self.server.tell(words.dump('note', text=f'{robot}: {text}' if robot else text, bad=bad))
        self._offer_states()

    def _snapshot(self, place: words.Place) -> str:
        state = self._state(place, self._summaries())
        screen = self.robots[place[0]].cameras[place[1]].screen
        return screen.keep(self._recording.folder, state)

    # For the server, on its thread

    def opened(self, viewer: int, address: str) -> list[str]:
        """Greet a viewer."""
        self.get_logger().info(f'viewer {viewer} has come from {address}')
        limits = {'linear': self.values.max_linear, 'angular': self.values.max_angular}
        first = self.robots[0]
        greeting = words.dump(
            'hello', viewer=viewer, limits=limits, heartbeat=self.values.heartbeat_s,
            history=first.history.rows(), login=self._login,
            cameras=[robot.camera_names() for robot in self.robots],
            **({'robots': [one.name for one in self.robots]} if len(self.robots) > 1 else {}),
        )  # fmt: skip
        self._offer_states()
        return [greeting]

    def heard(self, viewer: int, word: words.Word) -> list[str]:
        """Follow a viewer's word."""
        if isinstance(word, words.Stop):
            return self._stop(word.robot)
        if isinstance(word, words.Choose):
            return self._choose(viewer, word.robot)
        named = word.robot if isinstance(word, words.Plain) else ''
        shown = self.robots[self._chosen.get(viewer, 0)]
        heard_by = self._named(named) if named else [shown]
        answers = [answer for robot in heard_by for answer in robot.heard(viewer, word)]
        if isinstance(word, words.Plain | words.Confirm | words.Record | words.Watch):
            self._offer_states()
        return answers

    def _named(self, name: str) -> list[RobotView]:
        """Return the robot of a name, or all where none has it."""
        return [robot for robot in self.robots if robot.name == name] or self.robots

    def _stop(self, name: str) -> list[str]:
        """Give the STOP to the robot of a name, or to all where none has it."""
        # Whose lock is waited for comes last.
        stopped = sorted(self._named(name), key=lambda robot: robot.busy)
        for robot in stopped:
            robot.press_stop()
        self._offer_states()
        # The page gives it again until this comes.
        return [words.dump('stopped', robot=name)]

    def _choose(self, viewer: int, number: int) -> list[str]:
        """Show a viewer another robot: it lets go of the one before."""
        before = self._chosen.get(viewer, 0)
        self._chosen[viewer] = number
        if before != number:
            self.robots[before].gone(viewer)
        self._offer_states()
        return [words.dump('history', robot=number, rows=self.robots[number].history.rows())]

    def gone(self, viewer: int) -> None:
        """Note that a viewer is gone: one that drove lets go."""
        self.robots[self._chosen.pop(viewer, 0)].gone(viewer)
        if self.context.ok():
            self.get_logger().info(f'viewer {viewer} is gone')

    # State

    def diagnose(self) -> Report:
        """Return who looks and who drives."""
        level, message = OK, f'serving {self.server.url}'
        if not self.active:
            message = 'not active'
        elif self.server.problem:
            level, message = ERROR, f'the web server has ended: {self.server.problem}'
        elif self.server.trouble:
            level, message = WARN, self.server.trouble
        elif self._recording.lost:
            level = WARN
            message = (
                'the recording lacks messages: the disk is too slow; set output to a folder on a '
                'faster one'
            )
        elif self._recording.trouble:
            level, message = WARN, self._recording.trouble
        elif self._open_elsewhere:
            level = WARN
            message += '; the password crosses the network in the clear: set tls_certificate'
        values: dict[str, Any] = {'viewers': self.server.viewers}
        for robot in self.robots:
            values |= {
                f'{robot.name} {name}'.lstrip(): value for name, value in robot.diagnosed().items()
            }
        values['requests refused'] = self.server.refused
        values['messages not recorded'] = self._recording.lost
        return Report(level, message, values)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Console, args)
