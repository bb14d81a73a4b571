"""
3x3 convolutions by Winograd's minimal filtering, for CPUs.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), F(4x4, 3x3): tiles
of 6x6 inputs give 4x4 outputs by 36 products for each pair of channels, where plain convolution
takes 144. Transforms and products are matrix products of MKL. It pays from about a hundred
channels on; with fewer the transforms move more memory than the products save time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.models.precision import autocasting

_TILE = 4  # outputs a side
_PATCH = _TILE + 2  # inputs a side
_LEAST_CHANNELS, _LEAST_CELLS = 96, 512  # from which it is the faster, as measured with AVX2

# The transforms of inputs, kernels and outputs, for the points 0, 1, -1, 2, -2 and infinity.
_INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
    ]
)  # fmt: skip
_KERNEL = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
    dtype=torch.float64,
)  # fmt: skip
_KERNEL /= 24
_KERNEL[0] = torch.tensor([0.25, 0, 0])
_OUTPUT = torch.tensor(
    [[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)
_AT_ONE = _PATCH + 1  # the product whose output transform is 1 everywhere, which takes the bias


def transformed(weight: Tensor) -> Tensor:
    """Transform kernels (outputs, inputs, 3, 3) to float32 (36, inputs, outputs)."""
    kernel = _KERNEL.to(weight.device)
    found = torch.einsum('ai,kcij,bj->abck', kernel, weight.double(), kernel)
    return found.reshape(_PATCH**2, weight.shape[1], weight.shape[0]).float().contiguous()


def convolved(x: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
    """
    Convolve an image float32 (1, C, h, w), h and w in fours, with zeros around it.

    ``kernels``: of :func:`transformed`; ``bias``: (outputs). Returns (1, outputs, h, w), channels
    last. It differs from a plain convolution by some 1e-5 of its standard deviation.
    """
    _, c, h, w = x.shape
    rows, columns, outputs = h // _TILE, w // _TILE, len(bias)
    padded = functional.pad(x[0].permute(1, 2, 0), (0, 0, 1, 1, 1, 1))
    line = (w + 2) * c
    # Down the columns of overlapping patches, then along their rows: (down, across, tiles, C).
    down = torch.bmm(
        _INPUT.expand(rows, -1, -1),
        padded.as_strided((rows, _PATCH, line), (_TILE * line, line, 1)),
    )
    patches = down.as_strided(
        (_PATCH, _PATCH, rows, columns, c), (line, c, _PATCH * line, _TILE * c, 1)
    )
    tiles = torch.bmm(_INPUT.expand(_PATCH, -1, -1), patches.reshape(_PATCH, _PATCH, -1))
    products = torch.bmm(tiles.view(_PATCH**2, rows * columns, c), kernels)
    products[_AT_ONE] += bias
    across = torch.bmm(_OUTPUT.expand(_PATCH, -1, -1), products.view(_PATCH, _PATCH, -1))
    across = across.view(_PATCH, _TILE, rows, columns, outputs).permute(2, 0, 3, 1, 4)
    lines = across.reshape(rows, _PATCH, w * outputs)
    image = torch.bmm(_OUTPUT.expand(rows, -1, -1), lines).view(1, h, w, outputs)
    return image.permute(0, 3, 1, 2)


class Conv3x3(nn.Conv2d):
    """
    A convolution of 3x3 that keeps the size.

    It is done by Winograd's filtering where that is the faster and no gradient is asked for.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1)
        self._transformed: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None or not self._fits(x):
            return super().forward(x)
        key = (self.weight.data_ptr(), self.weight._version)
        if self._transformed is None or self._transformed[0] != key:
            self._transformed = key, transformed(self.weight)
        kernels = self._transformed[1]
        return torch.cat([convolved(one, kernels, self.bias) for one in x.split(1)])

    def _fits(self, x: Tensor) -> bool:
        height, width = x.shape[2:]
        return (
            min(self.in_channels, self.out_channels) >= _LEAST_CHANNELS
            and height * width >= _LEAST_CELLS
            and height % _TILE == width % _TILE == 0
            and not (self.training or self.weight.requires_grad or self.weight.is_inference())
            and not (x.requires_grad and torch.is_grad_enabled())
            and x.device.type == 'cpu'
            and x.dtype == self.weight.dtype == torch.float32
            and not autocasting()
            and torch.backends.mkl.is_available()
        )
