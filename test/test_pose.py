"""The pose of a frame: its bytes, the bounds of its errors, and transforms over time."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gsc_ros.codec.pose import (
    LONG_BYTES,
    MAX_ERROR_M,
    MAX_ERROR_RAD,
    MOST_M,
    SHORT_BYTES,
    Accuracy,
    Pose,
    accuracy_of,
)
from gsc_ros.transforms import IDENTITY, OPTICAL, Transform, TransformBuffer, from_euler

EDGE = 0.5000000001  # just beside the border of two cells
FAR = st.floats(-10_000, 10_000)
PART = st.floats(-1, 1)
QUATERNIONS = st.tuples(PART, PART, PART, PART).filter(lambda q: math.hypot(*q) > 0.01)
POSITIONS = st.tuples(FAR, FAR, FAR)
TRANSFORMS = st.builds(Transform, POSITIONS, QUATERNIONS)
NEAR = st.builds(Transform, st.tuples(*[st.floats(-80, 80)] * 3), QUATERNIONS)
S = 10**9


def close(found, expected, metres=1e-6, radians=1e-6):
    return found.distance_to(expected) <= metres and found.angle_to(expected) <= radians


@given(TRANSFORMS, st.sampled_from(Accuracy))
@example(Transform((0, 0, 0), (0.5, 0.5, 0.5, 0.5)), Accuracy.FINE)
@example(Transform((0, 0, 0), (-0.5, 0.5, -0.5, EDGE)), Accuracy.FINE)
@example(Transform((10_000, -10_000, 10_000), (0, 0, 1, 0)), Accuracy.POOR)
def test_a_pose_comes_back_within_its_errors(transform, accuracy):
    data = Pose(transform, accuracy).pack()
    assert len(data) <= LONG_BYTES
    pose = Pose.unpack(data)
    assert pose.accuracy is accuracy
    for found, expected in zip(pose.transform.position, transform.position, strict=True):
        assert abs(found - expected) <= MAX_ERROR_M + 1e-9
    assert pose.transform.angle_to(transform) <= MAX_ERROR_RAD
    # What came is not quantised any further.
    assert Pose.unpack(pose.pack()).transform.position == pose.transform.position


def test_the_bounds_hold_for_many_orientations():
    rng = np.random.default_rng(0)
    worst = 0.0
    for q in rng.standard_normal((4000, 4)):
        transform = Transform((0, 0, 0), tuple(q))
        found = Pose.unpack(Pose(transform).pack()).transform
        worst = max(worst, found.angle_to(transform))
    assert math.degrees(worst) <= 0.2
    assert math.degrees(worst) > 0.15  # else bits are wasted


@given(NEAR)
def test_near_the_origin_a_pose_takes_ten_bytes(transform):
    assert len(Pose(transform).pack()) == SHORT_BYTES


@given(st.binary(max_size=14))
def test_any_bytes_are_a_pose_or_refused(data):
    try:
        pose = Pose.unpack(data)
    except ValueError as error:
        assert 'pose' in str(error)
        return
    assert len(data) in (SHORT_BYTES, LONG_BYTES)
    assert pose.pack()  # what was read can be sent on
    assert math.hypot(*pose.transform.orientation) == pytest.approx(1)


def test_a_place_that_no_robot_sends_is_refused():
    most, middle = (1 << 21) - 1, 1 << 20
    for steps in ((most, middle, middle), (middle, 0, middle), (middle, middle, most)):
        x, y, z = steps
        with pytest.raises(ValueError, match='not a pose'):
            Pose.unpack((x << 42 | y << 21 | z).to_bytes(LONG_BYTES, 'big'))


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(ValueError, match='origin of the odometry'):
        Pose(Transform((0, 0, MOST_M + 1))).pack()
    for bad in ({'position': (math.nan, 0, 0)}, {'orientation': (0, 0, 0, 0)}):
        with pytest.raises(ValueError, match=r'transform|orientation'):
            Transform(**bad)


def test_accuracy_follows_the_deviations():
    assert accuracy_of(0.0, 0.0) is accuracy_of(math.nan, math.nan) is Accuracy.UNKNOWN
    assert accuracy_of(0.05, 0.01) is Accuracy.FINE
    assert accuracy_of(0.05, 0.1) is accuracy_of(0.9, 0.01) is Accuracy.FAIR
    assert accuracy_of(2.0, 0.01) is accuracy_of(math.inf, 0) is Accuracy.POOR
    for one in Accuracy:
        assert accuracy_of(*one.deviations) is one


@given(NEAR, NEAR, st.tuples(*[st.floats(-50, 50)] * 3))
def test_transforms_compose_as_their_matrices_do(a, b, point):
    def matrix(t):
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = t.rotation, t.position
        return out

    assert matrix(a @ b) == pytest.approx(matrix(a) @ matrix(b), abs=1e-9)
    assert close(a @ a.inverse, IDENTITY)
    moved = matrix(a) @ (*point, 1)
    assert a.apply(np.array(point)) == pytest.approx(moved[:3], abs=1e-9)


def test_the_optical_frame_looks_ahead():
    # z of the optical frame is x of the body, x is to the right, y is down (REP 103).
    ahead, right, down = OPTICAL.apply(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    assert ahead == pytest.approx([1, 0, 0])
    assert right == pytest.approx([0, -1, 0])
    assert down == pytest.approx([0, 0, -1])
    left = from_euler((0, 0, 0), 0, 0, math.pi / 2).apply(np.array([1, 0, 0]))
    assert left == pytest.approx([0, 1, 0])


def moving(buffer, until=3.0, step=0.1, speed=2.0, turn=0.5):
    """A robot that drives on a straight line and turns, with a camera on it."""
    for i in range(round(until / step) + 1):
        t = i * step
        buffer.add('odom', 'base', round(t * S), from_euler((speed * t, 0, 0), 0, 0, turn * t))
    buffer.add_fixed('base', 'mast', from_euler((0.2, 0, 1.0), 0, 0.1, 0))
    buffer.add_fixed('mast', 'camera', OPTICAL)


def test_a_pose_is_found_between_two_stamps():
    buffer = TransformBuffer()
    moving(buffer)
    mount = from_euler((0.2, 0, 1.0), 0, 0.1, 0) @ OPTICAL
    for t in (0.0, 0.1, 0.15, 1.234, 2.999, 3.1):  # the last one is extrapolated
        expected = from_euler((2 * t, 0, 0), 0, 0, 0.5 * t) @ mount
        assert close(buffer.find('odom', 'camera', round(t * S)), expected, 1e-4, 1e-4)
        back = buffer.find('camera', 'odom', round(t * S))
        assert close(back, expected.inverse, 1e-3, 1e-4)
    assert close(buffer.find('base', 'camera', 99 * S), mount)  # fixed ones have no time
    assert close(buffer.find('camera', 'camera', 0), IDENTITY)


def test_noise_is_not_extrapolated_without_bounds():
    buffer = TransformBuffer()
    for i in range(31):  # two publishers that differ by a centimetre
        at = i * S // 10
        buffer.add('odom', 'base', at, Transform((0.2 * i, 0.0, 0.0)))
        buffer.add('odom', 'base', at + 1000, Transform((0.2 * i + 0.01, 0.0, 0.0)))
    found = buffer.find('odom', 'base', 3 * S + S // 10)
    assert found.position[0] == pytest.approx(6.2, abs=0.03)


def test_after_a_gap_a_transform_is_extrapolated_by_what_came_since():
    buffer = TransformBuffer()
    for at, x in ((0, -50.0), (8 * S, 0.0), (8 * S + S // 20, 0.1)):
        buffer.add('odom', 'base', at, Transform((x, 0.0, 0.0)))
    found = buffer.find('odom', 'base', 8 * S + S // 5)
    assert found.position[0] == pytest.approx(0.4, abs=1e-6)


def test_frames_of_two_branches_are_connected():
    buffer = TransformBuffer()
    moving(buffer)
    buffer.add_fixed('base', 'lidar', from_euler((-0.3, 0, 0.5), 0, 0, 0))
    found = buffer.find('lidar', 'mast', 5 * S)
    assert close(found, from_euler((0.5, 0, 0.5), 0, 0.1, 0))


@pytest.mark.parametrize(
    ('target', 'source', 'at', 'why'),
    [
        ('map', 'camera', 1.0, 'not connected'),
        ('odom', 'nobody', 1.0, 'not connected'),
        ('odom', 'camera', -0.1, 'too old'),
        ('odom', 'camera', 3.5, 'too old'),
        ('odom', 'gap', 2.0, 'apart'),
    ],
)
def test_what_is_not_known_is_named(target, source, at, why):
    buffer = TransformBuffer()
    moving(buffer)
    buffer.add('odom', 'gap', 0, IDENTITY)
    buffer.add('odom', 'gap', 3 * S, IDENTITY)
    with pytest.raises(LookupError, match=why):
        buffer.find(target, source, round(at * S))


def test_what_is_above_the_target_need_not_be_of_now():
    buffer = TransformBuffer()
    moving(buffer)
    buffer.add('map', 'odom', 0, IDENTITY)
    assert buffer.find('odom', 'base', 2 * S).position[0] == pytest.approx(4)
    with pytest.raises(LookupError, match='map to odom'):
        buffer.find('map', 'base', 2 * S)


def test_a_buffer_is_bounded_and_takes_stamps_in_any_order():
    buffer = TransformBuffer(kept_s=1.0, max_frames=3)
    order = np.random.default_rng(1).permutation(100)
    for i in order:
        buffer.add('odom', 'base', int(i) * S // 50, Transform((i / 50, 0, 0)))
    assert buffer.find('odom', 'base', 3 * S // 2).position[0] == pytest.approx(1.5)
    with pytest.raises(LookupError):
        buffer.find('odom', 'base', S // 2)
    for i in range(10):
        buffer.add('odom', f'extra{i}', 0, IDENTITY)
    with pytest.raises(LookupError, match='not connected'):
        buffer.find('odom', 'extra9', 0)
    # Simulated time began anew: what is in the future of it is forgotten.
    buffer.add('odom', 'base', -100 * S, IDENTITY)
    assert close(buffer.find('odom', 'base', -100 * S), IDENTITY)
    with pytest.raises(LookupError):
        buffer.find('odom', 'base', 3 * S // 2)


def test_a_loop_of_frames_ends():
    buffer = TransformBuffer()
    buffer.add_fixed('a', 'b', IDENTITY)
    buffer.add_fixed('b', 'a', IDENTITY)
    with pytest.raises(LookupError):
        buffer.find('c', 'a', 0)
