"""
The robot's end of a real link: a radio modem on a serial line, or UDP.

Topics as in `ros/link/robot_side.py`, and link/status, with what the ground reports.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('link_robot'))


from dataclasses import dataclass

from gsc_ros.ros import lifecycle
from gsc_ros.ros.link.end_node import LinkEnd, LinkEndParameters
from gsc_ros.ros.link.robot_parameters import RobotSideParameters
from gsc_ros.ros.link.robot_side import RobotSide


@dataclass(frozen=True)
class LinkRobotParameters(RobotSideParameters, LinkEndParameters):
    """Parameters of the robot's end."""


class LinkRobot(LinkEnd[LinkRobotParameters]):
    """Sends frames down, executes commands and requests that come up."""

    Parameters = LinkRobotParameters
    side_type = RobotSide

    def __init__(self, **options: object) -> None:
        super().__init__('link_robot', **options)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(LinkRobot, args)
