"""Start the robot's end: camera, encoder and its end of a real link: see gsc_ros/graph/."""

from gsc_ros.launching import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and start the graph."""
    return describe('robot')
