"""
EfficientNet-Lite0, a backbone of 3.4 million parameters whose ImageNet weights are public.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019);
the Lite variants (Google, 2020) have ReLU6 in place of swish and no squeeze-and-excitation.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels of the maps on the grids of 1/4, 1/8, 1/16 and 1/32.
CHANNELS = (24, 40, 112, 320)
_TOP = 1280  # channels behind the last map
_BANDS = 6  # of rows, in which the finer maps are pooled
FEATURES = _TOP + _BANDS * sum(CHANNELS[:3])
# Expansion, kernel, stride, channels and count of the blocks of each stage.
_STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
_TAPS = (1, 2, 4, 6)  # stages whose outputs :meth:`Lite0.maps` returns


def _unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    """Make a convolution with batch norm, and ReLU6 unless it is linear."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([] if linear else [nn.ReLU6()]))


class _Block(nn.Module):
    """Expand, filter each channel, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        wide = inputs * expansion
        expand = [_unit(inputs, wide, 1)] if expansion > 1 else []
        filtered = _unit(wide, wide, kernel, stride, wide)
        self.body = nn.Sequential(*expand, filtered, _unit(wide, outputs, 1, linear=True))
        self.adds = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.adds else y


class Lite0(nn.Module):
    """Backbone for images float32 (N, 3, H, W) in [-1, 1], H and W multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, int] = {}
        self.stem = _unit(3, 32, 3, 2)
        stages, inputs = [], 32
        for expansion, kernel, stride, outputs, count in _STAGES:
            blocks: list[nn.Module] = []
            for index in range(count):
                step = 1 if index else stride
                blocks.append(_Block(inputs, outputs, expansion, kernel, step))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.top = _unit(inputs, _TOP, 1)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps (N, C, H/s, W/s), C of ``CHANNELS``, s of 4, 8, 16 and 32."""
        # The public weights take (pixel - 127) / 128.
        y = self.stem(x * (127.5 / 128) + 0.5 / 128)
        found = []
        for index, stage in enumerate(self.stages):
            y = stage(y)
            if index in _TAPS:
                found.append(y)
        return found

    def features(self, maps: list[Tensor]) -> Tensor:
        """
        Return what an image shows and at which height, (N, FEATURES), of its :meth:`maps`.

        The mean of the last layer, and means of the finer maps in horizontal bands.
        """
        bands = [functional.adaptive_avg_pool2d(m, (_BANDS, 1)).flatten(1) for m in maps[:3]]
        return torch.cat([self.top(maps[3]).mean((2, 3)), *bands], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(self.maps(x))


def adopt(net: Lite0, published: Mapping[str, Tensor]) -> Lite0:
    """
    Load a published state, whose tensors have the same order and other names.

    Tensors of a classifier behind the features are left out. Raises ``ValueError`` for the weights
    of another network.
    """
    own = net.state_dict()
    values = list(published.values())[: len(own)]
    if [tuple(value.shape) for value in values] != [tuple(value.shape) for value in own.values()]:
        raise ValueError('not the weights of EfficientNet-Lite0: give those of its public release')
    state = {
        name: value.to(torch.float32) if value.is_floating_point() else value
        for name, value in zip(own, values, strict=True)
    }
    net.load_state_dict(state)
    return net
