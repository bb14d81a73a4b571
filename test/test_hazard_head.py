"""The head of perception that tells what is in the way: what it is asked, told, and taught."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from gsc_ros.codec import FrameEncoder
from gsc_ros.codec.analysis import Analyser
from gsc_ros.evaluation.datasets import open_dataset
from gsc_ros.models.hazards import ABOVE_M, WIDTH, WITHIN_M, HazardHead, Question, rays
from gsc_ros.models.perception import PerceptionNet
from gsc_ros.models.precision import autocast
from gsc_ros.models.weights import FOLDER, load, restore, save
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.hazards import Limits
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.perception.model import WEIGHTS, PerceptionModel, Prediction
from gsc_ros.perception.standing import Standing, question, regions
from gsc_ros.training import hazards as training
from gsc_ros.training import loop

ROWS, COLUMNS = 24, 32
CAMERA = Camera(0.7, 0.7 * 4 / 3)
USUAL = Limits()


def test_a_question_beyond_what_was_taught_is_asked_at_the_edge():
    far = replace(USUAL, within_m=50.0)
    most = replace(USUAL, within_m=WITHIN_M[1])
    size = (512, 384)
    assert question(CAMERA, far, size).numbers() == question(CAMERA, most, size).numbers()
    known = question(replace(CAMERA, height_m=1.0), USUAL, size).numbers()
    unknown = question(CAMERA, USUAL, size).numbers()
    assert known[:3] == unknown[:3] and known[3] == 1 and not any(unknown[3:])
    assert Standing.knows(USUAL)
    assert Standing.knows(Limits(2 * ABOVE_M[1], WITHIN_M[0] / 2))  # told too much of
    assert not Standing.knows(far)
    assert not Standing.knows(replace(USUAL, above_m=0.9 * ABOVE_M[0]))


def test_rays_look_where_the_cells_are():
    asked = Question(0.15, 5.0, None, (100.0, 50.0), (16.0, 8.0))
    x, y = rays(asked, (2, 4), 8)
    assert x[0].tolist() == pytest.approx([-0.12, -0.04, 0.04, 0.12])
    assert y[:, 0].tolist() == pytest.approx([-0.08, 0.08])


def test_a_region_is_told_if_any_of_it_is_likely():
    chances = np.zeros((6, 8), np.float32)
    chances[1, 1:3] = 0.3
    chances[4, 4:6] = 0.3
    chances[3, 6] = 0.6  # touches it at a corner
    found = regions(chances, 0.2, 0.5)
    assert found[4, 4:6].all() and found[3, 6] and found.sum() == 3
    assert not regions(np.zeros((6, 8), np.float32), 0.2, 0.5).any()


class Foot(HazardHead):
    """Tells of columns of cells that stand at 2, 4 and 6 m."""

    def answer(self, seen, rays, asked):
        within = 5 * torch.exp(asked[:, 1])
        stands = torch.full((ROWS, COLUMNS), 100.0)
        for column, metres in ((4, 2.0), (16, 4.0), (28, 6.0)):
            stands[8:16, column : column + 4] = metres
        near = stands[None] < within[:, None, None]
        return torch.where(near, 5.0, -5.0)[:, None]


def standing():
    return Standing(Foot((8, 8, 8)), torch.zeros(1, WIDTH, ROWS, COLUMNS), 8)


def test_distances_are_those_by_which_things_are_asked_for():
    lost = np.zeros((ROWS, COLUMNS), bool)
    mask, metres = standing().find(CAMERA, USUAL, (3.0, 5.0, 8.0), lost)
    assert mask[8:16, 4:8].all() and mask[8:16, 16:20].all() and mask.sum() == 64
    assert np.allclose(metres[8:16, 4:8], 3) and (metres[8:16, 4:8] < 3).all()
    assert np.allclose(metres[8:16, 16:20], 5)
    lost[:, :10] = True
    mask, _ = standing().find(CAMERA, USUAL, (3.0, 5.0, 8.0), lost)
    assert not mask[:, :10].any() and mask[8:16, 16:20].all()
    further, _ = standing().find(CAMERA, replace(USUAL, within_m=9.0), (3.0, 5.0), lost)
    assert further[8:16, 28:32].all()


def test_half_the_digits_tell_nearly_the_same():
    torch.manual_seed(0)
    seen = torch.randn(1, WIDTH, ROWS, COLUMNS)
    made = Standing(HazardHead((8, 8, 8)).eval(), seen, 8)
    exact = made.probabilities(CAMERA, [USUAL])
    with autocast(True):
        half = made.probabilities(CAMERA, [USUAL])
    assert half.dtype == exact.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.02)


def tell(kind, limits=USUAL, depth=None, lost=None):
    """Return what a robot tells of an image in which the head sees things at 2 and 4 m."""
    shape = (ROWS, COLUMNS)
    classes, metres = np.zeros(shape, np.uint8), np.full(shape, 5.0, np.float32)
    view = Prediction(classes, metres, False, standing=standing())
    analyser = Analyser(None, None, None, camera=CAMERA, limits=limits)
    lost = np.zeros(shape, bool) if lost is None else lost
    return analyser._hazards(view, kind, depth, (256, 192), lost)


def test_what_stands_is_told_in_any_kind_of_scene():
    for kind in (None, SceneKind(0, 0.9), SceneKind(2, 0.9), SceneKind(3, 0.4)):
        found = tell(kind)
        assert str(found) == 'obstacle far left at 2 m, obstacle ahead at 4 m'
        assert found.cells.sum() == 4
        # The rest is nothing found where little is missed, and not known elsewhere.
        known = kind is not None and kind.sure and kind.name == 'planetary'
        assert found.holes is None if known else found.holes.all()
    near = replace(USUAL, within_m=WITHIN_M[0])
    assert tell(SceneKind(0, 0.9), near) is None
    assert not tell(SceneKind(2, 0.9), near).cells.any()
    assert tell(None, replace(USUAL, within_m=WITHIN_M[1] + 1)) is None
    flat = np.full((ROWS, COLUMNS), np.inf, np.float32)
    assert str(tell(None, depth=flat)) != str(tell(None))  # the sensor's word counts


def test_a_sensor_s_median_or_other_view_shows_no_hazard_and_hides_none():
    for shape in ((1, 1), (ROWS, ROWS)):
        found = tell(None, depth=np.full(shape, np.inf, np.float32))
        assert str(found) == str(tell(None)) and (found.cells == tell(None).cells).all()


def test_what_is_lost_of_an_image_is_no_obstacle():
    lost = np.zeros((ROWS, COLUMNS), bool)
    lost[:, :12] = True
    assert str(tell(None, lost=lost)) == 'obstacle ahead at 4 m'


def test_weights_without_the_head_are_refused_with_the_remedy(tmp_path):
    for own in FOLDER.glob('*.safetensors'):
        if own.name != WEIGHTS:
            (tmp_path / own.name).symlink_to(own)
    net = PerceptionNet(kinds=7)
    save(tmp_path / WEIGHTS, net.state_dict(), net.config)
    with pytest.raises(ValueError, match=f'gsc train hazards --weights {tmp_path}'):
        FrameEncoder.load(weights=tmp_path)


def test_the_head_leaves_classes_and_depth_as_they_are():
    torch.manual_seed(0)
    plain = PerceptionNet(kinds=7).eval()
    net = PerceptionNet(kinds=7, hazards=True).eval()
    assert not net.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    x = torch.rand(1, 3, 192, 256) * 2 - 1
    with torch.inference_mode():
        before, after = plain(x), net(x)
    for one, other in zip(before[:3], after[:3], strict=True):
        assert torch.equal(one, other)
    assert before.standing is None and after.standing.shape == (1, WIDTH, ROWS, COLUMNS)
    assert net.config['hazards'] and not plain.config['hazards']


def plane(box=True):
    """Image, heights, depth (192, 256) of ground 1 m below a level camera, and a box at 3 m."""
    look = CAMERA.points(np.ones((192, 256)))
    down = look[..., 1]
    depth = np.where(down > 0.01, 1 / np.maximum(down, 0.01), np.inf)
    heights = np.where(np.isfinite(depth), 0.0, np.nan)
    rgb = np.where(down[..., None] > 0.01, (150, 120, 90), (120, 150, 220)).astype(np.uint8)
    if box:
        at = (np.abs(look[..., 0] * 3 - 0.4) < 0.4) & (down * 3 < 1) & (down * 3 > 0.5)
        depth[at], heights[at] = 3.0, 1 - 3 * down[at]
        rgb[at] = (60, 40, 30)
    return rgb, heights.astype(np.float32), depth.astype(np.float32)


def write_worlds(root, count=8):
    (root / 'mars').mkdir(parents=True)
    with open(root / 'frames.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(('file', 'fx', 'fy', 'cx', 'cy', 'height_m'))
        for i in range(count):
            rgb, heights, depth = plane(box=i % 2 == 0)
            cv2.imwrite(str(root / f'mars/{i}_rgb.png'), rgb[..., ::-1])
            np.save(root / f'mars/{i}_heights.npy', heights)
            np.save(root / f'mars/{i}_depth.npy', depth)
            writer.writerow((f'mars/{i}_rgb.png', CAMERA.fx, CAMERA.fy, 0.5, 0.5, 1 + i / 1e3))


def test_heights_are_found_in_depth_alone(tmp_path):
    write_worlds(tmp_path / 's', 1)
    (frame,) = open_dataset(tmp_path / 's')
    stated, _, camera = training.with_heights(frame)
    unstated = replace(frame, heights=None)
    found, _, seen_by = training.with_heights(unstated)
    # What is as near as a table may be one, if nothing states how high the camera is.
    assert training.with_heights(replace(unstated, camera=CAMERA)) is None
    assert camera.height_m == 1 and seen_by.height_m == pytest.approx(1, abs=0.05)
    near = plane()[2] < 6
    assert np.abs(found - stated)[near].max() < 0.08
    assert training.with_heights(replace(frame, depth=None)) is None


def test_a_cut_image_keeps_its_geometry():
    rgb, heights, depth = plane()
    rng = np.random.default_rng(0)
    for _ in range(6):
        seen, (h, d), camera = training.cut(rgb, (heights, depth), CAMERA, rng)
        assert seen.shape[:2] == h.shape == d.shape
        ground = h == 0
        points = camera.points(np.where(np.isfinite(d), d, np.nan))
        assert np.abs(points[ground][:, 1] - 1).max() < 0.02  # 1 m below the camera, still


def example():
    rgb, heights, depth = plane()
    torch.manual_seed(0)
    net = PerceptionNet().eval()

    class Shown:
        image = type('Path', (), {'parent': type('Path', (), {'name': 'mars'})})
        camera = replace(CAMERA, height_m=1.0)
        rgb = staticmethod(lambda: rgb)
        heights = staticmethod(lambda: heights)
        depth = staticmethod(lambda: depth)

    return training.example_of(net, Shown, None)


def test_the_truth_follows_the_limits():
    one = example()
    target, weight = one.truth(USUAL)
    assert target.shape == weight.shape == one.shape == (ROWS, COLUMNS)
    assert target[16:18, 18].all() and not target[:8].any() and not target[20:].any()
    assert not one.truth(replace(USUAL, within_m=2.5))[0].any()
    high = one.truth(replace(USUAL, above_m=0.3))[0]
    assert 0 < high.sum() < target.sum()
    one.heights[:] = np.nan
    one.depth[:] = np.nan
    assert not one.truth(USUAL)[1].any()  # nothing is known


def test_the_stage_adds_a_head_and_leaves_the_rest(tmp_path):
    write_worlds(tmp_path / 's')
    torch.manual_seed(0)
    before = PerceptionNet(kinds=7)
    save(tmp_path / 'w' / WEIGHTS, before.state_dict(), before.config)
    settings = loop.Settings(tmp_path / 'o', steps=30, warmup=1, learning_rate=1e-2, threads=1)
    path = training.train(None, settings, tmp_path / 's', tmp_path / 'w', batch=4)
    old, new = load(tmp_path / 'w' / WEIGHTS)[0], load(path)[0]
    for name, value in old.items():
        assert torch.allclose(value, new[name], rtol=1e-6, atol=0), name
    assert {name.split('.')[0] for name in set(new) - set(old)} == {'hazards'}
    assert restore(PerceptionNet, path).hazards is not None
    view = PerceptionModel.load(path.parent).predict(plane()[0])
    chances = view.standing.probabilities(CAMERA, [USUAL])[0]
    assert chances[16:18, 18].mean() > 4 * chances[20:, :12].mean()


def test_the_stage_needs_truth(tmp_path):
    (tmp_path / 'd').mkdir()
    cv2.imwrite(str(tmp_path / 'd/0.png'), plane()[0])
    with pytest.raises(ValueError, match='gsc train simulated'):
        training.train(tmp_path / 'd', loop.Settings(tmp_path / 'o', steps=1))
