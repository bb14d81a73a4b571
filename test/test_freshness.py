"""Stamps that are old, ahead or stand still, and pixels that do not change, are seen."""

import numpy as np
import pytest

from gsc_ros.ros.images.freshness import Pixels, Stamps

WALL = 1.7e9  # the clock at the start


def checked(stamps, arrivals=None, clocks=None, most=5.0):
    """Check images, a second apart by default; returns the result for the last."""
    arrivals = range(len(stamps)) if arrivals is None else arrivals
    clocks = [WALL + a for a in arrivals] if clocks is None else clocks
    watch = Stamps()
    found = [watch.check(*times, most) for times in zip(stamps, clocks, arrivals, strict=True)]
    return found[-1]


def test_stamps_of_now_are_right():
    assert checked([WALL + i - 0.03 for i in range(200)]) == (0.0, 0.0)


def test_a_slow_camera_is_right():
    assert checked([WALL + i - 3.0 for i in range(50)]) == (0.0, 0.0)


@pytest.mark.parametrize('age', [6.0, 3600.0, -1.5, -3600.0])
def test_stamps_far_from_the_clock_are_not_of_now(age):
    off, still = checked([WALL + i - age for i in range(5)])
    assert off == pytest.approx(age)
    assert still == 0.0


def test_no_stamp_at_all_is_old_and_stands_still():
    off, still = checked([0.0] * 5)
    assert off == pytest.approx(WALL + 4)
    assert still == 4.0


def test_a_stamp_that_is_repeated_stands_still_but_a_double_does_not():
    assert checked([WALL] * 3)[1] == 2.0
    assert checked([WALL, WALL], [0.0, 0.2])[1] == 0.0
    assert checked([WALL, WALL, WALL + 2.5], [0.0, 2.0, 2.5]) == (0.0, 0.0)


def test_images_that_come_later_and_later_are_old_by_the_time_of_arrival():
    """The node's clock is set back by as much as they are late, and sees nothing."""
    arrivals = np.arange(40.0)
    late = 0.25 * arrivals
    stamps = WALL + arrivals - late
    clocks = WALL + arrivals - late  # set back again and again, by little
    assert checked(stamps, arrivals, clocks)[0] == pytest.approx(late[-1])
    assert checked(stamps[:15], arrivals[:15], clocks[:15])[0] == 0.0


@pytest.mark.parametrize('step', [-7200.0, -30.0, 30.0, 172800.0])
def test_a_clock_that_is_set_with_the_cameras_is_no_delay(step):
    arrivals = np.arange(20.0)
    clocks = WALL + arrivals + np.where(arrivals >= 10, step, 0)
    assert checked(clocks - 0.05, arrivals, clocks) == (0.0, 0.0)


@pytest.mark.parametrize('wrong', [-3600.0, 3600.0])
def test_a_cameras_clock_that_is_put_right_is_right_at_once(wrong):
    arrivals = np.arange(20.0)
    stamps = WALL + arrivals - 0.05 + np.where(arrivals < 10, wrong, 0)
    assert checked(stamps[:10])[0] == pytest.approx(-wrong, abs=0.1)
    assert checked(stamps) == (0.0, 0.0)


def test_simulated_time_may_run_at_any_speed():
    """There the node's clock is the time of arrival, too."""
    times = 1e9 + np.arange(0.0, 900.0, 30.0)
    assert checked(times - 0.1, times, times) == (0.0, 0.0)


def test_any_stamp_will_do_where_that_is_wished():
    assert checked([0.0] * 5, most=0.0) == (0.0, 0.0)


def test_pixels_count_from_their_last_change():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, 100_000, np.uint8) for _ in '12')
    other = first.copy()
    other[54_321] ^= 1  # one bit
    pixels = Pixels()
    seen = [first, first.copy(), first.copy(), other, second, second.copy(), second[:-1]]
    found = [pixels.unchanged_s(data, float(now)) for now, data in enumerate(seen)]
    assert found == [0.0, 1.0, 2.0, 0.0, 0.0, 1.0, 0.0]


def test_time_that_begins_anew_begins_anew():
    data = np.zeros(10, np.uint8)
    pixels = Pixels()
    assert [pixels.unchanged_s(data, now) for now in (100.0, 130.0, 5.0, 6.0)] == [0, 30, 0, 1]
