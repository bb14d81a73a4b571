"""Figures of merit against cases computed by hand."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.evaluation import metrics


def flat(value, size=(176, 176)):
    return np.full((*size, 3), value, np.uint8)


def noise(seed, size):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def test_psnr():
    assert metrics.psnr(flat(7), flat(7)) == math.inf
    assert metrics.psnr(flat(0), flat(255)) == pytest.approx(0)
    assert metrics.psnr(flat(9), flat(10)) == pytest.approx(20 * math.log10(255))
    half = flat(10)
    half[:88] = 14  # mean square error 8
    assert metrics.psnr(flat(10), half) == pytest.approx(10 * math.log10(255**2 / 8))


def test_ssim_of_a_single_window():
    """11x11 pixels are one window: compare with the sums of the definition, written out."""
    grey = np.random.default_rng(1).integers(0, 256, (2, 11, 11), np.uint8)
    grey[1] = grey[0] // 2 + grey[1] // 4  # alike, or SSIM is negative and counts as none
    kernel = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = np.outer(kernel, kernel) / kernel.sum() ** 2
    a, b = grey.astype(float)
    ma, mb = (window * a).sum(), (window * b).sum()
    va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
    cov = (window * (a - ma) * (b - mb)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    rgb = np.repeat(grey[..., None], 3, -1)
    assert metrics.ms_ssim(rgb[0], rgb[1]) == pytest.approx(expected)
    assert 0.1 < expected < 0.9


def test_ms_ssim_of_flat_images_is_their_luminance_at_the_coarsest_scale():
    c1 = 2.55**2
    light = (2 * 100 * 200 + c1) / (100**2 + 200**2 + c1)
    weight = 0.1333 / (0.0448 + 0.2856 + 0.3001 + 0.2363 + 0.1333)
    assert metrics.ms_ssim(flat(100), flat(200)) == pytest.approx(light**weight)


@pytest.mark.parametrize('size', [(11, 11), (23, 40), (89, 177), (180, 240)])
def test_ms_ssim_is_one_for_equals_and_falls_with_noise(size):
    image = noise(0, size)
    assert metrics.ms_ssim(image, image) == pytest.approx(1)
    little = np.clip(image + np.random.default_rng(1).normal(0, 10, image.shape), 0, 255)
    much = np.clip(image + np.random.default_rng(1).normal(0, 80, image.shape), 0, 255)
    figures = [metrics.ms_ssim(image, p.astype(np.uint8)) for p in (little, much)]
    assert 1 > figures[0] > figures[1] >= 0
    assert metrics.ms_ssim(little.astype(np.uint8), image) == pytest.approx(figures[0])


def test_ms_ssim_refuses_what_has_no_window():
    with pytest.raises(ValueError, match='11 pixels'):
        metrics.ms_ssim(flat(0, (10, 50)), flat(0, (10, 50)))


CLASSES = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
FOUND = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)


def test_agreement_leaves_out_what_the_reference_does_not_know():
    assert metrics.agreement(FOUND, CLASSES) == pytest.approx(3 / 5)
    unlabelled = np.full_like(FOUND, 255)
    assert metrics.agreement(unlabelled, CLASSES) == 0  # not knowing is no excuse
    assert math.isnan(metrics.agreement(FOUND, unlabelled))


def iou(found, reference):
    return metrics.mean_iou(metrics.confusion(found, reference))


def test_mean_iou_is_over_the_classes_of_the_reference():
    # class 0: 1 of 3; class 1: 2 of 3; class 2: none of 1
    assert iou(FOUND, CLASSES) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    # class 7 is not in the reference: it costs class 0 its share and is no class of its own
    assert iou(np.array([[0, 7]], np.uint8), np.array([[0, 0]], np.uint8)) == pytest.approx(0.5)
    assert math.isnan(iou(FOUND, np.full_like(FOUND, 255)))


def test_a_pattern_is_found_at_its_period_of_the_working_size():
    """A weave drawn at 512x384 is found in the image scaled to 480x360."""
    original = noise(0, (384, 512)) // 2 + 64
    for period in (4, 8, 16):
        wave = 8 * np.cos(2 * np.pi * np.arange(512) / period)
        woven = np.rint(original + wave[None, :, None]).astype(np.uint8)
        for shown in ((512, 384), (480, 360)):
            a, b = (cv2.resize(image, shown) for image in (woven, original))
            found = metrics.pattern(a, b, (512, 384))
            at = found.pop(f'pattern_{period}')
            assert at > 10, (period, shown)
            assert all(0.8 < ratio < 1.25 for ratio in found.values())


def test_pattern_of_the_original_itself_and_of_what_has_none():
    image = noise(0, (128, 128))
    assert metrics.pattern(image, image, (128, 128)) == {
        'pattern_4': 1, 'pattern_8': 1, 'pattern_16': 1
    }  # fmt: skip
    assert all(map(math.isnan, metrics.pattern(image, flat(7, (128, 128)), (128, 128)).values()))
    small = metrics.pattern(image[:32, :32], image[:32, :32], (64, 64))
    assert math.isnan(small['pattern_4'])  # 16 cycles are as many as 32 pixels can hold
    assert math.isnan(metrics.peak(image, (48, 48), 16))


def test_a_distance_over_crops_sees_every_phase():
    """Only every fourth row and column is right."""
    a = noise(0, (64, 64))
    b = np.zeros_like(a)
    b[::4, ::4] = a[::4, ::4]

    def strided(x, y):
        return float(np.mean(x[::4, ::4] != y[::4, ::4]))

    assert strided(a, b) == 0
    assert metrics.over_crops(strided, a, b) == pytest.approx(0.75, abs=0.01)


@given(st.lists(st.integers(0, 19), min_size=1, max_size=50))
def test_a_map_agrees_with_itself(labels):
    ids = np.array([labels], np.uint8)
    assert metrics.agreement(ids, ids) == 1
    assert iou(ids, ids) == 1


def test_depth_errors_with_and_without_scale():
    reference = np.array([[10.0, 20.0, 40.0]], np.float32)
    found = np.array([[11.0, 40.0, 40.0]], np.float32)
    absrel, delta1 = metrics.depth_errors(found, reference, scaled=False)
    assert absrel == pytest.approx((0.1 + 1 + 0) / 3)
    assert delta1 == pytest.approx(2 / 3)
    # medians 40 and 20: halved, the errors are 0.45, 0 and 0.5
    absrel, delta1 = metrics.depth_errors(found, reference, scaled=True)
    assert absrel == pytest.approx((0.45 + 0 + 0.5) / 3)
    assert delta1 == pytest.approx(1 / 3)


def test_depth_errors_judge_only_what_is_known_and_within_range():
    reference = np.array([[10, 0.4, 81, np.nan, np.inf, 10, 10, 10]], np.float32)
    found = np.array([[12, 5, 5, 5, 5, np.nan, np.inf, 0]], np.float32)
    assert metrics.depth_errors(found, reference, scaled=False) == pytest.approx((0.2, 1))
    assert metrics.depth_known(found, reference) == pytest.approx(2 / 4)
    nothing = np.full_like(found, np.nan)
    assert all(math.isnan(x) for x in metrics.depth_errors(nothing, reference, scaled=True))
    assert metrics.depth_known(nothing, reference) == 0
    assert math.isnan(metrics.depth_known(found, nothing))


ROAD = np.zeros((100, 100), np.bool_)


def scene(value, rows=0):
    """Everything at 20 m but for a block of 10x10 pixels, without its upper rows."""
    depth = np.full((100, 100), 20, np.float32)
    depth[40:50, 40:50] = value
    depth[40 : 40 + rows] = 20
    return depth


@pytest.mark.parametrize(
    ('found', 'missed'),
    [
        (scene(5), 0),
        (scene(14.9), 0),  # farther off, but there
        (scene(15), 1),
        (scene(20), 1),
        (scene(np.inf), 1),  # called sky
        (scene(np.nan), 0),  # marked unknown
        (scene(5, rows=5), 0),  # half of it there
        (scene(5, rows=6), 1),
    ],
)
def test_hazards_that_are_gone_are_missed(found, missed):
    assert metrics.missed_hazards(found, scene(5), ROAD) == (missed, 1)


def test_ground_and_specks_are_no_hazards():
    assert metrics.missed_hazards(scene(20), scene(5), ~ROAD) == (0, 0)
    assert metrics.missed_hazards(scene(20), scene(10), ROAD) == (0, 0)
    speck = scene(20)
    speck[10:14, 10:14] = 3  # 16 pixels, under 0.2 % of 10,000
    assert metrics.missed_hazards(scene(20), speck, ROAD) == (0, 0)
    speck[10:15, 10:15] = 3
    assert metrics.missed_hazards(scene(20), speck, ROAD) == (1, 1)
    both = np.minimum(speck, scene(5))
    assert metrics.missed_hazards(speck, both, ROAD) == (1, 2)


def box(x0, y0, x1, y1, score=0.9, kind=2):
    return (x0, y0, x1, y1, score, kind)


def test_overlap():
    assert metrics.overlap(box(0, 0, 2, 2), box(0, 0, 2, 2)) == 1
    assert metrics.overlap(box(0, 0, 2, 2), box(1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert metrics.overlap(box(0, 0, 2, 2), box(2, 0, 4, 2)) == 0
    assert metrics.overlap(box(0, 0, 2, 2), box(5, 5, 6, 6)) == 0


def test_detections_matched_lost_and_invented():
    car, person = box(0, 0, 10, 10), box(20, 0, 24, 10, kind=0)
    counts = metrics.detection([car, person], [car, person])
    assert counts == {'matched': 2, 'lost': 0, 'invented': 0}
    assert metrics.detection([], [car, person]) == {'matched': 0, 'lost': 2, 'invented': 0}
    assert metrics.detection([car], []) == {'matched': 0, 'lost': 0, 'invented': 1}
    # in the right place with the wrong name: one lost, one invented
    truck = box(0, 0, 10, 10, kind=7)
    assert metrics.detection([truck], [car]) == {'matched': 0, 'lost': 1, 'invented': 1}
    # half as high is just enough; a box is matched once
    low = box(0, 0, 10, 5, score=0.5)
    assert metrics.detection([low], [car])['matched'] == 1
    assert metrics.detection([low], [car], iou=0.51)['matched'] == 0
    assert metrics.detection([low, car], [car]) == {'matched': 1, 'lost': 0, 'invented': 1}


_side = st.integers(0, 20)
_boxes = st.lists(
    st.builds(
        lambda x, y, w, h, score, kind: (x, y, x + w + 1, y + h + 1, score, kind),
        _side, _side, _side, _side, st.floats(0, 1), st.integers(0, 2),
    ),
    max_size=8,
)  # fmt: skip


@given(_boxes, _boxes)
def test_every_box_is_counted_once(found, reference):
    counts = metrics.detection(found, reference)
    assert counts['matched'] + counts['lost'] == len(reference)
    assert counts['matched'] + counts['invented'] == len(found)
    assert metrics.detection(reference, reference)['matched'] == len(reference)


def test_f1():
    assert metrics.f1(matched=2, lost=1, invented=1) == pytest.approx(2 / 3)
    assert metrics.f1(matched=0, lost=3, invented=0) == 0
    assert math.isnan(metrics.f1(matched=0, lost=0, invented=0))
