"""The coarse depth: what is sent of the depth."""

import numpy as np
import pytest
import torch

from gsc_ros.codec.coarse_depth import coarse_depth_of
from gsc_ros.labels import SKY
from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.models.tokenizer import DEPTH_LEVELS


def levels_of(metres, classes):
    """Of one image."""
    return coarse_depth_of(*(torch.from_numpy(x)[None] for x in (metres, classes)))[0].numpy()


@pytest.mark.parametrize('metres', [0.5, 1.0, 7.3, 60.0, 199.0])
def test_a_level_is_within_half_a_step_of_the_depth(metres):
    level = levels_of(np.full((8, 16), metres, np.float32), np.zeros((8, 16), np.uint8))
    assert level.shape == (1, 2)
    back = NEAREST_M * (FARTHEST_M / NEAREST_M) ** ((level + 0.5) / DEPTH_LEVELS)
    step = (FARTHEST_M / NEAREST_M) ** (0.5 / DEPTH_LEVELS)
    assert (np.maximum(back / metres, metres / back) <= step * 1.0001).all()


def test_the_sky_does_not_count_and_alone_is_far():
    depth = np.full((8, 16), 100.0, np.float32)
    depth[6:] = 2.0
    classes = np.full((8, 16), SKY, np.uint8)
    classes[6:, :8] = 0
    near, sky = levels_of(depth, classes)[0]
    assert near == levels_of(np.full((8, 8), 2.0, np.float32), np.zeros((8, 8), np.uint8))[0, 0]
    assert sky == DEPTH_LEVELS - 1


def test_a_cell_says_its_median_and_stays_in_range():
    depth = np.full((8, 8), 5.0, np.float32)
    depth[:3] = 0.01
    depth[7:] = 1e4
    classes = np.zeros((8, 8), np.uint8)
    assert levels_of(depth, classes) == levels_of(np.full((8, 8), 5.0, np.float32), classes)
    assert levels_of(np.full((8, 8), 1e9, np.float32), classes) == DEPTH_LEVELS - 1
    assert levels_of(np.full((8, 8), 1e-9, np.float32), classes) == 0
    unknown = np.full((8, 8), np.nan, np.float32)
    assert levels_of(unknown, classes) == DEPTH_LEVELS - 1
    unknown[0, :3] = 5.0
    assert levels_of(unknown, classes) == levels_of(np.full((8, 8), 5.0, np.float32), classes)


def test_images_of_a_batch_do_not_mix():
    rng = np.random.default_rng(0)
    metres = rng.uniform(1, 100, (3, 16, 24)).astype(np.float32)
    classes = rng.integers(0, 20, (3, 16, 24)).astype(np.uint8)
    together = coarse_depth_of(torch.from_numpy(metres), torch.from_numpy(classes)).numpy()
    for one, m, c in zip(together, metres, classes, strict=True):
        np.testing.assert_array_equal(one, levels_of(m, c))
