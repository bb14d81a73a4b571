"""Python files of the user's that define functions for us: critics of training, judges, codecs."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


def load_plugin(path: Path, functions: Sequence[str], every: bool = False) -> ModuleType:
    """
    Run a Python file and return it as a module.

    ``functions``: names of which it defines at least one, or (``every``) all. Raises
    ``FileNotFoundError`` for a missing file and ``ValueError`` for one that is no Python file or
    lacks functions; what the file itself raises passes.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; give a Python file')
    spec = importlib.util.spec_from_file_location(f'gsc_plugin_{path.stem}', path)
    if spec is None or spec.loader is None:
        raise ValueError(f'{path}: give a Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import does: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    missing = [name for name in functions if not hasattr(module, name)]
    if every and missing:
        raise ValueError(f'{path}: does not define {", ".join(missing)}')
    if len(missing) == len(functions):
        raise ValueError(f'{path}: defines none of {", ".join(functions)}')
    return module
