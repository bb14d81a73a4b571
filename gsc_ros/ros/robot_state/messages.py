"""
Messages of poses and transforms.

tf2_msgs is a package of a ROS install that no wheel on PyPI has, and nav_msgs may be missing as
well: both are None here where they are not installed, and their topics do not exist.
"""

from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseWithCovariance, TransformStamped
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import Quaternion as QuaternionMessage
from std_msgs.msg import Header

from gsc_ros.codec.pose import Pose
from gsc_ros.transforms import Transform

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None  # type: ignore[assignment,misc]
try:
    from nav_msgs.msg import Odometry
except ImportError:
    Odometry = None  # type: ignore[assignment,misc]

_DIAGONAL = range(0, 36, 7)  # of a covariance: x, y, z, roll, pitch, yaw


def to_transform(message: TransformStamped) -> Transform:
    """Return a transform; raises ``ValueError`` for NaN, Inf and a quaternion of zeros."""
    t, r = message.transform.translation, message.transform.rotation
    return Transform((t.x, t.y, t.z), (r.x, r.y, r.z, r.w))


def from_transform(transform: Transform, stamp: Time, parent: str, child: str) -> TransformStamped:
    """Make the message of where ``child`` is in ``parent``."""
    out = TransformStamped(header=Header(stamp=stamp, frame_id=parent), child_frame_id=child)
    t, r = out.transform.translation, out.transform.rotation
    t.x, t.y, t.z = transform.position
    r.x, r.y, r.z, r.w = transform.orientation
    return out


def pose_to_transform(pose: PoseMessage) -> Transform:
    """Return a pose as a transform; raises ``ValueError`` as :func:`to_transform`."""
    p, q = pose.position, pose.orientation
    return Transform((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def to_pose(transform: Transform) -> PoseMessage:
    """Make the message of a pose."""
    x, y, z = transform.position
    i, j, k, w = transform.orientation
    return PoseMessage(
        position=Point(x=x, y=y, z=z), orientation=QuaternionMessage(x=i, y=j, z=k, w=w)
    )


def deviations(covariance: Any) -> tuple[float, float]:
    """Return the greatest standard deviations of a covariance (36): in m, and in rad."""
    roots = [max(0.0, float(covariance[i])) ** 0.5 for i in _DIAGONAL]
    return max(roots[:3]), max(roots[3:])


def covariance(metres: float, radians: float) -> list[float]:
    """Return a diagonal covariance (36) of two standard deviations."""
    out = [0.0] * 36
    for n, index in enumerate(_DIAGONAL):
        out[index] = (metres if n < 3 else radians) ** 2
    return out


def pose_fields(pose: Pose | None) -> dict[str, Any]:
    """Return the fields of a SemanticFrame for a pose as it is received."""
    if pose is None:
        return {}
    received = Pose.unpack(pose.pack())
    return {
        'has_pose': True,
        'pose': PoseWithCovariance(
            pose=to_pose(received.transform), covariance=covariance(*received.accuracy.deviations)
        ),
    }
