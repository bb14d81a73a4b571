"""
The networks whose distances the codec is trained on, from a Python file of the user's.

It defines, all differentiable, of float images (N, 3, H, W) in [0, 1]::

    features(x) -> list of maps (N, C, h, w), fine to coarse: alike images have alike features
    segment(x) -> class logits (N, K, h, w)
    depth(x) -> log depth (N, 1, h, w), in nats

They follow the images to their device, and get both images of a pair moved, mirrored and scaled
alike at random (:mod:`gsc_ros.training.augment`): what they find must not depend on where their
grids lie. The decoded image is to give them the same outputs as the original, so that a network on
the ground finds what it would find at the robot.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gsc_ros.plugins import load_plugin
from gsc_ros.training.augment import augment_pairs

FUNCTIONS = ('features', 'segment', 'depth')


def load(path: Path | None) -> Any:
    """Load critics; raises ``FileNotFoundError`` or ``ValueError`` with the remedy."""
    if path is None:
        raise FileNotFoundError('name a Python file of critics (gsc_ros/training/critics.py)')
    return load_plugin(path, FUNCTIONS, every=True)


def _cosine_distance(p: Tensor, q: Tensor) -> Tensor:
    """
    Compute the mean squared distance of the directions of vectors (N, C, h, w): (N,).

    |p - q|^2 of unit vectors is 2 - 2 pq: with the products alone, what lies in memory is read
    once.
    """
    lengths = p.square().sum(1) * q.square().sum(1)
    return (2 - 2 * (p * q).sum(1) * torch.rsqrt(lengths + 1e-20)).mean((1, 2))


def feature_distance(made: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    """Mean of :func:`_cosine_distance` over maps: LPIPS without weights (Zhang et al., 2018)."""
    each = [_cosine_distance(p.float(), q.float()) for p, q in zip(made, true, strict=True)]
    return torch.stack(each).mean(0)


def features_of(made: Tensor, true: Tensor, critics: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Find the features of pairs of images in [-1, 1]; gradients pass to ``made`` alone."""
    # Not clamped: a clamp would stop the gradient of what overshoots.
    made, true = augment_pairs(made * 0.5 + 0.5, true * 0.5 + 0.5)
    with torch.no_grad():
        wanted = critics.features(true)
    return critics.features(made), wanted


def image_losses(
    made: Tensor,
    true: Tensor,
    critics: Any,
    features: tuple[list[Tensor], list[Tensor]] | None = None,
) -> dict[str, Tensor]:
    """
    Compare images in [-1, 1]: L1, also of their tones, and feature distance.

    ``loss`` is their weighted sum. Tones are means over 32 pixels: in L1 alone
    unpredictable texture outweighs the tone of a grey sky. ``features``: those of
    :func:`features_of`, where they are known.
    """
    plain = (made - true).abs().mean()
    tone = functional.avg_pool2d(made - true, 32).abs().mean()
    feature = feature_distance(*(features or features_of(made, true, critics))).mean()
    loss = plain + 4.0 * tone + 4.0 * feature
    return {'l1': plain, 'tone': tone, 'feature': feature, 'loss': loss}


def clip_norm_per_sample(gradient: Tensor, most: Tensor) -> Tensor:
    """
    Shorten gradients (N, ...) to at most the length of ``most`` (N, ...).

    The gradient of a deep critic is tens of times as long as that of a distance, and would
    outweigh it.
    """
    length, limit = (x.flatten(1).norm(dim=1).clamp(min=1e-12) for x in (gradient, most))
    return gradient * (limit / length).clamp(max=1.0).view(-1, *[1] * (gradient.ndim - 1))


def _shown(x: Tensor) -> Tensor:
    """Image in [-1, 1] -> what a screen shows of it in [0, 1]; gradients pass the clamp."""
    shown = x * 0.5 + 0.5
    return shown + (shown.clamp(0, 1) - shown).detach()


def class_loss(made: Tensor, true: Tensor, critics: Any, weight: Tensor) -> Tensor:
    """
    Cross-entropy of the classes found in ``made`` under those found in ``true``.

    ``weight``: of the K classes, by the likeliest one of each pixel.
    """
    made, true = augment_pairs(_shown(made), _shown(true))
    wanted = critics.segment(true).detach().softmax(1)
    found = critics.segment(made).log_softmax(1)
    importance = weight[wanted.argmax(1)]
    entropy: Tensor = -(wanted * found).sum(1)
    return (importance * entropy).sum() / importance.sum()


def depth_loss(made: Tensor, true: Tensor, critics: Any) -> Tensor:
    """Mean absolute difference of the log depths found in ``made`` and in ``true``."""
    made, true = augment_pairs(_shown(made), _shown(true))
    wanted = critics.depth(true).detach()
    return functional.l1_loss(critics.depth(made), wanted)
