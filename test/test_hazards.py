"""Hazards: found by geometry, sent in the frame, and told as not known where they are not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from frames import decode, encode, random_symbols, uneven_prior

from gsc_ros.codec import FrameDecoder, FrameEncoder
from gsc_ros.codec.analysis import Analyser
from gsc_ros.codec.caption import NOTHING, Caption, SceneObject
from gsc_ros.codec.hazards import (
    IN_THE_WAY,
    NOT_KNOWN,
    NOTHING_FOUND,
    Hazards,
    of_mask,
    published,
    reduced,
)
from gsc_ros.codec.notes import caption_text
from gsc_ros.codec.objects import Objects
from gsc_ros.evaluation.hazards import count, shares
from gsc_ros.labels import LABELS, SKY
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.ground import find_ground
from gsc_ros.perception.hazards import Limits, find_hazards
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.perception.model import Prediction
from gsc_ros.perception.scale import scale_by_height

ROWS, COLUMNS = 48, 64
HEIGHT_M, PITCH = 1.2, np.radians(10.0)
CAMERA = Camera(0.7, 0.7 * 4 / 3)


def scene(box=(2.5, 3.0, -0.3, 0.3, 0.4)):
    """Depth of a plane seen from 1.2 m, with a box: near, far, left, right, height in metres."""
    rays = CAMERA.points(np.ones((ROWS, COLUMNS)))
    up = np.array([0.0, -np.cos(PITCH), -np.sin(PITCH)])
    ahead = np.array([0.0, -np.sin(PITCH), np.cos(PITCH)])
    fall, reach = rays @ up, rays @ ahead
    plane = np.where(fall < -1e-6, -HEIGHT_M / np.minimum(fall, -1e-6), np.inf)
    depth, mask = plane.copy(), np.zeros(plane.shape, bool)
    if box is not None:
        near, _, left, right, high = box
        front = near / reach
        across, top = front * rays[..., 0], front * fall + HEIGHT_M
        mask = (across > left) & (across < right) & (top > 0) & (top < high) & (front < plane)
        depth[mask] = front[mask]
    return depth, mask


def test_the_ground_is_found_with_its_height():
    depth, _ = scene()
    points = CAMERA.points(depth)
    ground = find_ground(points[ROWS // 2 :].reshape(-1, 3))
    assert ground.height_m == pytest.approx(HEIGHT_M, rel=0.03)
    assert find_ground(points[:2].reshape(-1, 3)[:5]) is None


def test_what_stands_out_of_the_ground_is_a_hazard():
    depth, box = scene()
    found = find_hazards(depth, CAMERA)
    assert (found.mask & box).sum() > 0.5 * box.sum()
    assert (found.mask & ~box).sum() < 0.1 * box.sum()
    assert not find_hazards(scene(None)[0], CAMERA).mask.any()
    low, _ = scene((2.5, 3.0, -0.3, 0.3, 0.1))
    assert not find_hazards(low, CAMERA).mask.any()
    assert find_hazards(low, CAMERA, Limits(above_m=0.05)).mask.any()
    assert not find_hazards(depth, CAMERA, Limits(within_m=2.0)).mask.any()


def test_a_known_height_tells_the_ground_from_the_top_of_a_slab():
    # All of the lower part is a slab 0.9 m below the camera: it is the ground, or in the way.
    depth, _ = scene(None)
    slab = 0.5 * depth
    assert find_hazards(slab, CAMERA).ground.height_m == pytest.approx(HEIGHT_M / 2, rel=0.03)
    known = find_hazards(slab, Camera(CAMERA.fx, CAMERA.fy, height_m=HEIGHT_M))
    near = slab < Limits().within_m
    assert known.ground is None
    assert (known.mask == near).mean() > 0.95
    lower = find_hazards(slab, Camera(CAMERA.fx, CAMERA.fy, height_m=0.3))
    assert not lower.mask.any()


def test_ground_that_bends_is_no_hazard_and_hides_none():
    rays = CAMERA.points(np.ones((ROWS, COLUMNS)))
    # Depth at which a ray meets a hollow: 1.2 m below the camera, 0.4 m higher at 4 m.
    ahead = np.linspace(0.3, 8.0, 2000)
    floor = -HEIGHT_M + 0.025 * ahead**2
    up = -(np.sin(PITCH) + np.cos(PITCH) * rays[:, 0, 1])
    reach = np.cos(PITCH) - np.sin(PITCH) * rays[:, 0, 1]
    depth = np.full((ROWS, COLUMNS), np.inf)
    for row in range(ROWS):
        below = ahead * up[row] / reach[row] <= floor
        if below.any():
            depth[row] = ahead[below.argmax()] / reach[row]
    assert np.isfinite(depth).mean() > 0.5
    assert not find_hazards(depth, CAMERA).mask.any()
    rock = (slice(24, 30), slice(30, 38))
    depth[rock] = depth[29, 30]
    found = find_hazards(depth, CAMERA).mask
    assert found[rock][:3].all()
    found[rock] = False
    assert not found.any()


def test_in_front_of_a_wall_all_is_in_the_way():
    wall = np.full((ROWS, COLUMNS), 0.8)
    found = find_hazards(wall, CAMERA)
    assert found.ground is None and found.mask.all()
    assert not find_hazards(wall, CAMERA, Limits(within_m=0.5)).mask.any()
    assert told(depth=wall).cells.all()


def test_unknown_depth_is_no_ground_and_no_hazard():
    found = find_hazards(np.full((ROWS, COLUMNS), np.nan), CAMERA)
    assert found.ground is None and not found.mask.any()
    depth, _ = scene(None)
    depth[ROWS // 2 :, :24] = np.nan
    assert find_hazards(depth, CAMERA).ground is not None
    depth[ROWS // 2 :, :44] = np.nan  # two thirds
    assert find_hazards(depth, CAMERA).ground is None
    seen, _ = scene()
    seen[ROWS // 2 :, :20] = np.inf  # nothing in range there
    assert find_hazards(seen, CAMERA).mask.any()


def told(depth, camera=CAMERA):
    """Return what a robot tells by a sensor's depth."""
    plane, _ = scene(None)
    view = Prediction(np.zeros(plane.shape, np.uint8), plane.astype(np.float32), False)
    return Analyser(None, None, None, camera=camera)._hazards(
        view, SceneKind(0, 0.9), depth.astype(np.float32), (640, 480), np.zeros(plane.shape, bool)
    )


def of_height(height_m):
    return replace(CAMERA, height_m=height_m)


@pytest.mark.parametrize('height_m', [0.0, -1.2, np.nan, np.inf])
def test_a_height_that_cannot_be_is_not_known(height_m):
    assert of_height(height_m) == CAMERA


@pytest.mark.parametrize(
    'wrong',
    [
        {'fx': 0.0}, {'fy': -0.7}, {'fx': np.nan}, {'cx': np.nan}, {'cy': np.inf},
    ],
)  # fmt: skip
def test_a_camera_that_cannot_be_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f'{name}.*give'):
        replace(CAMERA, **wrong)


@pytest.mark.parametrize('degrees', [0.0, -70.0, 180.0, np.nan])
def test_a_field_of_view_that_cannot_be_is_refused(degrees):
    with pytest.raises(ValueError, match='field of view'):
        Camera.of_hfov(degrees, 4 / 3)


def test_the_camera_s_height_scales_depth_by_most_of_what_the_ground_is_off():
    plane, _ = scene(None)
    metres, ground = np.where(np.isfinite(plane), plane, 100.0), np.isfinite(plane)
    assert scale_by_height(metres, ground, of_height(HEIGHT_M)) == pytest.approx(1, abs=0.03)
    twice = scale_by_height(metres, ground, of_height(2 * HEIGHT_M))
    assert 1.5 < twice < 2
    assert scale_by_height(metres, ground, of_height(HEIGHT_M / 2)) == pytest.approx(
        1 / twice, rel=0.1
    )
    assert scale_by_height(metres, ground, of_height(1e3)) == pytest.approx(4)
    for height_m in (None, 0.0, -1.0, float('nan')):
        assert scale_by_height(metres, ground, of_height(height_m)) is None
    assert scale_by_height(metres, np.zeros_like(ground), of_height(HEIGHT_M)) is None


class Road:
    """Sees a plane in every image."""

    def predict(self, rgb, stride=8):
        shape = rgb.shape[0] // stride, rgb.shape[1] // stride
        plane = cv2.resize(scene(None)[0], shape[::-1], interpolation=cv2.INTER_NEAREST)
        metres = np.where(np.isfinite(plane), plane, 100.0).astype(np.float32)
        classes = np.where(np.isfinite(plane), LABELS.index('road'), SKY).astype(np.uint8)
        return Prediction(classes, np.where(classes == SKY, np.inf, metres), False, None, metres)


def test_the_source_of_the_scale_is_told():
    encoder, decoder = (half.load(weights='random') for half in (FrameEncoder, FrameDecoder))
    encoder.networks.analyser.perception = Road()
    rgb = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    rgb = rgb.repeat(16, 0).repeat(16, 1)
    medians = {}
    for name, camera, depth in (
        ('learned', CAMERA, None),
        ('camera height', of_height(2 * HEIGHT_M), None),
        ('sensor', of_height(2 * HEIGHT_M), np.full((8, 8), 3.0, np.float32)),
    ):
        encoder.see_by(camera)
        frame = encoder.pack(encoder.analyse(rgb, depth), 300)
        assert frame.scale == name
        found = decoder.render([decoder.read(frame.data)])[0].depth
        medians[name] = np.median(found[np.isfinite(found)])
    assert medians['camera height'] > 1.3 * medians['learned']


def test_a_sensor_s_metres_are_not_brought_to_a_height():
    depth, _ = scene()
    for height_m in (None, HEIGHT_M, 0.3):
        hazards = told(depth, camera=Camera(CAMERA.fx, CAMERA.fy, height_m=height_m))
        assert str(hazards) == 'obstacle ahead at 2 m'


def test_what_is_thin_is_seen_by_a_sensor():
    plane, _ = scene(None)
    depth = cv2.resize(np.where(np.isfinite(plane), plane, 50.0), (640, 480))
    depth[150:330, 301:304] = 2.2  # a rod, between the cells of the network's map
    cells = told(depth).cells
    assert cells[4:8, 7].all()
    assert not np.delete(cells, 7, 1).any()


def some(shape=(6, 8)):
    mask = np.zeros((shape[0] * 4, shape[1] * 4), bool)
    mask[12:20, 2:6] = True
    return reduced(of_mask(mask, np.full(mask.shape, 2.9)), shape)


def test_no_region_vanishes_between_the_cells():
    mask = np.zeros((24, 32), bool)
    mask[3:5, 7] = True
    hazards = reduced(of_mask(mask, np.full(mask.shape, 2.9)), (6, 8))
    assert hazards.cells[:2, 1].all() and hazards.cells.sum() == 2
    mask[3:24, 7] = True
    mask[3, 8:32] = True  # a tenth of it lies in no cell
    assert reduced(of_mask(mask, np.full(mask.shape, 2.9)), (6, 8)).cells.any()
    assert str(hazards) == 'obstacle left at 2 m'


def test_objects_of_a_detector_are_named_in_any_scene():
    caption = Caption(0, (SceneObject(0, 2, 1),))
    assert caption_text(caption, None, SceneKind(3, 0.9)) == 'indoor: person ahead at 4 m'
    # A street that the classes' shares do not name is a street.
    assert caption_text(caption, None, SceneKind(0, 0.9)) == 'street: person ahead at 4 m'


def test_the_nearest_are_named():
    hazards = some()
    assert str(hazards) == 'obstacle far left at 2 m'
    assert 0 < hazards.cells.sum() < 8
    text = caption_text(Caption(1), None, SceneKind(0, 0.9), hazards, Objects())
    assert text == 'street: obstacle far left at 2 m'
    none = Hazards(np.zeros((6, 8), bool))
    assert NOTHING in caption_text(Caption(1), None, SceneKind(0, 0.9), none, Objects())


HOLES = np.zeros((3, 4), bool)
HOLES[1:, 2:] = True
NONE = Hazards(np.zeros((6, 8), bool))


@pytest.mark.parametrize(
    'hazards', [None, NONE, some(), replace(NONE, holes=HOLES), replace(some(), holes=HOLES)]
)
def test_hazards_go_on_air(hazards):
    symbols, prior = random_symbols(4, (256, 192)), uneven_prior()
    symbols.hazards = hazards
    data, coded = encode(symbols, prior, 100_000)
    found = decode(data, (256, 192), prior).hazards
    assert coded.bits['hazards'] < 60
    if hazards is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found.cells, hazards.cells)
        assert found.nearest == hazards.nearest
        np.testing.assert_array_equal(found.holes, hazards.holes)


def test_the_published_map_says_what_is_not_known():
    size, hidden = (80, 60), np.zeros((60, 80), bool)
    hidden[30:] = True
    assert (published(None, size, hidden) == NOT_KNOWN).all()
    shown = published(some(), size, hidden)
    assert set(np.unique(shown[:30])) <= {NOTHING_FOUND, IN_THE_WAY}
    assert (shown[30:] == NOT_KNOWN).all()


def test_a_hole_of_the_sensor_is_not_known_and_a_hazard_in_it_stays():
    cells = np.zeros((6, 8), bool)
    cells[2, 4] = True  # in a block of holes
    shown = published(Hazards(cells, holes=HOLES), (80, 60), np.zeros((60, 80), bool))
    assert shown[25, 45] == IN_THE_WAY
    assert (shown[40:, 40:] == NOT_KNOWN).all()
    assert (shown[:20] == NOTHING_FOUND).all()


def test_a_sensor_s_holes_are_told():
    depth, _ = scene(None)
    assert told(depth).holes is None
    depth[32:40, 8:16] = np.nan
    depth[40, 40] = np.nan  # a speck
    holes = told(depth).holes
    assert holes.shape == (ROWS // 8, COLUMNS // 8)
    assert np.argwhere(holes).tolist() == [[4, 1]]


def test_hazards_are_counted_against_truth():
    truth, told = np.zeros((60, 80), bool), np.zeros((60, 80), np.uint8)
    truth[30:40, 10:20] = truth[30:40, 60:70] = truth[5, 5] = True  # the last is a speck
    told[28:40, 8:20] = told[50:60, 30:40] = IN_THE_WAY
    told[30:40, 60:70] = NOT_KNOWN
    found = count(told, truth)
    assert found == {'true': 2, 'missed': 1, 'false': 1, 'untold': 0}
    nothing = count(np.full((60, 80), NOT_KNOWN, np.uint8), truth)
    assert nothing == {'true': 2, 'missed': 2, 'false': 0, 'untold': 1}
    assert shares([found, nothing]) == {'missed': 0.75, 'false': 0.5, 'untold': 0.5}
