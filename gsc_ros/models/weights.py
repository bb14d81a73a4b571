"""Weights on disk: safetensors in half precision with the network's configuration beside them."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gsc_ros.models.layers import channels_last

Net = TypeVar('Net', bound=nn.Module)

FOLDER = Path(__file__).parent / 'weights'


def save(path: Path, state: dict[str, Tensor], config: dict[str, Any]) -> Path:
    """Write a state as float16 with its configuration; returns the path."""
    half = {
        k: v.detach().half().contiguous() if v.is_floating_point() else v.contiguous()
        for k, v in state.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, path, {'config': json.dumps(config)})
    return path


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """
    Read a state as float32, and its configuration.

    Raises ``FileNotFoundError`` naming the remedy, ``ValueError`` for a file that is not ours.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such weights. Reinstall gsc_ros (they ship in the package), train them '
            'with `gsc train`, or name their folder in `weights`.'
        )
    try:
        with safe_open(path, 'pt') as file:
            config = json.loads((file.metadata() or {})['config'])
            names = file.keys()
            state = {k: file.get_tensor(k) for k in names}
    except Exception as error:
        raise ValueError(f'{path}: not a weights file of gsc_ros ({error})') from error
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, config


def fingerprint(paths: list[Path]) -> int:
    """Sixteen bits of the files' contents: frames coded with other weights must not be decoded."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:2], 'big')


def frozen(net: Net) -> Net:
    """Prepare a network for inference on a CPU."""
    net.eval().requires_grad_(False)
    return channels_last(net)
