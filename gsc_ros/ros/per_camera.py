"""
Runs a node for each camera in one process, so that they load their networks once.

``--cameras front,rear`` of a node's process makes a node in the namespace of each name, below the
process's own. All else that the command line states holds for each of them. Without it there is
one node.
"""

import re
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.ros import process
from gsc_ros.ros.lifecycle import GscNode

OPTION = '--cameras'
_REMAP = '-r', '--remap'
_NAMESPACE = re.compile(r'(?:[^:=]+:)?__ns:=(.*)')
_RULE = re.compile(r'(?:[^:=]+:)?([^:=]+):=(.+)')


def run(
    kind: Callable[..., GscNode[Any]],
    args: list[str] | None = None,
    of_robot: Sequence[str] = (),
) -> int:
    """
    Run the node, or one for each camera, until asked to end; returns the process's exit code.

    ``of_robot``: its topics that are of the robot as a whole, in the process's namespace, and not
    in that of a camera; where the command line remaps one, that holds. Raises ValueError for a
    list of cameras that is none.
    """
    words = sys.argv if args is None else args
    if OPTION not in words:
        return process.run(kind, args)
    at = words.index(OPTION) + 1
    cameras = parse_cameras(words[at] if at < len(words) else '')

    def make() -> process.Group:
        nodes = []
        for camera in cameras:
            rules = rules_of(words, camera.name, of_robot)
            cli_args = ['--ros-args', *(word for rule in rules for word in ('-r', rule))]
            nodes.append(kind(cli_args=cli_args))
        return process.Group(nodes)

    return process.run(make, args)


def rules_of(words: Sequence[str], camera: str, of_robot: Sequence[str]) -> list[str]:
    """
    Return the rules of the node of a camera: its namespace, and topics that are of the robot.

    ``words``: of the process's command line, whose rules those of a node override. So one that
    remaps a topic of the robot is repeated here, relative names below the process's namespace; one
    for the topic in the camera's namespace is left to hold.
    """
    found = [match[1] for word in words if (match := _NAMESPACE.fullmatch(word))]
    base = found[0].strip('/') if found else ''
    below = f'/{base}/' if base else '/'
    own = f'{below}{camera}'.rstrip('/')
    stated = [word for flag, word in pairwise(words) if flag in _REMAP]
    given = {match[1]: match[2] for word in stated if (match := _RULE.fullmatch(word))}
    rules = [f'__ns:={own}']
    for topic in of_robot:
        if f'{own}/{topic}' not in given:
            name = given.get(topic) or given.get(below + topic) or topic
            rules.append(f'{topic}:={name if name.startswith("/") else below + name}')
    return rules
