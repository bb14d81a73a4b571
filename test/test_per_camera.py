"""The rules of the nodes of one process, one for each camera."""

import pytest

pytest.importorskip('rclpy')

from gsc_ros.ros.per_camera import rules_of


@pytest.mark.parametrize(
    ('words', 'odom'),
    [
        ('', '/odom'),
        ('-r __ns:=/rover', '/rover/odom'),
        ('-r encoder:__ns:=rover', '/rover/odom'),
        # The user's own name of the robot's odometry, for all cameras.
        ('-r odom:=/wheels/odometry', '/wheels/odometry'),
        ('-r encoder:odom:=/wheels/odometry', '/wheels/odometry'),
        ('-r __ns:=/rover -r odom:=wheels', '/rover/wheels'),
        ('-r __ns:=/rover -r /rover/odom:=/wheels', '/wheels'),
        ('-r odometry:=/wheels -p odom:=3', '/odom'),
        # One for a camera holds by itself.
        ('-r /rear/odom:=/arm/odom', None),
        ('-r /front/odom:=/arm/odom', '/odom'),
    ],
)
def test_a_topic_of_the_robot_is_not_a_cameras_and_the_users_rule_holds(words, odom):
    rules = rules_of(['encoder', '--cameras', 'front,rear', *words.split()], 'rear', ['odom'])
    base = '/rover' if 'rover' in words.replace('/rover/odom', '') else ''
    assert rules == [f'__ns:={base}/rear', *([f'odom:={odom}'] if odom else [])]


def test_one_camera_without_a_name_is_in_the_namespace_of_the_process():
    assert rules_of(['-r', '__ns:=/rover'], '', []) == ['__ns:=/rover']
    assert rules_of([], '', ['odom']) == ['__ns:=', 'odom:=/odom']
