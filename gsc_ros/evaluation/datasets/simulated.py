"""
Frames of this package's simulator, as ``gsc train simulated`` writes them.

``frames.csv`` lists them with their cameras; beside each ``*_rgb.png`` lie ``*_seg.png``,
``*_depth.npy``, ``*_heights.npy`` and ``*_hazards.png``.
"""

import csv
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets.frame import Frame, name_of, read_ids
from gsc_ros.perception.camera import Camera

_SAME = np.arange(256, dtype=np.uint8)
_RGB = '_rgb.png'


def is_simulated(root: Path) -> bool:
    """Return whether the simulator wrote the folder."""
    return (root / 'frames.csv').is_file()


def _metres(path: Path) -> NDArray[np.float32]:
    try:
        return np.asarray(np.load(path), np.float32)
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: cannot be read ({error}); render the frames again') from error


def _hazards(path: Path) -> NDArray[np.bool_]:
    return read_ids(path, _SAME) > 0


def read_simulated(root: Path, split: str) -> list[Frame]:
    """List all frames, whatever the split; ``ValueError`` for a table without a column."""
    frames = []
    with (root / 'frames.csv').open(newline='') as file:
        try:
            for row in csv.DictReader(file):
                image = root / row['file']
                stem = str(image).removesuffix(_RGB)
                fx, fy, cx, cy, height_m = (
                    float(row[name]) for name in ('fx', 'fy', 'cx', 'cy', 'height_m')
                )
                hazards, heights = (Path(stem + end) for end in ('_hazards.png', '_heights.npy'))
                frames.append(
                    Frame(
                        name_of(image, root),
                        image,
                        segmentation=partial(read_ids, Path(f'{stem}_seg.png'), _SAME),
                        depth=partial(_metres, Path(f'{stem}_depth.npy')),
                        hazards=partial(_hazards, hazards) if hazards.is_file() else None,
                        heights=partial(_metres, heights) if heights.is_file() else None,
                        camera=Camera(fx, fy, cx, cy, height_m),
                    )
                )
        except KeyError as error:
            raise ValueError(
                f'{root / "frames.csv"}: {error} is a missing column; run `gsc train simulated`'
            ) from error
    return frames
