"""Stage `autoencoder`: the continuous latent on the 1/16 grid and its image."""

from pathlib import Path

import torch
from torch import Tensor, nn

from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.layers import channels_last
from gsc_ros.models.weights import save
from gsc_ros.training import corpus, critics, loop
from gsc_ros.training.critics import image_losses
from gsc_ros.training.crops import Crops

_NOISE = 0.15  # on the latent: what the generator draws will be off by about as much


class _Trained(nn.Module):
    """The network under training, called through one forward."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Autoencoder()

    def forward(self, x: Tensor) -> Tensor:
        z = self.net.encoder(x)
        return self.net.decoder(z + _NOISE * torch.randn_like(z))


def train(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    simulated: Path | None = None,
    batch: int = 8,
    seed: int = 0,
) -> Path:
    """Train and write ``autoencoder.safetensors`` into the output folder; returns its path."""
    samples = corpus.load(data, simulated=simulated)
    judges = critics.load(critics_file)
    crops = Crops(samples, (144, 144), settings.torch_device, seed)
    model = _Trained()
    channels_last(model).train().to(settings.torch_device)

    def step() -> dict[str, Tensor]:
        x, _, _ = crops.cut(crops.rng.integers(len(samples), size=batch))
        return image_losses(model(x).float(), x, judges)

    state = loop.run(model, step, settings)
    state = {k.removeprefix('net.'): v for k, v in state.items()}
    return save(settings.output / 'autoencoder.safetensors', state, model.net.config)
