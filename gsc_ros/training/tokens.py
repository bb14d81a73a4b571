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
from gsc_ros.training import corpus, loop
from gsc_ros.training.autoencoder import picture_losses
from gsc_ros.training.perception import class_weights
from gsc_ros.training.perception import losses as task_losses
from gsc_ros.training.perceptual import load_distance

# Most of a picture: depth and layout hang on where in the picture a thing is.
SIZE = (384, 256)
WINDOW = 8  # cells of the latent that are drawn as a picture for its losses


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
    ) -> None:
        state, config = load(weights / 'perception.safetensors')
        self.perception = PerceptionNet(**config)
        self.perception.load_state_dict(state)
        frozen(self.perception)
        state, config = load(weights / 'autoencoder.safetensors')
        self.autoencoder = Autoencoder(**config)
        self.autoencoder.load_state_dict(state)
        frozen(self.autoencoder)
        self.samples, self.size, self.batch = samples, size, batch
        self.rng = np.random.default_rng(seed)

    @torch.no_grad()
    def look(self) -> Batch:
        """Draw a batch."""
        picks = (self.samples[self.rng.integers(len(self.samples))] for _ in range(self.batch))
        parts = [corpus.crop(s, self.size, self.rng) for s in picks]
        rgb, labels, depth = (torch.from_numpy(np.stack(p)) for p in zip(*parts, strict=True))
        x = to_tensor(rgb)
        logits, seen_depth = self.perception(x)
        classes = logits.argmax(1)
        ids = classes.numpy().astype(np.uint8)
        metres = log_to_depth(seen_depth)[:, 0].numpy()
        layout = np.stack([fine_of(c) for c in ids])
        relief = np.stack([relief_of(m, c) for m, c in zip(metres, ids, strict=True)])
        return Batch(
            x,
            labels.long(),
            depth.float(),
            torch.from_numpy(layout).long(),
            torch.from_numpy(relief).long(),
            classes,
            seen_depth,
        )

    def known(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Draw what a receiver may have of layout and relief: all, coarse, or nothing."""
        out, relief = batch.layout.clone(), batch.relief.clone()
        for i in range(len(out)):
            draw = self.rng.random()
            if draw < 0.1:
                out[i], relief[i] = UNKNOWN_CLASS, UNKNOWN_RELIEF
            elif draw < 0.35:
                coarse = coarse_of(out[i].numpy().astype(np.uint8)).astype(np.int64)
                out[i] = torch.from_numpy(coarse.repeat(2, 0).repeat(2, 1))
        return out, relief

    def masks(self, tokens: list[Tensor]) -> list[Tensor]:
        """Draw which tokens were received: finer grids only when coarser ones are whole."""
        masks = [torch.zeros(t.shape[0], 1, *t.shape[2:]) for t in tokens]
        for i in range(len(tokens[0])):
            level = int(self.rng.choice(4, p=(0.1, 0.4, 0.3, 0.2)))  # the level that is cut
            for j, mask in enumerate(masks):
                if j < level:
                    mask[i] = 1
                elif j == level:
                    rate = float(self.rng.random())
                    mask[i] = (torch.rand(mask[i].shape) < rate).float()
        return masks


def window(latent: Tensor, x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Cut the same random part of a latent and of its picture."""
    rows, columns = latent.shape[2:]
    size = min(WINDOW, rows, columns)
    r, c = int(rng.integers(0, rows - size + 1)), int(rng.integers(0, columns - size + 1))
    part = x[..., r * 16 : (r + size) * 16, c * 16 : (c + size) * 16]
    return latent[..., r : r + size, c : c + size], part


def latent_spread(robot: Robot, batches: int = 8) -> Tensor:
    """Measure the latent's standard deviation by channel, (1, 16, 1, 1)."""
    latents = [robot.autoencoder.encoder(robot.look().x) for _ in range(batches)]
    return torch.cat([z.transpose(0, 1).flatten(1) for z in latents], 1).std(1).view(1, -1, 1, 1)


def seen_losses(out: Synthesis, batch: Batch, weight: Tensor) -> dict[str, Tensor]:
    """Compute the heads' losses: against labels, and against what the robot itself saw."""
    labelled = task_losses(out.segmentation, out.depth, batch.labels, batch.depth, weight)
    same = functional.cross_entropy(out.segmentation, batch.seen_classes, weight)
    near = (out.depth - batch.seen_depth).abs().mean()
    return {
        'segmentation': same,
        'depth': near,
        'loss': 0.5 * labelled['loss'] + same + 30 * near,
    }


def train(
    data: Path,
    settings: loop.Settings,
    distance_file: Path,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 3,
    seed: int = 0,
) -> Path:
    """
    Train and write ``tokenizer.safetensors``, and the picture decoder tuned along, to the output.

    ``weights`` holds the perception and autoencoder stages' files.
    """
    samples = corpus.load(data, simulated=simulated)
    robot = Robot(weights, samples, SIZE, batch, seed)
    distance = load_distance(distance_file)
    weight = class_weights()
    tokenizer = Tokenizer()
    tokenizer.spread.copy_(latent_spread(robot))
    model = nn.ModuleDict({'tokenizer': tokenizer, 'decoder': robot.autoencoder.decoder})
    channels_last(model).train().requires_grad_(True)

    def step() -> dict[str, Tensor]:
        seen = robot.look()
        with torch.no_grad():
            z = robot.autoencoder.encoder(seen.x)
        tokens = tokenizer.analyse(z)
        masks = robot.masks(tokens)
        out = tokenizer.predictor(tokens, masks, *robot.known(seen))
        error = (out.latent - z / tokenizer.spread).square().mean()
        # Half of the batch is looked at, the dearest part of a step; one true latent keeps
        # the decoder good at what the generator will draw.
        half = (batch + 1) // 2
        part, x = window(out.latent[:half] * tokenizer.spread, seen.x[:half], robot.rng)
        true_part, true_x = window(z[-1:], seen.x[-1:], robot.rng)
        made = model['decoder'](torch.cat([part, true_part]))
        picture = picture_losses(made, torch.cat([x, true_x]), distance)
        task = seen_losses(out, seen, weight)
        look = 4.0 * picture['l1'] + 2.0 * picture['feature']
        total = error + look + 0.25 * task['loss']
        return {
            'latent': error,
            'l1': picture['l1'],
            'feature': picture['feature'],
            'segmentation': task['segmentation'],
            'depth': task['depth'],
            'loss': total,
        }

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
