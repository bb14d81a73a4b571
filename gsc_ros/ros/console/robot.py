"""One of the robots as the console has it: its topics, its desk, and the watch that stops it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Bool, String

from gsc_ros.console import panel, words
from gsc_ros.console.desk import Desk
from gsc_ros.console.freshness import Age
from gsc_ros.console.stops import State
from gsc_ros.link.traffic.cameras import CameraStream
from gsc_ros.msg import LinkStatus
from gsc_ros.ros import topics
from gsc_ros.ros.console.camera import CameraView
from gsc_ros.ros.console.outputs import Outputs
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.console.spot import Spot, of_robot
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.monotonic import Alarm, locked

if TYPE_CHECKING:  # it imports the web libraries
    from gsc_ros.console.server import Server

# Who holds the lock for longer hangs in a publisher.
_LOCK_S = 0.05
_JOIN_S = 1.0
_NOT_ACTIVE = 'the console is not active, and watches no robot: activate its node; STOP works'


class RobotView:
    """
    Takes what is of a robot, and follows what operators say to it. A thread of its own publishes
    velocities, and stops when it is time: neither the web server nor another robot holds it up.
    Another one publishes each STOP that is pressed, as the web server is not to hang in that.

    ``number``: its place in the list of robots; ``name``: the namespace of its topics, empty where
    it is the only one; ``streams``: its cameras. ``keep`` writes a snapshot of a camera; ``note``
    tells a text; ``changed`` is called when the state that viewers get has changed.
    """

    def __init__(
        self,
        node: GscNode,
        number: int,
        name: str,
        streams: Sequence[CameraStream],
        recording: Recording,
        keep: Callable[[words.Place], str],
        note: Callable[[str, bool], None],
        changed: Callable[[], None],
    ) -> None:
        self.number, self.name = number, name
        self._node, self._recording, self._changed = node, recording, changed
        self._lock = threading.Lock()
        self._hangs = False  # whether who held the lock last still holds it after _LOCK_S
        self._alarm = Alarm()
        self._given: SimpleQueue[bool] = SimpleQueue()  # a STOP each; False: the node ends
        self.cameras = [
            CameraView(node, Spot((number, camera), name, stream), recording, self._hold, changed)
            for camera, stream in enumerate(streams)
        ]
        self.outputs = Outputs(
            node, partial(of_robot, name), self.cameras, recording, self._hold,
            lambda camera: keep((number, camera)), note, self._give_stop,
        )  # fmt: skip
        node.add_cleanup(self.outputs.close)
        self.desk = Desk(
            node.values.limits(), lambda camera: self.cameras[camera].age().reason, self.outputs
        )
        thread = threading.Thread(target=self._give_stops, daemon=True, name='console-stop')
        thread.start()
        node.add_cleanup(partial(thread.join, _JOIN_S))
        node.add_cleanup(partial(self._given.put, False))
        self.history = panel.History()
        self._statuses: dict[str, Any] = {}  # the newest, by topic
        self._heard_at = 0.0  # when the link's status came last (s, monotonic)

    def parameters_changed(self) -> None:
        """Apply limits."""
        with self._hold():
            self.desk.drive.limits = self._node.values.limits()
            for camera in self.cameras:
                camera.freshness.stale_after_s = self._node.values.stale_after_s

    def start(self, server: 'Server') -> None:
        """Subscribe, watch, and show what comes to the viewers of a server."""
        for camera in self.cameras:
            camera.start(server)
        for topic, kind in (
            (topics.STATUS, LinkStatus),
            (topics.FIRST_STATED, String),
            (topics.GOAL_STATE, String),
        ):
            self._node.create_subscription(
                kind,
                of_robot(self.name, topic),
                partial(self._on_message, topic),
                topics.LATCHED,
            )
        self._node.create_subscription(
            Bool, of_robot(self.name, topics.STOP), self._on_stop, topics.STOPS_HEARD
        )
        self._on_stop(Bool(data=True))  # one may have come while nobody listened
        self._running = True
        thread = threading.Thread(target=self._watch, daemon=True, name='console-watch')
        thread.start()
        self._node.add_cleanup(partial(thread.join, _JOIN_S))
        self._node.add_cleanup(self._end_watch)

    def _end_watch(self) -> None:
        self._running = False
        self._alarm.set()

    # On the executor's thread

    def _on_message(self, topic: str, message: Any) -> None:
        self._recording.write(of_robot(self.name, topic), message)
        self._statuses[topic] = message
        if topic != topics.STATUS:
            return
        self._heard_at = time.monotonic()
        if not self.cameras[0].name:  # several have a status each
            self.cameras[0].on_link(message)
        before, self.desk.state = self.desk.state, State(min(message.stop, max(State)))
        if self.desk.state != before:
            self._alarm.set()
            self._changed()

    def _on_stop(self, message: Bool) -> None:
        """Take a STOP of whoever gives one, as another console."""
        if not message.data:
            return
        with self._hold():
            again = self.desk.hear_stop(time.monotonic())
        if again:
            self._give_stop()

    def add_history(self, now: float) -> None:
        """Note the figures of now (s, monotonic) for the charts, whoever looks."""
        link = panel.link_figures(self._statuses.get(topics.STATUS), 0)
        self.history.add(now, link, self.age().age_s)

    # For the page

    def age(self) -> Age:
        """Return the age of the image that is driven by, now."""
        return self.cameras[self.desk.camera(self.desk.drive.driver)].age()

    def camera_names(self) -> list[str]:
        """Return the names of its cameras by number; none where there is one."""
        return [camera.name for camera in self.cameras] if len(self.cameras) > 1 else []

    def figures(self, camera: int) -> dict[str, Any]:
        """Return what the page shows of a camera and the robot."""
        with self._hold():
            desk = self.desk.figures(camera)
        link = panel.link_figures(
            self._statuses.get(topics.STATUS), self.cameras[camera].frame_bytes
        )
        return self.cameras[camera].figures() | {
            'first': self._data(topics.FIRST_STATED),
            'link': link,
            'goal': self._data(topics.GOAL_STATE),
            **desk,
        }

    def summary(self, now: float) -> dict[str, Any]:
        """Return what the page shows of the robot at all times, whichever it shows."""
        status = self._statuses.get(topics.STATUS)
        age, desk = self.age(), self.desk
        return {
            'name': self.name,
            'age_s': age.age_s,
            'limit_s': age.limit_s,
            'reason': age.reason,
            'stop': desk.state.name,
            'stop_pressed': desk.button.pressed,
            'driver': desk.drive.driver,
            'goal': self._data(topics.GOAL_STATE),
            'link_s': None if status is None else now - self._heard_at,
            'open': status is not None and status.open,
            'heard_s': None if status is None else status.peer_silence_s,
        }

    def diagnosed(self) -> dict[str, Any]:
        """Return what diagnostics show of the robot."""
        age, drive = self.age(), self.desk.drive
        return {
            'driver': drive.driver or 0,
            'image age s': age.age_s,
            'stale': age.stale,
            'browser fell silent': drive.timeouts,
            'driver inputs too late': drive.late,
        }

    def _data(self, topic: str) -> str:
        message = self._statuses.get(topic)
        return '' if message is None else message.data

    @contextmanager
    def _hold(self) -> Iterator[bool]:
        """
        Hold the desk, as far as nobody hangs: then only the first who comes waits for that.

        Gives whether it is held.
        """
        with locked(self._lock, 0.0 if self._hangs else _LOCK_S) as held:
            self._hangs = not held
            yield held

    # For the server, on its thread

    def heard(self, viewer: int, word: words.Word) -> list[str]:
        """Follow a viewer's word; while the node is not active, only one that stops or shows."""
        try:
            with self._hold():
                # Under the lock: what is followed before the node is halted is ended by that.
                shows = isinstance(word, words.Beat | words.Watch)
                if not (self._node.active or shows or words.stops(word)):
                    return [words.dump('refused', why=_NOT_ACTIVE)]
                return self.desk.hear(viewer, word, time.monotonic())
        finally:  # a zero goes out also where publishing fails
            if not isinstance(word, words.Beat):
                self._alarm.set()

    @property
    def busy(self) -> bool:
        """Whether a thread follows a word or publishes, or hangs in that."""
        return self._lock.locked()

    def press_stop(self) -> None:
        """Have the STOP in force; a thread of the robot publishes it: nobody waits for that."""
        with self._hold():
            self.desk.press_stop(time.monotonic())
        self._give_stop()

    def _give_stop(self) -> None:
        """Have the thread that gives STOPs give one; any thread."""
        self._given.put(True)
        self._alarm.set()

    def gone(self, viewer: int) -> None:
        """Note that a viewer is gone, or shows another robot: one that drove lets go."""
        with self._hold():
            self.desk.gone(viewer)
        self._alarm.set()

    # On any thread

    def let_go(self) -> bool:
        """Have the watch stop the robot if it is driven from here; returns whether it is."""
        with self._hold():
            drove = self.desk.drive.driver is not None
            self.desk.drive.halt()
        self._alarm.set()
        return drove

    def _give_stops(self) -> None:
        """Publish each STOP that is pressed, in whatever state the node is."""
        while self._given.get():
            try:
                with self._hold():
                    self.desk.give_stop()
            except Exception as error:  # of any kind: it is given again
                if not self._node.context.ok():
                    return
                self._node.get_logger().error(
                    f'a STOP is not published: {error}', throttle_duration_sec=5.0
                )
                time.sleep(_LOCK_S)
                self._given.put(True)

    def _watch(self) -> None:
        """Publish velocities and stops when it is time, whatever else hangs."""
        context = self._node.context
        while self._running:
            try:
                with self._hold():
                    due = self.desk.step(time.monotonic()) if context.ok() else None
                self._alarm.wait(None if due is None else due - time.monotonic())
            except Exception as error:  # of any kind: this thread must not end
                if not context.ok():
                    return
                self._node.get_logger().error(
                    f'trouble with a command: {error}', throttle_duration_sec=5.0
                )
                time.sleep(_LOCK_S)
