"""
A judge on the teacher networks of a data folder: ``gsc evaluate --judge
benchmarks/judge_teachers.py``.

The folder ``$GSC_DATA/teachers`` holds ``teachers.py`` with ESPNetv2 (Cityscapes), RT-MonoDepth-S
(KITTI), NanoDet-m (COCO) and two feature distances in the manner of LPIPS (not LPIPS itself).
The shipped weights were trained on the distance ``squeeze``; ``vgg`` is independent of training.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch

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


@torch.inference_mode()
def distances(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Feature distances of two pictures."""
    x, y = (
        torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None] / 255.0 for p in (a, b)
    )
    return {'squeeze': float(_squeeze(x, y)), 'vgg': float(_vgg(x, y))}
