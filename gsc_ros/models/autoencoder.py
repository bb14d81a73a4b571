"""The image and its continuous latent on the 1/16 grid, in which the generator works."""

import torch
from torch import Tensor, nn

from gsc_ros.models.layers import ResBlock, blocks, conv, upsample, zero_init

LATENT_CHANNELS = 16
_BOUND = 3.0


class Encoder(nn.Module):
    """Float (N, 3, H, W) in [-1, 1], sides in 16s -> latent (N, 16, H/16, W/16) in (-3, 3)."""

    def __init__(self, widths: tuple[int, int, int] = (48, 96, 160)) -> None:
        super().__init__()
        a, b, c = widths
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4),
            conv(48, a),
            ResBlock(a),
            conv(a, b, stride=2),
            ResBlock(b),
            conv(b, c, stride=2),
            *blocks(c, 2),
            conv(c, LATENT_CHANNELS, kernel=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return _BOUND * torch.tanh(self.body(x) / _BOUND)


class Decoder(nn.Module):
    """
    Latent (N, 16, H/16, W/16) -> float (N, 3, H, W), nominally in [-1, 1] (not clamped).

    What else is known of the image helps to draw it, where it is given: ``features`` (N, F,
    H/16, W/16) and ``maps`` (N, M, H/8, W/8), added through weights that start at zero.
    """

    def __init__(
        self, widths: tuple[int, int, int] = (48, 96, 160), features: int = 128, maps: int = 21
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.enter = conv(LATENT_CHANNELS, c)
        self.features = conv(features, c, kernel=1)
        self.sixteenth = nn.Sequential(*blocks(c, 3))
        self.enter_eighth = conv(c, b)
        self.maps = conv(maps, b)
        for guide in (self.features, self.maps):
            zero_init(guide)
        self.eighth = nn.Sequential(*blocks(b, 4))
        self.quarter = nn.Sequential(conv(b, a), *blocks(a, 3))
        self.image = nn.Sequential(conv(a, 48), nn.PixelShuffle(4))

    def forward(
        self, z: Tensor, features: Tensor | None = None, maps: Tensor | None = None
    ) -> Tensor:
        y = self.enter(z)
        if features is not None:
            y = y + self.features(features)
        y = self.enter_eighth(upsample(self.sixteenth(y)))
        if maps is not None:
            y = y + self.maps(maps)
        y = self.eighth(y)
        return self.image(self.quarter(upsample(y)))


class Autoencoder(nn.Module):
    """Encoder and decoder with one configuration."""

    def __init__(self, widths: tuple[int, int, int] = (48, 96, 160)) -> None:
        super().__init__()
        self.config = {'widths': list(widths)}
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)
