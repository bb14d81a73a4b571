"""Start camera, encoder, simulated link and decoder: see gsc_ros/graph/."""

from gsc_ros.launching import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and start the graph."""
    return describe('teleop_link')
