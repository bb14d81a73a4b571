"""
A critic of realism: networks that learn, as the codec trains, to tell its images from originals.

They see features of a network that stays as it is, as Sauer et al. ("Projected GANs Converge
Faster", NeurIPS 2021) do: heads that small learn within some hundred steps. What they ask for is
texture that looks like that of images, which a distance to the one true image does not: its best
answer is the mean of what may be there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.models.layers import conv

_WIDTH = 48


class _Head(nn.Module):
    """Directions of features (N, C, h, w) -> how real each place looks, (N, 1, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Narrow at once and on half the grid: a critic must cost less than what it criticises.
        self.first = conv(channels, _WIDTH, kernel=1)
        self.second = conv(_WIDTH, _WIDTH, stride=2)
        self.third = conv(_WIDTH, _WIDTH)
        self.out = conv(_WIDTH, 1, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        # Unit vectors of length sqrt(C), so that elements are of about one.
        x = functional.normalize(x.float(), dim=1) * x.shape[1] ** 0.5
        for layer in (self.first, self.second, self.third):
            x = functional.leaky_relu(layer(x), 0.2)
        found: Tensor = self.out(x)
        return found


class RealismCritic(nn.Module):
    """
    A head for each of some maps of features; ``channels``: of all maps, fine to coarse.

    The finest map has a quarter of the image's pixels and would cost as much as all others.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        last = len(channels) - 1
        self.judged = sorted({min(1, last), min(2, last), last})
        self.heads = nn.ModuleList(_Head(channels[i]) for i in self.judged)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Judge each place of each map, the higher the more real."""
        return [head(features[i]) for i, head in zip(self.judged, self.heads, strict=True)]

    def generator_loss(self, made: Sequence[Tensor]) -> Tensor:
        """Loss of the decoder, given the features of its images; gradients pass to these."""
        return -torch.stack([found.mean() for found in self(made)]).mean()

    def discriminator_loss(self, made: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
        """Hinge loss of the critic itself; no gradient passes to the features."""
        judged = zip(
            self([x.detach() for x in made]), self([x.detach() for x in true]), strict=True
        )
        return torch.stack(
            [(1 + f).relu().mean() + (1 - r).relu().mean() for f, r in judged]
        ).mean()
