"""
A camera for those who have none at hand: simulator, folder of images, or film.

Publishes camera/image and camera/camera_info; the simulator also camera/depth/image and
camera/segmentation/image, its truth, while somebody listens. Takes cmd_vel, stamped or not.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('camera'))


import threading
import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Twist
from numpy.typing import NDArray
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.diagnostics import ERROR, OK, WARN, Rate, Report
from gsc_ros.ros.link.velocity_input import VelocityInput
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.sources import SOURCES, Source

_SPACING = 0.95  # of the time between two images, that those of a film are apart at least


@dataclass(frozen=True)
class CameraParameters(Parameters):
    """What the camera can be told."""

    source: str = parameter('sim', 'Where images come from', choices=SOURCES, read_only=True)
    path: str = parameter('', 'Folder (images) or film (video)', read_only=True)
    rate: float = parameter(5.0, 'Images a second; of a film at most', 0.01, 60.0)
    loop: bool = parameter(True, 'Start again at the end of a folder or film', read_only=True)
    hfov_deg: float = parameter(
        70.0, 'Horizontal field of view; of images without calibration a guess', 10.0, 150.0,
        read_only=True,
    )  # fmt: skip
    frame_id: str = parameter('camera_optical_frame', 'Optical frame (REP-103)', read_only=True)
    scene: str = parameter(
        'street', 'World of the simulator', choices=('street', 'rover'), read_only=True
    )
    seed: int = parameter(0, 'Which of the simulated worlds', 0, 2**31 - 1, read_only=True)
    width: int = parameter(480, 'Of simulated images, pixels', 64, 1920, read_only=True)
    height: int = parameter(360, 'Of simulated images, pixels', 64, 1920, read_only=True)
    auto_drive: bool = parameter(True, 'The simulated robot finds its own way until commanded')
    cmd_timeout_s: float = parameter(
        0.5, 'The robot stops when no command came for so long (dead man)', 0.05, 60.0
    )


def open_source(values: CameraParameters, log) -> Source:  # type: ignore[no-untyped-def]
    """Open the source that the parameters name; raises as the sources do."""
    if values.source == 'sim':
        from gsc_ros.sources.sim import Sim

        return Sim(values.scene, values.seed, values.width, values.height, values.hfov_deg)
    if not values.path:
        raise ValueError(f'source {values.source!r} needs the parameter path: set path:=<...>')
    if values.source == 'images':
        from gsc_ros.sources.images import Images

        return Images(values.path, values.loop, values.hfov_deg, log)
    from gsc_ros.sources.video import Video

    return Video(values.path, values.loop, values.hfov_deg, log)


def camera_info(k: NDArray[np.float64], width: int, height: int, header: Header) -> CameraInfo:
    """Make the camera_info of a camera without distortion."""
    info = CameraInfo(header=header, width=width, height=height, distortion_model='plumb_bob')
    info.d = [0.0] * 5
    info.k = k.ravel().tolist()
    info.r = np.eye(3).ravel().tolist()
    info.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    return info


class Camera(lifecycle.GscNode[CameraParameters]):
    """Publishes images at a rate; they are made on a thread of their own, off the executor."""

    Parameters = CameraParameters

    def __init__(self, **options: object) -> None:
        super().__init__('camera', **options)

    def setup(self) -> None:
        """Open the source once, so that mistakes show at configure."""
        self._check_source()
        self._image = self.create_publisher(Image, topics.IMAGE, topics.SENSOR)
        self._info = self.create_publisher(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
        self._depth = self._segmentation = None
        if self.values.source == 'sim':
            self._depth = self.create_publisher(Image, topics.DEPTH, topics.SENSOR)
            self._segmentation = self.create_publisher(Image, topics.SEGMENTATION, topics.SENSOR)
        self._begin()

    def _begin(self) -> None:
        """Nothing was commanded and nothing seen yet."""
        self._command: tuple[float, float] | None = None
        self._command_at = -np.inf
        self._ended = False
        self._problem = ''
        self._skipped = 0
        self._frames = Rate()
        self._frame_ms = float('nan')

    def _check_source(self) -> None:
        # A renderer belongs to the thread that made it: this one is made to be checked, and
        # closed.
        open_source(self.values, self.get_logger().warning).close()

    def start(self) -> None:
        """Begin to publish, from the source's beginning."""
        self._begin()
        self._commands = VelocityInput(self, topics.CMD_VEL, self._on_command, 1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()
        self._commands.close()

    def teardown(self) -> None:
        """Remove the outputs."""
        for publisher in (self._image, self._info, self._depth, self._segmentation):
            if publisher is not None:
                self.destroy_publisher(publisher)

    def _on_command(self, message: Twist, _stamp: object) -> None:
        linear, angular = message.linear.x, message.angular.z
        if np.isfinite(linear) and np.isfinite(angular):
            self._command, self._command_at = (linear, angular), time.monotonic()
        else:
            self.get_logger().warning(
                'cmd_vel with NaN or Inf is ignored', throttle_duration_sec=5.0
            )

    def _drive(self) -> tuple[float, float] | None:
        """Tell what moves the robot now: the operator, the dead man's stop, or its own will."""
        if self._command is None:
            return None if self.values.auto_drive else (0.0, 0.0)
        fresh = time.monotonic() - self._command_at < self.values.cmd_timeout_s
        return self._command if fresh else (0.0, 0.0)

    def _run(self) -> None:
        try:
            source = open_source(self.values, self.get_logger().warning)
            try:
                self._publish_all(source)
            finally:
                source.close()
        except Exception as error:
            if not self.context.ok():
                return  # the process is going down around this thread
            self._problem = f'{type(error).__name__}: {error}'
            self.get_logger().error(f'the camera has stopped: {self._problem}')

    def _publish_all(self, source: Source) -> None:
        due = last = time.monotonic()
        shown = -np.inf
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            now, clock_ns = time.monotonic(), self.get_clock().now().nanoseconds
            truth = any(
                p is not None and p.get_subscription_count()
                for p in (self._depth, self._segmentation)
            )
            frame = source.frame(now - last, self._drive(), truth)
            self._skipped = source.skipped
            if frame is None:
                self._ended = True
                self.get_logger().info('the source has ended')
                return
            last = now
            due = max(due + 1 / self.values.rate, now)
            if frame.next_s is not None:
                # The pace of the source, of which as many are left out each time.
                due = now + frame.next_s
                if not frame.fresh or now - frame.age_s < shown + _SPACING / self.values.rate:
                    continue
                shown = now - frame.age_s
                due = max(due, shown + _SPACING / self.values.rate)
            taken = Time(nanoseconds=max(0, clock_ns - round(1e9 * frame.age_s)))
            header = Header(stamp=taken.to_msg(), frame_id=self.values.frame_id)
            height, width = frame.rgb.shape[:2]
            self._info.publish(camera_info(frame.k, width, height, header))
            self._image.publish(convert.to_image(frame.rgb, 'rgb8', header))
            if frame.depth is not None and self._depth is not None:
                self._depth.publish(convert.to_image(frame.depth, '32FC1', header))
            if frame.segmentation is not None and self._segmentation is not None:
                self._segmentation.publish(convert.to_image(frame.segmentation, 'mono8', header))
            self._frames.add(now)
            self._frame_ms = 1000 * (time.monotonic() - now)

    def diagnose(self) -> Report:
        """Rate and trouble."""
        level, message = OK, f'publishing from {self.values.source}'
        if not self.active:
            message = 'not active'
        elif self._problem:
            level, message = ERROR, self._problem
        elif self._ended:
            level, message = WARN, 'the source has ended'
        elif self._skipped:
            level, message = WARN, f'{self._skipped} images could not be read, or were damaged'
        return Report(
            level,
            message,
            {
                'frames_per_s': self._frames.per_second(time.monotonic()),
                'frame_ms': self._frame_ms,
                'skipped': self._skipped,
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(Camera, args)
