"""The robot's place over a real link: a ground that starts anew learns where the camera is."""

import math
import time

import pytest
from bench import frame
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import BatteryState
from test_node_link_ends import key_files as _key_files
from test_node_sessions import FIRST, Field

from gsc_ros.codec import bitstream
from gsc_ros.codec.bitstream import Section
from gsc_ros.codec.pose import Pose
from gsc_ros.ros import topics
from gsc_ros.ros.robot_state import messages
from gsc_ros.transforms import OPTICAL, Transform, from_euler

key_files = _key_files
CAMERA = FIRST[0]
MOUNT = from_euler((0.5, 0.0, 1.2), 0.0, math.radians(12), 0.0) @ OPTICAL
BASE = from_euler((10.0, -4.0, 0.0), 0.0, 0.0, 1.0)


@pytest.fixture
def field(key_files):
    made = Field(key_files, (18, 19))
    yield made
    made.close()


def listen(host):
    """Subscribe to what the ground publishes of the robot."""
    got = {'transforms': [], 'battery': []}
    if messages.TFMessage is None:
        host.peer.create_subscription(
            TransformStamped, topics.RECEIVED_TRANSFORMS, got['transforms'].append, topics.TF_QOS
        )
    else:
        host.peer.create_subscription(
            messages.TFMessage,
            topics.TF,
            lambda m: got['transforms'].extend(m.transforms),
            topics.TF_QOS,
        )
    host.peer.create_subscription(
        BatteryState, topics.RECEIVED_BATTERY, got['battery'].append, topics.LATCHED
    )
    return got


def test_a_ground_that_starts_anew_learns_where_the_camera_is(field):
    field.start_ground()
    field.start_robot(telemetry_period_s=0.1)
    robot = field.robot.peer
    mounts = robot.create_publisher(TransformStamped, topics.CODED_MOUNT, topics.LATCHED)
    batteries = robot.create_publisher(BatteryState, topics.BATTERY, topics.IMAGES)
    field.wait(batteries.get_subscription_count)
    stamp = messages.Time()
    mounts.publish(messages.from_transform(MOUNT, stamp, 'base_link', CAMERA))
    batteries.publish(BatteryState(percentage=0.5))
    sent = Pose(BASE @ MOUNT).pack()

    def send():
        message = frame(2 * field.sequence, frame_id=CAMERA, stamp=divmod(time.time_ns(), 10**9))
        header, _, stream = bitstream.unpack(bytes(message.data))
        message.data = bitstream.pack(header, stream, sections={Section.POSE: sent})[1]
        field.sequence += 1
        field.robot.publishers[topics.CODED].publish(message)

    for _ in range(2):
        got = listen(field.ground)
        rounds = 0

        def placed(got=got):
            nonlocal rounds
            if rounds % 40 == 0:
                send()
            rounds += 1
            return [t for t in got['transforms'] if t.child_frame_id == 'base_link']

        field.wait(placed, 'the robot is placed')
        found = messages.to_transform(placed()[-1])
        assert found.distance_to(BASE) < 0.03
        assert math.degrees(found.angle_to(BASE)) < 0.21
        field.wait(lambda got=got: got['battery'], 'the battery')
        assert got['battery'][-1].percentage == pytest.approx(0.5, abs=0.003)
        assert field.ground.node.refused == 0
        field.end('ground')
        field.start_ground()


def test_without_the_place_of_the_camera_it_hangs_on_odom(field):
    field.start_ground(odom_frame='rover_odom')
    field.start_robot(telemetry_period_s=0.0)
    got = listen(field.ground)
    sent = Pose(Transform((1.0, 2.0, 3.0))).pack()

    def placed():
        message = frame(2 * field.sequence, frame_id=CAMERA, stamp=divmod(time.time_ns(), 10**9))
        header, _, stream = bitstream.unpack(bytes(message.data))
        message.data = bitstream.pack(header, stream, sections={Section.POSE: sent})[1]
        field.sequence += 1
        field.robot.publishers[topics.CODED].publish(message)
        field.spin(0.1)
        return [t for t in got['transforms'] if t.child_frame_id == CAMERA]

    field.wait(placed, 'the camera is placed')
    assert placed()[-1].header.frame_id == 'rover_odom'
    assert messages.to_transform(placed()[-1]).position == pytest.approx((1.0, 2.0, 3.0))
