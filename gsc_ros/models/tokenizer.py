"""
Structural tokens: what of the latent is sent, on grids of 1/64, 1/32 and twice 1/16, and the image
predicted from them.

Tokens are finite scalar quantised (Mentzer et al., "Finite Scalar Quantization", ICLR 2024): a
token is a few channels of a few levels each, so its symbols need no codebook and no network to be
read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models.autoencoder import LATENT_CHANNELS
from gsc_ros.models.layers import ChannelNorm, ResBlock, blocks, conv, upsample

# Levels of each channel of a token, coarse grid first; odd, so that there is a zero.
LEVELS: tuple[tuple[int, ...], ...] = ((7, 7, 7, 7), (5, 5, 5), (3, 3), (5, 5, 5, 5))
# Of a level's grid, in cells of the latent's 1/16.
LOG2_STRIDES = (2, 1, 0, 0)
UNKNOWN_CLASS = NUM_CLASSES  # the layout's id for "not received"
DEPTH_LEVELS = 24  # of log depth, on the 1/64 grid
UNKNOWN_DEPTH = DEPTH_LEVELS


def quantise(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Bound and round (N, C, h, w) to the grid in [-1, 1]; gradients pass straight through."""
    half = torch.tensor([(n - 1) / 2 for n in levels], device=x.device).view(1, -1, 1, 1)
    bounded = torch.tanh(x)
    rounded = torch.round(bounded * half) / half
    return bounded + (rounded - bounded).detach()


def to_symbols(q: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Grid values in [-1, 1] -> integers 0..n-1 (int64), same shape."""
    half = torch.tensor([(n - 1) / 2 for n in levels], device=q.device).view(1, -1, 1, 1)
    return torch.round(q * half + half).long()


def from_symbols(symbols: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`to_symbols`."""
    half = torch.tensor([(n - 1) / 2 for n in levels], device=symbols.device).view(1, -1, 1, 1)
    return (symbols.float() - half) / half


class Analysis(nn.Module):
    """Latent (N, 16, h, w), h and w in fours -> a grid of quantised tokens in [-1, 1] a level."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        a, b, c = widths
        first, second, third, fourth = (len(n) for n in LEVELS)
        self.sixteenth = nn.Sequential(conv(LATENT_CHANNELS, a), ResBlock(a))
        self.thirtysecond = nn.Sequential(conv(a, b, stride=2), *blocks(b, 2))
        self.sixtyfourth = nn.Sequential(conv(b, c, stride=2), ResBlock(c))
        self.first = nn.Sequential(ChannelNorm(), conv(c, first, kernel=1))
        self.second = nn.Sequential(
            conv(b + first, b), nn.SiLU(), ChannelNorm(), conv(b, second, kernel=1)
        )
        self.third = nn.Sequential(conv(a + second, a), nn.SiLU(), conv(a, third, kernel=1))
        self.fourth = nn.Sequential(conv(a + third, a), nn.SiLU(), conv(a, fourth, kernel=1))

    def features(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features on the grids of 1/16 and 1/32."""
        sixteenth = self.sixteenth(z)
        return sixteenth, self.thirtysecond(sixteenth)

    def levels(self, z: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return a level's tokens before and after they are quantised."""
        return self.levels_of(*self.features(z))

    def levels_of(
        self, sixteenth: Tensor, thirtysecond: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return a level's tokens of features, before and after they are quantised."""
        plain, tokens = [self.first(self.sixtyfourth(thirtysecond))], []
        tokens.append(quantise(plain[0], LEVELS[0]))
        # A finer level gets the tokens of the coarser one.
        plain.append(self.second(torch.cat([thirtysecond, upsample(tokens[0])], 1)))
        tokens.append(quantise(plain[1], LEVELS[1]))
        plain.append(self.third(torch.cat([sixteenth, upsample(tokens[1])], 1)))
        tokens.append(quantise(plain[2], LEVELS[2]))
        plain.append(self.fourth(torch.cat([sixteenth, tokens[2]], 1)))
        tokens.append(quantise(plain[3], LEVELS[3]))
        return plain, tokens

    def forward(self, z: Tensor) -> list[Tensor]:
        return self.levels(z)[1]


@dataclass
class Synthesis:
    """The prediction from the received symbols, all on the 1/16 grid unless stated."""

    latent: Tensor  # (N, 16, h, w), in units of the latent's standard deviation
    features: Tensor  # (N, F, h, w), guidance for the generator
    segmentation: Tensor  # logits (N, classes, 2h, 2w)
    depth: Tensor  # log depth in [0, 1], (N, 1, 2h, 2w)

    @property
    def maps(self) -> Tensor:
        """Class probabilities and log depth together, for the image's decoder."""
        return torch.cat([self.segmentation.softmax(1), self.depth], 1)


def _once(net: nn.Module, x: Tensor) -> Tensor:
    """
    Run a network on a batch; on one sample, if all are the same and nothing trains.

    Frames that the encoder compares often differ in their finest tokens alone.
    """
    same = (
        len(x) > 1
        and x.device.type == 'cpu'  # another device would be waited for
        and not torch.is_grad_enabled()
        and torch.equal(x[1:], x[:1].expand_as(x[1:]))
    )
    y: Tensor = net(x[:1] if same else x)
    return y.expand(len(x), -1, -1, -1)


class Predictor(nn.Module):
    """Received tokens, their masks and the class layout -> the deterministic image of them."""

    def __init__(self, widths: tuple[int, int, int], embedding: int = 12) -> None:
        super().__init__()
        a, b, c = widths
        first, second, third, fourth = (len(n) + 1 for n in LEVELS)
        self.layout = nn.Embedding(NUM_CLASSES + 1, embedding)
        self.sixtyfourth = nn.Sequential(conv(first + embedding + 2, c), *blocks(c, 4))
        self.thirtysecond = nn.Sequential(conv(c + second + embedding, b), *blocks(b, 4))
        self.sixteenth = nn.Sequential(conv(b + third + embedding + fourth, a), *blocks(a, 4))
        self.latent = conv(a, LATENT_CHANNELS)
        self.segmentation = nn.Sequential(
            nn.SiLU(), conv(a, 4 * NUM_CLASSES, kernel=1), nn.PixelShuffle(2)
        )
        self.depth = nn.Sequential(nn.SiLU(), conv(a, 4, kernel=1), nn.PixelShuffle(2))

    def forward(
        self, tokens: list[Tensor], masks: list[Tensor], layout: Tensor, coarse_depth: Tensor
    ) -> Synthesis:
        """Predict; arguments as of :meth:`read`."""
        return self.tell(*self.read(tokens, masks, layout, coarse_depth))

    def read(
        self, tokens: list[Tensor], masks: list[Tensor], layout: Tensor, coarse_depth: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Make features (N, F, h, w) of what was received, and logits of depth (N, 1, h/4, w/4).

        ``tokens``: as from :class:`Analysis`; ``masks``: float (N, 1, h, w) per level, 1 where the
        token was received; ``layout``: int64 (N, H/16, W/16) class ids, 20 where unknown;
        ``coarse_depth``: int64 (N, H/64, W/64) levels of log depth, 24 where unknown.
        """
        received = [torch.cat([t * m, m], 1) for t, m in zip(tokens, masks, strict=True)]
        classes = self.layout(layout).permute(0, 3, 1, 2).contiguous()
        known = (coarse_depth != UNKNOWN_DEPTH).float()[:, None]
        # Logits of log depth; unknown cells are in the middle, at zero.
        far = torch.logit((coarse_depth.float()[:, None] + 0.5) / DEPTH_LEVELS, 1e-6) * known
        y = torch.cat([received[0], functional.avg_pool2d(classes, 4), far, known], 1)
        y = _once(self.sixtyfourth, y)
        y = torch.cat([upsample(y), received[1], functional.avg_pool2d(classes, 2)], 1)
        y = _once(self.thirtysecond, y)
        return self.sixteenth(torch.cat([upsample(y), received[2], classes, received[3]], 1)), far

    def tell(self, y: Tensor, far: Tensor) -> Synthesis:
        """Predict of features and logits of depth."""
        # Smoothed over its cells; the network adds the detail that they are too coarse for.
        depth = torch.sigmoid(self.depth(y) + upsample(far, 8))
        return Synthesis(self.latent(y), y, self.segmentation(y), depth)


class Tokenizer(nn.Module):
    """
    Analysis at the robot and prediction at the ground.

    Both work on latents divided by ``latent_std``, their standard deviation: (1, 16, 1, 1).
    """

    latent_std: Tensor

    def __init__(self, widths: tuple[int, int, int] = (128, 160, 192)) -> None:
        super().__init__()
        self.config = {'widths': list(widths)}
        self.analysis = Analysis(widths)
        self.predictor = Predictor(widths)
        self.register_buffer('latent_std', torch.ones(1, LATENT_CHANNELS, 1, 1))

    def analyse(self, latent: Tensor) -> list[Tensor]:
        """Latent of the autoencoder -> token grids in [-1, 1]."""
        return self.analysis(latent / self.latent_std)
