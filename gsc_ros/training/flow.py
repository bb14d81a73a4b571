"""Stage `flow`: the rectified flow that draws the latent around the deterministic prediction."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gsc_ros.codec.caption import VOCABULARY, token_ids
from gsc_ros.codec.seen import describe
from gsc_ros.models.flow import START_NOISE, FlowNet
from gsc_ros.models.layers import channels_last
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.tokenizer import Tokenizer
from gsc_ros.models.weights import restore, save
from gsc_ros.training import loop
from gsc_ros.training.critics import image_losses
from gsc_ros.training.tokens import Batch, begin


def captions(batch: Batch) -> Tensor:
    """Describe what the robot saw of each image: int64 (N, K, fields)."""
    metres = log_to_depth(batch.predicted_depth)[:, 0].cpu().numpy().astype(np.float32)
    classes = batch.predicted_classes.cpu().numpy().astype(np.uint8)
    pairs = zip(classes, metres, strict=True)
    return torch.from_numpy(np.stack([token_ids(describe(c, d)) for c, d in pairs])).long()


def train(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 3,
    seed: int = 0,
) -> Path:
    """
    Train and write ``flow.safetensors`` to the output folder; returns its path.

    ``weights`` holds the earlier stages' files, which stay as they are; a flow among them is where
    the training starts.
    """
    sampler, judges, _ = begin(data, settings, critics_file, weights, simulated, batch, seed)
    tokenizer = restore(Tokenizer, weights / 'tokenizer.safetensors').to(sampler.device)
    if (weights / 'flow.safetensors').is_file():
        net = restore(FlowNet, weights / 'flow.safetensors')
    else:
        net = FlowNet(VOCABULARY, guidance=tokenizer.config['widths'][0])
    model: nn.Module = channels_last(net).train().requires_grad_(True).to(sampler.device)

    def step() -> dict[str, Tensor]:
        sampled = sampler.sample()
        with torch.no_grad():
            z = sampler.autoencoder.encoder(sampled.x)
            tokens = tokenizer.analyse(z)
            given = tokenizer.predictor(tokens, *sampler.received(sampled, tokens))
            true = z / tokenizer.latent_std
            start = given.latent + START_NOISE * torch.randn_like(true)
        words = captions(sampled).to(sampler.device)
        lost = torch.rand(len(words), 1, 1, device=words.device) < 0.1
        words = words.masked_fill(lost, 0)  # a lost caption reads as no words
        # Uniform times, and often the start, which every sampling passes with its largest step.
        t = torch.rand(len(z), device=z.device)
        t = torch.where(torch.rand_like(t) < 0.3, 1.0, t)
        at = t.view(-1, 1, 1, 1)
        x = (1 - at) * true + at * start
        velocity = net(x, t, given.latent, given.features, words).float()
        error = (velocity - (start - true)).square().mean()
        drawn = (x - at * velocity) * tokenizer.latent_std
        made = sampler.autoencoder.decoder(drawn, given.features, given.maps).float()
        losses = image_losses(made, sampled.x, judges)
        return {
            'velocity': error,
            'l1': losses['l1'],
            'feature': losses['feature'],
            # The features are the point of this stage; L1 keeps the colours.
            'loss': error + 2.0 * losses['l1'] + 2.0 * losses['feature'],
        }

    state = loop.run(model, step, settings)
    return save(settings.output / 'flow.safetensors', state, net.config)
