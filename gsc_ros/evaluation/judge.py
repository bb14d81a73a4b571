"""
A judge: a Python file of the user's with the networks that look at decoded images.

It defines any of these functions, all of RGB uint8 (H, W, 3) images::

    segment(rgb) -> uint8 (H, W) class ids
    depth(rgb) -> float32 (H, W) metres, or anything proportional to them
    detect(rgb) -> [(x0, y0, x1, y1, score, class), ...]
    distances(a, b) -> {name: float}, the less the more alike

A judge may name ``SKY`` and ``GROUND``, the class ids to drive on (without it no hazards are
counted). The name of a module in ``evaluation/judges`` stands for its file.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

SHIPPED = Path(__file__).parent / 'judges'
FUNCTIONS = ('segment', 'depth', 'detect', 'distances')


def load(name: str | Path) -> ModuleType:
    """Load a judge; raises ``FileNotFoundError`` or ``ValueError`` with the remedy."""
    shipped = SHIPPED / f'{name}.py'
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such judge; give a Python file (see evaluation/judge.py)'
        )
    spec = importlib.util.spec_from_file_location('gsc_judge', path)
    if spec is None or spec.loader is None:
        raise ValueError(f'{path}: a judge is a Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not any(hasattr(module, name) for name in FUNCTIONS):
        raise ValueError(f'{path}: defines none of {", ".join(FUNCTIONS)}')
    return module
