"""Clocks of both ends, judged by the ages of frames on arrival."""

import pytest

from gsc_ros.link.traffic.clock_check import ClockCheck


@pytest.mark.parametrize(
    ('ahead_s', 'trouble'),
    [(0.0, ''), (0.4, ''), (0.6, 'come from 0.6 s ahead'), (-4.9, ''), (-6.0, '6.0 s older')],
)
def test_clocks_that_differ_are_named(ahead_s, trouble):
    clocks = ClockCheck()
    for number in range(20):
        waited_s = 0.05 * (number % 3)
        clocks.on_frame(float(number), 1.3 + waited_s - ahead_s, 1.3)
    assert trouble in clocks.trouble and bool(clocks.trouble) == bool(trouble)


def test_frames_that_wait_are_no_sign_of_a_wrong_clock():
    clocks = ClockCheck()
    clocks.on_frame(0.0, 1.3, 1.3)
    for number in range(1, 9):
        clocks.on_frame(float(number), 20.0, 1.3)
    assert clocks.trouble == ''
    for number in range(9, 20):
        clocks.on_frame(float(number), 20.0, 1.3)
    assert 'older than the link makes them' in clocks.trouble
    clocks.clear()
    assert clocks.trouble == ''


@pytest.mark.parametrize('ahead_s', [5.0, -10.0])
def test_where_both_ends_have_one_clock_the_camera_s_is_named(ahead_s):
    clocks = ClockCheck(one_clock=True)
    clocks.on_frame(0.0, 1.3 - ahead_s, 1.3)
    assert 'camera' in clocks.trouble and 'both' not in clocks.trouble
