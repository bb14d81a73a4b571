"""The distance of textures and the kernel distance, on a small random network of VGG's kind."""

import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gsc_ros.evaluation.realism import kernel_distance
from gsc_ros.evaluation.texture import dists, l2_pool, layers


@cache
def network():
    """Four stages of two convolutions, 8 to 64 channels, random weights."""
    generator, stages, before = torch.Generator().manual_seed(0), [], 3
    for channels in (8, 16, 32, 64):
        stage = nn.Sequential()
        for inputs in (before, channels):
            convolution = nn.Conv2d(inputs, channels, 3, padding=1)
            spread = math.sqrt(2 / (9 * inputs))
            nn.init.normal_(convolution.weight, 0, spread, generator)
            nn.init.zeros_(convolution.bias)
            stage.extend([convolution, nn.ReLU()])
        stages.append(stage)
        before = channels
    return stages


@torch.inference_mode()
def maps(rgb):
    """Return the image in [0, 1] and the maps of the network of the centred image."""
    x = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
    return [x, *layers(x - 0.5, network())]


def apart(a, b):
    return dists(maps(a), maps(b))


def texture(seed, size=(96, 128)):
    """Fine stones: noise with a correlation of a pixel and a half."""
    noise = np.random.default_rng(seed).normal(0, 1, (*size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.0)
    return (128 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def features(images):
    """Return the mean last maps of patches of 16 pixels of images."""
    last = [maps(rgb)[-1] for rgb in images]
    means = [nn.functional.avg_pool2d(x, 2)[0].flatten(1).T.numpy() for x in last]
    return np.concatenate(means)


def test_equal_images_are_not_apart():
    assert apart(texture(0), texture(0)) == pytest.approx(0, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(0, 99))
def test_the_distance_is_symmetric_and_has_bounds(seed, other):
    a, b = texture(seed, (32, 48)), texture(other + 100, (32, 48))
    assert apart(a, b) == pytest.approx(apart(b, a), abs=1e-5)
    assert -1e-6 <= apart(a, b) <= 1


def test_the_same_texture_elsewhere_costs_less_than_a_blur():
    stones = texture(0)
    blurred = cv2.GaussianBlur(stones, (0, 0), 3)
    assert apart(stones, texture(1)) < 0.9 * apart(stones, blurred)
    # Of pixels the order is the other way.
    wrong = [float(np.mean((stones - p.astype(float)) ** 2)) for p in (texture(1), blurred)]
    assert wrong[0] > 1.5 * wrong[1]


def test_a_slight_shift_costs_less_than_a_blur():
    scene = cv2.resize(texture(2, (12, 16)), (128, 96), interpolation=cv2.INTER_CUBIC)
    scene = (0.7 * scene + 0.3 * texture(3)).astype(np.uint8)
    shifted = np.roll(scene, 1, 1)
    assert 0 < apart(scene, shifted) < apart(scene, cv2.GaussianBlur(scene, (0, 0), 2))
    blurs = [apart(scene, cv2.GaussianBlur(scene, (0, 0), s)) for s in (0.5, 1, 2, 4)]
    assert blurs == sorted(blurs)


def test_a_map_by_hand():
    """One channel: means 1 and 2; deviations (-1, 1) and (-2, 2)."""
    a, b = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[0.0, 4.0]]]])
    texture_alike, structure_alike = 2 * 1 * 2 / (1 + 4), 2 * 2 / (1 + 4)
    expected = 1 - (texture_alike + structure_alike) / 2
    assert dists([a], [b]) == pytest.approx(expected, abs=1e-5)
    assert dists([a, a], [b, a]) == pytest.approx(expected / 2, abs=1e-5)  # layers weigh the same
    assert dists([a], [a * 0]) == pytest.approx(1, abs=1e-5)


def test_images_of_two_sizes_or_networks_are_refused():
    a, b = maps(texture(0, (32, 48))), maps(texture(0, (48, 32)))
    with pytest.raises(ValueError, match='one size'):
        dists(a, b)
    with pytest.raises(ValueError, match='shorter'):
        dists(a, a[:3])


def test_pooling_keeps_energy_and_does_not_alias():
    level = l2_pool(torch.full((1, 2, 9, 12), 3.0))
    assert level.shape == (1, 2, 5, 6)
    assert level[..., 1:-1, 1:-1].numpy() == pytest.approx(3)
    # A wave of two pixels has the same energy at both phases; every second value has not.
    wave = torch.zeros(1, 1, 8, 8)
    wave[..., ::2] = 1
    pooled = [l2_pool(torch.roll(wave, k, 3))[..., 1:-1, 1:-1] for k in (0, 1)]
    assert pooled[0].numpy() == pytest.approx(pooled[1].numpy())
    assert pooled[0].numpy() == pytest.approx(math.sqrt(0.5))


def test_a_set_has_no_kernel_distance_to_itself_and_one_to_noise():
    images = [texture(seed) for seed in range(4)]
    original = features(images)
    assert kernel_distance(original, original) == pytest.approx((0, 0), abs=1e-9)
    others, error = kernel_distance(features([texture(seed) for seed in range(4, 8)]), original)
    assert abs(others) < 3 * error
    noise = [np.random.default_rng(i).integers(0, 256, (96, 128, 3), np.uint8) for i in range(4)]
    far, of_far = kernel_distance(features(noise), original)
    assert far > 20 * error
    assert far > 20 * of_far
    blurred, _ = kernel_distance(
        features([cv2.GaussianBlur(rgb, (0, 0), 2) for rgb in images]), original
    )
    assert blurred > 20 * error


def test_the_kernel_distance_is_without_bias_and_its_error_is_right():
    """Sets of one distribution: figures scatter about 0 as far as their errors say."""
    rng = np.random.default_rng(0)
    found = np.array([kernel_distance(*rng.normal(1, 1, (2, 200, 8))) for _ in range(200)])
    scatter = found[:, 0].std()
    assert abs(found[:, 0].mean()) < 3 * scatter / math.sqrt(200)
    assert 0.7 < np.sqrt((found[:, 1] ** 2).mean()) / scatter < 1.4


def test_the_kernel_distance_is_that_of_the_definition():
    """Two blocks of two rows, the sums written out."""
    x, y = np.random.default_rng(0).normal(0, 1, (2, 4, 3))
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))

    def kernel(a, b):
        return (float(a @ b) + 1) ** 3

    each = [
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
        for i, j in ((0, 2), (1, 3))
    ]
    value, error = kernel_distance(5 * x, 0.1 * y)  # the unit of features does not matter
    assert value == pytest.approx(np.mean(each))
    assert error == pytest.approx(abs(each[0] - each[1]) / 2)


def test_few_or_unpaired_patches():
    few = np.ones((3, 2))
    assert all(map(math.isnan, kernel_distance(few, few)))
    with pytest.raises(ValueError, match='pair the places'):
        kernel_distance(np.ones((8, 2)), np.ones((9, 2)))
    dark = np.zeros((8, 2), np.float16)
    assert kernel_distance(dark, dark) == (0, 0)
