"""The record of a run: its images and its figures, on values made by hand."""

import cv2
import numpy as np
import pytest

from gsc_ros.labels import COLOURS
from gsc_ros.record.mosaic import captioned, colour_depth, side_by_side
from gsc_ros.record.summary import Figures, truth_errors

SHAPE = (48, 64)
BAR = 22


def test_depth_colours_run_from_red_to_blue():
    rgb = colour_depth(np.array([[0.2, 1.0, 3.0, 10.0, 40.0, 100.0, 5000.0]], np.float32))[0]
    assert rgb[0].tolist() == rgb[1].tolist()  # nearer than the scale is as near as it goes
    assert rgb[-1].tolist() == rgb[-2].tolist()
    near, far = rgb[1].astype(int), rgb[-2].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert len({tuple(c) for c in rgb[1:-1].tolist()}) == 5


def test_unknown_depth_is_black_and_sky_grey():
    rgb = colour_depth(np.array([[np.nan, np.inf, 5.0]], np.float32))[0]
    assert rgb[0].tolist() == [0, 0, 0]
    assert rgb[1].tolist() == [90, 90, 90]
    assert rgb[2].max() > 90


def test_a_line_of_text_goes_under_the_image():
    image = np.full((*SHAPE, 3), 100, np.uint8)
    out = captioned(image, 'decoded')
    assert out.shape == (SHAPE[0] + BAR, SHAPE[1], 3)
    assert (out[: SHAPE[0]] == image).all()
    assert out[SHAPE[0] :].max() > 150  # the text
    assert (captioned(image, '')[SHAPE[0] :] == 24).all()


def test_six_images_stand_side_by_side():
    rng = np.random.default_rng(0)
    original, decoded = rng.integers(0, 256, (2, *SHAPE, 3), np.uint8)
    depth = rng.uniform(1, 50, SHAPE).astype(np.float32)
    classes = rng.integers(0, 20, SHAPE).astype(np.uint8)
    classes[0, 0] = 255
    trust = rng.choice(np.array([0, 128, 255], np.uint8), SHAPE)
    image = side_by_side(original, decoded, depth, classes, trust, 287, 'street: car, tree')
    high, wide = SHAPE
    assert image.shape == (2 * (high + BAR), 3 * wide, 3)
    assert image.dtype == np.uint8

    def tile(row, column):
        top, left = row * (high + BAR), column * wide
        return image[top : top + high, left : left + wide]

    assert (tile(0, 0) == original).all()
    assert (tile(0, 1) == decoded).all()
    assert tile(0, 2).any()  # the caption
    assert (tile(1, 0) == colour_depth(depth)).all()
    assert (tile(1, 1)[classes != 255] == COLOURS[classes[classes != 255]]).all()
    assert not tile(1, 1)[0, 0].any()
    assert (tile(1, 2) == cv2.cvtColor(trust, cv2.COLOR_GRAY2RGB)).all()


def test_errors_against_the_truth_by_hand():
    nan, inf = np.nan, np.inf
    true = np.array([[10, 10, 20, 40], [inf, 200, 10, 0.1]], np.float32)
    found = np.array([[11, 15, 18, nan], [30, 200, 10, 0.1]], np.float32)
    classes = np.array([[0, 0, 1, 1], [10, 10, 2, 2]], np.uint8)
    seen = np.array([[0, 0, 0, 1], [10, 10, 255, 255]], np.uint8)
    figures = truth_errors(found, seen, true, classes)
    # Judged where the truth is 0.5 to 80 m and the found is finite: 0.1, 0.5, 0.1 and 0.
    assert figures['depth AbsRel'] == pytest.approx((0.1 + 0.5 + 0.1 + 0) / 4)
    assert figures['depth delta<1.25'] == pytest.approx(3 / 4)
    assert figures['depth known share'] == pytest.approx(4 / 5)  # of what there is to be known
    assert figures['class agreement'] == pytest.approx(5 / 8)
    assert figures['class mIoU'] == pytest.approx((2 / 3 + 1 / 2 + 2 / 2 + 0) / 4)


def test_without_truth_or_of_another_size_there_are_no_errors():
    depth, classes = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    assert truth_errors(depth, classes, None, None) == {}
    assert truth_errors(depth, classes, depth[:5], classes[:5]) == {}


def test_figures_are_summed_up():
    figures = Figures()
    assert figures.table() == {}
    figures.add({'age': 1.0, 'loss': float('nan')})
    figures.add({'age': 4.0, 'rate': float('inf')})
    figures.add({'age': 1.0, 'loss': 0.5})
    assert figures.table() == {
        'age': {'mean': 2.0, 'min': 1.0, 'max': 4.0, 'count': 3},
        'loss': {'mean': 0.5, 'min': 0.5, 'max': 0.5, 'count': 1},
    }
    assert figures.markdown().splitlines() == [
        '| figure | mean | min | max | samples |',
        '|---|---|---|---|---|',
        '| age | 2 | 1 | 4 | 3 |',
        '| loss | 0.5 | 0.5 | 0.5 | 1 |',
    ]
