"""
Hypersim (Roberts et al., ICCV 2021; https://github.com/apple/ml-hypersim).

``ai_VVV_NNN/images/scene_cam_XX_final_preview/frame.IIII.tonemap.jpg`` with
``scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5`` beside, which holds the distance to the
camera's centre along each ray (https://github.com/apple/ml-hypersim/issues/9). It becomes depth
along the optical axis of the pinhole camera of 60 degrees across that the scenes share, save a
few with shifted or tilted lenses. The trajectories' frames lie apart: each is a still. There are
no splits in the folders. Depth needs h5py (extra ``evaluation``).
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets.frame import Frame, images

_ACROSS = math.radians(60)
_PREVIEW, _GEOMETRY = '_final_preview', '_geometry_hdf5'
_IMAGES = f'ai_*/images/scene_cam_*{_PREVIEW}/frame.*.tonemap.jpg'


def is_hypersim(root: Path) -> bool:
    """Return whether there are scenes."""
    return any(root.glob('ai_*_*/images'))


def planar(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn distances along the rays, float32 (H, W), into depth along the axis."""
    height, width = distance.shape
    focal = width / 2 / math.tan(_ACROSS / 2)
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    return (distance / np.sqrt(1 + x**2 + y[:, None] ** 2)).astype(np.float32)


def read_distance(path: Path) -> NDArray[np.float32]:
    """Read depth along the axis in metres from a file of distances; NaN unknown."""
    try:
        import h5py
    except ImportError as error:
        raise ValueError(f'{path}: needs h5py; pip install gsc_ros[evaluation]') from error
    try:
        with h5py.File(path) as file:
            distance = np.asarray(file['dataset'], np.float32)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: cannot be read ({error}); fetch the file again') from error
    if distance.ndim != 2:
        raise ValueError(f'{path}: holds shape {distance.shape}, not (height, width)')
    distance[~(np.isfinite(distance) & (distance > 0))] = np.nan
    return planar(distance)


def read_hypersim(root: Path, split: str) -> list[Frame]:
    """List the tone-mapped previews of every scene."""
    frames = []
    for image in images(root, _IMAGES):
        camera = image.parent.name.removesuffix(_PREVIEW)
        number = image.name.split('.')[1]
        geometry = image.parents[1] / f'{camera}{_GEOMETRY}'
        truth = geometry / f'frame.{number}.depth_meters.hdf5'
        depth = partial(read_distance, truth) if truth.is_file() else None
        name = f'{image.parents[2].name}_{camera}_{number}'
        frames.append(Frame(name, image, depth=depth))
    return frames
