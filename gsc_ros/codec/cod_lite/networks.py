"""
The networks of CoD-Lite (Jia et al., arXiv 2604.12525), under the published names of their layers.

``y_embedder`` is the codec: an encoder, a codebook and a decoder that gives a condition on the
1/16 grid. ``blocks`` work on that grid: depthwise-separable convolutions whose modulation depends
on the time of diffusion. ``dec_net`` is a small network for every pixel, which ``blocks`` modulate
by patches of 16x16. One step at time 0 gives the image.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.codec.cod_lite.blocks import (
    Attention,
    Codebook,
    Double,
    Halve,
    Residual,
    modulated,
)

_FREQUENCIES = 256  # of the embedding of time
_PERIOD = 10_000
_WAVES = 8  # cosines a side that tell where in its patch a pixel is
_EPS = 1e-6


@dataclass(frozen=True)
class Config:
    """
    Sizes of the networks, under the names and with the defaults of the published code.

    ``ds``: pixels a side of a token where ``up2x`` (else half of it); ``codebook_bits``: of a
    token; ``light``: fewer blocks in the condition decoder; ``pred``: whether the networks give
    the image (``x``) or its difference from the noise (``v``); ``noise_level``: deviation of the
    noise that they start from. ``encoder_width`` and ``codebook_dim`` are not in published
    configurations: they are fixed there.
    """

    ds: int = 32
    codebook_bits: int = 4
    up2x: bool = False
    light: bool = False
    pred: str = 'x'
    noise_level: float = 0.0
    in_channels: int = 3
    patch_size: int = 16
    hidden_size: int = 1152
    hidden_size_x: int = 32
    mlp_ratio: float = 4.0
    num_blocks: int = 31
    num_cond_blocks: int = 28
    bottleneck_dim: int = 128
    encoder_width: int = 128
    codebook_dim: int = 128

    def __post_init__(self) -> None:
        """Refuse what these networks cannot be."""
        possible = (4, 8, 16, 32) if self.up2x else (32,)
        if self.ds not in possible or self.patch_size != 16 or self.in_channels != 3:
            raise ValueError(
                f'ds {self.ds}, up2x {self.up2x}, patch_size {self.patch_size}, in_channels '
                f'{self.in_channels}: not a CoD-Lite that is known here (ds 4, 8, 16 or 32 with '
                'up2x, patches of 16, three colours)'
            )
        if self.pred not in ('x', 'v') or not 1 <= self.codebook_bits <= 16:
            raise ValueError(
                f'pred {self.pred!r}, codebook_bits {self.codebook_bits}: not a CoD-Lite that is '
                'known here (pred x or v, 1 to 16 bits)'
            )

    @property
    def stride(self) -> int:
        """Pixels of the working size a side of a token."""
        return self.ds if self.up2x else self.ds // 2

    @property
    def unit(self) -> int:
        """Sides of the working size are multiples of so many pixels."""
        return max(self.stride, self.patch_size)


class _Encoder(nn.Module):
    """An image (n, 3, H, W) in [0, 1] to (n, codebook_dim, H / stride, W / stride)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, ds = config.encoder_width, config.ds
        self.conv_in = nn.Conv2d(3, c, 3, stride=2 if config.up2x else 1, padding=1)
        for i, (inputs, outputs) in enumerate(((c, c), (c, c), (c, 2 * c), (2 * c, 2 * c))):
            halve = Halve(outputs) if ds >= 4 << i else nn.Identity()
            layers = Residual(inputs, outputs), Residual(outputs, outputs), halve
            self.add_module(f'down_block_{i}', nn.Sequential(*layers))
        self.down_block_4 = nn.Sequential(
            Residual(2 * c, 4 * c), Attention(4 * c), Residual(4 * c, 4 * c), Attention(4 * c)
        )
        self.mid_block = nn.Sequential(
            Residual(4 * c, 4 * c), Attention(4 * c), Residual(4 * c, 4 * c)
        )
        self.norm_out = nn.GroupNorm(32, 4 * c, eps=_EPS)
        self.conv_out = nn.Conv2d(4 * c, config.codebook_dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for i in range(5):
            x = self.get_submodule(f'down_block_{i}')(x)
        out: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid_block(x))))
        return out


class _ConditionDecoder(nn.Module):
    """Vectors of the codebook to the condition (n, hidden_size, H / 16, W / 16)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config.hidden_size
        self.conv_in = nn.Conv2d(config.codebook_dim, c, 3, padding=1)
        pairs = 2 if config.light else 3
        layers = [part for _ in range(pairs) for part in (Residual(c, c), Attention(c))]
        self.block = nn.Sequential(*layers, Residual(c, c))
        self.norm_out = nn.GroupNorm(32, c, eps=_EPS)
        self.conv_out: nn.Module
        if config.ds == 4:
            self.conv_out = nn.Sequential(
                nn.Conv2d(c, c, 3, 2, 1), Residual(c, c), nn.Conv2d(c, c, 3, 2, 1)
            )
        else:
            self.conv_out = nn.Conv2d(c, c, 3, 2 if config.ds == 8 else 1, 1)
        self.ada: nn.Module = nn.Identity()
        if config.ds == 32 and config.up2x:
            self.ada = Double(c)

    def forward(self, z: Tensor) -> Tensor:
        x = self.block(self.conv_in(z))
        out: Tensor = self.ada(self.conv_out(functional.silu(self.norm_out(x))))
        return out


class _Codec(nn.Module):
    """What turns an image into tokens, and tokens into a condition."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = _Encoder(config)
        self.bottleneck = Codebook(2**config.codebook_bits, config.codebook_dim)
        self.decoder = _ConditionDecoder(config)


class _Time(nn.Module):
    """The embedding of a time (n) as (n, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(_FREQUENCIES, channels), nn.SiLU(), nn.Linear(channels, channels)
        )

    def forward(self, t: Tensor) -> Tensor:
        half = _FREQUENCIES // 2
        speed = torch.exp(torch.arange(half, device=t.device) * (-math.log(_PERIOD) / half))
        angle = t.float()[:, None] * speed
        out: Tensor = self.mlp(torch.cat([angle.cos(), angle.sin()], 1))
        return out


class _Block(nn.Module):
    """
    Depthwise-separable convolution with channel attention, then a feed-forward part.

    ``adaLN_modulation`` turns the embedding of time into shift, scale and gate of both; as the
    time is fixed, :meth:`fix` keeps what it gives and drops it.
    """

    def __init__(self, c: int, ratio: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.conv3 = nn.Conv2d(c, c, 1)
        self.ca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1), nn.Sigmoid())
        self.conv4 = nn.Conv2d(c, int(ratio * c), 1)
        self.conv5 = nn.Conv2d(int(ratio * c), c, 1)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(c, 6 * c))
        self.fixed: Tensor
        self.register_buffer('fixed', torch.zeros(6, c, 1, 1), persistent=False)

    def fix(self, time: Tensor) -> None:
        """Fix the time, by its embedding (1, channels)."""
        self.fixed = self.adaLN_modulation(time).reshape(self.fixed.shape)
        del self.adaLN_modulation

    def forward(self, x: Tensor) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.fixed
        y = functional.gelu(self.conv2(self.conv1(modulated(_normed(x), shift, scale))))
        x = x + gate * self.conv3(y * self.ca(y))
        y = functional.gelu(self.conv4(modulated(_normed(x), shift2, scale2)))
        return x + gate2 * self.conv5(y)


def _normed(x: Tensor) -> Tensor:
    """Normalise each cell of (n, c, h, w) over its channels."""
    y = functional.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], eps=_EPS)
    return y.permute(0, 3, 1, 2)


class _PixelBlock(nn.Module):
    """A network for each pixel, modulated by another vector for it."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.in_ln = nn.LayerNorm(c, eps=_EPS)
        self.mlp = nn.Sequential(nn.Linear(c, c), nn.SiLU(), nn.Linear(c, c))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(c, 3 * c))

    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        shift, scale, gate = self.adaLN_modulation(by).chunk(3, -1)
        return x + gate * self.mlp(modulated(self.in_ln(x), shift, scale))


class _PixelNet(nn.Module):
    """Pixels (n, cells, 256, c) by the vectors (n, cells, hidden_size) of their patches."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config.hidden_size_x
        self.cond_embed = nn.Linear(config.hidden_size, config.patch_size**2 * c)
        self.input_proj = nn.Linear(c, c)
        count = config.num_blocks - config.num_cond_blocks
        self.res_blocks = nn.ModuleList(_PixelBlock(c) for _ in range(count))

    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        x, by = self.input_proj(x), self.cond_embed(by).view(x.shape)
        for block in self.res_blocks:
            x = block(x, by)
        return x


class _PixelEmbedding(nn.Module):
    """``embedder``: a linear layer of a pixel's values and of cosines of its place."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.embedder = nn.Sequential(nn.Linear(inputs + _WAVES**2, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Embed (n, cells, patch * patch, inputs)."""
        layer = cast(nn.Linear, self.embedder[0])
        values, places = layer.weight.split([x.shape[-1], _WAVES**2], 1)
        side = math.isqrt(x.shape[-2])
        # The part of the place is the same for every patch.
        added = functional.linear(_place(side, x), places.float(), layer.bias.float())
        return functional.linear(x, values) + added.to(x.dtype)


def _place(side: int, like: Tensor) -> Tensor:
    """Cosines of each pixel's place in its patch, row by row: (side * side, 64)."""
    at = torch.linspace(0, 1, side, device=like.device)
    waves = torch.linspace(0, _WAVES, _WAVES, device=like.device)
    table = torch.cos(torch.pi * at[:, None] * waves)
    damped = 1 / (1 + waves[:, None] * waves)
    return torch.einsum('xf,yg,fg->yxfg', table, table, damped).reshape(side * side, -1)


class _Last(nn.Module):
    """Normalised by the root mean square, and a linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = _RootMeanSquare(inputs)
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.norm(x))
        return out


class _RootMeanSquare(nn.Module):
    """Divided by the root mean square, and scaled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + _EPS) * self.weight


class _PatchEmbedding(nn.Module):
    """The noisy image and the condition, as one vector for each patch."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        patch, inner, c = config.patch_size, config.bottleneck_dim, config.hidden_size
        self.proj1 = nn.Conv2d(config.in_channels, inner, patch, stride=patch, bias=False)
        self.proj2 = nn.Conv2d(inner + c, c, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = self.proj2(torch.cat([self.proj1(x), condition], 1))
        return out


class CodLite(nn.Module):
    """
    Encoder and one-step decoder.

    :meth:`fix_time` comes once the weights are loaded, before :meth:`draw`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c, small = config.hidden_size, config.hidden_size_x
        self.y_embedder = _Codec(config)
        self.t_embedder = _Time(c)
        self.y_embedder_x = nn.Conv2d(c, small * config.patch_size**2, 1)
        self.x_embedder = _PixelEmbedding(config.in_channels + small, small)
        self.s_embedder = _PatchEmbedding(config)
        self.blocks = nn.ModuleList(
            _Block(c, config.mlp_ratio) for _ in range(config.num_cond_blocks)
        )
        self.dec_net = _PixelNet(config)
        self.final_layer = _Last(small, config.in_channels)

    @torch.no_grad()
    def fix_time(self) -> None:
        """Fix the time of diffusion at 0, where the one step begins."""
        time = self.t_embedder(torch.zeros(1, device=self.y_embedder_x.weight.device))
        for block in self.blocks:
            cast(_Block, block).fix(time)
        del self.t_embedder

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Images float (n, 3, H, W) in [0, 1] to tokens int64 (n, H / stride, W / stride)."""
        return self.y_embedder.bottleneck.nearest(self.y_embedder.encoder(images))

    @torch.inference_mode()
    def draw(self, tokens: Tensor, noise: Tensor | None = None) -> Tensor:
        """
        Tokens int64 (n, h, w) to images float32 (n, 3, H, W) in [-1, 1] and a little beyond.

        ``noise``: (n, 3, H, W) of unit deviation, None for a model that starts from none.
        """
        config = self.config
        condition = self.y_embedder.decoder(self.y_embedder.bottleneck(tokens))
        n, _, rows, columns = condition.shape
        patch = config.patch_size
        x = condition.new_zeros(n, config.in_channels, rows * patch, columns * patch)
        if noise is not None:
            x = x + config.noise_level * noise.to(x)
        state = self.s_embedder(x, condition)
        for block in self.blocks:
            state = block(state)
        pixels = torch.cat([functional.pixel_unshuffle(x, patch), self.y_embedder_x(condition)], 1)
        pixels = pixels.reshape(n, -1, patch**2, rows * columns).permute(0, 3, 2, 1)
        drawn = self.dec_net(self.x_embedder(pixels), state.flatten(2).transpose(1, 2))
        drawn = self.final_layer(drawn).permute(0, 3, 2, 1)
        image = functional.pixel_shuffle(drawn.reshape(n, -1, rows, columns), patch).float()
        return image + x.float() if config.pred == 'v' else image
