"""
Find and load a checkpoint of CoD-Lite: the published pair of ``NAME.pt`` and ``NAME.yaml``.

A checkpoint is a file, a folder with one, or a file of the Hugging Face hub. Weights are read as
plain tensors: a file that holds anything else is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from gsc_ros.codec.cod_lite.networks import CodLite, Config
from gsc_ros.models import manifest, pretrained
from gsc_ros.models.pretrained import Options, PretrainedError

RANDOM = 'random'
# What CoD_Lite_bpp_0_0039.yaml says, the lowest of the published rates.
PUBLISHED = Config(
    ds=32, codebook_bits=4, up2x=True, light=True, hidden_size=384, num_blocks=24,
    num_cond_blocks=21,
)  # fmt: skip
_EXAMPLE = 'zhaoyangjia/CoD_Lite/CoD_Lite_bpp_0_0039.pt'
_SUFFIXES = ('.pt', '.pth', '.ckpt', '.safetensors')
_PREFIX = 'net.'  # of the one-step codec's weights in a checkpoint


@dataclass(frozen=True)
class Model:
    """Networks that are ready, and sixteen bits of their files."""

    net: CodLite
    fingerprint: int

    @property
    def config(self) -> Config:
        """Sizes of the networks."""
        return self.net.config


def load(weights: str | Path | None, device: torch.device, models: Options | None = None) -> Model:
    """
    Load a checkpoint: a file, a folder with one, ``owner/name/FILE.pt[@revision]`` of the hub.

    ``models``: how it is loaded, by ``offline`` and ``note``. ``'random'`` makes the published
    architecture of the lowest rate, untrained. Raises ``FileNotFoundError`` where there is none
    and ``ValueError`` for what is no CoD-Lite or does not fit, each with the remedy.
    """
    if weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Model(_ready(CodLite(PUBLISHED), device), 0)
    models = models or Options()
    path = find(weights, models)
    config_path = path.with_suffix('.yaml')
    if not config_path.is_file():
        raise FileNotFoundError(
            f'{config_path}: not there; a checkpoint of CoD-Lite comes with the .yaml of its name'
        )
    pretrained.admit(str(weights), path.parent, [path], device, torch.float32, models)
    state = _state(path)
    net = CodLite(_config(config_path, state))
    _fill(net, state, path)
    files = (path.name, config_path.name)
    return Model(_ready(net, device), manifest.fingerprint(path.parent, files))


def find(weights: str | Path | None, models: Options | None = None) -> Path:
    """Return the file of a checkpoint; raises as :func:`load`."""
    if not weights:
        raise FileNotFoundError(
            f'preset cod_lite has no weights in the package: name its checkpoint, as {_EXAMPLE} '
            'of the Hugging Face hub, or a downloaded file with the .yaml of its name beside it'
        )
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and _has_config(p))
        if len(found) == 1:
            return found[0]
        names = ', '.join(p.name for p in found) or 'none'
        raise FileNotFoundError(
            f'{path}: a folder for preset cod_lite has one checkpoint with the .yaml of its name, '
            f'this one has {names}: name the file'
        )
    return _of_hub(str(weights), models or Options())


def _has_config(path: Path) -> bool:
    return path.with_suffix('.yaml').is_file()


def _of_hub(text: str, models: Options) -> Path:
    """Take a checkpoint and its configuration from the hub's cache, or download them."""
    place, _, revision = text.partition('@')
    parts = place.split('/')
    if text.startswith(('/', '.', '~')) or len(parts) < 3 or not place.endswith(_SUFFIXES):
        raise FileNotFoundError(
            f'{text}: no such file or folder, and no checkpoint of the hub, as {_EXAMPLE}'
        )
    repository, file = '/'.join(parts[:2]), '/'.join(parts[2:])
    names = file, str(Path(file).with_suffix('.yaml'))

    def check(folder: Path) -> None:
        for name in names:
            if not (folder / name).is_file():
                raise PretrainedError(f'{repository}: has no {name}. Check the name.')

    download = pretrained.snapshot(repository, revision, names)
    folder = pretrained.of_hub(repository, revision, download, check, models)
    return folder / file


def _config(path: Path, state: Mapping[str, Tensor]) -> Config:
    """Read a published configuration; the widths that it leaves out are those of the weights."""
    try:
        given = yaml.safe_load(path.read_text())['model']['net']['init_args']
        known = {f.name for f in fields(Config)} - {'encoder_width', 'codebook_dim'}
        values: dict[str, Any] = {name: given[name] for name in known if name in given}
        width = state['y_embedder.encoder.conv_in.weight'].shape[0]
        dim = state['y_embedder.bottleneck.embedding.weight'].shape[1]
        return Config(**values, encoder_width=width, codebook_dim=dim)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f'{path}: no configuration of a one-step CoD-Lite codec; copy it again ({reason})'
        ) from error


def _state(path: Path) -> dict[str, Tensor]:
    """Read the one-step codec's weights of a checkpoint."""
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        for part in ('module', 'state_dict'):
            found = found.get(part, found)
        state = {
            name.removeprefix(_PREFIX): value
            for name, value in found.items()
            if name.startswith(_PREFIX) and isinstance(value, Tensor)
        }
    except Exception as error:  # of the file, whatever it is
        reason = ' '.join(str(error).split())[:200]
        raise ValueError(f'{path}: not a file of weights; copy it again ({reason})') from error
    if not state:
        raise ValueError(
            f'{path}: has no weights of a one-step codec (named {_PREFIX}...): name a file of one '
            'rate, as CoD_Lite_bpp_0_0039.pt, not the pre-trained model'
        )
    return state


def _fill(net: CodLite, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into the networks; raises ``ValueError`` where they do not match."""
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in state]
    wrong = [n for n, v in wanted.items() if n in state and state[n].shape != v.shape]
    unknown = [name for name in state if name not in wanted]
    for what, names in (('lacks', missing), ('has another shape of', wrong), ('has', unknown)):
        if names:
            raise ValueError(
                f'{path}: {what} {len(names)} weights, as {names[0]}: not the networks that its '
                '.yaml describes; download both files again'
            )
    net.load_state_dict({name: value.float() for name, value in state.items()})


def _ready(net: CodLite, device: torch.device) -> CodLite:
    net.eval().requires_grad_(False)
    net.fix_time()
    return net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
