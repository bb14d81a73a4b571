"""
A judge on the teacher networks of a data folder: ``gsc evaluate --judge
benchmarks/judge_teachers.py``.

The folder ``$GSC_DATA/teachers`` holds ``teachers.py`` with ESPNetv2 (Cityscapes), RT-MonoDepth-S
(KITTI), NanoDet-m (COCO), TwinLiteNet (BDD100K), EfficientNet-Lite0 (ImageNet) and two networks
whose feature distances are in the manner of LPIPS (not LPIPS itself): SqueezeNet, and VGG16's
first ten convolutions, fine-tuned for edges (HED). The shipped weights were trained on the
distance ``squeeze``, classes and depth, and perception starts from ``lite0``; VGG, ``drivable``
and the boxes are independent of training, and come first.
"""

import os
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gsc_ros.evaluation import texture
from gsc_ros.evaluation.metrics import over_crops

if 'GSC_DATA' not in os.environ:
    raise ValueError('set GSC_DATA to the folder that holds teachers/teachers.py')
sys.path.insert(0, str(Path(os.environ['GSC_DATA']) / 'teachers'))

import teachers

GROUND = (0, 1, 9)  # road, sidewalk, terrain
SKY = 10
TRAINED = ('segment', 'depth', 'squeeze', 'squeeze_crops', 'lite0')

_segmentation = teachers.load_seg()
_depth = teachers.load_depth()
_detection = teachers.load_det() if not os.environ.get('GSC_NO_DETECTOR') else None
_squeeze = teachers.PerceptualSqueeze()
_vgg = teachers.PerceptualVGG()
_lite0 = teachers.load_lite0()
_twinlite = teachers.load_twinlite()
_DRIVABLE = 0.01  # of the original, for a figure
_STRIDE = 8  # pixels, of VGG's last maps
_LEAST_SQUEEZED = 17  # pixels a side, of SqueezeNet's images
_PATCH = 32  # pixels: 165 patches of 480 x 360


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
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None] / 255.0


def _squeeze_distance(a: np.ndarray, b: np.ndarray) -> float:
    if min(a.shape[:2]) < _LEAST_SQUEEZED:
        return float('nan')
    return float(_squeeze(_tensor(a), _tensor(b)))


# An original's maps are kept while images decoded from it are compared with it.
@lru_cache(maxsize=2)
def _maps(pixels: bytes, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return VGG's maps before each pooling."""
    return _vgg.features(_tensor(np.frombuffer(pixels, np.uint8).reshape(shape)))


@lru_cache(maxsize=2)
def _smooth_maps(pixels: bytes, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return the image and VGG's maps before each pooling, here without aliasing."""
    x = _tensor(np.frombuffer(pixels, np.uint8).reshape(shape))
    return [x, *texture.layers(_vgg.prep(x), _stages())]


def _stages() -> list[nn.Sequential]:
    """Return VGG's convolutions between poolings, each with its rectifier."""
    convolutions, stages = iter(_vgg.convs), [nn.Sequential()]
    for planned in _vgg.PLAN[:-1]:
        if planned is None:
            stages.append(nn.Sequential())
        else:
            stages[-1].extend([next(convolutions), nn.ReLU()])
    return stages


def _parts(maps: torch.Tensor) -> torch.Tensor:
    """Return the means of VGG's last maps over patches, which are no larger than the image."""
    sides = [min(_PATCH // _STRIDE, side) for side in maps.shape[2:]]
    return functional.avg_pool2d(maps, sides)


def _apart(p: torch.Tensor, q: torch.Tensor) -> float:
    """Return the mean squared distance of directions (1, C, h, w): 2 - 2 cosine."""
    p, q = functional.normalize(p), functional.normalize(q)
    return float((p - q).square().sum(1).mean())


def _cosine(p: torch.Tensor, q: torch.Tensor) -> float:
    """Return 1 - cosine of features (1, C, h, w), each less its mean; NaN for one place."""
    if p[0, 0].numel() < 2:
        return float('nan')
    return _apart(*(x - x.mean((2, 3), keepdim=True) for x in (p, q))) / 2


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

    ``vgg_cosine`` is 1 - cosine of VGG's features of patches, less the image's mean; ``lite0``
    1 - cosine of embeddings, ``drivable`` 1 - IoU; ``squeeze_crops`` is the mean over crops, which
    a codec that has learnt the network's pixel grid cannot please.
    """
    of_a, of_b = (_maps(x.tobytes(), x.shape) for x in (a, b))
    return {
        'vgg': float(np.mean([_apart(p, q) for p, q in zip(of_a, of_b, strict=True)])),
        'vgg_cosine': _cosine(_parts(of_a[-1]), _parts(of_b[-1])),
        'drivable': _drivable_lost(a, b),
        'lite0': 1 - float(functional.cosine_similarity(_embedding(a), _embedding(b))),
        'squeeze_crops': over_crops(_squeeze_distance, a, b),
        'squeeze': _squeeze_distance(a, b),
    }


@torch.inference_mode()
def slow_distances(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Distance in the manner of DISTS (``evaluation/texture.py``)."""
    of_a, of_b = (_smooth_maps(x.tobytes(), x.shape) for x in (a, b))
    return {'dists': texture.dists(of_a, of_b)}


@torch.inference_mode()
def patches(rgb: np.ndarray) -> np.ndarray:
    """Mean features of patches of 32 pixels a side, (N, 512), row by row."""
    last = _smooth_maps(rgb.tobytes(), rgb.shape)[-1]
    return _parts(last)[0].flatten(1).T.numpy()
