"""Building blocks that several networks share."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from gsc_ros.models.winograd import Conv3x3

Net = TypeVar('Net', bound=nn.Module)


def channels_last(net: Net) -> Net:
    """Lay a network's weights out as CPUs like them."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def fold_batch_norms(net: Net) -> Net:
    """Fold batch norms into the convolutions before them, for networks that no longer train."""
    for module in list(net.modules()):
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                first, second = module[i], module[i + 1]
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return net


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the size (stride 1) or halves it (stride 2)."""
    if (kernel, stride) == (3, 1):
        return Conv3x3(inputs, outputs)
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def zero_init(layer: nn.Conv2d) -> None:
    """Let a convolution begin with an output of zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ResBlock(nn.Module):
    """Two convolutions around the identity; starting as the identity, it needs no norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels)
        zero_init(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(functional.silu(x))))


def blocks(channels: int, count: int) -> list[ResBlock]:
    """Make so many residual blocks."""
    return [ResBlock(channels) for _ in range(count)]


class ChannelNorm(nn.Module):
    """Bring each place's channels to a root mean square of one."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)


class NormResBlock(nn.Module):
    """The residual block with batch norm, for networks trained from noisy labels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu_(x + self.body(x))


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Enlarge (N, C, H, W) bilinearly by a whole factor."""
    return functional.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)


def to_tensor(rgb: Tensor) -> Tensor:
    """Turn uint8 (N, H, W, 3) into float32 (N, 3, H, W) in [-1, 1], channels last."""
    x = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return x.contiguous(memory_format=torch.channels_last)
