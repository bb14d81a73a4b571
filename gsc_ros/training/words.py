"""
Stage `words`: the pseudo-words, with all other networks as they are.

Most steps are of the latent's grid, where a step takes a fraction of a second on a CPU core. Each
step serves one task, by whose loss the words of that task alone are learned; the likeness of the
image, every few steps, is for all words.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec.pseudo_words import WEIGHTS, count
from gsc_ros.labels import GROUND
from gsc_ros.models.layers import channels_last
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.pseudo_words import COUNTS, TASKS, PseudoWords
from gsc_ros.models.tokenizer import Synthesis, Tokenizer
from gsc_ros.models.weights import restore, save
from gsc_ros.training import loop
from gsc_ros.training.tokens import begin, image_gradient
from gsc_ros.training.windows import Window, Windows

LATENTS = 16  # windows of a step on the latent's grid
IMAGE_EVERY = 6  # steps, of which one also draws images
THINGS = (5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18)  # poles, signs, people, vehicles
NEAR_M = 12.0


def task_loss(task: str, out: Synthesis, window: Window, weight: Tensor) -> Tensor:
    """
    Compare what the heads tell with what the robot saw, where it matters to a task.

    Segmentation: classes everywhere; detection: where the robot saw a thing; depth: everywhere;
    hazards: near, off the ground.
    """
    classes = window.classes.long()
    if task in ('segmentation', 'detection'):
        entropy = functional.cross_entropy(
            out.segmentation.float(), classes, weight, reduction='none'
        )
        things = torch.isin(classes, torch.tensor(THINGS, device=classes.device))
        share = things.float() if task == 'detection' else torch.ones_like(entropy)
        return (entropy * share).sum() / share.sum().clamp(min=1)
    off = (out.depth.float() - window.depth).abs()[:, 0]
    ground = torch.isin(classes, torch.tensor(GROUND, device=classes.device))
    near = (log_to_depth(window.depth)[:, 0] < NEAR_M) & ~ground
    share = near.float() if task == 'hazards' else torch.ones_like(off)
    return 30 * (off * share).sum() / share.sum().clamp(min=1)


def _written(net: PseudoWords, windows: Windows) -> NDArray[np.int64]:
    """Write the words of all windows that are kept: (windows, 8, 5)."""
    with torch.no_grad():
        stacks = windows.stacks(64)
        return np.concatenate([net.write(w.features, w.seen).cpu().numpy() for w in stacks])


def train(
    data: Path,
    settings: loop.Settings,
    critics_file: Path | None,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 4,
    seed: int = 0,
) -> Path:
    """
    Train and write ``pseudo_words.safetensors`` to the output folder; returns its path.

    ``weights`` holds the files of perception, autoencoder and tokens, which stay as they are;
    ``batch``: images of a step that draws.
    """
    sampler, judges, weight = begin(data, settings, critics_file, weights, simulated, batch, seed)
    device = sampler.device
    tokenizer = restore(Tokenizer, weights / 'tokenizer.safetensors').to(device)
    guidance, middle, _ = tokenizer.config['widths']
    net = PseudoWords(middle, guidance)
    channels_last(net).train().to(device)
    windows, rng, done = Windows(sampler, tokenizer), sampler.crops.rng, 0

    def step() -> dict[str, Tensor]:
        nonlocal done
        windows.refresh()
        draws, done = done % IMAGE_EVERY == 0, done + 1
        window = windows.draw(LATENTS)
        length = int(rng.choice(COUNTS[1:]))
        task = int(rng.integers(min(length, len(TASKS))))
        words = net.writer(window.features, window.seen)[:, :length]
        mine = torch.arange(length, device=device)[:, None] % len(TASKS) == task
        out = tokenizer.predictor.tell(
            net.reader(window.guidance, torch.where(mine, words, words.detach())), window.far
        )
        error = (out.latent.float() - window.latent).square().mean()
        told = task_loss(TASKS[task], out, window, weight)
        losses = {'latent': error, TASKS[task]: told, 'loss': 0.1 * error + 0.1 * told}
        losses['spread'] = words.std(0).mean()  # over images; 0 where all get the same words
        if draws:
            image = drawn(window, words)
            losses['loss'] = losses['loss'] + IMAGE_EVERY * image.pop('pull')
            losses |= image
        return losses

    def drawn(window: Window, words: Tensor) -> dict[str, Tensor]:
        """Draw a part of some of the windows with all words, and judge it."""
        y = net.reader(window.guidance[:batch], words[:batch])
        out = tokenizer.predictor.tell(y, window.far[:batch])
        part = window.part(batch, rng)
        latent = part.cut(out.latent, 1) * tokenizer.latent_std
        made = sampler.autoencoder.decoder(latent, part.cut(y, 1), part.cut(out.maps, 2)).float()
        given = part.images(window)
        gradient, losses = image_gradient(made, given, sampler, judges, weight)
        return {**losses, 'pull': (made * gradient).sum()}

    state = loop.run(net, step, settings)
    net.load_state_dict(state)
    state['tables'] = torch.from_numpy(count(_written(net, windows)))
    return save(settings.output / WEIGHTS, state, net.config)
