"""
Give tensors of weights and checkpoints the names that the networks have today.

Run ``python tools/convert_weight_names.py FILE...`` on safetensors files and on ``checkpoint.pt``
files of training that were written before the names changed. Each file is replaced by one whose
tensors and metadata are the same, bit for bit, under the new names. The averaged weights of a
checkpoint get the form of ``torch.optim.swa_utils.AveragedModel``. A file that has today's names
stays as it is.

The fingerprint of weights covers their files: after a conversion both ends need the same ones.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gsc_ros.models import manifest

# Old and new names of modules and tensors, as regular expressions on whole parts of a key.
RENAMED = tuple(
    (re.compile(rf'(^|\.){old}(?=\.|$)'), rf'\1{new}')
    for old, new in (
        (r'spread', 'latent_std'),
        (r'reading', 'cross_attention'),
        (r'relief', 'coarse_depth'),
        (r'decoder\.picture', 'decoder.image'),
    )
)


def new_name(key: str) -> str:
    """Return today's name of a tensor."""
    for old, new in RENAMED:
        key = old.sub(new, key)
    return key


def renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the keys of a state; raises ``ValueError`` where two would become one."""
    out = {new_name(key): value for key, value in state.items()}
    if len(out) != len(state):
        raise ValueError('two tensors would get the same name: the file has old and new names')
    return out


def convert_weights(path: Path, target: Path) -> bool:
    """Convert a safetensors file; returns whether anything changed."""
    with safe_open(path, 'pt') as file:
        names = file.keys()
        metadata, state = file.metadata(), {key: file.get_tensor(key) for key in names}
    out = renamed(state)
    if out.keys() == state.keys():
        return False
    save_file(out, target, metadata)
    return True


def convert_checkpoint(path: Path, target: Path) -> bool:
    """Convert a checkpoint of training; returns whether anything changed."""
    state = torch.load(path, 'cpu', weights_only=True)
    model, average = renamed(state['model']), renamed(state['average'])
    if 'n_averaged' not in average:
        average = {f'module.{key}': value for key, value in average.items()}
        average['n_averaged'] = torch.tensor(state['done'])
    if (model.keys(), average.keys()) == (state['model'].keys(), state['average'].keys()):
        return False
    torch.save({**state, 'model': model, 'average': average}, target)
    return True


KINDS: dict[str, Callable[[Path, Path], bool]] = {
    '.safetensors': convert_weights,
    '.pt': convert_checkpoint,
}


def convert(path: Path) -> bool:
    """
    Convert a file in place; returns whether anything changed.

    Raises ``ValueError`` for a file of another kind.
    """
    if path.suffix not in KINDS:
        raise ValueError(f'{path}: give files of {", ".join(KINDS)}')
    partial = path.with_name(f'{path.name}.partial')
    changed = KINDS[path.suffix](path, partial)
    if changed:
        partial.replace(path)
        if path.suffix == manifest.SUFFIX and (path.parent / manifest.NAME).is_file():
            manifest.record(path)
    return changed


def main() -> int:
    """Convert the files of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('files', type=Path, nargs='+', metavar='FILE')
    for path in parser.parse_args().files:
        print(f'{path}: {"converted" if convert(path) else "has the names of today"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
