"""Start the operator's end: its end of a real link, and the decoder: see gsc_ros/graph/."""

from gsc_ros.launching import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and start the graph."""
    return describe('ground')
