"""What the console publishes and keeps when its desk has decided so."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from std_msgs.msg import Bool, Empty, String

from gsc_ros.console import words
from gsc_ros.console.drive import Velocity
from gsc_ros.console.ground import NoGround
from gsc_ros.region import Region
from gsc_ros.ros import topics
from gsc_ros.ros.console.camera import CameraView
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.worker import NewestWorker, OrderedWorker

_MOST_WAITING = 32  # requests
_HANGS = 'the console hangs in a command: press Release again'
_JOIN_S = 1.0


class Outputs:
    """
    Publishes what is of the robot, and has cameras ask for what is theirs. What may take its time,
    as finding a goal's place, writing to a disk or publishing, is done in threads: the thread of
    the web server does not wait. Requests keep their order; the end of a goal waits for none of
    them. Velocities and STOPs are published by the threads that give them.

    ``topic`` returns the name of a topic of the robot; ``hold`` holds the desk's lock; ``keep``
    writes a snapshot of a camera and returns what was done; ``note`` tells every viewer a text,
    and whether it is bad; ``stop_again`` has the thread that gives STOPs give one.
    """

    def __init__(
        self,
        node: GscNode,
        topic: Callable[[str], str],
        cameras: Sequence[CameraView],
        recording: Recording,
        hold: Callable[[], AbstractContextManager[bool]],
        keep: Callable[[int], str],
        note: Callable[[str, bool], None],
        stop_again: Callable[[], None],
    ) -> None:
        self._node, self._cameras, self._recording = node, cameras, recording
        self._hold, self._keep, self._note, self._stop_again = hold, keep, note, stop_again
        self._stamped = node.values.stamped
        twist = TwistStamped if self._stamped else Twist

        def publisher(kind: Any, name: str) -> Any:
            return node.create_publisher(kind, topic(name), topics.NEWEST)

        self._velocity = publisher(twist, topics.TELEOP)
        self._stops = publisher(Bool, topics.STOP)
        self._firsts = publisher(String, topics.FIRST)
        self._goals = publisher(PoseStamped, topics.GOAL)
        self._ends = publisher(Empty, topics.GOAL_END)
        self._disk = recording.disk
        self._places: NewestWorker[Callable[[], str]] = NewestWorker(
            lambda work: self._note(work(), False), self._no_goal
        )
        self._requests = OrderedWorker(_MOST_WAITING, self._failed)
        self._endings: NewestWorker[Empty] = NewestWorker(self._ends.publish, self._failed)

    def close(self) -> None:
        """End the threads; the node closes publishers."""
        for worker in (self._places, self._requests, self._endings):
            worker.close(_JOIN_S)

    def velocity(self, velocity: Velocity) -> None:
        """Publish a velocity."""
        twist = Twist()
        twist.linear.x, twist.angular.z = map(float, velocity)
        now = self._node.get_clock().now()
        for camera in self._cameras:
            camera.path.on_command(1e-9 * now.nanoseconds, velocity)
        if not self._stamped:
            self._velocity.publish(twist)
            return
        message = TwistStamped(twist=twist)
        message.header.frame_id = self._node.values.frame_id
        message.header.stamp = now.to_msg()
        self._velocity.publish(message)

    def give_stop(self) -> None:
        """Publish a STOP."""
        self._stops.publish(Bool(data=True))

    def release_stop(self, begin: Callable[[float], str], end: Callable[[float], str]) -> None:
        """
        Publish the release of the STOP, and tell what was done.

        ``begin`` returns why it may not be released at a time (s, monotonic), empty where it may:
        asked when its turn has come, as a STOP may have come meanwhile. While another thread hangs
        with the desk's lock nothing is released, as a STOP does not wait for the lock then. So a
        STOP may also come while this thread hangs in publishing the release, and leave before it:
        ``end`` is asked then, and returns why a STOP has to be given after it.
        """

        def work() -> None:
            with self._hold() as held:
                why = begin(time.monotonic()) if held else _HANGS
                if not why:
                    try:
                        self._stops.publish(Bool(data=False))
                    finally:
                        if why := end(time.monotonic()):
                            self._stop_again()
            self._note(f'the STOP is kept: {why}' if why else 'the release is sent', bool(why))

        self._request(work)

    def first(self, camera: int) -> None:
        """Ask the robot to let a camera come first, where there are several."""
        if len(self._cameras) > 1:
            message = String(data=self._cameras[camera].name)
            self._request(partial(self._firsts.publish, message))

    def key_frame(self, camera: int) -> None:
        """Ask a camera for a key frame."""
        self._request(self._cameras[camera].key_frame)

    def still(self, camera: int) -> None:
        """Ask a camera for one whole image."""
        self._request(self._cameras[camera].ask_still)

    def region(self, camera: int, region: Region) -> None:
        """Ask a camera for a region; the whole image cancels it."""
        self._request(partial(self._cameras[camera].region, region))

    def ask(self, camera: int, budget: int | None, rate: float | None) -> None:
        """Ask a camera for frames of so many bytes, or so many a second at most."""
        self._request(partial(self._cameras[camera].ask, budget, rate))

    def _request(self, work: Callable[[], None]) -> None:
        """Have a request published when those before it are."""
        if not self._requests.offer(work):
            self._note(f'that is not asked for: {_MOST_WAITING} requests wait already', True)

    def _failed(self, error: Exception) -> None:
        if self._node.context.ok():
            self._note(f'a request is not published: {error}', True)

    def go(self, camera: int, click: words.Go, refusal: Callable[[], str]) -> None:
        """
        Send the robot to what a camera's image shows there, and tell what was done.

        ``refusal`` returns why it may not go, empty where it may: asked again when the place is
        found, as a STOP may have come meanwhile.
        """

        def work() -> str:
            goal = self._cameras[camera].path.goal(click.x, click.y, click.stamp)
            with self._hold():
                if why := refusal():
                    raise NoGround(why)
                self._goals.publish(goal)
            at = goal.pose.position
            side = 'left' if at.y >= 0 else 'right'
            return f'goal sent: {at.x:.1f} m ahead, {abs(at.y):.1f} m {side}'

        self._places.offer(work)

    def _no_goal(self, error: Exception) -> None:
        self._note(f'no goal: {error}', True)

    def end_goal(self) -> None:
        """Have the robot give up its goal."""
        self._endings.offer(Empty())

    def record(self, on: bool) -> str:
        """Begin or end a recording."""
        return self._aside(self._recording.begin if on else self._recording.stop)

    def snapshot(self, camera: int) -> str:
        """Keep a camera's image, with a side-car of what the page says."""
        return self._aside(partial(self._keep, camera))

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
            self._note(text, bad)

        threading.Thread(target=run, daemon=True, name='console-disk').start()
        return ''
