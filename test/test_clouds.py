"""Points and scans of depth: geometry, what is not known, and messages as others read them."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from gsc_ros.clouds import beams_of, points_of, scan_of, trusted
from gsc_ros.labels import LABELS, SKY, UNLABELLED
from gsc_ros.ros import topics
from gsc_ros.ros.images.camera_info import rays_of
from gsc_ros.ros.images.clouds import CloudParameters, Clouds, to_cloud, to_scan

SIZE = (64, 48)
ROAD, PERSON = LABELS.index('road'), LABELS.index('person')


def info(size=SIZE, focal=50.0, d=(), model='plumb_bob'):
    message = CameraInfo(width=size[0], height=size[1], distortion_model=model, d=list(d))
    x, y = (size[0] - 1) / 2, (size[1] - 1) / 2
    message.k = [focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0]
    return message


RAYS = rays_of(info())


def test_a_point_is_seen_at_its_pixel():
    depth = np.random.default_rng(0).uniform(0.5, 30, SIZE[::-1]).astype(np.float32)
    points = points_of(depth, RAYS)
    k = np.reshape(info().k, (3, 3))
    again = points @ k.T
    v, u = np.mgrid[: SIZE[1], : SIZE[0]]
    assert again[..., 0] / again[..., 2] == pytest.approx(u, abs=1e-3)
    assert again[..., 1] / again[..., 2] == pytest.approx(v, abs=1e-3)
    assert (points[..., 2] == depth).all()


@pytest.mark.parametrize(
    ('model', 'd'),
    [
        ('plumb_bob', (-0.2, 0.05, 0.001, -0.001, 0.0)),
        ('rational_polynomial', (0.1, 0.02, 0.0, 0.0, 0.0, 0.05, 0.01, 0.0)),
        ('equidistant', (0.02, -0.01, 0.001, 0.0)),
    ],
)
def test_the_lens_distortion_is_taken_out(model, d):
    message = info(d=d, model=model)
    rays = rays_of(message).astype(np.float64).reshape(-1, 1, 2)
    points = np.dstack([rays, np.ones((len(rays), 1))]).reshape(-1, 1, 3)
    k, zero = np.reshape(message.k, (3, 3)), np.zeros(3)
    project = cv2.fisheye.projectPoints if model == 'equidistant' else cv2.projectPoints
    pixels = np.asarray(project(points, zero, zero, k, np.array(d))[0]).reshape(*SIZE[::-1], 2)
    v, u = np.mgrid[: SIZE[1], : SIZE[0]]
    assert pixels[..., 0] == pytest.approx(u, abs=0.2)
    assert pixels[..., 1] == pytest.approx(v, abs=0.2)


def test_a_distortion_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match='not known'):
        rays_of(info(d=(0.1, 0.2), model='mine'))


def test_what_is_not_known_has_no_point():
    depth = np.full(SIZE[::-1], 5.0, np.float32)
    depth[0], depth[1] = np.nan, np.inf
    received = np.full(depth.shape, 255, np.uint8)
    received[2], received[3] = 128, 0
    points = points_of(trusted(depth, received, 128), RAYS)
    assert np.isnan(points[[0, 1, 3]]).all()
    assert np.isfinite(points[2]).all()
    assert np.isnan(points_of(trusted(depth, received, 255), RAYS)[2]).all()
    assert trusted(depth, None, 255) is depth


def test_the_scan_of_a_wall_is_its_distance():
    beams = beams_of(RAYS, 0.25, 0.75)
    depth = np.full(SIZE[::-1], 4.0, np.float32)  # a wall across, 4 m ahead
    ranges = scan_of(depth, None, beams, 20.0)
    angles = beams.angle_min + beams.increment * np.arange(beams.count)
    assert angles[0] == pytest.approx(-angles[-1])
    assert ranges == pytest.approx(4 / np.cos(angles), rel=0.01)
    assert np.isfinite(ranges).all()
    # A thing to the left is at a positive angle (REP 103).
    depth[:, :8] = 2.0
    nearest = angles[np.argmin(scan_of(depth, None, beams, 20.0))]
    assert nearest > 0.3


def test_ground_and_sky_are_free_and_the_unknown_is_not():
    beams = beams_of(RAYS, 0.25, 0.75)
    depth = np.full(SIZE[::-1], 3.0, np.float32)
    classes = np.full(depth.shape, ROAD, np.uint8)
    classes[:, 20:30] = PERSON
    depth[:, 40:50] = np.nan
    classes[:, 40:50] = UNLABELLED
    depth[:, 55:], classes[:, 55:] = np.inf, SKY
    depth[:12], classes[:12] = 1.0, PERSON  # above the scan
    ranges = scan_of(depth, classes, beams, 20.0)
    # Beams count from the right, columns from the left.
    column = np.rint(np.interp(
        -np.tan(beams.angle_min + beams.increment * np.arange(beams.count)), RAYS[0, :, 0],
        np.arange(SIZE[0]),
    ))  # fmt: skip
    person = (column > 20) & (column < 29)
    unknown = (column > 40) & (column < 49)
    free = (column < 19) | ((column > 31) & (column < 39)) | (column > 51)
    assert np.isfinite(ranges[person]).all()
    assert ranges[person] == pytest.approx(3.0, rel=0.1)
    assert np.isnan(ranges[unknown]).all()
    assert np.isposinf(ranges[free]).all()
    assert np.isposinf(scan_of(depth, classes, beams, 2.0)[person]).all()


@given(st.floats(0, 1), st.floats(0, 1))
def test_any_part_of_the_image_has_beams_or_is_refused(top, bottom):
    try:
        beams = beams_of(RAYS, top, bottom)
    except ValueError as error:
        assert 'scan_top' in str(error)
        return
    assert beams.index.max() < beams.count
    assert np.isfinite(scan_of(np.ones(SIZE[::-1], np.float32), None, beams, 9.0)).all()


def test_the_cloud_is_one_that_others_read():
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    depth = np.full(SIZE[::-1], 2.0, np.float32)
    depth[0] = np.nan
    header = Header(frame_id='camera')
    cloud = to_cloud(points_of(depth, RAYS), rgb, header)
    assert (cloud.width, cloud.height) == SIZE
    assert cloud.row_step * cloud.height == len(cloud.data)
    assert [f.name for f in cloud.fields] == ['x', 'y', 'z', 'rgb']
    kind = np.dtype(
        {
            'names': [f.name for f in cloud.fields],
            'formats': ['<f4'] * 3 + ['<u4'],
            'offsets': [f.offset for f in cloud.fields],
            'itemsize': cloud.point_step,
        }
    )
    read = np.frombuffer(bytes(cloud.data), kind).reshape(SIZE[::-1])
    assert np.isnan(read['z'][0]).all()
    assert (read['z'][1:] == 2).all()
    assert (read['rgb'] >> 16 == rgb[..., 0]).all()
    assert (read['rgb'] & 255 == rgb[..., 2]).all()
    assert not cloud.is_dense


class Outputs:
    """A node's publishers, of which some are subscribed."""

    def __init__(self, *subscribed):
        self.subscribed, self.values, self.sent = subscribed, CloudParameters(), {}

    def create_publisher(self, _kind, topic, _quality):
        return SimpleNamespace(
            get_subscription_count=lambda: topic in self.subscribed,
            publish=lambda message: self.sent.update({topic: message}),
        )


def frame_with(hazards):
    depth = np.random.default_rng(0).uniform(1, 5, SIZE[::-1]).astype(np.float32)
    rgb = np.zeros((*SIZE[::-1], 3), np.uint8)
    return SimpleNamespace(
        depth=depth, rgb=rgb, hazards=hazards, segmentation=None, received=None
    )  # fmt: skip


def test_points_in_the_way_are_those_points_and_no_others():
    hazards = np.zeros(SIZE[::-1], np.uint8)
    hazards[32:, :32], hazards[:, 40:] = 255, 128  # in the way; not known
    frame, header = frame_with(hazards), Header(frame_id='rear_camera')
    node = Outputs(topics.HAZARD_POINTS, topics.POINTS)
    Clouds(node).publish(frame, info(), header)
    both = [node.sent[topic] for topic in (topics.HAZARD_POINTS, topics.POINTS)]
    found, all_points = (np.frombuffer(one.data, '<f4').reshape(24, 32, 4) for one in both)
    there = (hazards == 255)[::2, ::2]
    assert (found[there] == all_points[there]).all() and np.isfinite(all_points[..., :3]).all()
    assert np.isnan(found[~there][:, :3]).all()
    assert both[0].header == header
    assert both[0].header.frame_id == 'rear_camera'
    alone = Outputs(topics.HAZARD_POINTS)
    Clouds(alone).publish(frame, info(), header)
    assert alone.sent.keys() == {topics.HAZARD_POINTS}
    assert alone.sent[topics.HAZARD_POINTS].data == both[0].data


def test_without_a_word_of_hazards_no_points_say_that_there_are_none():
    node = Outputs(topics.HAZARD_POINTS, topics.SCAN)
    Clouds(node).publish(frame_with(None), info(), Header(frame_id='camera'))
    assert node.sent.keys() == {topics.SCAN}


def test_the_scan_is_one_that_others_read():
    beams = beams_of(RAYS, 0.0, 1.0)
    ranges = scan_of(np.full(SIZE[::-1], 2.0, np.float32), None, beams, 20.0)
    scan = to_scan(ranges, beams, 20.0, Header(frame_id='camera'))
    assert scan.header.frame_id == 'camera_scan'
    assert len(scan.ranges) == beams.count
    count = round((scan.angle_max - scan.angle_min) / scan.angle_increment) + 1
    assert count == beams.count
    assert -math.pi / 2 < scan.angle_min < scan.angle_max < math.pi / 2
    assert scan.range_min < min(scan.ranges) < scan.range_max
