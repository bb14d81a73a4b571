"""
The pull: what a generator draws is held to what was sent.

Tokens vouch for the means of the image over their cells, of 64, 32 and 16 pixels, where they came.
In each step of the sampler the estimate of the clean image is moved to these means, as ILVR does
for diffusion (Choi et al., "ILVR: Conditioning Method for Denoising Diffusion Probabilistic
Models", ICCV 2021): the generator is free in what lies above, and everywhere that nothing came.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec.types import ReceivedFrame

BLOCKS = (64, 32, 16)  # pixels a side of the cells, coarse first
_PLANES = ('tokens0', 'tokens1', 'tokens2')
_ROUNDS, _SMOOTH_ROUNDS = 12, 6


def weights(frames: Sequence[ReceivedFrame], device: torch.device) -> list[Tensor]:
    """
    Return where the tokens of each of :data:`BLOCKS` came.

    A list of float32 (N, 1, H/block, W/block), 1 where the means are known, 0 where not or where
    the image is lost.
    """
    out = []
    for name in _PLANES:
        known = [f.symbols.received(name) & ~f.symbols.lost(name) for f in frames]
        out.append(torch.from_numpy(np.stack(known)).float()[:, None].to(device))
    return out


def received(known: Sequence[Tensor]) -> Tensor:
    """Return how much of the tokens came, (N,): 0 for nothing, 1 for all of them."""
    return torch.stack([w.mean((1, 2, 3)) for w in known]).mean(0)


def spread(means: Tensor, cells: int) -> Tensor:
    """
    Enlarge (N, C, h, w) by a whole factor, smoothly.

    The means over the large cells are exactly those that were given.
    """
    if cells == 1:
        return means
    smooth = functional.interpolate(
        means, scale_factor=cells, mode='bilinear', align_corners=False
    )
    left = means - functional.avg_pool2d(smooth, cells)
    return smooth + left.repeat_interleave(cells, 2).repeat_interleave(cells, 3)


def pulled(estimate: Tensor, target: Tensor, known: Sequence[tuple[int, Tensor]]) -> Tensor:
    """
    Move the means of an estimate (N, C, H, W) to those of the target, like it.

    ``known``: the cells' side in elements of the estimate, and their weights (N, 1, H/side,
    W/side) in 0..1, coarse cells first. A weight of 1 gives the target's mean.
    """
    out = estimate
    for cells, weight in known:
        means = functional.avg_pool2d(target - out, cells)
        out = out + spread(means * weight, cells)
    return out


def in_cells(known: Sequence[Tensor], pixels: int, strength: float) -> list[tuple[int, Tensor]]:
    """
    Return the weights for a grid whose cells are ``pixels`` wide; see :func:`pulled`.

    Blocks of one such cell are left out: there the means would be all there is.
    """
    return [
        (block // pixels, strength * weight)
        for block, weight in zip(BLOCKS, known, strict=True)
        if block >= 2 * pixels
    ]


def hold_means(images: Tensor, base: Tensor, known: Sequence[Tensor]) -> Tensor:
    """
    Hold the means over 16x16 pixels of drawn images, (N, 3, H, W) in 0..255, to those of ``base``.

    Where no token came the images stay as they are. First about every pixel, for an image that is
    resized later has other cells; then over the cells. Clipping to 0..255 moves means again, so
    both are repeated.
    """
    block = BLOCKS[-1]
    cells = known[0].repeat_interleave(4, 2).repeat_interleave(4, 3)
    pixels = cells.repeat_interleave(block, 2).repeat_interleave(block, 3)
    for _ in range(_SMOOTH_ROUNDS):
        images = (images + smooth(base - images) * pixels).clamp(0, 255)
    for _ in range(_ROUNDS):
        means = functional.avg_pool2d(base - images, block)
        images = (images + spread(means * cells, block)).clamp(0, 255)
    return images


def smooth(images: Tensor, deviation: float = 6.0) -> Tensor:
    """Filter images (N, C, H, W) by a Gaussian of so many pixels' standard deviation."""
    reach, channels = round(3 * deviation), images.shape[1]
    x = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-(x**2) / (2 * deviation**2)).to(images)
    kernel = (weights / weights.sum()).expand(channels, 1, 1, -1)
    padded = functional.pad(images, (reach,) * 4, mode='reflect')
    rows = functional.conv2d(padded, kernel, groups=channels)
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=channels)
