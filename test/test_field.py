"""Both ends of a link as processes: what a restart costs."""

import pytest

pytest.importorskip('rclpy')

from benchmarks import field

pytestmark = pytest.mark.slow


def test_images_come_back_after_a_restart_and_are_of_the_right_camera(tmp_path):
    found = field.restarts(tmp_path, times=2)
    for side, figures in found.items():
        assert figures['wrong camera'] == 0, side
        # Within the nodes it is 3 frames, and a round trip (2 frames) more after the ground's
        # restart (test_node_sessions.py); here DDS has to find a new process, too.
        assert figures['blank frames'] <= 6, side
