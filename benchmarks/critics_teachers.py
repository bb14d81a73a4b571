"""
Critics on the teacher networks of a data folder: ``gsc train --critics
benchmarks/critics_teachers.py``.

The folder ``$GSC_DATA/teachers`` holds ``teachers.py`` with ESPNetv2 (Cityscapes), RT-MonoDepth-S
(KITTI) and a feature distance on SqueezeNet in the manner of LPIPS.
"""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

if 'GSC_DATA' not in os.environ:
    raise ValueError('set GSC_DATA to the folder that holds teachers/teachers.py')
sys.path.insert(0, str(Path(os.environ['GSC_DATA']) / 'teachers'))

import teachers

_segmentation = teachers.load_seg().requires_grad_(False)
_depth = teachers.load_depth().requires_grad_(False)
_distance = teachers.PerceptualSqueeze()


class _Single(nn.Module):
    """A layer in single precision, also where the others compute in half of it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float())


# Images in bfloat16 have steps that the first edges drown in: the slope turns by 35 degrees.
_distance.conv1 = _Single(_distance.conv1)

# Images train at the codec's working size, 512 wide for 480; the segmentation works at 640.
_ENLARGED = 1.25
_DEPTH_HEIGHT, _DEPTH_WIDTH = 192, 640
_WORKING_WIDTH = 512


def features(x: Tensor) -> list[Tensor]:
    """SqueezeNet features, those that LPIPS takes."""
    return list(_distance.to(x.device).features(x))


def segment(x: Tensor) -> Tensor:
    """Logits of the Cityscapes classes and background."""
    size = [max(64, round(side * _ENLARGED / 32) * 32) for side in x.shape[2:]]
    x = functional.interpolate(x, size, mode='bilinear', align_corners=False)
    mean, std = teachers.IMAGENET_MEAN.to(x.device), teachers.IMAGENET_STD.to(x.device)
    return _segmentation.to(x.device)((x - mean) / std)


def depth(x: Tensor) -> Tensor:
    """Log metres, of a camera like KITTI's; images are squeezed as the network knows them."""
    height, width = x.shape[2:]
    wide = max(64, round(width / _WORKING_WIDTH * _DEPTH_WIDTH / 32) * 32)
    high = max(64, round(height / (0.75 * _WORKING_WIDTH) * _DEPTH_HEIGHT / 32) * 32)
    x = functional.interpolate(x, (high, wide), mode='bilinear', align_corners=False)
    return teachers.to_metres(_depth.to(x.device)(x).float()).log()
