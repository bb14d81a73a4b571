"""
Points and a scan of decoded depth, computed while they have subscribers.

Publishes decoded/points, organised as the image, decoded/hazards/points, those of them that are in
the way, and decoded/scan.
"""

import array
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from gsc_ros.clouds import Beams, beams_of, points_of, scan_of, trusted
from gsc_ros.codec.hazards import IN_THE_WAY
from gsc_ros.ros import topics
from gsc_ros.ros.images.camera_info import calibrated, rays_of
from gsc_ros.ros.lifecycle import GscNode
from gsc_ros.ros.parameters import Parameters, parameter
from gsc_ros.transforms import scan_frame

if TYPE_CHECKING:
    from gsc_ros.codec import DecodedFrame

_FIELDS = ('x', 'y', 'z', 'rgb')


@dataclass(frozen=True)
class CloudParameters(Parameters):
    """Parameters of points and scan."""

    points_min_trust: int = parameter(
        128,
        'Least of decoded/received in points and scan: 128: predicted, too; 255: only the sent',
        1,
        255,
    )
    points_stride: int = parameter(2, 'Each so many rows and columns make a point', 1, 16)
    scan_top: float = parameter(
        0.4, 'Upper edge of the part of the image that the scan is of, from its top', 0.0, 1.0
    )
    scan_bottom: float = parameter(0.75, 'Lower edge of it', 0.0, 1.0)
    scan_range_max: float = parameter(
        20.0, 'Greatest distance of an obstacle in the scan, m', 0.1, 1000.0
    )


class Clouds:
    """Publishes points and scan of frames; on the worker's thread, but for :attr:`wanted`."""

    def __init__(self, node: GscNode) -> None:
        self._node = node
        self._points = node.create_publisher(PointCloud2, topics.POINTS, topics.IMAGES)
        self._hazards = node.create_publisher(PointCloud2, topics.HAZARD_POINTS, topics.IMAGES)
        self._scan = node.create_publisher(LaserScan, topics.SCAN, topics.IMAGES)
        self._rays_of: object = None
        self._rays: NDArray[np.float32] | None = None
        self._beams_of: object = None
        self._beams: Beams | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes."""
        outputs = self._points, self._hazards, self._scan
        return any(one.get_subscription_count() for one in outputs)

    def publish(self, frame: 'DecodedFrame', info: CameraInfo | None, header: Header) -> None:
        """
        Publish what is subscribed of a frame; ``info``: in the pixels of its image.

        Raises ``ValueError`` for a camera that points cannot be computed for.
        """
        if frame.depth is None or info is None or not calibrated(info) or not self.wanted:
            return
        values = self._node.values
        depth = trusted(frame.depth, frame.received, values.points_min_trust)
        rays = self._rays_for(info)
        told = frame.hazards is not None and self._hazards.get_subscription_count()
        if told or self._points.get_subscription_count():
            each = np.s_[:: values.points_stride, :: values.points_stride]
            points, rgb = points_of(depth[each], rays[each]), frame.rgb[each]
            if self._points.get_subscription_count():
                self._points.publish(to_cloud(points, rgb, header))
            if told and frame.hazards is not None:
                points[frame.hazards[each] != IN_THE_WAY] = np.nan
                self._hazards.publish(to_cloud(points, rgb, header))
        if self._scan.get_subscription_count():
            beams = self._beams_for(rays)
            ranges = scan_of(depth, frame.segmentation, beams, values.scan_range_max)
            self._scan.publish(to_scan(ranges, beams, values.scan_range_max, header))

    def _rays_for(self, info: CameraInfo) -> NDArray[np.float32]:
        key = info.width, info.height, info.distortion_model, *info.d, *info.k
        if self._rays is None or key != self._rays_of:
            self._rays, self._rays_of, self._beams = rays_of(info), key, None
        return self._rays

    def _beams_for(self, rays: NDArray[np.float32]) -> Beams:
        key = self._node.values.scan_top, self._node.values.scan_bottom
        if self._beams is None or key != self._beams_of:
            self._beams, self._beams_of = beams_of(rays, *key), key
        return self._beams


def to_cloud(points: NDArray[np.float32], rgb: NDArray[np.uint8], header: Header) -> PointCloud2:
    """
    Make an organised cloud of points (H, W, 3) in m and colours (H, W, 3).

    Fields are x, y, z and rgb, a float32 whose bits are 0x00RRGGBB, as PCL and RViz have it.
    """
    height, width = points.shape[:2]
    packed = np.empty((height, width, 4), np.float32)
    packed[..., :3] = points
    red, green, blue = (rgb[..., i].astype(np.uint32) for i in range(3))
    packed[..., 3] = (red << 16 | green << 8 | blue).view(np.float32)
    size = packed.itemsize
    cloud = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=size * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(_FIELDS)
        ],
        is_bigendian=sys.byteorder == 'big',
        point_step=size * len(_FIELDS),
        row_step=size * len(_FIELDS) * width,
        is_dense=False,
    )
    cloud.data = array.array('B', packed.tobytes())
    return cloud


def to_scan(
    ranges: NDArray[np.float32], beams: Beams, range_max: float, header: Header
) -> LaserScan:
    """Make the scan of ranges (N,) in m, in the frame of scans of the header's camera."""
    scan = LaserScan(
        header=Header(stamp=header.stamp, frame_id=scan_frame(header.frame_id)),
        angle_min=beams.angle_min,
        angle_max=beams.angle_min + beams.increment * (beams.count - 1),
        angle_increment=beams.increment,
        range_min=0.1,
        range_max=range_max,
    )
    scan.ranges = array.array('f', ranges.tobytes())
    return scan
