"""Stage `tokens`: what to send of the latent, and the deterministic picture of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.codec.layout import coarse_of, fine_of
from gsc_ros.codec.relief import relief_of
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.layers import channels_last, to_tensor
from gsc_ros.models.perception import PerceptionNet, log_to_depth
from gsc_ros.models.tokenizer import UNKNOWN_CLASS, UNKNOWN_RELIEF, Synthesis, Tokenizer
from gsc_ros.models.weights import frozen, load, save
from gsc_ros.perception.labels import UNLABELLED
from gsc_ros.training import corpus, critics, loop
from gsc_ros.training.critics import class_loss, depth_loss, picture_losses, shortened
from gsc_ros.training.perception import class_weights
from gsc_ros.training.perception import losses as task_losses

# Most of a picture: depth and layout hang on where in the picture a thing is.
SIZE = (384, 256)
# How hard a critic of classes or depth may pull beside the likeness, and how often each is asked.
PULL = {'classes': 0.2, 'range': 0.6}
TURNS = (0.12, 0.33, 0.55)
# How often a frame is cut in each level of tokens, or not at all: a frame of 130 bytes ends where
# the third begins, one of 350 where it ends, a delta frame of 75 in the second.
CUTS = (0.05, 0.25, 0.46, 0.16, 0.08)
# Left alone tokens grow until tanh makes two levels of seven: nothing punishes it, no slope
# leads back, and what they say is no longer learnt. Beyond this they are drawn back.
REACH = 1.5
LABELLED = 0.45  # of the draws: driving and simulated pictures, on which the critics are at home


@dataclass
class Batch:
    """One batch as the robot sees it: x (N, 3, H, W), labels and depth at a quarter, layouts."""

    x: Tensor
    labels: Tensor
    depth: Tensor
    layout: Tensor  # int64 (N, H/16, W/16)
    relief: Tensor  # int64 (N, H/64, W/64)
    seen_classes: Tensor  # the robot's own class map, int64 (N, H/8, W/8)
    seen_depth: Tensor  # its own log depth, (N, 1, H/8, W/8)


class Robot:
    """Frozen perception and autoencoder, and crops of the corpus seen through them."""

    def __init__(
        self,
        weights: Path,
        samples: list[corpus.Sample],
        size: tuple[int, int],
        batch: int,
        seed: int,
        place: torch.device,
    ) -> None:
        state, config = load(weights / 'perception.safetensors')
        self.perception = PerceptionNet(**config)
        self.perception.load_state_dict(state)
        frozen(self.perception).to(place)
        state, config = load(weights / 'autoencoder.safetensors')
        self.autoencoder = Autoencoder(**config)
        self.autoencoder.load_state_dict(state)
        frozen(self.autoencoder).to(place)
        self.place = place
        self.samples, self.size, self.batch = samples, size, batch
        self.labelled = [s for s in samples if s.segmentation is not None] or samples
        self.rng = np.random.default_rng(seed)

    def pick(self) -> corpus.Sample:
        """Draw a picture."""
        pool = self.labelled if self.rng.random() < LABELLED else self.samples
        return pool[self.rng.integers(len(pool))]

    @torch.no_grad()
    def look(self) -> Batch:
        """Draw a batch."""
        parts = [corpus.crop(self.pick(), self.size, self.rng) for _ in range(self.batch)]
        rgb, labels, depth = (
            torch.from_numpy(np.stack(p)).to(self.place) for p in zip(*parts, strict=True)
        )
        x = to_tensor(rgb)
        logits, seen_depth = self.perception(x)
        classes = logits.argmax(1)
        ids = classes.cpu().numpy().astype(np.uint8)
        metres = log_to_depth(seen_depth.float())[:, 0].cpu().numpy()
        layout = np.stack([fine_of(c) for c in ids])
        relief = np.stack([relief_of(m, c) for m, c in zip(metres, ids, strict=True)])
        return Batch(
            x,
            labels.long(),
            depth.float(),
            torch.from_numpy(layout).long().to(self.place),
            torch.from_numpy(relief).long().to(self.place),
            classes,
            seen_depth.float(),
        )

    def received(self, batch: Batch, tokens: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
        """
        Draw what a receiver may have: masks of the tokens, layout and relief.

        A frame is cut somewhere in the order of its stream; the tokens of the level that is cut
        are there or not singly, or by cells of the 1/64 grid.
        """
        masks = [torch.zeros(t.shape[0], 1, *t.shape[2:], device=self.place) for t in tokens]
        layout, relief = batch.layout.clone(), batch.relief.clone()
        for i in range(len(layout)):
            cut = int(self.rng.choice(len(CUTS), p=CUTS))
            share = float(self.rng.random())
            for level, mask in enumerate(masks):
                if level < cut:
                    mask[i] = 1
                elif level == cut and self.rng.random() < 0.5:
                    mask[i] = (torch.rand(mask[i].shape) < share).float()
                elif level == cut:
                    cells = (torch.rand(1, *tokens[0].shape[2:]) < share).float()
                    factor = mask.shape[2] // cells.shape[1]
                    mask[i] = cells.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
            draw = self.rng.random()
            if cut == 0 and draw < 0.3:
                layout[i], relief[i] = UNKNOWN_CLASS, UNKNOWN_RELIEF
            elif cut == 0 or draw < 0.1:
                coarse = coarse_of(layout[i].cpu().numpy().astype(np.uint8)).astype(np.int64)
                layout[i] = torch.from_numpy(coarse.repeat(2, 0).repeat(2, 1))
        return masks, layout, relief


def latent_spread(robot: Robot, batches: int = 8) -> Tensor:
    """Measure the latent's standard deviation by channel, (1, 16, 1, 1)."""
    latents = [robot.autoencoder.encoder(robot.look().x) for _ in range(batches)]
    return torch.cat([z.transpose(0, 1).flatten(1) for z in latents], 1).std(1).view(1, -1, 1, 1)


def seen_losses(out: Synthesis, batch: Batch, weight: Tensor) -> dict[str, Tensor]:
    """Compute the heads' losses: against labels, and against what the robot itself saw."""
    logits, depth = out.segmentation.float(), out.depth.float()
    labelled = task_losses(logits, depth, batch.labels, batch.depth, weight)
    same = functional.cross_entropy(logits, batch.seen_classes, weight)
    near = (depth - batch.seen_depth).abs().mean()
    return {
        'segmentation': same,
        'depth': near,
        'loss': 0.5 * labelled['loss'] + same + 30 * near,
    }


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
    Train and write ``tokenizer.safetensors``, and the decoder trained along, to the output.

    ``weights`` holds the perception and autoencoder stages' files; a tokenizer among them is where
    the training starts.
    """
    samples = corpus.load(data, simulated=simulated)
    robot = Robot(weights, samples, SIZE, batch, seed, settings.place)
    judges = critics.load(critics_file)
    weight = class_weights().to(settings.place)
    tokenizer = Tokenizer()
    if (weights / 'tokenizer.safetensors').is_file():
        tokenizer.load_state_dict(load(weights / 'tokenizer.safetensors')[0])
    else:
        tokenizer.spread.copy_(latent_spread(robot).cpu())
    model = nn.ModuleDict({'tokenizer': tokenizer, 'decoder': robot.autoencoder.decoder})
    channels_last(model).train().requires_grad_(True).to(settings.place)

    def step() -> dict[str, Tensor]:
        seen = robot.look()
        with torch.no_grad():
            z = robot.autoencoder.encoder(seen.x)
        plain, tokens = tokenizer.analysis.levels(z / tokenizer.spread)
        beyond = sum((x.abs() - REACH).relu().square().mean() for x in plain)
        out = tokenizer.predictor(tokens, *robot.received(seen, tokens))
        error = (out.latent.float() - z / tokenizer.spread).square().mean()
        made = model['decoder'](out.latent * tokenizer.spread, out.features, out.maps).float()
        heads = seen_losses(out, seen, weight)
        # The judges look at a copy, so that their slopes can be weighed before they go on.
        shown = made.detach().requires_grad_()
        picture = picture_losses(shown, seen.x, judges)
        (slope,) = torch.autograd.grad(picture['loss'], shown)
        losses = {
            'latent': error,
            'l1': picture['l1'],
            'tone': picture['tone'],
            'feature': picture['feature'],
            'heads': heads['loss'],
            'beyond': beyond,
        }
        known = (seen.labels != UNLABELLED).flatten(1).any(1)
        # Each critic costs as much as all else: they take turns, and rest.
        turn = str(robot.rng.choice((*PULL, ''), p=TURNS))
        if turn and known.any():
            pair = shown[known], seen.x[known]
            losses[turn] = (
                class_loss(*pair, judges, weight)
                if turn == 'classes'
                else depth_loss(*pair, judges)
            )
            (pull,) = torch.autograd.grad(losses[turn], shown)
            slope = slope + shortened(pull, PULL[turn] * slope)
        losses['loss'] = (
            (made * slope).sum() + 0.1 * (error + losses['beyond']) + 0.25 * heads['loss']
        )
        return losses

    state = loop.run(model, step, settings)
    decoder = {k: v for k, v in state.items() if k.startswith('decoder.')}
    encoder = {f'encoder.{k}': v for k, v in robot.autoencoder.encoder.state_dict().items()}
    save(
        settings.output / 'autoencoder.safetensors',
        {**encoder, **decoder},
        robot.autoencoder.config,
    )
    tokens = {k.removeprefix('tokenizer.'): v for k, v in state.items() if k not in decoder}
    return save(settings.output / 'tokenizer.safetensors', tokens, tokenizer.config)
