"""
Random shifts, mirrors and scales of pairs of images, so that no critic is fitted by its phase.

A network with strides samples an image on a grid. Always shown the same alignment, a decoder
learns a pattern that lowers the distance on that grid, and not an image that looks alike. See
Karras et al. (2021), "Alias-Free Generative Adversarial Networks", on strides and textures.
"""

import torch
from torch import Tensor
from torch.nn import functional

SHIFTS = 16  # shifts are 0 to 15 pixels: the deepest critic's features lie 16 pixels apart
MIRRORED = 0.5  # probability of each image
SCALED = 0.5  # probability of a batch; the others keep their finest detail
SCALES = (0.8, 1.25)


def augment_pairs(made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """
    Move, mirror and scale both images of each pair alike, at random; gradients pass.

    ``made``, ``true``: float (N, C, H, W) with sides of more than 16 pixels; returned at
    (H + 16, W + 16), in half the calls scaled by 0.8 to 1.25. Each pair is shifted by 0 to 15
    pixels down and right; the border is filled by reflection, so that no pixel is lost. Draws from
    torch's global generator. Raises ``ValueError`` for pairs of unequal or too small shapes.
    """
    if made.shape != true.shape or min(made.shape[2:]) <= SHIFTS:
        raise ValueError(
            f'pairs of images have the same shape and sides over {SHIFTS} pixels, not '
            f'{tuple(made.shape)} and {tuple(true.shape)}'
        )
    n = len(made)
    shifts = torch.randint(SHIFTS, (n, 2)).tolist()
    mirrors = (torch.rand(n) < MIRRORED).tolist()
    scale = 1.0
    if float(torch.rand(())) < SCALED:
        low, high = SCALES
        scale = low * (high / low) ** float(torch.rand(()))

    def place(images: Tensor) -> Tensor:
        each = []
        for image, (down, right), mirror in zip(images.split(1), shifts, mirrors, strict=True):
            border = (right, SHIFTS - right, down, SHIFTS - down)
            moved = functional.pad(image, border, mode='reflect')
            each.append(moved.flip(3) if mirror else moved)
        batch = torch.cat(each)
        if scale != 1.0:
            size = [round(side * scale) for side in batch.shape[2:]]
            batch = functional.interpolate(batch, size, mode='bilinear', antialias=scale < 1)
        return batch.contiguous(memory_format=torch.channels_last)

    return place(made), place(true)
