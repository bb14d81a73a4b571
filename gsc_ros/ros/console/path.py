"""The console's goals and the robot's way on the ground, from the decoded maps of the image."""

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from gsc_ros.console import ground
from gsc_ros.console.ground import Footing, NoGround, Plane
from gsc_ros.ros.console.screen import Screen, text
from gsc_ros.ros.images.camera_info import rays_of
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.robot_state import messages
from gsc_ros.transforms import Transform

_COMMANDS = 400  # commands that are remembered: what a light time of minutes holds is not drawn
_ON_S = 5.0  # that the last command is taken to go on
_MOST_POINTS = 60


@dataclass(frozen=True)
class _Camera:
    """Its matrix (3, 3), and of a lens with distortion x and y over z of each pixel."""

    k: NDArray[np.float64]
    rays: NDArray[np.float32] | None


@dataclass(frozen=True)
class _Ground:
    """The ground that the maps of an image show."""

    camera: _Camera
    plane: Plane | None
    footing: Footing | None


class GroundPath:
    """
    Finds goals on the ground of a camera's image, and draws where the robot will be when a
    command of now arrives.
    """

    def __init__(self, node: GscNode, screen: Callable[[], Screen]) -> None:
        self._node, self._screen = node, screen
        self._info: CameraInfo | None = None
        self._commands: deque[ground.Command] = deque(maxlen=_COMMANDS)
        self._lock = threading.Lock()
        self._mount: tuple[str, Transform] | None = None  # of a camera's frame
        self._fitted: tuple[object, _Ground] | None = None
        self._camera_of: object = None
        self._known: _Camera | None = None

    def on_info(self, message: CameraInfo) -> None:
        """Take the camera_info of the image."""
        self._info = message

    def on_mount(self, message: TransformStamped) -> None:
        """Take where the camera is on the robot."""
        try:
            self._mount = message.child_frame_id.lstrip('/'), messages.to_transform(message)
        except ValueError as error:
            self._node.get_logger().warning(f'mount of the camera refused: {error}')

    def on_command(self, clock_s: float, velocity: tuple[float, float]) -> None:
        """Note a command for the robot, and when it was published."""
        self._commands.append((clock_s, *velocity))

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

    def _ground(self, stamp: str) -> tuple[dict[str, NDArray], _Ground]:
        """Return maps and ground of the image of a stamp; raises :class:`NoGround`."""
        maps = self._screen().maps(stamp)
        if 'depth' not in maps:
            raise NoGround('the depth of this image has not come: try the next')
        height, width = maps['depth'].shape
        with self._lock:
            camera = self._camera((width, height))
            mount = self._mount_of_camera()
            ahead_m = self._node.values.camera_ahead_m
            key = stamp, 'classes' in maps, mount, ahead_m  # classes may come after the depth
            if self._fitted is None or self._fitted[0] != key:
                plane = ground.fit(
                    maps['depth'], maps.get('classes'), camera.k, camera.rays, mount
                )
                footing = None if plane is None else Footing.of(plane, mount, ahead_m)
                self._fitted = key, _Ground(camera, plane, footing)
            return maps, self._fitted[1]

    def _mount_of_camera(self) -> Transform | None:
        """Return where the camera of the images is on the robot, where that has come."""
        if self._mount is None or self._info is None:
            return None
        camera, mount = self._mount
        return mount if camera == self._info.header.frame_id.lstrip('/') else None

    def goal(self, x: float, y: float, stamp: str) -> PoseStamped:
        """Return what is clicked on as a goal; raises :class:`NoGround`."""
        maps, found = self._ground(stamp)
        camera, values = found.camera, self._node.values
        ahead, left = ground.point(
            (x, y),
            maps['depth'],
            maps.get('trust'),
            maps.get('classes'),
            camera.k,
            found.plane,
            camera.rays,
            found.footing,
            values.goal_trust,
        )
        far, most = math.hypot(ahead, left), values.max_goal_m
        if far > most:
            raise NoGround(f'it is {far:.1f} m away, max_goal_m is {most:g}')
        message = PoseStamped()
        message.header.frame_id = values.frame_id
        seconds, nanoseconds = stamp.split('.')
        message.header.stamp.sec, message.header.stamp.nanosec = int(seconds), int(nanoseconds)
        yaw = math.atan2(left, ahead)
        message.pose.position.x, message.pose.position.y = ahead, left
        message.pose.orientation.z = math.sin(yaw / 2)
        message.pose.orientation.w = math.cos(yaw / 2)
        return message

    def drawn(self, delay_s: float) -> list[list[tuple[float, float]]]:
        """
        Return the way on the image, in shares of it: until a command of now arrives, and on.

        Empty where the robot stands, or no ground is found.
        """
        image = self._screen().newest.get('image')
        commands = list(self._commands)
        if image is None or not commands or not any(commands[-1][1:]):
            return []
        stamp = image.header.stamp
        try:
            _, found = self._ground(text((stamp.sec, stamp.nanosec)))
        except (NoGround, ValueError):
            return []
        if found.footing is None:
            return []
        begin = stamp.sec + 1e-9 * stamp.nanosec
        now = 1e-9 * self._node.get_clock().now().nanoseconds
        size = image.width, image.height
        there = ground.predict(commands, begin, now + delay_s, delay_s)
        held = [*commands, (now, *commands[-1][1:])]
        on = ground.predict(held, begin, now + delay_s + _ON_S, delay_s, hold_s=_ON_S)
        ways = there, on[len(there) - 1 :]
        return [ground.drawn(_thin(way), found.footing, found.camera.k, size) for way in ways]


def _thin(way: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave points out where there are many."""
    return [*way[:: max(1, len(way) // _MOST_POINTS)], *way[-1:]]
