"""What the console publishes and keeps when its desk has decided so."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Bool, Empty, Float32, UInt16

from gsc_ros.console.drive import Velocity
from gsc_ros.console.ground import NoGround
from gsc_ros.region import WHOLE, Region
from gsc_ros.ros import convert, topics
from gsc_ros.ros.console.path import GroundPath
from gsc_ros.ros.console.recording import Recording
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.worker import NewestWorker


class Outputs:
    """
    Publishes teleop/* and decoded/key_missed. What may take its time, as finding a goal's place or
    writing to a disk, is done in threads: the thread that brings a STOP does not wait.

    ``hold`` holds the desk's lock; ``keep`` writes a snapshot and returns what was done; ``note``
    tells every viewer a text, and whether it is bad. ``size``: (W, H) of the image.
    """

    def __init__(
        self,
        node: GscNode,
        path: GroundPath,
        recording: Recording,
        hold: Callable[[], AbstractContextManager[None]],
        keep: Callable[[], str],
        note: Callable[[str, bool], None],
    ) -> None:
        self._node, self._path, self._recording = node, path, recording
        self._hold, self._keep, self._note = hold, keep, note
        self.size = (0, 0)
        self._stamped = node.values.stamped
        self._velocity: Any = node.create_publisher(
            TwistStamped if self._stamped else Twist, topics.TELEOP, topics.NEWEST
        )
        self._stops = node.create_publisher(Bool, topics.STOP, topics.NEWEST)
        self._regions = node.create_publisher(RegionOfInterest, topics.REGION, topics.NEWEST)
        self._keys = node.create_publisher(Empty, topics.KEY_MISSED, topics.NEWEST)
        self._budgets = node.create_publisher(UInt16, topics.BUDGET, topics.NEWEST)
        self._rates = node.create_publisher(Float32, topics.RATE, topics.NEWEST)
        self._still = node.create_publisher(Empty, topics.STILL, topics.NEWEST)
        self._disk = threading.Lock()
        self._goals: NewestWorker[Callable[[], str]] = NewestWorker(
            lambda work: self._note(work(), False), self._no_goal
        )

    def close(self) -> None:
        """End the thread of goals; the node closes publishers."""
        self._goals.close()

    def velocity(self, velocity: Velocity) -> None:
        """Publish a velocity."""
        twist = Twist()
        twist.linear.x, twist.angular.z = map(float, velocity)
        now = self._node.get_clock().now()
        self._path.on_told(1e-9 * now.nanoseconds, velocity)
        if not self._stamped:
            self._velocity.publish(twist)
            return
        message = TwistStamped(twist=twist)
        message.header.frame_id = self._node.values.frame_id
        message.header.stamp = now.to_msg()
        self._velocity.publish(message)

    def give_stop(self, stop: bool) -> None:
        """Publish a STOP, or its release."""
        self._stops.publish(Bool(data=stop))

    def key_frame(self) -> None:
        """Ask for a key frame."""
        self._keys.publish(Empty())

    def still(self) -> None:
        """Ask for one whole image."""
        self._still.publish(Empty())

    def region(self, region: Region) -> None:
        """Ask for a region; the whole image cancels it."""
        empty = region == WHOLE or not all(self.size)
        self._regions.publish(RegionOfInterest() if empty else convert.to_roi(region, self.size))

    def ask(self, budget: int | None, rate: float | None) -> None:
        """Ask for frames of so many bytes, or so many a second at most."""
        if budget is not None:
            self._budgets.publish(UInt16(data=budget))
        if rate is not None:
            self._rates.publish(Float32(data=rate))

    def go(self, x: float, y: float, stamp: str, refusal: Callable[[], str]) -> None:
        """
        Send the robot to what the image of a stamp shows there, and tell what was done.

        ``refusal`` returns why it may not go, empty where it may: asked again when the place is
        found, as a STOP may have come meanwhile.
        """

        def work() -> str:
            goal = self._path.goal(x, y, stamp)
            with self._hold():
                if why := refusal():
                    raise NoGround(why)
                return self._path.publish(goal)

        self._goals.offer(work)

    def _no_goal(self, error: Exception) -> None:
        self._note(f'no goal: {error}', True)

    def end_goal(self) -> None:
        """Have the robot give up its goal."""
        self._path.end()

    def record(self, on: bool) -> str:
        """Begin or end a recording."""
        return self._aside(self._recording.begin if on else self._recording.stop)

    def snapshot(self) -> str:
        """Keep the image on screen, with a side-car of what the page says."""
        return self._aside(self._keep)

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
