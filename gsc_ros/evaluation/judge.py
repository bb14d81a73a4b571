"""
A judge: a Python file of the user's with networks that evaluate decoded images.

It defines any of these functions, all of RGB uint8 (H, W, 3) images::

    segment(rgb) -> uint8 (H, W) class ids
    depth(rgb) -> float32 (H, W) metres, or anything proportional to them
    detect(rgb) -> [(x0, y0, x1, y1, score, class), ...]
    distances(a, b) -> {name: float}, the less the more alike

A judge may name ``SKY`` and ``GROUND``, the class ids to drive on (without it no hazards are
counted). The name of a module in ``evaluation/judges`` stands for its file.
"""

from pathlib import Path
from types import ModuleType

from gsc_ros.plugins import load_plugin

SHIPPED = Path(__file__).parent / 'judges'
FUNCTIONS = ('segment', 'depth', 'detect', 'distances')


def load(name: str | Path) -> ModuleType:
    """Load a judge by name or file; raises ``FileNotFoundError`` or ``ValueError``."""
    shipped = SHIPPED / f'{name}.py'
    return load_plugin(shipped if shipped.is_file() else Path(name), FUNCTIONS)
