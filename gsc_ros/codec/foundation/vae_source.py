"""
Pretrained autoencoders: a folder or hub id of diffusers, or a Python file of the user's.

A Python file defines ``load_vae(device)``, which returns an object with ``encode`` and ``decode``
as of :class:`Vae`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gsc_ros.models import pretrained
from gsc_ros.models.pretrained import Options, PretrainedError, first_line, weights_in
from gsc_ros.plugins import load_plugin

CONFIG = 'config.json'
WEIGHTS = 'diffusion_pytorch_model.safetensors'


class Vae(Protocol):
    """An autoencoder of images, pretrained and frozen."""

    def encode(self, images: Tensor) -> Tensor:
        """Images float32 (N, 3, H, W) in 0..1 -> latents (N, C, h, w), of a spread near 1."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images float32 (N, 3, H, W), about 0..1."""
        ...


@dataclass(frozen=True)
class VaeSource:
    """
    Where an autoencoder is.

    ``name``: folder, hub id (``owner/name``) or Python file; ``revision``: a commit of the hub;
    ``subfolder``: of the folder or the hub's repository, '' for the folder itself.
    """

    name: str
    revision: str = ''
    subfolder: str = ''

    @classmethod
    def parse(cls, text: str) -> 'VaeSource':
        """Read a folder, a Python file, or ``owner/name[/subfolder][@revision]`` of the hub."""
        if Path(text).expanduser().exists():
            return cls(text)
        name, _, revision = text.partition('@')
        if name.startswith(('/', '.', '~')) or name.endswith('.py'):
            return cls(text)
        owner, _, rest = name.partition('/')
        name, _, subfolder = rest.partition('/')
        return cls(f'{owner}/{name}' if name else owner, revision, subfolder)


@dataclass(frozen=True)
class LoadedVae:
    """
    An autoencoder, and what it is.

    ``files``: those that it was loaded from; ``factor``: pixels of a latent a side;
    ``channels``: of a latent.
    """

    vae: Vae
    files: tuple[Path, ...]
    factor: int
    channels: int
    device: torch.device

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Encode images as of :class:`Vae`; latents are float32, on the CPU."""
        return self.vae.encode(images.to(self.device)).float().cpu()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents as of :class:`Vae`; images are float32 in 0..1, on the CPU."""
        images = self.vae.decode(latents.to(self.device)).float()
        return images.nan_to_num(0.5).clamp(0, 1).cpu()  # of damaged frames, too


class _Diffusers:
    """Any autoencoder of diffusers that encodes images: AutoencoderKL, AutoencoderTiny, ..."""

    def __init__(self, model: Any) -> None:
        self._model = model
        scale = getattr(model.config, 'scaling_factor', None)
        self._scale = float(scale) if scale is not None else 1.0
        self._shift = float(getattr(model.config, 'shift_factor', None) or 0.0)

    def encode(self, images: Tensor) -> Tensor:
        """Encode; a distribution counts as its mode."""
        out = self._model.encode(2 * images - 1)
        latents = out.latents if hasattr(out, 'latents') else out.latent_dist.mode()
        return (latents - self._shift) * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Decode."""
        return (self._model.decode(latents / self._scale + self._shift).sample + 1) / 2


def _refused(source: VaeSource, reason: str) -> ValueError:
    return ValueError(
        f'vae {source.name}: {reason}. Give the folder of an autoencoder of diffusers '
        '(save_pretrained), its hub id, or a Python file with load_vae(device)'
    )


def _from_hub(source: VaeSource, models: Options) -> Path:
    within = f'{source.subfolder}/' if source.subfolder else ''
    names = [f'{within}{CONFIG}', f'{within}{WEIGHTS}']

    def check(folder: Path) -> None:
        for name in names:
            if not (folder / name).is_file():
                raise PretrainedError(f'vae {source.name}: has no {name}')

    download = pretrained.snapshot(source.name, source.revision, names)
    return pretrained.of_hub(source.name, source.revision, download, check, models)


def _from_diffusers(folder: Path, source: VaeSource) -> tuple[Vae, nn.Module]:
    try:
        import diffusers
    except ImportError as error:
        raise ImportError(
            'a pretrained vae needs diffusers: pip install "gsc_ros[foundation]"'
        ) from error
    try:
        kind = str(json.loads((folder / CONFIG).read_text()).get('_class_name'))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'vae {source.name}: {folder / CONFIG} is missing: copy the whole folder again'
        ) from error
    except (OSError, ValueError) as error:
        raise _refused(source, f'{folder / CONFIG} cannot be read ({error})') from error
    if not kind.startswith('Autoencoder') or not hasattr(diffusers, kind):
        raise _refused(source, f'{kind} is no autoencoder that diffusers knows')
    try:
        # safetensors alone: pickles may hold code, and the fingerprint does not cover them.
        model = getattr(diffusers, kind).from_pretrained(
            folder, low_cpu_mem_usage=False, use_safetensors=True
        )
    except Exception as error:  # of diffusers, safetensors and torch
        raise _refused(source, f'it cannot be loaded as {kind} ({first_line(error)})') from error
    return _Diffusers(model), model


def load_vae(
    source: VaeSource,
    device: torch.device,
    models: Options | None = None,
    beside: Path | None = None,
) -> LoadedVae:
    """
    Load an autoencoder, frozen.

    ``models``: how pretrained models are loaded (their device and dtype do not count);
    ``beside``: the folder that a relative path is looked up in first. Raises
    ``FileNotFoundError``, ``ImportError`` and ``ValueError`` naming the remedy.
    """
    models = models or Options()
    path = Path(source.name).expanduser()
    if beside is not None and (beside / source.name).exists():
        path = beside / source.name
    if path.suffix == '.py':
        plugin: Any = load_plugin(path, ('load_vae',))
        vae, files = plugin.load_vae(device), (path, *map(Path, getattr(plugin, 'FILES', ())))
    else:
        if not path.is_dir():
            if source.name.startswith(('/', '.', '~')) or source.name.count('/') != 1:
                raise FileNotFoundError(str(_refused(source, 'there is no such folder')))
            path = _from_hub(source, models)
        folder = path / source.subfolder
        weights = weights_in(folder)
        # The card of a repository lies at its root, not in the subfolder.
        pretrained.admit(f'vae {source.name}', path, weights, device, torch.float32, models)
        vae, model = _from_diffusers(folder, source)
        model.to(device).eval().requires_grad_(False)
        files = (folder / CONFIG, *weights)
    return _measured(vae, files, device, source)


def _measured(
    vae: Vae, files: tuple[Path, ...], device: torch.device, source: VaeSource
) -> LoadedVae:
    """Find factor and channels with one small image."""
    side = 64
    with torch.inference_mode():
        latent = vae.encode(torch.zeros(1, 3, side, side, device=device))
    if latent.ndim != 4 or side % latent.shape[-1] or latent.shape[-1] != latent.shape[-2]:
        raise _refused(source, f'its latents of shape {tuple(latent.shape)} are no images')
    factor, channels = side // latent.shape[-1], latent.shape[1]
    return LoadedVae(vae, files, factor, channels, device)
