"""The encoder's pose: of TF or odometry, at the image's stamp, or none and why."""

import math

import numpy as np
import pytest
from bench import image
from geometry_msgs.msg import TransformStamped
from gsc_ros.msg import SemanticFrame
from nav_msgs.msg import Odometry
from std_msgs.msg import Header

from gsc_ros.codec.pose import Accuracy
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.ros import topics
from gsc_ros.ros.robot_state import messages
from gsc_ros.ros.robot_state.pose_input import PoseInput
from gsc_ros.transforms import OPTICAL, Transform, from_euler, scan_frame

CAMERA = 'camera_optical_frame'
MOUNT = from_euler((0.3, 0.0, 1.0), 0, math.radians(10), 0) @ OPTICAL


def header(seconds, frame='odom'):
    out = Header(frame_id=frame)
    out.stamp.sec, out.stamp.nanosec = divmod(round(seconds * 1e9), 10**9)
    return out


def odom(seconds, x, deviation=0.05):
    message = Odometry(header=header(seconds), child_frame_id='base_link')
    message.pose.pose = messages.to_pose(Transform((x, 0.0, 0.0)))
    message.pose.covariance = messages.covariance(deviation, 0.01)
    return message


def stamped(transform, seconds, parent, child):
    return messages.from_transform(transform, header(seconds).stamp, parent, child)


@pytest.fixture
def poses(bench):
    """The input of an encoder, without topics: messages are handed to it."""
    node = bench.add(Encoder, weights='random')
    made = node._poses
    assert isinstance(made, PoseInput)
    return made


class Transforms:
    """What TFMessage holds, which may not be installed."""

    def __init__(self, *transforms):
        self.transforms = transforms


def test_odometry_and_the_cameras_place_give_a_pose(poses):
    for i in range(5):
        poses._on_odom(odom(10 + i, 2.0 * i))
    assert poses.of(header(12.5, CAMERA)) is None
    assert 'not connected' in poses.trouble()[0]  # where the camera is was not said
    poses._on_mount(stamped(MOUNT, 0, 'base_link', CAMERA))
    pose = poses.of(header(12.5, CAMERA))
    assert pose.transform.position == pytest.approx((5.3, 0, 1.0))
    assert pose.accuracy is Accuracy.FINE
    assert not poses.trouble()
    assert poses._mount[:2] == ('base_link', CAMERA)
    poses._on_odom(odom(15, 10.0, deviation=3.0))
    assert poses.of(header(15, CAMERA)).accuracy is Accuracy.POOR
    # Later than all that is known, or before.
    assert poses.of(header(15.1, CAMERA)).transform.position[0] == pytest.approx(10.5)
    for at, why in ((16.0, 'too old'), (3.0, 'too old')):
        assert poses.of(header(at, CAMERA)) is None
        assert why in poses.trouble()[0]


def test_tf_goes_before_odometry(poses):
    poses._on_odom(odom(1.0, 99.0))
    poses._on_mount(stamped(Transform(), 0, 'base_link', CAMERA))
    poses._on_tf(Transforms(stamped(Transform((1.0, 2.0, 0.0)), 1.0, 'odom', 'base_link')))
    poses._on_tf_static(
        Transforms(
            stamped(from_euler((0, 0, 1.0), 0, 0, 0), 0, 'base_link', 'mast'),
            stamped(OPTICAL, 0, 'mast', CAMERA),
        )
    )
    poses._on_odom(odom(1.0, 99.0))  # also where it comes later
    pose = poses.of(header(1.0, CAMERA))
    assert pose.transform.position == pytest.approx((1.0, 2.0, 1.0))
    assert pose.accuracy is Accuracy.FINE  # which only odometry states
    bad = stamped(Transform(), 1.0, 'odom', 'base_link')
    bad.transform.translation.x = math.nan
    poses._on_tf(Transforms(bad))
    assert poses.of(header(1.0, CAMERA)).transform.position[0] == pytest.approx(1.0)


def test_transforms_of_the_ground_are_not_the_robots(poses):
    poses._on_odom(odom(1.0, 3.0))
    poses._on_mount(stamped(MOUNT, 0, 'base_link', CAMERA))
    late = [
        stamped(Transform((-9.0, 0, 0)), 0.5, 'odom', 'base_link'),
        stamped(MOUNT, 0.5, 'base_link', CAMERA),
        stamped(OPTICAL.inverse, 0.5, CAMERA, scan_frame(CAMERA)),
    ]
    poses._on_tf(Transforms(*late))
    poses._on_odom(odom(2.0, 5.0))
    assert poses.of(header(2.0, CAMERA)).transform.position[0] == pytest.approx(5.3)
    assert not poses.trouble()


def test_a_mast_that_turns_is_said_anew(poses):
    sent = []
    poses._output = type('Output', (), {'publish': staticmethod(sent.append)})()
    poses._on_tf(Transforms(*(stamped(Transform(), s, 'odom', 'base_link') for s in (1.0, 2.0))))
    for at, angle in ((1.0, 0.0), (1.2, 0.0), (2.0, 0.5)):
        mast = from_euler((0, 0, 1.0), 0, 0, angle)
        poses._on_tf(Transforms(stamped(mast, at, 'base_link', CAMERA)))
        assert poses.of(header(at, CAMERA)) is not None
    assert len(sent) == 2
    assert sent[0].child_frame_id == CAMERA


def test_a_robot_without_a_base_frame_still_has_a_pose(poses):
    poses._on_tf(Transforms(stamped(Transform((1.0, 0, 0)), 1.0, 'odom', CAMERA)))
    assert poses.of(header(1.0, CAMERA)).transform.position[0] == 1.0
    assert 'on the robot' in poses.trouble()[0]


def test_a_camera_that_stands_still_is_no_trouble(poses):
    poses._on_tf_static(Transforms(stamped(Transform(), 0, 'world', CAMERA)))
    assert poses.of(header(1.0, CAMERA)) is None
    assert not poses.trouble()


def test_a_pose_that_cannot_be_sent_does_not_stop_the_images(bench):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    node = bench.add(Encoder, weights='random', max_rate=60.0)
    made = bench.peer.create_publisher
    images = made(type(image()), topics.IMAGE, 10)
    odoms = made(Odometry, topics.ODOM, topics.IMAGES)
    mounts = made(TransformStamped, topics.MOUNT, topics.LATCHED)
    bench.wait(lambda: all(p.get_subscription_count() for p in (images, odoms, mounts)))
    mounts.publish(stamped(MOUNT, 0, 'base_link', CAMERA))

    def coded(x, seed):
        """Publish an image and where the robot is, until it is coded; return the frame."""
        now = 1e-9 * bench.peer.get_clock().now().nanoseconds
        at = header(now).stamp
        message = image(seed, stamp=(at.sec, at.nanosec))
        newest = odom(now, x)

        def found():
            return [m for m in list(bench.got[topics.CODED]) if m.header.stamp == at]

        def done():
            odoms.publish(newest)
            track = node._poses._buffer._tracks.get('base_link')
            if track and track.stamps[-1] == at.sec * 10**9 + at.nanosec:
                images.publish(message)
            return found()

        bench.wait(done, 'a frame')
        return found()[-1]

    bench.wait(lambda: coded(4.0, 0).has_pose, 'a pose')
    frame = coded(5.0, 1)
    assert frame.has_pose
    assert frame.pose.pose.position.x == pytest.approx(5.3, abs=0.011)
    assert np.allclose(frame.pose.covariance[0], 0.01)
    assert not coded(1e9, 2).has_pose  # beyond what a pose can hold
    said = bench.wait_for_report('encoder', lambda lv, m, v: 'origin of the odometry' in m)
    assert said


def test_switched_off_nothing_is_subscribed(bench):
    node = bench.add(Encoder, weights='random', pose='off')
    assert node._poses.of(header(1.0, CAMERA)) is None
    names = {s.topic_name for s in node.subscriptions}
    assert not any(name.endswith(('/odom', '/tf', topics.MOUNT)) for name in names)
