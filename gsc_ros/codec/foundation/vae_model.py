"""
The folder of preset ``foundation``: which autoencoder, and the tables trained on its latents.

``foundation.json`` names the autoencoder and its revision; ``entropy.safetensors`` holds
transform, rungs and integer tables; ``manifest.json`` lists size and hash of each file. Both ends
need the same folder and the same autoencoder: their fingerprint covers the name, the revision and
the hashes of all files.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gsc_ros.codec import device as devices
from gsc_ros.codec.foundation.caption_model import FILE as CAPTIONS
from gsc_ros.codec.foundation.caption_model import CaptionModel
from gsc_ros.codec.foundation.entropy_tables import Tables
from gsc_ros.codec.foundation.vae_rungs import Rung
from gsc_ros.codec.foundation.vae_source import LoadedVae, VaeSource, load_vae
from gsc_ros.codec.foundation.vae_stream import Layout
from gsc_ros.codec.foundation.vae_transform import BLOCK, Transform
from gsc_ros.models import manifest
from gsc_ros.models.pretrained import Options
from gsc_ros.models.weights import FOLDER as SHIPPED

CONFIG, TABLES = 'foundation.json', 'entropy.safetensors'
VERSION = 1


@dataclass(frozen=True)
class FoundationModel:
    """All that either half of preset ``foundation`` runs."""

    source: VaeSource
    vae: LoadedVae
    transform: Transform
    layout: Layout
    fingerprint: int

    @classmethod
    def load(
        cls, folder: str | Path | None, device: str = 'auto', models: Options | None = None
    ) -> 'FoundationModel':
        """
        Load a folder that ``gsc train entropy`` wrote.

        ``models``: how its autoencoder is loaded, by ``offline`` and ``note``. The counts of
        captions are those in the folder, where it has some, else the shipped ones.
        Raises ``FileNotFoundError``, ``ImportError`` and ``ValueError`` naming the remedy: for no
        folder, a damaged or foreign one, and an autoencoder that is missing or another one.
        """
        torch_device = devices.resolve(device)
        path = _checked(folder)
        captions = path / CAPTIONS if (path / CAPTIONS).is_file() else SHIPPED / CAPTIONS
        manifest.check(path, (CONFIG, TABLES, CAPTIONS))
        try:
            config = json.loads((path / CONFIG).read_text())
            version, source = config['version'], VaeSource(**config['vae'])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{path / CONFIG}: damaged ({error}): copy the folder again') from (
                error
            )
        if version != VERSION:
            raise ValueError(
                f'{path / CONFIG}: of version {version} where this is version {VERSION}: train '
                'its tables again with `gsc train entropy`'
            )
        transform, rungs, tables = read_tables(path / TABLES)
        vae = load_vae(source, torch_device, models, path)
        if (vae.channels, vae.factor) != (transform.channels, config['factor']):
            raise ValueError(
                f'{path}: its tables are for latents of {transform.channels} channels and a '
                f'factor of {config["factor"]}, vae {source.name} has {vae.channels} and '
                f'{vae.factor}: train tables for it with `gsc train entropy`'
            )
        layout = Layout(
            rungs,
            tables,
            CaptionModel.load(captions),
            vae.channels,
            BLOCK * vae.factor,
        )
        files = (path / TABLES, captions, *vae.files)
        return cls(source, vae, transform, layout, fingerprint(source, files, path))


def fingerprint(source: VaeSource, files: tuple[Path, ...], beside: Path | None = None) -> int:
    """
    Compute sixteen bits of the autoencoder's name and revision and the hashes of all files.

    A folder may have another path on another machine, also relative to the folder of tables,
    ``beside``: its files alone count.
    """
    places = [Path(source.name).expanduser(), *([beside / source.name] if beside else [])]
    local = any(place.exists() for place in places) or source.name.count('/') != 1
    named = '' if local else source.name
    hashes = [(path.name, manifest.hash_of(path)) for path in files]
    text = json.dumps([named, source.revision, source.subfolder, hashes])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:2], 'big')


def _checked(folder: str | Path | None) -> Path:
    made = 'make one with `gsc train entropy --vae VAE --data IMAGES`'
    if not folder:
        raise FileNotFoundError(
            'preset foundation needs a folder with its tables: set the parameter `foundation` of '
            f'encoder and decoder (`--weights` of the commands) to it; {made}'
        )
    path = Path(folder).expanduser()
    for name in (CONFIG, TABLES):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f'{path}: no folder of preset foundation, {name} is missing: give the folder that '
                f'holds {CONFIG} and {TABLES}, or {made}'
            )
    return path


_ARRAYS = ('edges', 'counts', 'means', 'left', 'up', 'details', 'order')


def save(
    folder: Path,
    source: VaeSource,
    factor: int,
    transform: Transform,
    rungs: tuple[Rung, ...],
    tables: Tables,
) -> Path:
    """Write a folder; returns it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {'version': VERSION, 'vae': asdict(source), 'factor': factor}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + '\n')
    arrays: dict[str, Any] = {**tables.arrays(), **vars(transform)}
    arrays['ladder'] = np.array([(rung.cells, rung.step) for rung in rungs])
    for name in _ARRAYS:
        arrays[name] = np.stack([getattr(rung, name) for rung in rungs])
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()},
              folder / TABLES)  # fmt: skip
    manifest.write(folder, f'foundation {source.name}', source.revision)
    return folder


def read_tables(path: Path) -> tuple[Transform, tuple[Rung, ...], Tables]:
    """Read what :func:`save` wrote; raises ``ValueError`` for another file."""
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
        transform = Transform(found['mean'], found['forward'], found['inverse'])
        tables = Tables(found['cdfs'], found['lengths'], found['offsets'])
        rungs = tuple(
            Rung(int(cells), float(step), *(found[name][index] for name in _ARRAYS))
            for index, (cells, step) in enumerate(found['ladder'].tolist())
        )
        if any(rung.details.shape[-1] != 15 * transform.channels for rung in rungs):
            raise ValueError('rungs of other channels')
    except Exception as error:  # of safetensors, and of a foreign file
        raise ValueError(
            f'{path}: no tables of preset foundation ({error}): copy the folder again, or train '
            'them with `gsc train entropy`'
        ) from error
    return transform, rungs, tables


def to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """Images uint8 (H, W, 3) of one size -> float32 (N, 3, H, W) in 0..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
