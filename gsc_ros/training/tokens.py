"""Stage `tokens`: what to send of the latent, and the deterministic image of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.codec.coarse_depth import coarse_depth_of
from gsc_ros.codec.layout import coarse_of, fine_of
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.layers import channels_last, fold_batch_norms
from gsc_ros.models.perception import PerceptionNet, log_to_depth
from gsc_ros.models.tokenizer import UNKNOWN_CLASS, UNKNOWN_DEPTH, Synthesis, Tokenizer
from gsc_ros.models.weights import restore, save
from gsc_ros.training import corpus, critics, loop
from gsc_ros.training.critics import (
    class_loss,
    clip_norm_per_sample,
    depth_loss,
    features_of,
    image_losses,
)
from gsc_ros.training.crops import Crops
from gsc_ros.training.pattern import pattern_loss
from gsc_ros.training.perception import class_weights
from gsc_ros.training.perception import losses as task_losses
from gsc_ros.training.realism import RealismCritic

# Most of an image: depth and layout depend on where in the image an object is.
SIZE = (448, 320)
# Of a batch: driving and simulated images, on which the critics of classes and depth are at
# home; and those of them that each is asked about, since it costs as much as all else.
LABELLED = 0.45
CRITIC_SHARE = {'classes': 0.14, 'range': 0.15}
# The most of such a critic's gradient, as a share of the likeness's.
CRITIC_GRADIENT = {'classes': 0.6, 'range': 0.6}
REALISM_GRADIENT = 0.4  # the same of the critic of realism
# How often a frame is cut in each level of tokens, or not at all: a frame of 130 bytes ends where
# the third begins, one of 350 where it ends, a delta frame of 75 in the second.
CUTS = (0.05, 0.27, 0.48, 0.13, 0.07)
# How often a frame has no class layout, of images with labels (streets) and of others: where no
# class applies none is sent (gsc_ros/perception/kinds.py), and most of the others are such places.
NO_LAYOUT = (0.1, 0.75)
# How often the image is drawn from the latent itself, so that this stays what tokens aim at.
LATENT_SHARE = 0.06
# Left alone tokens grow until tanh makes two levels of seven: no loss counts it, no gradient
# leads back, and they carry no more information. Beyond this limit a loss draws them back.
TOKEN_LIMIT = 1.5


@dataclass
class Batch:
    """
    One batch as the robot perceives it: x (N, 3, H, W), labels and depth at a quarter, layouts.

    The first ``labelled`` images have labels.
    """

    x: Tensor
    labels: Tensor
    depth: Tensor
    layout: Tensor  # int64 (N, H/16, W/16)
    coarse_depth: Tensor  # int64 (N, H/64, W/64)
    predicted_classes: Tensor  # the robot's own class map, int64 (N, H/8, W/8)
    predicted_depth: Tensor  # its own log depth, (N, 1, H/8, W/8)
    labelled: int


class BatchSampler:
    """Draws batches of the corpus, with what frozen perception predicts of them."""

    def __init__(
        self,
        weights: Path,
        samples: list[corpus.Sample],
        size: tuple[int, int],
        batch: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.perception = fold_batch_norms(
            restore(PerceptionNet, weights / 'perception.safetensors')
        )
        self.autoencoder = restore(Autoencoder, weights / 'autoencoder.safetensors')
        self.perception.to(device)
        self.autoencoder.to(device)
        self.device, self.batch = device, batch
        self.crops = Crops(samples, size, device, seed)
        self.all = np.arange(len(samples))
        self.labelled = np.flatnonzero([s.segmentation is not None for s in samples])

    def count(self, share: float) -> int:
        """Return a share of the batch in whole images, right on average."""
        return int(share * self.batch + self.crops.rng.random())

    @torch.no_grad()
    def sample(self) -> Batch:
        """Draw a batch."""
        rng = self.crops.rng
        labelled = self.count(LABELLED) if len(self.labelled) else 0
        chosen = rng.choice(self.labelled, labelled) if labelled else self.all[:0]
        others = rng.choice(self.all, self.batch - labelled)
        x, labels, depth = self.crops.cut([*chosen, *others])
        logits, predicted_depth, *_ = self.perception(x)
        classes, predicted_depth = logits.argmax(1), predicted_depth.float()
        layout = fine_of(classes)
        coarse_depth = coarse_depth_of(log_to_depth(predicted_depth)[:, 0], classes).long()
        return Batch(x, labels, depth, layout, coarse_depth, classes, predicted_depth, labelled)

    def received(self, batch: Batch, tokens: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
        """
        Draw what a receiver may have: masks of the tokens, layout and coarse depth.

        A frame is cut somewhere in the order of its stream; the tokens of the level that is cut
        are there or not singly, or by cells of the 1/64 grid. Some frames have no layout at all.
        """
        n, device = len(batch.layout), self.device

        def chance() -> Tensor:
            return torch.rand(n, 1, 1, 1, device=device)

        shares = torch.tensor(CUTS, device=device)
        cut = torch.multinomial(shares, n, replacement=True).view(n, 1, 1, 1)
        share, singly = chance(), chance() < 0.5
        cells = torch.rand(n, 1, *tokens[0].shape[2:], device=device)
        masks = []
        for level, grid in enumerate(tokens):
            single = torch.rand(n, 1, *grid.shape[2:], device=device)
            by_cell = functional.interpolate(cells, grid.shape[2:], mode='nearest')
            there = torch.where(singly, single, by_cell) < share
            masks.append(((level < cut) | (level == cut) & there).float())
        draw, early = chance()[:, 0], (cut == 0)[:, 0]
        nothing = early & (draw < 0.3)
        roughly = early | (draw < 0.1)
        coarse = coarse_of(batch.layout).repeat_interleave(2, 1).repeat_interleave(2, 2)
        layout = torch.where(roughly, coarse, batch.layout).masked_fill(nothing, UNKNOWN_CLASS)
        labelled = torch.arange(n, device=device) < batch.labelled
        share_without = torch.where(labelled, *NO_LAYOUT).view(n, 1, 1)
        layout = layout.masked_fill(chance()[:, 0] < share_without, UNKNOWN_CLASS)
        return masks, layout, batch.coarse_depth.masked_fill(nothing, UNKNOWN_DEPTH)


def measured_latent_std(sampler: BatchSampler, batches: int = 8) -> Tensor:
    """Measure the latent's standard deviation by channel, (1, 16, 1, 1)."""
    latents = [sampler.autoencoder.encoder(sampler.sample().x) for _ in range(batches)]
    return torch.cat([z.transpose(0, 1).flatten(1) for z in latents], 1).std(1).view(1, -1, 1, 1)


def begin(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    weights: Path,
    simulated: Path | None,
    batch: int,
    seed: int,
) -> tuple[BatchSampler, Any, Tensor]:
    """
    Prepare a stage that builds on the autoencoder: seeds, threads, corpus.

    ``weights`` holds the files of perception and autoencoder. Returns what draws batches, the
    critics (:func:`gsc_ros.training.critics.load`) and the weights of the classes.
    """
    torch.manual_seed(seed)
    if settings.threads:  # also for what comes before the loop
        torch.set_num_threads(settings.threads)
    device = settings.torch_device
    samples = corpus.load(data, simulated=simulated)
    sampler = BatchSampler(weights, samples, SIZE, batch, seed, device)
    return sampler, critics.load(critics_file), class_weights().to(device)


def head_losses(out: Synthesis, batch: Batch, weight: Tensor) -> dict[str, Tensor]:
    """Compute the heads' losses: against labels, and against what the robot itself saw."""
    logits, depth = out.segmentation.float(), out.depth.float()
    labelled = task_losses(logits, depth, batch.labels, batch.depth, weight)
    same = functional.cross_entropy(logits, batch.predicted_classes, weight)
    near = (depth - batch.predicted_depth).abs().mean()
    return {
        'segmentation': same,
        'depth': near,
        'loss': 0.5 * labelled['loss'] + same + 30 * near,
    }


def image_gradient(
    drawn: Tensor,
    batch: Batch,
    sampler: BatchSampler,
    judges: Any,
    weight: Tensor,
    pattern: float = 0.0,
    realism: RealismCritic | None = None,
    realism_share: float = REALISM_GRADIENT,
) -> tuple[Tensor, dict[str, Tensor]]:
    """
    Return the gradient of the critics' losses by drawn images (N, 3, H, W), and the losses.

    The gradient of the critics of classes and depth is clipped to a share of the likeness's, so
    that it does not drown that. ``weight``: of the classes; ``pattern``: the share of the loss on
    the decoder's own pattern, 0 for none. ``realism``: a critic that learns along; its
    own loss is ``discriminator``; ``realism_share``: the most of its gradient, as a share of the
    likeness's.
    """
    shown = drawn.detach().requires_grad_()
    made, true = features_of(shown, batch.x, judges)
    losses = image_losses(shown, batch.x, judges, (made, true))
    (likeness,) = torch.autograd.grad(losses.pop('loss'), shown, retain_graph=realism is not None)
    gradient, first = likeness, 0
    if realism is not None:
        losses['realism'] = realism.generator_loss(made)
        (pull,) = torch.autograd.grad(losses['realism'], shown)
        gradient = gradient + clip_norm_per_sample(pull, realism_share * likeness)
        losses['discriminator'] = realism.discriminator_loss(made, true)
    for name, share in CRITIC_SHARE.items():
        asked = slice(first, min(first + sampler.count(share), batch.labelled))
        first = asked.stop
        if asked.start < asked.stop:
            pair = shown[asked], batch.x[asked]
            losses[name] = (
                class_loss(*pair, judges, weight)
                if name == 'classes'
                else depth_loss(*pair, judges)
            )
            part = (asked.stop - asked.start) / sampler.batch
            (pull,) = torch.autograd.grad(part * losses[name], shown)
            gradient = gradient + clip_norm_per_sample(pull, CRITIC_GRADIENT[name] * likeness)
    if pattern:
        losses['pattern'] = pattern_loss(shown, batch.x)
        (pull,) = torch.autograd.grad(losses['pattern'], shown)
        gradient = gradient + clip_norm_per_sample(pull, pattern * likeness)
    return gradient, losses


def _start(weights: Path, sampler: BatchSampler) -> Tokenizer:
    """Load the tokenizer among the weights, or make one for the sampler's latents."""
    path = weights / 'tokenizer.safetensors'
    if path.is_file():
        return restore(Tokenizer, path)
    tokenizer = Tokenizer()
    tokenizer.latent_std.copy_(measured_latent_std(sampler).cpu())
    return tokenizer


def train(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 3,
    seed: int = 0,
    receiver_only: bool = False,
    pattern: float = 0.0,
    realism: bool = False,
) -> Path:
    """
    Train and write ``tokenizer.safetensors``, and the autoencoder trained along, to the output.

    ``weights`` holds the perception and autoencoder stages' files; a tokenizer among them is where
    the training starts. ``receiver_only``: the predictor and the decoder alone are trained, so
    that tokens stay what they are, and a prior for them stays valid. ``pattern``: how hard the
    loss on the decoder's own pattern may pull, as a share of the likeness. ``realism``: a
    critic that learns along asks for images that look like originals.
    """
    sampler, judges, weight = begin(data, settings, critics_file, weights, simulated, batch, seed)
    tokenizer = _start(weights, sampler)
    model = nn.ModuleDict({'tokenizer': tokenizer, 'autoencoder': sampler.autoencoder})
    critic = None
    if realism:
        seen = judges.features(torch.zeros(1, 3, 64, 64, device=sampler.device))
        critic = model['realism'] = RealismCritic([x.shape[1] for x in seen])
    channels_last(model).train().requires_grad_(True).to(sampler.device)
    if receiver_only:
        sampler.autoencoder.encoder.requires_grad_(False)
        tokenizer.analysis.requires_grad_(False)

    def step() -> dict[str, Tensor]:
        sampled = sampler.sample()
        z = sampler.autoencoder.encoder(sampled.x) / tokenizer.latent_std
        plain, tokens = tokenizer.analysis.levels(z)
        beyond = torch.stack([(x.abs() - TOKEN_LIMIT).relu().square().mean() for x in plain]).sum()
        out = tokenizer.predictor(tokens, *sampler.received(sampled, tokens))
        error = (out.latent.float() - z.detach()).square().mean()
        whole = torch.rand(len(z), 1, 1, 1, device=z.device) < LATENT_SHARE
        latent = torch.where(whole, z, out.latent) * tokenizer.latent_std
        made = sampler.autoencoder.decoder(latent, out.features, out.maps).float()
        heads = head_losses(out, sampled, weight)['loss']
        gradient, losses = image_gradient(made, sampled, sampler, judges, weight, pattern, critic)
        # The product's gradient by the weights is that of the critics' losses.
        loss = (made * gradient).sum() + 0.1 * (error + beyond) + 0.25 * heads
        loss = loss + losses.get('discriminator', 0.0)
        return {**losses, 'latent': error, 'heads': heads, 'beyond': beyond, 'loss': loss}

    state = loop.run(model, step, settings)
    for name, net in (('autoencoder', sampler.autoencoder), ('tokenizer', tokenizer)):
        prefix = f'{name}.'
        mine = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        path = save(settings.output / f'{name}.safetensors', mine, net.config)
    return path
