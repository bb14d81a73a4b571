"""
The generator: a conditional rectified flow on the latent's 1/16 grid.

Convention (Liu et al., "Flow Straight and Fast", ICLR 2023), stated once: ``x_t = (1 - t) x_0 + t
x_1`` with the image's latent at ``t = 0`` and the start at ``t = 1``; the network learns the
velocity ``x_1 - x_0`` and sampling integrates from 1 down to 0. The start is not plain noise but
noise around the deterministic prediction, so that the path is short and few steps suffice.

At ``t = 1`` the start tells nothing of the latent, so that the best velocity points to the
latent's mean given the conditions: the prediction. One step ends there.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.models.autoencoder import LATENT_CHANNELS
from gsc_ros.models.layers import conv, upsample, zero_init

START_NOISE = 0.6  # of the latent's standard deviation, around the prediction
RESIDUAL = 0.5  # variance of the latent around the prediction, in units of its own variance


def linear_velocity(x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
    """
    Estimate the velocity from two variances, without a network.

    With a residual ``e`` of variance ``r`` and start noise of variance ``n``, ``x - prediction =
    (1 - t) e + t noise`` and the velocity is ``noise - e``: this is the best linear estimate of
    one by the other. One step of it from ``t = 1`` gives the prediction.
    """
    n = START_NOISE**2
    share = (t * n - (1 - t) * RESIDUAL) / ((1 - t) ** 2 * RESIDUAL + t**2 * n)
    return share.view(-1, 1, 1, 1) * (x - prediction)


def timestep_embedding(t: Tensor, count: int = 64) -> Tensor:
    """Sines and cosines of a time (N,) in [0, 1] at octave-spaced rates -> (N, count)."""
    rates = torch.exp(torch.linspace(0, math.log(1000.0), count // 2, device=t.device))
    angle = t[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], 1)


class TimeConditionedResBlock(nn.Module):
    """A residual block whose middle is scaled and shifted by the time."""

    def __init__(self, channels: int, time: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = conv(channels, channels)
        self.time = nn.Linear(time, 2 * channels)
        self.second = conv(channels, channels)
        zero_init(self.second)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.first(functional.silu(self.norm(x)))
        scale, shift = self.time(time)[..., None, None].chunk(2, 1)
        return x + self.second(functional.silu(y * (1 + scale) + shift))


class CrossAttention(nn.Module):
    """Cross-attention of the image to the words; its output starts at zero."""

    def __init__(self, channels: int, words: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.query = conv(channels, channels, kernel=1)
        self.key = nn.Linear(words, channels)
        self.value = nn.Linear(words, channels)
        self.out = conv(channels, channels, kernel=1)
        zero_init(self.out)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        n, c, h, w = x.shape

        def split(y: Tensor) -> Tensor:
            return y.reshape(n, -1, self.heads, c // self.heads).transpose(1, 2)

        query = split(self.query(self.norm(x)).flatten(2).transpose(1, 2))
        read = functional.scaled_dot_product_attention(
            query, split(self.key(words)), split(self.value(words))
        )
        return x + self.out(
            read.transpose(1, 2).reshape(n, h * w, c).transpose(1, 2).view(n, c, h, w)
        )


class FlowNet(nn.Module):
    """
    Velocity of the latent: a linear estimate, and what the network knows better.

    ``vocabulary``: sizes of the fields of a caption word (see ``codec.caption.token_ids``).
    ``guidance``: channels of the predictor's features, added through zero-initialised residuals at
    both scales (as ControlNet does, Zhang et al., ICCV 2023).
    """

    def __init__(
        self,
        vocabulary: tuple[int, ...],
        guidance: int = 128,
        widths: tuple[int, int] = (128, 192),
        words: int = 48,
    ) -> None:
        super().__init__()
        self.config = {
            'vocabulary': list(vocabulary),
            'guidance': guidance,
            'widths': list(widths),
            'words': words,
        }
        a, b = widths
        time = 128
        self.time = nn.Sequential(nn.Linear(64, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.fields = nn.ModuleList(nn.Embedding(n, words) for n in vocabulary)
        self.enter = conv(2 * LATENT_CHANNELS, a)
        self.guide = conv(guidance, a, kernel=1)
        self.guide_deep = nn.Conv2d(guidance, b, 2, 2)
        for module in (self.guide, self.guide_deep):
            zero_init(module)
        self.before = nn.ModuleList(TimeConditionedResBlock(a, time) for _ in range(2))
        self.down = conv(a, b, stride=2)
        self.deep = nn.ModuleList(TimeConditionedResBlock(b, time) for _ in range(2))
        self.cross_attention = CrossAttention(b, words)
        self.up = conv(b, a)
        self.after = nn.ModuleList(TimeConditionedResBlock(a, time) for _ in range(2))
        self.exit = conv(a, LATENT_CHANNELS)
        zero_init(self.exit)

    def forward(
        self, x: Tensor, t: Tensor, prediction: Tensor, features: Tensor, words: Tensor
    ) -> Tensor:
        """
        Compute the velocity.

        ``x``, ``prediction``: (N, 16, h, w) in units of the latent's standard deviation, h and w
        even; ``t``: (N,); ``features``: (N, guidance, h, w); ``words``: int64 (N, K, fields).
        """
        time = self.time(timestep_embedding(t))
        read = torch.stack([f(words[..., i]) for i, f in enumerate(self.fields)]).sum(0)
        y = self.enter(torch.cat([x, prediction], 1)) + self.guide(features)
        for block in self.before:
            y = block(y, time)
        deep = self.down(y) + self.guide_deep(features)
        for block in self.deep:
            deep = block(deep, time)
        deep = self.cross_attention(deep, read)
        y = y + self.up(upsample(deep))
        for block in self.after:
            y = block(y, time)
        return linear_velocity(x, t, prediction) + self.exit(functional.silu(y))


def sample(
    net: FlowNet,
    prediction: Tensor,
    features: Tensor,
    words: Tensor,
    noise: Tensor,
    steps: int,
) -> Tensor:
    """
    Integrate by Euler's method from noise around the prediction; returns a latent like it.

    One step ends at the prediction: the network need not run.
    """
    if steps == 1:
        return prediction
    x = prediction + START_NOISE * noise
    times = torch.linspace(1, 0, steps + 1, device=x.device)
    for now, then in itertools.pairwise(times):
        velocity = net(x, now.expand(len(x)), prediction, features, words)
        x = x + (then - now) * velocity
    return x
