"""
A judge: a Python file of the user's with networks that evaluate decoded images.

It defines any of these functions, all of RGB uint8 (H, W, 3) images::

    segment(rgb) -> uint8 (H, W) class ids
    depth(rgb) -> float32 (H, W) metres, or anything proportional to them
    detect(rgb) -> [(x0, y0, x1, y1, score, class), ...]
    distances(a, b) -> {name: float}, the less the more alike
    slow_distances(a, b) -> likewise, only when asked for
    patches(rgb) -> float32 (N, D), features of patches by place, for the kernel distance of the
        sets of a run (``evaluation/realism.py``), only when asked for

A judge may name ``SKY`` and ``GROUND``, the class ids to drive on (without it no hazards are
counted), and ``TRAINED``, those of its functions and distances whose networks took part in
training. The name of a module in ``evaluation/judges`` stands for its file.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from gsc_ros.plugins import load_plugin

SHIPPED = Path(__file__).parent / 'judges'
SLOW = ('slow_distances', 'patches')
FUNCTIONS = ('segment', 'depth', 'detect', 'distances', *SLOW)
_COLUMNS = {  # that follow from a function
    'segment': ('agreement', 'miou', 'hazards', 'hazards_missed'),
    'depth': ('absrel', 'delta1', 'absrel_scaled', 'hazards', 'hazards_missed'),
    'detect': ('det_f1', 'lost', 'invented'),
    'patches': ('kid', 'kid_error'),
}


def load(name: str | Path) -> ModuleType:
    """Load a judge by name or file; raises ``FileNotFoundError`` or ``ValueError``."""
    shipped = SHIPPED / f'{name}.py'
    return load_plugin(shipped if shipped.is_file() else Path(name), FUNCTIONS)


def can(judge: Any, name: str) -> bool:
    """Return whether there is a judge, and it defines a function."""
    return judge is not None and hasattr(judge, name)


def trained_columns(judge: Any) -> frozenset[str]:
    """Name the columns that networks which took part in training give; of no judge none."""
    return frozenset(_columns_of(getattr(judge, 'TRAINED', ())))


def _columns_of(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        for column in _COLUMNS.get(name, (name,)):
            yield from (column, f'gt_{column}', f'own_{column}')
