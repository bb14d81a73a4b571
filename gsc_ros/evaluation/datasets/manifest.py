"""
The package's own layout: ``root/<split>/manifest.csv``, as ``gsc_ros.training.corpus`` reads it.

A row an image, in frame order. ``file`` is its path below ``root``; optional are ``sequence`` and
``fps``, ``has_seg`` with ``seg_file``, ``has_depth`` with ``depth_file``. ``has_seg`` is
``gt:camvid11``, ``gt:cityscapes19`` or, with "other", ``gt:labels20`` (8-bit ids), ``has_depth``
is ``gt:lidar_sparse_u16_m*256`` or ``gt:kinect_u16_mm`` (16 bits, 0 unknown). ``hfov_deg``, with
``width`` and ``height``, is the camera, and ``camera_height_m`` its height over the ground; of
these ``unstated`` is not known, as an empty one is. Labels by teacher networks are no truth and
are left.
"""

import csv
import math
from functools import partial
from pathlib import Path

import numpy as np

from gsc_ros.evaluation.datasets.frame import Frame, name_of, read_depth, read_ids
from gsc_ros.labels import CAMVID11, NUM_CLASSES, OTHER, UNLABELLED
from gsc_ros.perception.camera import Camera

_UNSTATED = 'unstated'
_TRAIN_IDS = np.arange(256, dtype=np.uint8)
_TRAIN_IDS[OTHER:] = UNLABELLED
_ALL_IDS = np.arange(256, dtype=np.uint8)
_ALL_IDS[NUM_CLASSES:] = UNLABELLED
_SEGMENTATION = {
    'gt:camvid11': CAMVID11,
    'gt:cityscapes19': _TRAIN_IDS,
    'gt:labels20': _ALL_IDS,
}
DEPTH = {'gt:lidar_sparse_u16_m*256': 256.0, 'gt:kinect_u16_mm': 1000.0}


def is_manifest(root: Path) -> bool:
    """Return whether any split has a manifest."""
    return any(root.glob('*/manifest.csv'))


def _fps(text: str | None) -> float:
    try:
        return max(float(text or 0), 0.0)
    except ValueError:  # such as 'unstated'
        return 0.0


def _number(row: dict[str, str], column: str) -> float | None:
    """Return a column's number, None where it is not known; ``ValueError`` for other text."""
    text = row.get(column) or _UNSTATED
    if text == _UNSTATED:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'{column} {text!r} is no number: give one, or {_UNSTATED}')
    return number


def _camera(row: dict[str, str]) -> Camera | None:
    """Make the camera of a row that states ``hfov_deg``, ``width`` and ``height``."""
    hfov, width, height = (_number(row, column) for column in ('hfov_deg', 'width', 'height'))
    if hfov is None or not width or not height:
        return None
    return Camera.of_hfov(hfov, width / height, _number(row, 'camera_height_m'))


def _frame(root: Path, split: str, row: dict[str, str]) -> Frame:
    image = root / row['file']
    base = root / split
    segmentation = depth = None
    if kind := row.get('has_seg'):
        segmentation = partial(read_ids, root / row['seg_file'], _SEGMENTATION[kind])
    if kind := row.get('has_depth'):
        depth = partial(read_depth, root / row['depth_file'], DEPTH[kind])
    name = name_of(image, base if image.is_relative_to(base) else root)
    sequence = row.get('sequence') or ''
    return Frame(
        name,
        image,
        sequence,
        _fps(row.get('fps')),
        segmentation,
        depth,
        camera=_camera(row),
    )


def read_manifest(root: Path, split: str) -> list[Frame]:
    """
    List a split's rows.

    Raises ``ValueError`` for a missing column, an unknown kind of truth, and a camera's number
    that is none.
    """
    path = root / split / 'manifest.csv'
    if not path.is_file():
        return []
    with path.open(newline='') as file:
        try:
            return [_frame(root, split, row) for row in csv.DictReader(file)]
        except KeyError as error:
            known = ', '.join([*_SEGMENTATION, *DEPTH])
            raise ValueError(
                f'{path}: {error} is a missing column or an unknown kind of truth; needs the '
                f'columns file, and seg_file, depth_file for truth, which is one of {known}'
            ) from error
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
