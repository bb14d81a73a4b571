"""
What runs: tables of arguments, nodes and their parameters, one for each launch file.

The launch files and the process runner (``python -m gsc_ros``) both start what stands here, so
that the two cannot differ. Plain data: no ROS is imported.
"""

from gsc_ros.graph.arguments import TOPIC
from gsc_ros.graph.graph import GRAPHS, Graph
from gsc_ros.graph.nodes import CLOCK_NODE, GUARD_NODE, Key, Node, Values

PACKAGE = 'gsc_ros'

__all__ = [
    'CLOCK_NODE',
    'GRAPHS',
    'GUARD_NODE',
    'PACKAGE',
    'TOPIC',
    'Graph',
    'Key',
    'Node',
    'Values',
]
