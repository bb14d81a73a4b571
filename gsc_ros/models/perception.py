"""
The robot's perception: class and depth of each pixel and the kind of scene, from one network.

An ImageNet backbone sees the image at half its size; a U-shaped neck brings its maps back to the
1/8 grid, with what the full image shows of edges and small things.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models.hazards import HazardHead
from gsc_ros.models.kinds import KindLayer
from gsc_ros.models.layers import NormResBlock
from gsc_ros.models.lite0 import CHANNELS, Lite0

NEAREST_M = 0.5
FARTHEST_M = 200.0
# Depth is told as if the focal length were so many pixels: an image does not show its own. What
# it is by a camera of f pixels is f / REFERENCE_PX as far (Yin et al., Metric3D, ICCV 2023).
REFERENCE_PX = 457.0


def depth_to_log(metres: Tensor) -> Tensor:
    """Map metres in [0.5, 200] to [0, 1] by the logarithm; values beyond are clamped."""
    span = torch.log(torch.tensor(FARTHEST_M / NEAREST_M))
    return torch.log(metres.clamp(NEAREST_M, FARTHEST_M) / NEAREST_M) / span


def log_to_depth(code: Tensor) -> Tensor:
    """Inverse of :func:`depth_to_log`: [0, 1] to metres."""
    span = torch.log(torch.tensor(FARTHEST_M / NEAREST_M))
    return NEAREST_M * torch.exp(code.clamp(0, 1) * span)


class Seen(NamedTuple):
    """
    What the network sees of images (N, 3, H, W).

    ``classes``: logits (N, classes, H/8, W/8); ``depth``: log depth (N, 1, H/8, W/8) in [0, 1],
    see :func:`log_to_depth`, by a camera of ``REFERENCE_PX``; ``kinds``: logits (N, kinds), whose
    softmax is calibrated (the temperature is in the weights of the layer), None of a network that
    was not taught them; ``standing``: what the head of hazards sees, (N, WIDTH, H/8, W/8), None
    of a network without it.
    """

    classes: Tensor
    depth: Tensor
    kinds: Tensor | None
    standing: Tensor | None


def _fuse(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class PerceptionNet(nn.Module):
    """
    Predict classes, depth and kind of scene.

    ``kinds``: of scene, 0 where they are not taught yet; ``hazards``: whether there is a head that
    tells what is in the way (:class:`HazardHead`). ``forward``: float32 (N, 3, H, W) in
    [-1, 1], H and W multiples of 32 -> :class:`Seen`.
    """

    def __init__(
        self,
        classes: int = NUM_CLASSES,
        kinds: int = 0,
        widths: tuple[int, int, int] = (128, 80, 48),
        detail: int = 32,
        hazards: bool = False,
    ) -> None:
        super().__init__()
        self.config = {
            'classes': classes, 'kinds': kinds, 'widths': list(widths), 'detail': detail,
            'hazards': hazards,
        }  # fmt: skip
        deep, middle, fine = widths
        self.backbone = Lite0()
        self.kinds = KindLayer(kinds) if kinds else None
        self.deepest = _fuse(CHANNELS[3], deep, 1)
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, deep, 1), nn.ReLU())
        self.up_thirtysecond = _fuse(deep + CHANNELS[2], deep)
        self.up_sixteenth = _fuse(deep + CHANNELS[1], middle)
        self.detail = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, detail, 3, 2, 1, bias=False),
            nn.BatchNorm2d(detail),
            nn.ReLU(),
        )
        self.up_eighth = _fuse(middle + CHANNELS[0] + detail, fine)
        self.refine = NormResBlock(fine)
        self.segmentation = nn.Conv2d(fine, classes, 1)
        self.depth = nn.Conv2d(fine, 1, 1)
        # Channels of the maps that hazards are seen in.
        self.seen = (fine + CHANNELS[0] + detail, middle, deep)
        self.hazards = HazardHead(self.seen) if hazards else None

    def forward(self, x: Tensor) -> Seen:
        kinds, y, maps = self.maps(x)
        standing = self.hazards.look(maps) if self.hazards else None
        return Seen(self.segmentation(y), torch.sigmoid(self.depth(y)), kinds, standing)

    def maps(self, x: Tensor) -> tuple[Tensor | None, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """
        Return logits of the kinds, the map of classes and depth, and what the hazards are seen in.

        These are maps on the grids of 1/8, 1/16 and 1/32.
        """
        found = self.backbone.maps(functional.avg_pool2d(x, 2))
        eighth, sixteenth, thirtysecond, deepest = found
        kinds = self.kinds(self.backbone.features(found)) if self.kinds else None
        y = self.deepest(deepest)
        y = y + self.context(y)
        coarse = self.up_thirtysecond(_joined(y, thirtysecond))
        middle = self.up_sixteenth(_joined(coarse, sixteenth))
        detail = self.detail(x)
        y = self.refine(self.up_eighth(_joined(middle, eighth, detail)))
        return kinds, y, (torch.cat([y, eighth, detail], 1), middle, coarse)


def _joined(coarse: Tensor, *fine: Tensor) -> Tensor:
    """Enlarge a map to the size of finer ones, and join their channels."""
    size = fine[0].shape[2:]
    coarse = functional.interpolate(coarse, size, mode='bilinear', align_corners=False)
    return torch.cat([coarse, *fine], 1)
