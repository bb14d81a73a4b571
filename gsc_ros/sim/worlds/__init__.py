"""The worlds, each a module with a ``PLACE``: how to build one of a seed, and the robot in it."""

from importlib import import_module

from gsc_ros.sim import SCENES
from gsc_ros.sim.place import Place


def place_of(scene: str) -> Place:
    """Return the place of a name; raises ``ValueError`` for one that is not in ``SCENES``."""
    if scene not in SCENES:
        raise ValueError(f'scene {scene!r} is not one of {", ".join(SCENES)}')
    place = import_module(f'gsc_ros.sim.worlds.{scene}').PLACE
    assert isinstance(place, Place)
    return place
