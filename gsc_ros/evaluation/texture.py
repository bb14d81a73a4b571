"""
A distance that takes a texture for the same when it is drawn elsewhere, in the manner of DISTS.

DISTS (Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI
2020) compares means (texture) and correlations (structure) of the feature maps of VGG, whose
max-pooling is replaced by one without aliasing. Its weights of maps were fitted to people's
opinions. Here all layers weigh the same, so that figures cannot be compared with those of papers.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_SMALL = 1e-6  # c1 and c2 of the paper: maps below this energy are alike
_TAPS = (0.25, 0.5, 0.25)  # the Hann window of the paper, of sum 1


def l2_pool(x: Tensor) -> Tensor:
    """
    Halve maps (N, C, h, w) to (N, C, ceil(h / 2), ceil(w / 2)): the blurred energy's root.

    In place of max-pooling, without its aliasing (Henaff and Simoncelli, ICLR 2016).
    """
    channels = x.shape[1]
    taps = torch.tensor(_TAPS, dtype=x.dtype, device=x.device)
    down = taps.view(1, 1, 3, 1).expand(channels, 1, 3, 1)
    across = taps.view(1, 1, 1, 3).expand(channels, 1, 1, 3)
    energy = functional.conv2d(x * x, down, stride=(2, 1), padding=(1, 0), groups=channels)
    energy = functional.conv2d(energy, across, stride=(1, 2), padding=(0, 1), groups=channels)
    return (energy + 1e-12).sqrt()


def layers(x: Tensor, stages: Sequence[Callable[[Tensor], Tensor]]) -> Iterator[Tensor]:
    """
    Give the maps after each stage of a network of the kind of VGG, with L2 pooling between stages.

    ``x``: (N, C, H, W), prepared for the first stage; a stage ends in a rectifier.
    """
    for i, stage in enumerate(stages):
        x = stage(l2_pool(x) if i else x)
        yield x


def dists(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """
    Compare feature maps of two images, a tensor (1, C, h, w) a layer: 0 where they are equal.

    1 less the mean over layers and channels of half the likeness of the means and half that of
    the deviations from them (equations 5 to 7 of the paper with equal weights). At most 1.5, as
    maps may be opposite; at most 1 for means of one sign that are uncorrelated. Images of
    different sizes, or networks of different depths, raise ``ValueError``.
    """
    for p, q in zip(a, b, strict=True):
        if p.shape != q.shape:
            raise ValueError(f'maps {tuple(p.shape)}, {tuple(q.shape)}: give images of one size')
    alike = [_alike(p[0].flatten(1), q[0].flatten(1)) for p, q in zip(a, b, strict=True)]
    return 1 - float(np.mean(alike))


def _alike(p: Tensor, q: Tensor) -> float:
    """Compare maps (C, pixels): 1 where they are equal."""
    of_p, of_q = p.mean(1), q.mean(1)
    p, q = p - of_p[:, None], q - of_q[:, None]
    texture = (2 * of_p * of_q + _SMALL) / (of_p**2 + of_q**2 + _SMALL)
    both = (p * p).mean(1) + (q * q).mean(1)
    structure = (2 * (p * q).mean(1) + _SMALL) / (both + _SMALL)
    return float((texture + structure).mean() / 2)
