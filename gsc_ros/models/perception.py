"""The robot's perception: class and depth of each pixel, from one small U-shaped network."""

import torch
from torch import Tensor, nn

from gsc_ros.models.layers import NormResBlock, upsample

NEAREST_M = 0.5
FARTHEST_M = 200.0


def depth_to_log(metres: Tensor) -> Tensor:
    """Map metres in [0.5, 200] to [0, 1] by the logarithm; values beyond are clamped."""
    span = torch.log(torch.tensor(FARTHEST_M / NEAREST_M))
    return torch.log(metres.clamp(NEAREST_M, FARTHEST_M) / NEAREST_M) / span


def log_to_depth(code: Tensor) -> Tensor:
    """Inverse of :func:`depth_to_log`: [0, 1] to metres."""
    span = torch.log(torch.tensor(FARTHEST_M / NEAREST_M))
    return NEAREST_M * torch.exp(code.clamp(0, 1) * span)


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _fuse(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class PerceptionNet(nn.Module):
    """
    Predict classes and depth of an image.

    ``forward``: float32 (N, 3, H, W) in [-1, 1], H and W multiples of 32 -> class logits
    (N, classes, H/8, W/8) and log depth (N, 1, H/8, W/8), see :func:`log_to_depth`.
    """

    def __init__(
        self, classes: int = 20, widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    ) -> None:
        super().__init__()
        self.config = {'classes': classes, 'widths': list(widths)}
        a, b, c, d = widths
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, a, 3, 1, 1, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(),
        )
        self.eighth = nn.Sequential(_down(a, b), NormResBlock(b))
        self.sixteenth = nn.Sequential(_down(b, c), NormResBlock(c), NormResBlock(c))
        self.thirtysecond = nn.Sequential(_down(c, d), NormResBlock(d), NormResBlock(d))
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(d, d, 1), nn.ReLU())
        self.up_sixteenth = _fuse(d + c, c)
        self.up_eighth = _fuse(c + b, b)
        self.refine = NormResBlock(b)
        self.segmentation = nn.Conv2d(b, classes, 1)
        self.depth = nn.Conv2d(b, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        eighth = self.eighth(self.stem(x))
        sixteenth = self.sixteenth(eighth)
        deep = self.thirtysecond(sixteenth)
        deep = deep + self.context(deep)
        y = self.up_sixteenth(torch.cat([upsample(deep), sixteenth], 1))
        y = self.refine(self.up_eighth(torch.cat([upsample(y), eighth], 1)))
        return self.segmentation(y), torch.sigmoid(self.depth(y))
