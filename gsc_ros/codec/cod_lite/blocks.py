"""Blocks of CoD-Lite's encoder and condition decoder, under the published names of layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 32  # cells a side within which attention looks
_GROUPS = 32


def norm(channels: int) -> nn.GroupNorm:
    """Make the norm of these networks; channels are a multiple of 32."""
    return nn.GroupNorm(_GROUPS, channels, eps=1e-6)


class Residual(nn.Module):
    """Norm, SiLU and a convolution of 3x3, twice, around a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        y = self.conv2(functional.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if hasattr(self, 'nin_shortcut') else x)


class Attention(nn.Module):
    """
    Attention with one head in windows of 32x32 cells, around the identity.

    A grid that is larger than a window is filled up to whole windows with its border.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        y = self.norm(x)
        window = (rows, columns)
        if max(window) > WINDOW:
            window = (WINDOW, WINDOW)
            y = functional.pad(y, (0, -columns % WINDOW, 0, -rows % WINDOW), mode='replicate')
        q, k, v = (_windows(layer(y), window) for layer in (self.q, self.k, self.v))
        seen = functional.scaled_dot_product_attention(q, k, v)
        whole = _joined(seen, window, (x.shape[0], *y.shape[1:]))
        return x + self.proj_out(whole[:, :, :rows, :columns])


def _windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut (n, c, h, w) into (n * windows, cells, c)."""
    n, channels, height, width = x.shape
    h, w = window
    x = x.reshape(n, channels, height // h, h, width // w, w).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(-1, h * w, channels)


def _joined(x: Tensor, window: tuple[int, int], shape: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`_windows`, to a shape (n, c, h, w)."""
    n, channels, height, width = shape
    h, w = window
    x = x.reshape(n, height // h, width // w, h, w, channels).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(n, channels, height, width)


class Halve(nn.Module):
    """A convolution of stride 2; what it needs beyond the image is zero, right and below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return out


class Double(nn.Module):
    """Twice the size by repetition, and a residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = Residual(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(functional.interpolate(x, scale_factor=2.0, mode='nearest'))
        return out


class Codebook(nn.Module):
    """``embedding``: the vectors (2 ** bits, channels) that stand for cells."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, channels)

    def nearest(self, x: Tensor) -> Tensor:
        """Find the indices int64 (n, h, w) of the vectors nearest to (n, c, h, w)."""
        cells = x.float().permute(0, 2, 3, 1)
        vectors = self.embedding.weight.float()
        # Of |cell - vector|^2 the cell's own length is the same for every vector.
        return (vectors.square().sum(1) - 2 * cells @ vectors.T).argmin(-1)

    def forward(self, indices: Tensor) -> Tensor:
        """Vectors (n, c, h, w) of indices (n, h, w)."""
        out: Tensor = self.embedding(indices)
        return out.permute(0, 3, 1, 2).contiguous()


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift; the arguments broadcast."""
    return torch.addcmul(shift, x, 1 + scale)
