"""
The ground's end of a real link: a radio modem on a serial line, or UDP.

Topics as in `ros/link/ground_side.py`, and link/status, with what comes down.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    raise SystemExit(start.run('link_ground'))


from dataclasses import dataclass

from gsc_ros.ros import lifecycle
from gsc_ros.ros.link.end_node import LinkEnd, LinkEndParameters
from gsc_ros.ros.link.ground_side import GroundSide, GroundSideParameters


@dataclass(frozen=True)
class LinkGroundParameters(GroundSideParameters, LinkEndParameters):
    """Parameters of the ground's end."""


class LinkGround(LinkEnd[LinkGroundParameters]):
    """Publishes frames that come down, sends commands, requests and reports up."""

    Parameters = LinkGroundParameters
    side_type = GroundSide

    def __init__(self, **options: object) -> None:
        super().__init__('link_ground', **options)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return lifecycle.run(LinkGround, args)
