"""
Runs a node for each camera in one process, so that they load their networks once.

``--cameras front,rear`` of a node's process makes a node in the namespace of each name, below the
process's own. All else that the command line states holds for each of them. Without it there is
one node.
"""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.ros import process
from gsc_ros.ros.lifecycle import GscNode

OPTION = '--cameras'
_NAMESPACE = re.compile(r'(?:[^:=]+:)?__ns:=(.*)')


def run(
    kind: Callable[..., GscNode[Any]],
    args: list[str] | None = None,
    of_robot: Sequence[str] = (),
) -> int:
    """
    Run the node, or one for each camera, until asked to end; returns the process's exit code.

    ``of_robot``: its topics that are of the robot as a whole. Raises ValueError for a list of
    cameras that is none.
    """
    words = sys.argv if args is None else args
    if OPTION not in words:
        return process.run(kind, args)
    at = words.index(OPTION) + 1
    cameras = parse_cameras(words[at] if at < len(words) else '')
    found = [match[1] for word in words if (match := _NAMESPACE.fullmatch(word))]
    base = found[0].strip('/') if found else ''
    below = '/' + base + '/' if base else '/'

    def make() -> process.Group:
        nodes = []
        for camera in cameras:
            rules = [f'__ns:={below}{camera.name}'.rstrip('/')]
            rules += [f'{topic}:={below}{topic}' for topic in of_robot]
            cli_args = ['--ros-args', *(word for rule in rules for word in ('-r', rule))]
            nodes.append(kind(cli_args=cli_args))
        return process.Group(nodes)

    return process.run(make, args)
