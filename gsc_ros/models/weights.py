"""
Weights on disk: safetensors with the network's configuration beside them.

Large matrices and kernels are kept in eight bits with a scale for each output, the rest in half
precision.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gsc_ros.models import manifest
from gsc_ros.models.layers import channels_last

Net = TypeVar('Net', bound=nn.Module)

FOLDER = Path(__file__).parent / 'weights'


_SCALE = '.scale'
_LARGE = 1024  # elements, from which eight bits pay


def _packed(name: str, value: Tensor) -> dict[str, Tensor]:
    if not value.is_floating_point():
        return {name: value.contiguous()}
    if value.ndim < 2 or value.numel() < _LARGE:
        return {name: value.half().contiguous()}
    scale = value.flatten(1).abs().amax(1).clamp(min=1e-8) / 127
    whole = torch.round(value / scale.view(-1, *[1] * (value.ndim - 1)))
    return {name: whole.to(torch.int8).contiguous(), name + _SCALE: scale.float()}


def save(path: Path, state: dict[str, Tensor], config: dict[str, Any]) -> Path:
    """Write a state with its configuration, and its manifest; returns the path."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        packed |= _packed(name, value.detach().cpu())
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(packed, path, {'config': json.dumps(config)})
    manifest.record(path)
    return path


def load(path: Path, part: str = '') -> tuple[dict[str, Tensor], dict[str, Any]]:
    """
    Read a state as float32, and its configuration.

    ``part``: read only the tensors of this name or of this submodule; '' for all. Raises
    ``FileNotFoundError`` naming the remedy, ``ValueError`` for a file that is not ours.
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
            names = [k for k in names if not part or f'{k}.'.startswith(f'{part}.')]
            state = {k: file.get_tensor(k) for k in names}
    except Exception as error:
        raise ValueError(f'{path}: not a weights file of gsc_ros ({error})') from error
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(_SCALE):
            continue
        scale = state.get(name + _SCALE)
        if scale is not None:
            out[name] = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
        else:
            out[name] = value.float() if value.is_floating_point() else value
    return out, config


def restore(kind: Callable[..., Net], path: Path, part: str = '') -> Net:
    """
    Make a network of a file's configuration and weights, frozen.

    ``part``: the submodule of the saved network that ``kind`` is; '' for the whole. Raises as
    :func:`load`, and ``ValueError`` for the weights of another network.
    """
    state, config = load(path, part)
    if part:
        state = {name.removeprefix(f'{part}.'): value for name, value in state.items()}
    try:
        net = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
        net.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f'{path}: not the weights of this network; convert those with older names with '
            f'tools/convert_weight_names.py, or train them anew with `gsc train` ({error})'
        ) from error
    return frozen(net)


def frozen(net: Net) -> Net:
    """Prepare a network for inference on a CPU."""
    net.eval().requires_grad_(False)
    return channels_last(net)
