"""The residual: exact symbols, any cut, and an image that nears the original."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import SemanticCodec, residual
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder

SIZE = (128, 64)


def lack(seed=0, amplitude=40.0):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(0, amplitude, (4, 8, 3)).repeat(16, 0).repeat(16, 1)
    return (smooth + rng.normal(0, 3, smooth.shape)).astype(np.float32)


def same(a, b):
    """Compare the bands that are coded."""
    for colour, (x, y) in enumerate(zip(a.values, b.values, strict=True)):
        last = a.bands if colour == 0 else (a.bands + 1) // 2
        np.testing.assert_array_equal(x[:last], y[:last])


def coded(source, most=float('inf')):
    coder = RangeEncoder()
    residual.write(coder, source, most)
    return coder.finish()


def test_a_fine_step_gives_the_difference_back():
    wanted = lack()
    found = residual.added(residual.quantise(residual.transform(wanted), 0), SIZE)
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs((found - wanted) @ luma).max() < 3
    error = np.square(found - wanted).mean()
    coarse = residual.added(residual.quantise(residual.transform(wanted), 40), SIZE)
    assert error < np.square(coarse - wanted).mean() < np.square(wanted).mean()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(8, 63), st.floats(0, 1))
def test_symbols_come_back_and_a_cut_gives_some_of_them(seed, step, share):
    source = residual.quantise(residual.transform(lack(seed)), step)
    data = coded(source)
    whole = residual.read(RangeDecoder(data), SIZE)
    assert (whole.step, whole.bands) == (source.step, source.bands)
    same(source, whole)
    cut = data[: int(share * len(data))]
    if len(cut) > 4:
        part = residual.read(RangeDecoder(cut), SIZE)
        np.testing.assert_array_equal(part.values[0][: part.known], source.values[0][: part.known])


def test_large_values_come_back():
    values = [np.zeros((256, 4, 8), np.int32), *(np.zeros((256, 2, 4), np.int32) for _ in '12')]
    values[0][0] = np.arange(-16, 16).reshape(4, 8) * 997
    source = residual.Residual(0, 3, values, np.ones((2, 4), bool))
    back = residual.read(RangeDecoder(coded(source)), SIZE)
    np.testing.assert_array_equal(back.values[0], values[0])


def test_the_transform_is_orthonormal_and_has_no_blocks():
    wanted = np.random.default_rng(0).normal(0, 20, (64, 128, 3)).astype(np.float32)
    y = residual.transform(wanted)[0]
    luma = wanted @ np.array([0.299, 0.587, 0.114])
    assert np.square(y).sum() == pytest.approx(np.square(luma).sum(), rel=1e-4)
    step = np.zeros_like(y)
    step[0, 1, 3] = 100  # one low coefficient
    values = [step.astype(np.int32), *(np.zeros((256, 2, 4), np.int32) for _ in '12')]
    one = residual.Residual(0, 1, values, np.ones((2, 4), bool))
    bump = residual.added(one, SIZE) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(np.diff(bump, axis=0)).max() < 0.25 * np.abs(bump).max()
    assert np.abs(np.diff(bump, axis=1)).max() < 0.25 * np.abs(bump).max()


def test_units_are_sent_alone_and_come_back():
    units = np.zeros((2, 4), bool)
    units[1, 2] = units[0, 3] = True
    wanted = lack(5)
    source = residual.quantise(residual.transform(wanted), 36, units)
    data = coded(source)
    assert len(data) < 0.6 * len(coded(residual.quantise(residual.transform(wanted), 36)))
    back = residual.read(RangeDecoder(data), SIZE)
    np.testing.assert_array_equal(back.units, units)
    same(source, back)
    added = residual.added(back, SIZE)
    assert np.square(added - wanted)[40:56, 72:88].mean() < 0.2 * np.square(wanted).mean()
    assert np.abs(added[:, :24]).max() < 1e-3  # more than a lap away from any unit


@pytest.mark.parametrize('bits', [300, 1000, 4000, 40_000])
def test_a_budget_too_small_for_all_goes_to_what_matters(bits):
    wanted = lack(2, 80.0)
    importance = np.ones((4, 8), np.int64)
    importance[2:, :2] = 50
    found = residual.fitted(wanted, bits, importance)
    assert found.units[1, 0]
    if found.units.all():
        assert found.step <= residual.FAITHFUL
        assert bits >= 4000
    else:
        assert found.step == residual.FAITHFUL
        assert bits <= 4000
    assert 8 * len(coded(found)) > 0.95 * bits or found.step == 0


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=5, max_size=60))
def test_any_bytes_are_a_residual(data):
    found = residual.read(RangeDecoder(data), (64, 64))
    assert np.isfinite(residual.added(found, (64, 64))).all()


@pytest.mark.parametrize('size', [(64, 64), (100, 80)])
def test_budgets_are_filled_and_the_image_gets_better(size):
    codec = SemanticCodec.load(weights='random')
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    rgb = rgb.repeat(4, 0).repeat(4, 1)
    before = np.inf
    for budget in (300, 600, 1200, 2000):
        frame = codec.encode(rgb, budget)
        assert 0.95 * budget <= len(frame.data) <= budget
        made = codec.decode(frame.data).rgb
        error = np.square(made.astype(float) - rgb).mean()
        assert error < before
        before = error
