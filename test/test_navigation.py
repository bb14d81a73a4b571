"""The ground's outputs as a navigation stack takes them: depth and camera_info to a cloud."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from gsc_ros.msg import SemanticFrame
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, CameraInfo, Image, JointState, LaserScan, PointCloud2
from std_msgs.msg import String

from gsc_ros.codec import prior
from gsc_ros.codec.networks import FILES
from gsc_ros.codec.types import GENERATED
from gsc_ros.labels import SKY
from gsc_ros.models.weights import FOLDER
from gsc_ros.nodes.camera import Camera
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.nodes.link import LinkNode
from gsc_ros.perception.model import WEIGHTS
from gsc_ros.ros import convert, topics
from gsc_ros.ros.robot_state import messages
from gsc_ros.transforms import scan_frame

pytestmark = pytest.mark.skipif(find_spec('mujoco') is None, reason='MuJoCo is not installed')

FRAME = 'rover_camera_optical'
MISSING = [
    name
    for name in (*FILES.values(), prior.WEIGHTS, WEIGHTS)
    if not (FOLDER / name).is_file()
]  # fmt: skip


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def cloud(depth, k):
    """
    Project depth (H, W) to points (N, 3) in the optical frame, as depth_image_proc does.

    Also returns the pixels (N, 2), as u and v, that the points are of.
    """
    v, u = np.nonzero(np.isfinite(depth))
    z = depth[v, u]
    x, y = (u - k[0, 2]) * z / k[0, 0], (v - k[1, 2]) * z / k[1, 1]
    return np.stack([x, y, z], -1), np.stack([u, v], -1)


class Navigation:
    """
    A navigation node: pairs depth and camera_info by stamp, with sensor quality of service.

    It also hears trust, and the robot's own camera_info and true depth, to be judged by.
    """

    def __init__(self, bench):
        self.bench = bench
        self.kinds = {
            topics.DECODED_DEPTH: Image,
            topics.DECODED_DEPTH_INFO: CameraInfo,
            topics.TRUST: Image,
            topics.DECODED_SEGMENTATION: Image,
            topics.DEPTH: Image,
            topics.CAMERA_INFO: CameraInfo,
        }
        for topic, kind in self.kinds.items():
            bench.subscribe(kind, topic, topics.SENSOR)

    def whole(self):
        """
        Return the sets of one stamp, oldest first, as dicts by topic.

        Without those from before the link knew the camera: K of zeros is an uncalibrated one.
        """
        by_stamp = {}
        for topic in self.kinds:
            for message in list(self.bench.got[topic]):
                by_stamp.setdefault(stamp(message), {})[topic] = message
        sets = [s for _, s in sorted(by_stamp.items()) if len(s) == len(self.kinds)]
        return [s for s in sets if s[topics.DECODED_DEPTH_INFO].k[0]]

    def wait(self, count):
        """Wait for so many whole sets."""
        self.bench.wait(lambda: len(self.whole()) >= count, f'{count} whole sets')
        return self.whole()


@pytest.fixture
def drive(bench):
    """Start camera, encoder, link and decoder; returns what a navigation node hears."""

    def begin(weights='random', budget=300, size=(160, 120), rate=4.0):
        navigation = Navigation(bench)
        bench.add(
            Camera, source='sim', rate=rate, width=size[0], height=size[1], hfov_deg=75.0,
            frame_id=FRAME,
        )  # fmt: skip
        bench.add(Encoder, weights=weights, budget_bytes=budget)
        bench.add(LinkNode, profile='ideal')
        bench.add(Decoder, weights=weights, steps=0)
        return navigation

    yield begin


def check_set(parts):
    """Check one frame's structure; returns decoded depth, K and true depth."""
    depth_message, info = parts[topics.DECODED_DEPTH], parts[topics.DECODED_DEPTH_INFO]
    truth = parts[topics.DEPTH]
    # The decoded maps carry the robot's acquisition stamp and frame, to the nanosecond.
    assert depth_message.header == info.header == truth.header
    assert info.header.frame_id == FRAME
    assert depth_message.encoding == '32FC1'
    size = (truth.width, truth.height)
    assert (depth_message.width, depth_message.height) == (info.width, info.height) == size
    robot = parts[topics.CAMERA_INFO]
    assert list(info.k) == pytest.approx(list(robot.k), rel=1e-6)
    assert list(info.p) == pytest.approx(list(robot.p), rel=1e-6)
    assert info.distortion_model == robot.distortion_model
    depth = convert.to_metres(depth_message)
    trust = convert.to_array(parts[topics.TRUST])
    # Also where the sky is not certain depth is not known.
    unsure = (convert.to_array(parts[topics.DECODED_SEGMENTATION]) == SKY) & ~np.isposinf(depth)
    assert (np.isnan(depth) == ((trust == GENERATED) | unsure)).all()
    assert not np.isneginf(depth).any()
    return depth, np.reshape(info.k, (3, 3)), convert.to_metres(truth)


def test_depth_and_camera_info_give_a_cloud(drive):
    for parts in drive().wait(2)[:3]:
        depth, k, truth = check_set(parts)
        points, pixels = cloud(depth, k)
        assert len(points) > 0.3 * depth.size
        assert (points[:, 2] > 0.1).all()
        assert (points[:, 2] < 1000).all()
        # Inside the camera's frustum, half a pixel beyond the outermost pixels' centres.
        height, width = depth.shape
        for axis, side in ((0, width), (1, height)):
            slope = np.abs(points[:, axis] / points[:, 2])
            assert slope.max() <= side / 2 / k[axis, axis]
        # And each is seen again at the pixel that it came from.
        again = points @ k.T
        assert again[:, :2] / again[:, 2:] == pytest.approx(pixels, abs=1e-3)
        assert truth.shape == depth.shape


def test_what_was_not_sent_is_unknown_and_leaves_the_cloud(drive):
    parts = drive(budget=60, size=(320, 240)).wait(1)[0]
    depth, k, _ = check_set(parts)
    unknown = np.isnan(depth)
    assert unknown.any()
    points, pixels = cloud(depth, k)
    assert len(points) <= (~unknown).sum()
    assert not unknown[pixels[:, 1], pixels[:, 0]].any()


def test_points_and_scan_come_with_the_robots_stamp(drive, bench):
    navigation = drive()
    navigation.wait(1)
    decoder = bench.nodes[-1]
    assert decoder._output.clouds._rays is None  # nobody has subscribed
    bench.subscribe(PointCloud2, topics.POINTS, topics.SENSOR)
    bench.subscribe(LaserScan, topics.SCAN, topics.SENSOR)

    def whole():
        found = [{stamp(m): m for m in list(bench.got[t])} for t in (topics.POINTS, topics.SCAN)]
        sets = {stamp(parts[topics.DEPTH]): parts for parts in navigation.whole()}
        return [(sets[s], *(one[s] for one in found)) for s in sets if all(s in f for f in found)]

    bench.wait(lambda: len(whole()) >= 2, 'points and scan of two frames')
    for parts, points, scan in whole()[:2]:
        depth, k, _ = check_set(parts)
        stride = decoder.values.points_stride
        xyz = np.frombuffer(bytes(points.data), np.float32).reshape(-1, 4)[:, :3]
        expected, pixels = cloud(depth, k)
        expected = expected[(pixels % stride == 0).all(1)]
        assert points.header == parts[topics.DECODED_DEPTH].header
        assert (points.height, points.width) == depth[::stride, ::stride].shape
        z = depth[::stride, ::stride].ravel()
        assert (np.isfinite(xyz[:, 2]) == np.isfinite(z)).all()
        known = np.isfinite(z)
        assert xyz[known, 2] == pytest.approx(z[known])
        assert xyz[known] == pytest.approx(expected, abs=1e-3)
        assert scan.header.stamp == points.header.stamp
        assert scan.header.frame_id == scan_frame(FRAME)
        assert len(scan.ranges) > 50


@pytest.mark.skipif(bool(MISSING), reason=f'trained weights are not there: {", ".join(MISSING)}')
def test_the_cloud_is_where_the_simulators_truth_is(drive):
    errors, heights = [], []
    for parts in drive(weights='', size=(480, 360), rate=1.0).wait(3)[:3]:
        depth, k, truth = check_set(parts)
        judged = np.isfinite(depth) & (truth >= 0.5) & (truth <= 80.0)
        assert judged.mean() > 0.3
        errors.append(np.median(np.abs(depth[judged] - truth[judged]) / truth[judged]))
        # The ground right ahead of the robot lies below its camera, where truth has it.
        found, expected = (cloud(np.where(judged, d, np.nan), k) for d in (depth, truth))
        near = expected[0][:, 2] < 8
        heights.append(np.median(found[0][near, 1]) / np.median(expected[0][near, 1]))
    assert np.median(errors) < 0.5, errors
    assert 0.5 < np.median(heights) < 2.0, heights


@pytest.fixture
def placed(bench):
    """Camera, encoder and link; what the robot states of its place, and what comes."""
    for kind, topic in (
        (Odometry, topics.ODOM),
        (Odometry, topics.RECEIVED_ODOM),
        (SemanticFrame, topics.RECEIVED),
        (BatteryState, topics.RECEIVED_BATTERY),
        (String, topics.RECEIVED_MODE),
        (JointState, topics.RECEIVED_JOINTS),
    ):
        latched = topic in LATCHED
        bench.subscribe(kind, topic, topics.LATCHED if latched else topics.IMAGES)
    bench.subscribe(TransformStamped, topics.MOUNT, topics.LATCHED)
    if messages.TFMessage is None:
        bench.subscribe(TransformStamped, topics.RECEIVED_TRANSFORMS, topics.TF_QOS)
    else:
        bench.subscribe(messages.TFMessage, topics.TF, topics.TF_QOS)

    def begin(budget=300, **link):
        bench.add(Camera, source='sim', rate=4.0, width=160, height=120, frame_id=FRAME)
        bench.add(Encoder, weights='random', budget_bytes=budget)
        return bench.add(LinkNode, profile='ideal', **link)

    yield begin


LATCHED = {topics.RECEIVED_BATTERY, topics.RECEIVED_MODE, topics.RECEIVED_JOINTS}


def transforms(bench):
    """What came of transforms: by child and stamp, parent and transform."""
    if messages.TFMessage is None:
        found = list(bench.got[topics.RECEIVED_TRANSFORMS])
    else:
        found = [t for message in list(bench.got[topics.TF]) for t in message.transforms]
    return {
        (t.child_frame_id, *stamp(t)): (t.header.frame_id, messages.to_transform(t)) for t in found
    }


def test_the_ground_knows_where_the_robot_was_at_an_images_stamp(bench, placed):
    placed()

    def whole():
        """Stamps of frames of which robot and camera are known, in one tree."""
        found = transforms(bench)
        return [
            s
            for s in (stamp(m) for m in list(bench.got[topics.RECEIVED]))
            if all((child, *s) in found for child in ('base_link', FRAME, scan_frame(FRAME)))
        ]

    bench.wait(lambda: len(whole()) >= 3, 'three frames with a place')
    stamps = whole()
    truth = {
        stamp(m): messages.pose_to_transform(m.pose.pose) for m in list(bench.got[topics.ODOM])
    }
    mount = messages.to_transform(bench.got[topics.MOUNT][-1])
    found = transforms(bench)
    for s in stamps:
        parent, base = found[('base_link', *s)]
        assert parent == 'odom'
        parent, camera = found[(FRAME, *s)]
        assert parent == 'base_link'
        # The camera is where it was, to the bounds of a pose; what it stands on is the robot.
        placed_at = base @ camera
        expected = truth[s] @ mount
        for a, b in zip(placed_at.position, expected.position, strict=True):
            assert abs(a - b) < 0.0101
        assert math.degrees(placed_at.angle_to(expected)) < 0.2
        assert base.distance_to(truth[s]) < 0.03
        parent, ahead = found[(scan_frame(FRAME), *s)]
        assert parent == FRAME
        assert (camera @ ahead).apply(np.array([1.0, 0, 0]))[0] > 0.9  # x is ahead
    bench.wait(lambda: len(bench.got[topics.RECEIVED_ODOM]) > len(stamps))
    odoms = {stamp(m): m for m in list(bench.got[topics.RECEIVED_ODOM])}
    for s in stamps:
        assert odoms[s].child_frame_id == 'base_link'
        assert odoms[s].pose.covariance[0] > 0
    frames = {stamp(m): m for m in list(bench.got[topics.RECEIVED])}
    s = stamps[0]
    assert frames[s].has_pose
    assert len(frames[s].data) <= 300


def test_a_small_frame_has_no_pose(bench, placed):
    placed(budget=90)
    bench.wait(lambda: len(bench.got[topics.RECEIVED]) >= 2, 'frames')
    assert not any(m.has_pose for m in list(bench.got[topics.RECEIVED]))
    assert not transforms(bench)


def test_telemetry_comes_to_the_ground(bench, placed):
    link = placed(joints='pan, tilt', telemetry_period_s=0.2)
    publish = bench.peer.create_publisher
    battery = publish(BatteryState, topics.BATTERY, topics.IMAGES)
    mode = publish(String, topics.MODE, topics.IMAGES)
    joints = publish(JointState, topics.JOINTS, topics.IMAGES)
    bench.wait(lambda: all(p.get_subscription_count() for p in (battery, mode, joints)))

    def came():
        battery.publish(BatteryState(percentage=0.25, voltage=24.0, current=math.nan))
        mode.publish(String(data='AUTO'))
        joints.publish(JointState(name=['x', 'tilt'], position=[9.0, 0.5]))
        return all(bench.got[topic] for topic in LATCHED)

    bench.wait(came, 'telemetry')
    state = bench.got[topics.RECEIVED_BATTERY][-1]
    assert state.percentage == pytest.approx(0.25, abs=0.003)
    assert state.voltage == pytest.approx(24.0, abs=0.011)
    assert math.isnan(state.current)
    assert bench.got[topics.RECEIVED_MODE][-1].data == 'AUTO'
    assert list(bench.got[topics.RECEIVED_JOINTS][-1].name) == ['tilt']
    assert bench.got[topics.RECEIVED_JOINTS][-1].position[0] == pytest.approx(0.5)
    assert not link.refused


def test_depth_of_an_uncalibrated_camera_is_announced(bench):
    node = bench.add(Decoder, weights='random', steps=0)
    info = CameraInfo(width=96, height=64)
    publisher = bench.peer.create_publisher(CameraInfo, topics.RECEIVED_INFO, topics.NEWEST)
    bench.wait(publisher.get_subscription_count)
    bench.wait(lambda: publisher.publish(info) or node._infos.newest is not None)
    node._last_frame = np.inf  # as if frames came
    _, said, _ = bench.wait_for_report('decoder', lambda lv, m, v: lv == DiagnosticStatus.WARN)
    assert 'calibrat' in said
    info.k = [80.0, 0.0, 47.5, 0.0, 80.0, 31.5, 0.0, 0.0, 1.0]
    publisher.publish(info)
    bench.wait_for_report('decoder', lambda lv, m, v: lv == DiagnosticStatus.OK)
