"""Both ends of a link as processes, with a man in the middle."""

import pytest

pytest.importorskip('rclpy')

from benchmarks import field

pytestmark = pytest.mark.slow


def test_no_command_runs_twice_out_of_order_or_late(tmp_path):
    found = field.commands(tmp_path, number=300)
    # Some have to run, and some to be withheld, else nothing was tried.
    assert found['ran'] > 100
    assert found['released after the zero'] > 0
    wrong = ('ran twice', 'out of order', 'too late', 'ran after the zero')
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)


def test_images_come_back_after_a_restart_and_are_of_the_right_camera(tmp_path):
    found = field.restarts(tmp_path, times=2)
    for side, figures in found.items():
        assert figures['wrong camera'] == 0, side
        # 3 frames after the robot's restart, a round trip (2 frames) more after the ground's.
        assert figures['blank frames'] <= (3 if side == 'robot' else 5), side
