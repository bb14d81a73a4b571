"""The feature distance that the pictures are trained on, taken from a file of the user's."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


def load_distance(path: Path, name: str = 'PerceptualSqueeze') -> Distance:
    """
    Make a differentiable distance of a Python file's class.

    ``path`` holds a class ``name`` that, made without arguments, maps two float tensors (N, 3, H,
    W) in [0, 1] to a distance (N,). Raises ``FileNotFoundError`` or ``ValueError`` where it is not
    so.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: give a Python file with a class {name} in --distance')
    spec = importlib.util.spec_from_file_location('gsc_training_distance', path)
    if spec is None or spec.loader is None:
        raise ValueError(f'{path}: not a Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise ValueError(f'{path}: has no class {name}')
    distance: Distance = getattr(module, name)()
    return distance
