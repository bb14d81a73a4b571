"""
Stage `entropy`: the integer tables of preset ``foundation``, trained on latents.

An autoencoder encodes images at the working sizes of the ladder. The weight of an error in a
channel is measured through its decoder, the transform is fitted, coefficients are grouped by their
spread, and CompressAI's ``EntropyBottleneck`` is trained on each group.
"""

import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec.foundation import entropy_bottleneck
from gsc_ros.codec.foundation.entropy_tables import ZERO
from gsc_ros.codec.foundation.vae_model import save, to_tensor
from gsc_ros.codec.foundation.vae_rungs import CLASSES, LADDER, Rung, working_size
from gsc_ros.codec.foundation.vae_source import LoadedVae, VaeSource, load_vae
from gsc_ros.codec.foundation.vae_transform import BLOCK, Transform
from gsc_ros.image_files import SUFFIXES, read_rgb
from gsc_ros.training.loop import Settings

_GROUPS_AN_OCTAVE = 4
_NARROWEST, _WIDEST = 0.06, 48.0  # mean size of a coefficient of the first and last group, steps
_GROUPS = int(np.log2(_WIDEST / _NARROWEST) * _GROUPS_AN_OCTAVE) + 1
_BLOCKS = 1500  # of a working size
_PROBED, _PROBES = 6, 4  # latents, and random directions, by which errors are weighted
_KEPT = 20_000  # samples of a group


@dataclass(frozen=True)
class _Latents:
    """Latents float32 (C, h, w) of images at a working size of so many cells."""

    cells: int
    latents: list[NDArray[np.float32]]


def error_weight(vae: LoadedVae, latents: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """
    Measure the mean square error of the image for errors of channels: float64 (C, C).

    It is the mean of J^T J, J the decoder's Jacobian, by random projections of the output.
    """
    weight, count = np.zeros((vae.channels, vae.channels)), 0
    generator = torch.Generator().manual_seed(0)
    for latent in latents:
        z = torch.from_numpy(latent)[None].to(vae.device)
        with torch.enable_grad():
            z.requires_grad_(True)
            image = vae.vae.decode(z).float()
            for _ in range(_PROBES):
                probe = torch.randn(image.shape, generator=generator).to(vae.device)
                (slope,) = torch.autograd.grad((image * probe).sum(), z, retain_graph=True)
                flat = slope[0].reshape(vae.channels, -1).double().cpu().numpy()
                weight += flat @ flat.T
                count += flat.shape[1]
    return weight / count


def _images(data: Path, most: int) -> list[Path]:
    found = sorted(path for path in data.rglob('*') if path.suffix.lower() in SUFFIXES)
    # Without the maps of data sets, by their names below `data`: its own path does not count.
    below = {path: path.relative_to(data).parts for path in found}
    found = [path for path in found if not any('seg' in p or 'depth' in p for p in below[path])]
    if not found:
        raise ValueError(f'{data}: no images here: give a folder of images')
    # As many of each folder: a long video does not outweigh single images.
    folders: dict[Path, list[Path]] = {}
    for path in random.Random(0).sample(found, len(found)):
        folders.setdefault(path.parent, []).append(path)
    rounds = max(map(len, folders.values()))
    mixed = [paths[i] for i in range(rounds) for paths in folders.values() if i < len(paths)]
    return mixed[:most]


def _encode(vae: LoadedVae, paths: list[Path], cells: int) -> _Latents:
    latents: list[NDArray[np.float32]] = []
    blocks, cell = 0, BLOCK * vae.factor
    for path in paths:
        try:
            rgb = read_rgb(path)
        except (OSError, ValueError) as error:
            warnings.warn(f'left out: {error}', stacklevel=2)
            continue
        size = working_size(rgb.shape[1], rgb.shape[0], cell, cells)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        latents.append(vae.encode(to_tensor([small]))[0].numpy())
        blocks += size[0] * size[1] // cell**2
        if blocks >= _BLOCKS:
            break
    if not latents:
        raise ValueError('no image could be read: give a folder of images')
    return _Latents(cells, latents)


def _group_of(spread: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the groups of coefficients of a mean size, in steps."""
    place = np.log2(np.maximum(spread, 1e-9) / _NARROWEST) * _GROUPS_AN_OCTAVE
    groups = np.clip(np.round(place), 0, _GROUPS - 1)
    return np.where(place < -0.5, ZERO, groups).astype(np.uint8)


class _Samples:
    """Values of each group, in steps."""

    def __init__(self) -> None:
        self._values: list[list[NDArray[np.float64]]] = [[] for _ in range(_GROUPS)]

    def add(self, groups: NDArray[np.uint8], values: NDArray[np.float64]) -> None:
        """Take values (n, coefficients) of coefficients of some groups (coefficients)."""
        for group in np.unique(groups[groups != ZERO]):
            self._values[group].append(values[:, groups == group].ravel())

    def arrays(self, rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """Return values of each group; of one that never came, Laplacian ones of its spread."""
        out = []
        for group, parts in enumerate(self._values):
            mean = _NARROWEST * 2 ** (group / _GROUPS_AN_OCTAVE)
            values = np.concatenate([*parts, rng.laplace(0, mean, 64)])
            out.append(rng.permutation(values)[:_KEPT].astype(np.float32))
        return out


def _prediction(means: list[NDArray[np.float64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fit the sixteenths by which left and upper neighbours predict means (rows, columns, C)."""
    channels = means[0].shape[-1]
    found = np.zeros((2, channels), np.int64)
    for channel in range(channels):
        rows = [m[..., channel] for m in means if min(m.shape[:2]) > 1]
        if rows:
            left = np.concatenate([m[1:, :-1].ravel() for m in rows])
            up = np.concatenate([m[:-1, 1:].ravel() for m in rows])
            target = np.concatenate([m[1:, 1:].ravel() for m in rows])
            both = np.stack([left, up], 1)
            ridge = both.T @ both + 0.05 * np.eye(2) * (np.square(both).sum() + 1e-9)
            found[:, channel] = np.round(16 * np.linalg.solve(ridge, both.T @ target))
    return np.clip(found[0], -16, 16), np.clip(found[1], -16, 16)


def _rung(blocks: list[NDArray[np.float64]], cells: int, step: float, samples: _Samples) -> Rung:
    """Fit a rung to the coefficients (rows, columns, C, 16) of images, and take samples."""
    scaled = [b / step for b in blocks]
    means = [np.round(b[..., 0]) for b in scaled]
    left, up = _prediction(means)
    rest = np.concatenate([_unpredicted(m, left, up) for m in means])
    mean_groups = _group_of(np.abs(rest).mean(0))
    samples.add(mean_groups, rest)
    details = np.concatenate([b[..., 1:].reshape(-1, b.shape[2] * 15) for b in scaled])
    energy = np.square(details).sum(1)
    edges = np.quantile(energy, np.arange(1, CLASSES) / CLASSES)
    kinds = np.searchsorted(edges, energy)
    groups = np.full((CLASSES, details.shape[1]), ZERO, np.uint8)
    for kind in range(CLASSES):
        own = details[kinds == kind]
        if len(own):
            groups[kind] = _group_of(np.abs(own).mean(0))
            samples.add(groups[kind], own)
    order = np.argsort(-np.square(details).mean(0), kind='stable').astype(np.int64)
    counts = np.bincount(kinds, minlength=CLASSES).astype(np.int64) + 1
    return Rung(cells, step, edges, counts, mean_groups, left, up, groups, order)


def _unpredicted(
    mean: NDArray[np.float64], left: NDArray[np.int64], up: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what the neighbours leave of means (rows, columns, C): (rows * columns, C)."""
    guess = np.zeros_like(mean)
    guess[1:, 1:] = (left * mean[1:, :-1] + up * mean[:-1, 1:]) / 16
    guess[0, 1:] = (left + up) * mean[0, :-1] / 16
    guess[1:, 0] = (left + up) * mean[:-1, 0] / 16
    return (mean - np.round(guess)).reshape(-1, mean.shape[-1])


def train(data: Path, settings: Settings, **options: Any) -> Path:
    """
    Train the tables of an autoencoder; returns the folder for both ends.

    ``data``: a folder of images. Options: ``vae``: a :class:`VaeSource`; ``images``: how many at
    most; ``ladder``; ``seed``. Raises ``ValueError`` without images or an autoencoder, and
    ``ImportError`` without CompressAI.
    """
    source: VaeSource | None = options.get('vae')
    if source is None or not source.name:
        raise ValueError('stage entropy needs --vae: a folder, a hub id or a Python file')
    entropy_bottleneck.entropy_bottleneck()  # so that what is missing shows now
    vae = load_vae(source, settings.torch_device)
    paths = _images(data, options.get('images') or 400)
    ladder = options.get('ladder') or LADDER
    encoded = {cells: _encode(vae, paths, cells) for cells in dict(ladder)}
    shown = [z for found in encoded.values() for z in found.latents]
    transform = Transform.fit(shown, error_weight(vae, shown[:_PROBED]))
    blocks = {
        cells: [transform.blocks(z) for z in found.latents] for cells, found in encoded.items()
    }
    everything = np.concatenate(
        [b.reshape(-1, *b.shape[2:]) for bs in blocks.values() for b in bs]
    )
    spread = float(np.sqrt(np.square(everything).mean()))
    samples = _Samples()
    rungs = tuple(_rung(blocks[cells], cells, share * spread, samples) for cells, share in ladder)
    rng = np.random.default_rng(options.get('seed', 0))
    tables = entropy_bottleneck.fit(
        samples.arrays(rng),
        min(settings.steps, 400),
        settings.learning_rate,
        settings.minutes,
        options.get('seed', 0),
    )
    return save(settings.output, source, vae.factor, transform, rungs, tables)
