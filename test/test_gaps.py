"""Images that were lost between camera and encoder are seen, and other gaps are not taken so."""

import numpy as np
import pytest

from gsc_ros.ros.images.gaps import Gaps

RNG = np.random.default_rng(0)


def lost_of(stamps, numbers=None, delay=0.02):
    """Return the images lost, and of how many, after images of these stamps have come."""
    gaps = Gaps()
    for i, stamp in enumerate(stamps):
        gaps.note(stamp + delay, 1.7e9 + stamp, None if numbers is None else int(numbers[i]))
    return gaps.lost(stamps[-1] + delay)


def jittered(stamps, deviation, rng=RNG):
    return stamps + rng.normal(0, deviation, stamps.size)


@pytest.mark.parametrize(
    ('rate', 'loss'), [(5.0, 0.2), (5.0, 0.5), (15.0, 0.75), (30.0, 0.2), (30.0, 0.75)]
)
@pytest.mark.parametrize('jitter', [0.0, 0.02])
@pytest.mark.parametrize('seed', range(5))
def test_stamps_show_what_was_lost(rate, loss, jitter, seed):
    rng = np.random.default_rng(seed)
    stamps = np.arange(0, 40, 1 / rate)
    came = rng.random(stamps.size) >= loss
    lost, among = lost_of(jittered(stamps[came], jitter / rate, rng))
    within = stamps[-1] - 20 <= stamps
    assert among == pytest.approx(within.sum(), rel=0.03, abs=6)
    assert lost == pytest.approx((~came & within).sum(), rel=0.03, abs=6)


def test_numbers_show_it_where_stamps_cannot():
    numbers = np.arange(0, 400, 4)  # three of four, always
    lost, among = lost_of(numbers / 30, numbers)
    assert lost / among == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(
    'stamps',
    [
        np.arange(0, 12, 1 / 30),
        jittered(np.arange(0, 12, 0.2), 0.02),
        np.cumsum(RNG.uniform(0.15, 0.6, 100)),  # as fast as it can, on a busy computer
        # Less light: half the rate.
        np.concatenate([np.arange(0, 5, 1 / 30), np.arange(5, 12, 1 / 15)]),
        np.concatenate([np.arange(0, 5, 1 / 30), np.arange(8, 12, 1 / 30)]),  # paused
        np.concatenate([np.arange(0, 6, 0.1), np.arange(0, 6, 0.1)]),  # a video begins anew
        np.zeros(100),
        np.array([1.0, 1.1, 1.2]),
    ],
)
def test_other_gaps_are_none(stamps):
    gaps = Gaps()
    for i, stamp in enumerate(stamps):
        gaps.note(0.05 * i, 1.7e9 + float(stamp))
    assert gaps.lost(0.05 * len(stamps))[0] == 0
    assert gaps.lost(1e6) == (0, 0)


@pytest.mark.parametrize('step', [3.0, 18.0, 3600.0, -3600.0])
def test_a_clock_that_is_set_has_lost_nothing(step):
    """As NTP does, also several times; the camera is as regular as real ones are."""
    taken = jittered(np.arange(0, 20, 0.2), 0.002)
    came = RNG.random(taken.size) < 0.97  # some are lost
    came[::7] = True
    sets = np.searchsorted([8.0, 10.0, 13.0], taken) * step
    gaps = Gaps()
    for at, stamp in zip(taken[came], (taken + sets)[came], strict=True):
        gaps.note(at + 0.02, 1.7e9 + stamp)
    lost, among = gaps.lost(20.0)
    assert lost <= (~came).sum() + 3
    assert among <= taken.size + 3


def test_images_lost_in_a_recording_played_fast_are_counted():
    stamps = np.arange(0, 100, 0.2)
    came = np.random.default_rng(0).random(stamps.size) >= 0.3
    gaps = Gaps()
    for stamp in stamps[came]:
        gaps.note(stamp / 10, 1.7e9 + stamp)
    assert gaps.lost(10.0)[0] == pytest.approx((~came).sum(), abs=3)


def test_a_publisher_that_starts_anew_has_lost_nothing():
    numbers = [*range(1000, 1050), *range(1, 50), *range(90_000, 90_050)]
    assert lost_of(np.arange(len(numbers)) / 30, numbers)[0] == 0
