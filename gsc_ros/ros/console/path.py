"""The console's goals and the robot's way on the ground, from the decoded maps of the image."""

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Empty

from gsc_ros.console import ground
from gsc_ros.console.ground import NoGround, Plane
from gsc_ros.ros import topics
from gsc_ros.ros.console.screen import Screen, text
from gsc_ros.ros.images.camera_info import rays_of
from gsc_ros.ros.lifecycle import GscNode

_TOLD = 400  # commands that are remembered: what a light time of minutes holds is not drawn
_ON_S = 5.0  # that the way goes on as it is told now
_MOST_POINTS = 60


@dataclass(frozen=True)
class _Camera:
    """Its matrix (3, 3), and of a lens with distortion x and y over z of each pixel."""

    k: NDArray[np.float64]
    rays: NDArray[np.float32] | None


class GroundPath:
    """Publishes goals, and draws where the robot will be when what it was told now arrives."""

    def __init__(self, node: GscNode, screen: Callable[[], Screen]) -> None:
        self._node, self._screen = node, screen
        self._goals = node.create_publisher(PoseStamped, topics.GOAL, topics.NEWEST)
        self._ends = node.create_publisher(Empty, topics.GOAL_END, topics.NEWEST)
        self._info: CameraInfo | None = None
        self._told: deque[ground.Told] = deque(maxlen=_TOLD)
        self._lock = threading.Lock()
        self._fitted: tuple[tuple[str, bool], Plane | None] = ('', False), None
        self._camera_of: object = None
        self._known: _Camera | None = None

    def on_info(self, message: CameraInfo) -> None:
        """Take the camera_info of the image."""
        self._info = message

    def on_told(self, clock_s: float, velocity: tuple[float, float]) -> None:
        """Note what the robot was told, and when."""
        self._told.append((clock_s, *velocity))

    def _camera(self, size: tuple[int, int]) -> _Camera:
        """Return the camera of images of a size (W, H); raises :class:`NoGround`."""
        info = self._info
        if info is None or not info.k[0] or (info.width, info.height) != size:
            raise NoGround('the camera is not calibrated')
        key = info.width, info.height, info.distortion_model, *info.d, *info.k
        if self._known is None or key != self._camera_of:
            try:
                rays = rays_of(info) if any(info.d) else None
            except ValueError as error:
                raise NoGround(str(error)) from None
            k = np.array(info.k, np.float64).reshape(3, 3)
            self._known, self._camera_of = _Camera(k, rays), key
        return self._known

    def _plane(self, stamp: str) -> tuple[dict[str, NDArray], _Camera, Plane | None]:
        """Return maps, camera and ground of the image of a stamp."""
        maps = self._screen().maps(stamp)
        if 'depth' not in maps:
            raise NoGround('the depth of this image has not come: try the next')
        height, width = maps['depth'].shape
        with self._lock:
            camera = self._camera((width, height))
            key = stamp, 'classes' in maps  # which may come after the depth
            if self._fitted[0] != key:
                found = ground.fit(maps['depth'], maps.get('classes'), camera.k, camera.rays)
                self._fitted = key, found
            return maps, camera, self._fitted[1]

    def go(self, x: float, y: float, stamp: str) -> str:
        """Publish what is clicked on as a goal; raises :class:`NoGround`."""
        maps, camera, plane = self._plane(stamp)
        trust, classes = maps.get('trust'), maps.get('classes')
        ahead, left = ground.point(
            (x, y), maps['depth'], trust, classes, camera.k, plane, camera.rays
        )
        far, most = math.hypot(ahead, left), self._node.values.max_goal_m
        if far > most:
            raise NoGround(f'it is {far:.1f} m away, max_goal_m is {most:g}')
        message = PoseStamped()
        message.header.frame_id = self._node.values.frame_id
        seconds, nanoseconds = stamp.split('.')
        message.header.stamp.sec, message.header.stamp.nanosec = int(seconds), int(nanoseconds)
        yaw = math.atan2(left, ahead)
        message.pose.position.x = ahead + self._node.values.camera_ahead_m
        message.pose.position.y = left
        message.pose.orientation.z = math.sin(yaw / 2)
        message.pose.orientation.w = math.cos(yaw / 2)
        self._goals.publish(message)
        side = 'left' if left >= 0 else 'right'
        return f'goal sent: {ahead:.1f} m ahead, {abs(left):.1f} m {side}'

    def end(self) -> None:
        """Publish the end of all goals."""
        self._ends.publish(Empty())

    def drawn(self, delay_s: float) -> list[list[tuple[float, float]]]:
        """
        Return the way on the image, in shares of it: until what is told now arrives, and on.

        Empty where the robot stands, or no ground is found.
        """
        image = self._screen().newest.get('image')
        told = list(self._told)
        if image is None or not told or not any(told[-1][1:]):
            return []
        stamp = image.header.stamp
        try:
            _, camera, plane = self._plane(text((stamp.sec, stamp.nanosec)))
        except (NoGround, ValueError):
            return []
        if plane is None:
            return []
        begin = stamp.sec + 1e-9 * stamp.nanosec
        now = 1e-9 * self._node.get_clock().now().nanoseconds
        size = image.width, image.height
        there = ground.predict(told, begin, now + delay_s, delay_s)
        held = [*told, (now, *told[-1][1:])]
        on = ground.predict(held, begin, now + delay_s + _ON_S, delay_s, hold_s=_ON_S)
        ways = there, on[len(there) - 1 :]
        return [ground.drawn(_thin(way), plane, camera.k, size) for way in ways]


def _thin(way: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave points out where there are many."""
    return [*way[:: max(1, len(way) // _MOST_POINTS)], *way[-1:]]
