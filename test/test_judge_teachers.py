"""The judge on the teacher networks of a data folder."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gsc_ros.evaluation import judge as judges
from gsc_ros.evaluation.realism import kernel_distance

FILE = Path(__file__).parents[1] / 'benchmarks/judge_teachers.py'


@pytest.fixture(scope='module')
def judge():
    if not (Path(os.environ.get('GSC_DATA', '')) / 'teachers/teachers.py').is_file():
        pytest.skip('set GSC_DATA to a folder with teachers/teachers.py')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GSC_NO_DETECTOR', '1')
        return judges.load(FILE)


@pytest.fixture(scope='module')
def scene():
    """Return blocks of many sizes with grain, 160 x 128."""
    rng = np.random.default_rng(0)
    parts = [
        cv2.resize(rng.integers(0, 256, (2**k, 2**k + 1, 3), np.uint8), (160, 128))
        for k in (1, 3, 5, 7)
    ]
    return np.mean(parts, 0).astype(np.uint8)


def test_an_image_has_no_distance_to_itself(judge, scene):
    found = judge.distances(scene, scene) | judge.slow_distances(scene, scene)
    del found['drivable']  # nothing to drive on
    assert set(found) == {'vgg', 'vgg_cosine', 'lite0', 'squeeze', 'squeeze_crops', 'dists'}
    assert list(found.values()) == pytest.approx([0] * 6, abs=1e-5)


def test_a_blur_is_farther_than_a_slight_one(judge, scene):
    slight, strong = (cv2.GaussianBlur(scene, (0, 0), s) for s in (0.7, 2.5))
    near, far = (
        judge.distances(scene, p) | judge.slow_distances(scene, p) for p in (slight, strong)
    )
    for name in ('vgg', 'vgg_cosine', 'squeeze', 'dists'):
        assert 0 < near[name] < far[name], name
    sets = [judge.patches(p) for p in (scene, slight, strong)]
    assert [p.shape for p in sets] == [(20, 512)] * 3
    near_kid, far_kid = (kernel_distance(p, sets[0])[0] for p in sets[1:])
    assert 0 < near_kid < far_kid


def test_distances_of_vgg_are_those_of_the_teachers(judge, scene):
    other = cv2.GaussianBlur(scene, (0, 0), 1.5)
    a, b = (torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in (scene, other))
    wanted = float(judge.teachers.PerceptualVGG()(a, b))
    assert judge.distances(scene, other)['vgg'] == pytest.approx(wanted, rel=1e-4)


def test_columns_of_training_are_named(judge):
    trained = judges.trained_columns(judge)
    assert {'squeeze', 'squeeze_crops', 'lite0', 'agreement', 'absrel'} <= trained
    assert not trained & {'vgg', 'vgg_cosine', 'dists', 'kid', 'drivable', 'lost', 'invented'}


@pytest.mark.parametrize('size', [(16, 16), (31, 80), (48, 48)])
def test_small_images_are_judged_and_one_patch_says_nothing_of_its_cosine(judge, scene, size):
    small = cv2.resize(scene, size)
    other = cv2.GaussianBlur(small, (0, 0), 1.5)
    found = judge.distances(small, other) | judge.slow_distances(small, other)
    count = max(1, size[0] // 32) * max(1, size[1] // 32)
    assert judge.patches(small).shape == (count, 512)
    assert np.isnan(found['vgg_cosine']) == (count == 1)
    assert np.isnan(found['squeeze']) == (min(size) < 17)
    assert found['vgg'] > 0 and found['dists'] > 0
