"""
Stage `generator`: the decoder that draws with texture of its own, beside the deterministic one.

It begins as the deterministic decoder, and learns from a critic of realism whose pull is as strong
as that of the likeness. All other networks stay as they are; so do streams, depth, classes and
trust.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from gsc_ros.codec.networks import GENERATOR
from gsc_ros.models.autoencoder import Decoder
from gsc_ros.models.layers import channels_last
from gsc_ros.models.tokenizer import Tokenizer
from gsc_ros.models.weights import load, restore, save
from gsc_ros.training import loop
from gsc_ros.training.realism import RealismCritic
from gsc_ros.training.tokens import begin, image_gradient
from gsc_ros.training.windows import Windows

REALISM_SHARE = 1.2  # the most of the critic's gradient, as a share of the likeness's


def train(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 8,
    seed: int = 0,
    pattern: float = 0.0,
) -> Path:
    """
    Train and write ``generator.safetensors`` to the output folder; returns its path.

    ``weights`` holds the files of perception, autoencoder and tokens, which stay as they are; a
    generator among them is where the training starts. ``pattern``: as of stage `tokens`.
    """
    sampler, judges, weight = begin(data, settings, critics_file, weights, simulated, batch, seed)
    device = sampler.device
    tokenizer = restore(Tokenizer, weights / 'tokenizer.safetensors').to(device)
    if (weights / GENERATOR).is_file():
        decoder, config = restore(Decoder, weights / GENERATOR), load(weights / GENERATOR)[1]
    else:
        decoder = sampler.autoencoder.decoder
        config = load(weights / 'autoencoder.safetensors')[1]
    seen = judges.features(torch.zeros(1, 3, 64, 64, device=device))
    critic = RealismCritic([x.shape[1] for x in seen])
    model = nn.ModuleDict({'decoder': decoder, 'realism': critic})
    channels_last(model).train().requires_grad_(True).to(device)
    windows, rng = Windows(sampler, tokenizer), sampler.crops.rng

    def step() -> dict[str, Tensor]:
        windows.refresh()
        window = windows.draw(batch)
        with torch.no_grad():
            out = tokenizer.predictor.tell(window.guidance, window.far)
        part = window.part(batch, rng)
        latent = part.cut(out.latent, 1) * tokenizer.latent_std
        made = decoder(latent, part.cut(out.features, 1), part.cut(out.maps, 2)).float()
        gradient, losses = image_gradient(
            made, part.images(window), sampler, judges, weight, pattern, critic, REALISM_SHARE
        )
        loss = (made * gradient).sum() + losses['discriminator']
        return {**losses, 'loss': loss}

    state = loop.run(model, step, settings)
    prefix = 'decoder.'
    mine = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return save(settings.output / GENERATOR, mine, config)
