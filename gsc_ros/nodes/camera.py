"""
A camera without hardware: simulator, folder of images, or video.

Publishes camera/image and camera/camera_info; the simulator also the ground truth on
camera/depth/image and camera/segmentation/image, while these have subscribers, and where the robot
is (odom, camera/mount). Of several simulated cameras each has these topics, but for odom, in the
namespace of its name. Takes cmd_vel, stamped or not.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('camera'))


import threading
import time
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time as Stamp
from geometry_msgs.msg import TransformStamped, Twist
from numpy.typing import NDArray
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from gsc_ros.link.traffic.cameras import CameraStream, parse_cameras
from gsc_ros.ros import convert, lifecycle, topics
from gsc_ros.ros.diagnostics import ERROR, OK, WARN, Rate, Report
from gsc_ros.ros.link.velocity_input import VelocityInput
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.ros.robot_state import messages
from gsc_ros.ros.worker import Received
from gsc_ros.sim import SCENES
from gsc_ros.sources import SOURCES, CameraFrame, Source
from gsc_ros.transforms import Transform

_TRUTH_M, _TRUTH_RAD = 1e-3, 1e-3  # standard deviations of the simulator's odometry
_SPACING = 0.95  # least time between two images of a video, in shares of 1 / rate


@dataclass(frozen=True)
class CameraParameters(Parameters):
    """Parameters of the camera."""

    source: str = parameter('sim', 'Where images come from', choices=SOURCES, read_only=True)
    path: str = parameter('', 'Folder (images) or file (video)', read_only=True)
    rate: float = parameter(5.0, 'Images a second; of a video at most', 0.01, 60.0)
    loop: bool = parameter(True, 'Start again at the end of a folder or video', read_only=True)
    hfov_deg: float = parameter(
        70.0, 'Horizontal field of view, for images without calibration', 10.0, 150.0,
        read_only=True,
    )  # fmt: skip
    frame_id: str = parameter('camera_optical_frame', 'Optical frame (REP-103)', read_only=True)
    odom_frame: str = parameter('odom', 'Frame of the odometry (sim)', read_only=True)
    base_frame: str = parameter('base_link', "The simulated robot's own frame", read_only=True)
    cameras: str = parameter(
        '',
        'Cameras of the simulated robot, of front, rear, left, right, arm, joined by commas; '
        'empty: one without a name',
        read_only=True,
    )
    scene: str = parameter('street', 'World of the simulator', choices=SCENES, read_only=True)
    seed: int = parameter(0, 'Selects the simulated world', 0, 2**31 - 1, read_only=True)
    vary_camera: bool = parameter(
        False, "Draw the simulated camera's height, pitch, roll and lens by the seed, instead of "
        "the world's usual ones and hfov_deg", read_only=True,
    )  # fmt: skip
    width: int = parameter(480, 'Width of simulated images, pixels', 64, 1920, read_only=True)
    height: int = parameter(360, 'Height of simulated images, pixels', 64, 1920, read_only=True)
    auto_drive: bool = parameter(True, 'The simulated robot drives by itself until commanded')
    cmd_timeout_s: float = parameter(
        0.5, 'Time without a command after which the simulated robot stops', 0.05, 60.0
    )


def open_source(values: CameraParameters, log) -> Source:  # type: ignore[no-untyped-def]
    """Open the source that the parameters name; raises as the sources do."""
    if values.source == 'sim':
        from gsc_ros.sources.sim import Sim

        views = [camera.name or 'front' for camera in parse_cameras(values.cameras)]
        size = values.width, values.height
        return Sim(values.scene, values.seed, *size, values.hfov_deg, values.vary_camera, views)
    if values.cameras:
        raise ValueError(f'source {values.source} is one camera: leave cameras empty')
    if not values.path:
        raise ValueError(f'source {values.source!r} needs the parameter path: set path:=<...>')
    if values.source == 'images':
        from gsc_ros.sources.images import Images

        return Images(values.path, values.loop, values.hfov_deg, log)
    from gsc_ros.sources.video import Video

    return Video(values.path, values.loop, values.hfov_deg, log)


def camera_info(
    k: NDArray[np.float64], width: int, height: int, header: Header, k1: float = 0.0
) -> CameraInfo:
    """Make the camera_info of a camera with radial distortion ``k1`` alone."""
    info = CameraInfo(header=header, width=width, height=height, distortion_model='plumb_bob')
    info.d = [k1, 0.0, 0.0, 0.0, 0.0]
    info.k = k.ravel().tolist()
    info.r = np.eye(3).ravel().tolist()
    info.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    return info


class _Output:
    """The topics of one camera; those of the truth only of a simulated one."""

    def __init__(self, node: 'Camera', stream: CameraStream) -> None:
        values, topic = node.values, stream.topic
        self._base_frame = values.base_frame
        self._frame_id = f'{stream.name}_{values.frame_id}' if stream.name else values.frame_id
        self._image = node.create_publisher(Image, topic(topics.IMAGE), topics.SENSOR)
        self._info = node.create_publisher(CameraInfo, topic(topics.CAMERA_INFO), topics.SENSOR)
        self._depth = self._segmentation = self._mount = None
        self._mounted: Transform | None = None  # as published last
        if values.source == 'sim':
            self._mount = node.create_publisher(
                TransformStamped, topic(topics.MOUNT), topics.LATCHED
            )
            self._depth = node.create_publisher(Image, topic(topics.DEPTH), topics.SENSOR)
            self._segmentation = node.create_publisher(
                Image, topic(topics.SEGMENTATION), topics.SENSOR
            )

    def truth_wanted(self) -> bool:
        """Whether anybody listens to the ground truth."""
        outputs = (self._depth, self._segmentation)
        return any(p is not None and p.get_subscription_count() for p in outputs)

    def publish(self, frame: CameraFrame, stamp: Stamp) -> None:
        """Publish an image with all that is known of it, and first where the camera is."""
        header = Header(stamp=stamp, frame_id=self._frame_id)
        height, width = frame.rgb.shape[:2]
        if frame.mount is not None and frame.mount != self._mounted and self._mount is not None:
            self._mounted = frame.mount
            self._mount.publish(
                messages.from_transform(frame.mount, stamp, self._base_frame, self._frame_id)
            )
        self._info.publish(camera_info(frame.k, width, height, header, frame.k1))
        self._image.publish(convert.to_image(frame.rgb, 'rgb8', header))
        if frame.depth is not None and self._depth is not None:
            self._depth.publish(convert.to_image(frame.depth, '32FC1', header))
        if frame.segmentation is not None and self._segmentation is not None:
            self._segmentation.publish(convert.to_image(frame.segmentation, 'mono8', header))


class Camera(lifecycle.GscNode[CameraParameters]):
    """Publishes images at a rate; a thread of its own makes them, off the executor."""

    Parameters = CameraParameters

    def __init__(self, **options: object) -> None:
        super().__init__('camera', **options)

    def setup(self) -> None:
        """Open the source once, so that mistakes show at configure."""
        # A renderer belongs to the thread that made it: this one is closed again.
        open_source(self.values, self.get_logger().warning).close()
        self._outputs = [_Output(self, stream) for stream in parse_cameras(self.values.cameras)]
        self._odom = None
        if self.values.source == 'sim' and messages.Odometry is not None:
            self._odom = self.create_publisher(messages.Odometry, topics.ODOM, topics.IMAGES)
        self._reset()

    def _reset(self) -> None:
        self._command: Received[tuple[float, float]] | None = None
        self._ended = False
        self._problem = ''
        self._skipped = 0
        self._frames = Rate()
        self._frame_ms = float('nan')

    def start(self) -> None:
        """Begin to publish, from the source's beginning."""
        self._reset()
        stopping = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopping,), daemon=True)
        commands = VelocityInput(self, topics.CMD_VEL, self._on_command, topics.NEWEST)
        self.add_cleanup(commands.close)
        thread.start()
        self.add_cleanup(thread.join)
        self.add_cleanup(stopping.set)

    def _on_command(self, message: Twist, _stamp: object) -> None:
        linear, angular = message.linear.x, message.angular.z
        if np.isfinite(linear) and np.isfinite(angular):
            self._command = Received((linear, angular), time.monotonic())
        else:
            self.get_logger().warning(
                'cmd_vel with NaN or Inf is ignored', throttle_duration_sec=5.0
            )

    def _drive(self) -> tuple[float, float] | None:
        """Return the velocity now (m/s, rad/s): the command while it is new; None: autonomous."""
        command, values = self._command, self.values
        if command is None:
            return None if values.auto_drive else (0.0, 0.0)
        fresh = time.monotonic() - command.at_s < values.cmd_timeout_s
        return command.message if fresh else (0.0, 0.0)

    # On the camera's thread

    def _run(self, stopping: threading.Event) -> None:
        try:
            source = open_source(self.values, self.get_logger().warning)
            try:
                self._publish_all(source, stopping)
            finally:
                source.close()
        except Exception as error:
            if not self.context.ok():
                return  # the process ends around this thread
            self._problem = f'{type(error).__name__}: {error}'
            self.get_logger().error(f'the camera has stopped: {self._problem}')

    def _publish_all(self, source: Source, stopping: threading.Event) -> None:
        due = last = time.monotonic()
        shown = -np.inf
        while not stopping.wait(max(0.0, due - time.monotonic())):
            now, clock_ns = time.monotonic(), self.get_clock().now().nanoseconds
            frame = source.frame(now - last, self._drive(), self._truth_wanted())
            self._skipped = source.skipped
            if frame is None:
                self._ended = True
                self.get_logger().info('the source has ended')
                return
            last = now
            period_s = 1 / self.values.rate
            due = max(due + period_s, now)
            if frame.next_s is not None:
                # A source with a rate of its own, of which images are left out.
                due = now + frame.next_s
                if not frame.fresh or now - frame.age_s < shown + _SPACING * period_s:
                    continue
                shown = now - frame.age_s
                due = max(due, shown + _SPACING * period_s)
            self._publish(frame, clock_ns)
            self._frames.add(now)
            self._frame_ms = 1000 * (time.monotonic() - now)

    def _truth_wanted(self) -> bool:
        return any(output.truth_wanted() for output in self._outputs)

    def _publish(self, frame: CameraFrame, clock_ns: int) -> None:
        taken = Time(nanoseconds=max(0, clock_ns - round(1e9 * frame.age_s)))
        stamp = taken.to_msg()
        self._publish_place(frame, stamp)  # first, so that it is known when the image comes
        for output, one in zip(self._outputs, (frame, *frame.others), strict=True):
            output.publish(one, stamp)

    def _publish_place(self, frame: CameraFrame, stamp: Stamp) -> None:
        """Publish where the robot is."""
        v = self.values
        if frame.base is not None and self._odom is not None:
            odom = messages.Odometry(
                header=Header(stamp=stamp, frame_id=v.odom_frame), child_frame_id=v.base_frame
            )
            odom.pose.pose = messages.to_pose(frame.base)
            odom.pose.covariance = messages.covariance(_TRUTH_M, _TRUTH_RAD)
            self._odom.publish(odom)

    def diagnose(self) -> Report:
        """Return rate and trouble."""
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
