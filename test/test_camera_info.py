"""The same pixel, the same ray: camera_info by its image's stamp, in its pixels, and rectified."""

import cv2
import numpy as np
import pytest
from bench import info
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from gsc_ros.ros import convert
from gsc_ros.ros.images.camera_info import CameraInfos, Rectifier, camera_of, scaled_info


def rays(message, pixels, matrix='p'):
    """Rays (x/z, y/z) of pixels (N, 2), as image_geometry reads a camera_info."""
    m = np.reshape(getattr(message, matrix), (3, -1))
    out = []
    for axis, binning, offset in (
        (0, message.binning_x, message.roi.x_offset),
        (1, message.binning_y, message.roi.y_offset),
    ):
        focal, centre = m[axis, axis], m[axis, 2]
        bins = max(1, binning)
        out.append((pixels[:, axis] - (centre - offset) / bins) / (focal / bins))
    return np.stack(out, -1)


PIXELS = np.array([[0.0, 0.0], [17.0, 3.0], [300.5, 211.0], [40.0, 599.0]])


@st.composite
def cameras(draw):
    """A camera_info, and the size of the image that it belongs to by CameraInfo's rules."""
    full = draw(st.integers(64, 4000)), draw(st.integers(64, 3000))
    message = CameraInfo(width=full[0], height=full[1], distortion_model='plumb_bob')
    focal = [draw(st.floats(50, 5000)) for _ in range(4)]
    centre = [draw(st.floats(0, 4000)) for _ in range(4)]
    baseline = draw(st.sampled_from([0.0, -35.5]))
    message.k = [focal[0], 0.0, centre[0], 0.0, focal[1], centre[1], 0.0, 0.0, 1.0]
    row = [focal[2], 0.0, centre[2], baseline]
    message.p = [*row, 0.0, focal[3], centre[3], 0.0, 0.0, 0.0, 1.0, 0.0]
    message.binning_x, message.binning_y = (draw(st.integers(0, 4)) for _ in range(2))
    part = full
    if draw(st.booleans()):
        part = draw(st.integers(32, full[0])), draw(st.integers(32, full[1]))
        message.roi.width, message.roi.height = part
        message.roi.x_offset = draw(st.integers(0, full[0] - part[0]))
        message.roi.y_offset = draw(st.integers(0, full[1] - part[1]))
    up = draw(st.booleans())  # half a super-pixel
    bins = max(1, message.binning_x), max(1, message.binning_y)
    size = tuple(-(-p // b) if up else p // b for p, b in zip(part, bins, strict=True))
    return message, size


def crossed(message, size):
    """What the ground publishes for an image of a size."""
    sent = convert.to_camera(message, 'cam')
    return scaled_info(convert.from_camera(sent, Header(frame_id='cam')), *size)


@settings(deadline=None)
@given(cameras())
def test_a_pixel_has_the_ray_that_it_has_at_the_robot(camera):
    message, size = camera
    out = crossed(message, size)
    assert (out.width, out.height) == size
    for matrix in 'kp':
        robot, ground = rays(message, PIXELS, matrix), rays(out, PIXELS, matrix)
        np.testing.assert_allclose(ground, robot, rtol=1e-12, atol=1e-12)
        # Also for those who know nothing of binning and ROI.
        m = np.reshape(getattr(out, matrix), (3, -1))
        plain = (PIXELS - m[:2, 2]) / m[[0, 1], [0, 1]]
        np.testing.assert_allclose(plain, robot, rtol=1e-12, atol=1e-12)
    # The second camera of a pair stays where it is.
    assert out.p[3] / out.p[0] == pytest.approx(message.p[3] / message.p[0])


@settings(deadline=None)
@given(cameras(), st.tuples(st.integers(16, 4000), st.integers(16, 4000)))
def test_an_image_of_another_size_is_the_same_view(camera, size):
    message, explained = camera
    if size == (message.width, message.height) or any(
        abs(a - b) < 2 for a, b in zip(size, explained, strict=True)
    ):
        return
    bins = max(1, message.binning_x), max(1, message.binning_y)
    full = np.array([message.width, message.height])
    roi = np.array([message.roi.width, message.roi.height])
    part = np.where(roi > 0, roi, full) / bins
    for matrix in 'kp':
        robot = rays(message, PIXELS * part / size, matrix)
        ground = rays(crossed(message, size), PIXELS, matrix)
        np.testing.assert_allclose(ground, robot, rtol=1e-9, atol=1e-9)


def test_an_image_of_the_calibrated_size_is_the_whole():
    message = info((1280, 960))
    message.binning_x = message.binning_y = 2
    message.roi.x_offset, message.roi.width, message.roi.height = 320, 640, 480
    out = crossed(message, (1280, 960))
    assert (list(out.k), list(out.p)) == (list(message.k), list(message.p))
    assert (out.binning_x, out.roi.width) == (0, 0)


def test_the_message_is_not_changed_and_a_camera_without_calibration_stays_one():
    message = info((1280, 960))
    message.binning_x = 2
    before = list(message.k)
    scaled_info(message, 320, 240)
    assert (list(message.k), message.binning_x) == (before, 2)
    out = scaled_info(CameraInfo(), 10, 12)
    assert (out.width, out.height, out.k[0]) == (10, 12, 0.0)


# By stamp


def stamped(number, focal=80.0):
    message = info(stamp=(number, 5))
    message.k[0] = focal
    return message


def at(number, frame_id='camera_optical_frame'):
    return Header(stamp=Time(sec=number, nanosec=5), frame_id=frame_id)


def test_another_cameras_does_not_stand_in():
    infos = CameraInfos()
    infos.add(stamped(1, 100.0))
    assert infos.of(at(2, 'rear')) is None
    nameless = stamped(3, 300.0)
    nameless.header.frame_id = ''
    infos.add(nameless)
    assert infos.of(at(4, 'rear')).k[0] == 300.0
    assert infos.unmatched == 1


def test_each_image_has_the_camera_info_of_its_stamp():
    infos = CameraInfos()
    assert infos.of(at(1)) is None
    for number in range(10):
        infos.add(stamped(number, 100.0 + number))
    assert [infos.of(at(n)).k[0] for n in (7, 2, 9)] == [107.0, 102.0, 109.0]
    assert infos.unmatched == 0


def test_without_its_own_an_image_has_the_newest_older_one():
    infos = CameraInfos()
    for number in (10, 20, 30, 15):
        infos.add(stamped(number, float(number)))
    assert [infos.of(at(n)).k[0] for n in (19, 25, 99, 3)] == [15.0, 20.0, 30.0, 10.0]
    assert infos.unmatched == 4


def test_memory_is_bounded_and_time_may_begin_anew():
    infos = CameraInfos()
    for number in range(5000):
        infos.add(stamped(number, 1.0))
    assert len(infos._infos) <= 600
    infos.add(stamped(3, 2.0))
    assert infos.of(at(3)).k[0] == 2.0
    assert infos.newest.k[0] == 2.0


# Rectified


def distorted(model, d, r=None, size=(96, 64)):
    message = info(size)
    message.distortion_model, message.d = model, d
    width = size[0]
    message.k[0], message.k[4] = 0.73 * width, 0.75 * width
    message.p[0], message.p[5], message.p[2] = 0.69 * width, 0.64 * width, 0.47 * width
    message.r = list(np.eye(3).ravel() if r is None else cv2.Rodrigues(np.array(r))[0].ravel())
    return message


def seen(message, size, target):
    """Render a function of the ray's direction as a camera with distortion sees it."""
    width, height = size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2)
    own = scaled_info(message, width, height)
    k, d = np.reshape(own.k, (3, 3)), np.array(own.d)
    undistort = (
        cv2.fisheye.undistortPoints
        if message.distortion_model == 'equidistant'
        else cv2.undistortPoints
    )
    directions = undistort(pixels.astype(np.float64), k, d).reshape(height, width, 2)
    return target(directions)


def target(directions):
    """Smooth stripes in space, uint8 RGB."""
    x, y = directions[..., 0], directions[..., 1]
    waves = [np.sin(9 * x), np.sin(9 * y), np.sin(7 * (x + y))]
    return (127 + 100 * np.stack(waves, -1)).round().astype(np.uint8)


@pytest.mark.parametrize(
    ('model', 'd'),
    [
        ('plumb_bob', [-0.25, 0.08, 0.002, -0.001, 0.0]),
        ('rational_polynomial', [-0.2, 0.05, 0.001, 0.002, 0.01, 0.05, 0.01, 0.002]),
        ('equidistant', [-0.03, 0.01, -0.004, 0.001]),
        ('plumb_bob', []),
    ],
)
@pytest.mark.parametrize('r', [None, [0.02, -0.03, 0.01]])
@pytest.mark.parametrize('binning', [1, 2])
def test_a_rectified_image_has_its_rays(model, d, r, binning):
    size = 192, 128
    message = distorted(model, d, r, (192 * binning, 128 * binning))
    message.binning_x = message.binning_y = binning
    image, out = Rectifier().rectify(seen(message, size, target), message)
    assert not any(out.d)
    assert list(out.k) == [out.p[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)]
    np.testing.assert_array_equal(np.reshape(out.r, (3, 3)), np.eye(3))
    assert (out.width, out.height, out.binning_x) == (*size, 0)
    np.testing.assert_allclose(out.p[:3], np.array(message.p[:3]) / binning)
    # What a consumer sees along the rays of K alone is what stands there in space.
    v, u = np.mgrid[0:128, 0:192].astype(float)
    ray = np.stack([(u - out.k[2]) / out.k[0], (v - out.k[5]) / out.k[4], np.ones_like(u)], -1)
    ray = ray @ np.reshape(message.r, (3, 3))  # R turns what the camera sees
    expected = target(ray[..., :2] / ray[..., 2:])
    known = cv2.erode(image.any(2).astype(np.uint8), np.ones((5, 5))) > 0
    assert known.mean() > 0.5
    error = np.abs(image.astype(float) - expected)[known]
    assert error.mean() < 2 and np.percentile(error, 99) < 8


def test_maps_follow_a_lens_that_changes():
    rectifier = Rectifier()
    for d in ([-0.25, 0.08, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 0.0], [0.0] * 5):
        message = distorted('plumb_bob', d)
        raw = seen(message, (96, 64), target)
        again, _ = rectifier.rectify(raw, message)
        alone, _ = Rectifier().rectify(raw, message)
        np.testing.assert_array_equal(again, alone)


def test_a_camera_without_distortion_keeps_its_pixels():
    message = info()
    raw = seen(message, (96, 64), target)
    image, out = Rectifier().rectify(raw, message)
    assert image is raw
    assert list(out.k) == list(message.k)


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (CameraInfo(width=96, height=64), 'not calibrated'),
        (distorted('thin_prism_fisheye', [0.1] * 8), 'not known'),
        (distorted('equidistant', [0.1] * 5), 'not known'),
        (distorted('plumb_bob', [0.1] * 3), 'not known'),
    ],
)
def test_what_cannot_be_rectified_is_refused(message, text):
    with pytest.raises(ValueError, match=text):
        Rectifier().rectify(np.zeros((64, 96, 3), np.uint8), message)


def test_a_camera_is_told_in_shares_of_any_image_of_it():
    message = CameraInfo(width=640, height=480)
    message.k = [512.0, 0.0, 330.0, 0.0, 500.0, 250.0, 0.0, 0.0, 1.0]
    for size in ((640, 480), (320, 240)):
        camera = camera_of(message, *size)
        found = camera.fx, camera.fy, camera.cx, camera.cy
        np.testing.assert_allclose(found, (512 / 640, 500 / 480, 330 / 640, 250 / 480))
        assert camera.height_m is None
    assert camera_of(CameraInfo(width=640, height=480), 640, 480) is None
    message.k[4] = float('nan')  # of a broken driver: images go on, seen by an assumed camera
    assert camera_of(message, 640, 480) is None
