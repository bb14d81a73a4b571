"""
A judge on the teacher networks of a data folder: ``gsc evaluate --judge
benchmarks/judge_teachers.py``.

The folder ``$GSC_DATA/teachers`` holds ``teachers.py`` with ESPNetv2 (Cityscapes), RT-MonoDepth-S
(KITTI), NanoDet-m (COCO), TwinLiteNet (BDD100K), EfficientNet-Lite0 (ImageNet) and two feature
distances in the manner of LPIPS (not LPIPS itself). The shipped weights were trained on the
distance ``squeeze``, classes and depth; ``vgg``, ``lite0``, ``drivable`` and the boxes are
independent of training, and come first.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from gsc_ros.evaluation.metrics import over_crops

if 'GSC_DATA' not in os.environ:
    raise ValueError('set GSC_DATA to the folder that holds teachers/teachers.py')
sys.path.insert(0, str(Path(os.environ['GSC_DATA']) / 'teachers'))

import teachers

GROUND = (0, 1, 9)  # road, sidewalk, terrain
SKY = 10

_segmentation = teachers.load_seg()
_depth = teachers.load_depth()
_detection = teachers.load_det() if not os.environ.get('GSC_NO_DETECTOR') else None
_squeeze = teachers.PerceptualSqueeze()
_vgg = teachers.PerceptualVGG()
_lite0 = teachers.load_lite0()
_twinlite = teachers.load_twinlite()
_DRIVABLE = 0.01  # of the original, for a figure


def segment(rgb: np.ndarray) -> np.ndarray:
    """Cityscapes train ids, 19 for background."""
    return teachers.seg_infer(_segmentation, rgb, 1024 if rgb.shape[1] > 960 else 640, flip=False)


def depth(rgb: np.ndarray) -> np.ndarray:
    """Metres, of a camera like KITTI's."""
    return teachers.to_metres(teachers.depth_infer(_depth, rgb, flip=False))


if _detection is not None:

    def detect(rgb: np.ndarray) -> list:
        """COCO boxes."""
        return teachers.det_infer(_detection, rgb)


def _tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None] / 255.0


def _squeeze_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(_squeeze(_tensor(a), _tensor(b)))


def _embedding(rgb: np.ndarray) -> torch.Tensor:
    small = functional.interpolate(_tensor(rgb), (224, 224), mode='bilinear', antialias=True)
    return _lite0.features(small)


def _drivable_lost(a: np.ndarray, b: np.ndarray) -> float:
    """1 - IoU of the areas to drive on; NaN where the original shows none."""
    wanted, found = (teachers.twinlite_infer(_twinlite, rgb)[0] for rgb in (a, b))
    if wanted.mean() < _DRIVABLE:
        return float('nan')
    return 1 - float((wanted & found).sum() / (wanted | found).sum())


@torch.inference_mode()
def distances(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """
    Feature distances of two images, the less the more alike.

    ``lite0`` is 1 - cosine of embeddings, ``drivable`` 1 - IoU; ``squeeze_crops`` is the mean over
    crops, which a codec that has learnt the network's pixel grid cannot please.
    """
    return {
        'vgg': float(_vgg(_tensor(a), _tensor(b))),
        'lite0': 1 - float(functional.cosine_similarity(_embedding(a), _embedding(b))),
        'drivable': _drivable_lost(a, b),
        'squeeze_crops': over_crops(_squeeze_distance, a, b),
        'squeeze': _squeeze_distance(a, b),
    }
