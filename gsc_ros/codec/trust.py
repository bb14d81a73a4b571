"""
Trust: the probability that what is stated of a pixel is right.

That is its class, where one is stated, and its depth to within 25 %. A small network judges both
by the predictor's certainty and by what was received (``gsc_ros.models.trust``). It is fitted to
truth: labels, lidar, depth cameras, simulation (``gsc train trust``). Most truth is of one of the
two alone, so they are judged apart, and trust is the product. Where there was no truth of a kind
of scene, or the kind itself is not certain, trust is at most ``UNPROVEN``.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec.kind import LEARNED
from gsc_ros.codec.planes import FrameSymbols
from gsc_ros.codec.types import DecodedFrame
from gsc_ros.labels import KINDS, SKY, UNLABELLED
from gsc_ros.models.tokenizer import Synthesis
from gsc_ros.models.trust import FEATURES, TrustNet
from gsc_ros.perception.kinds import SceneKind, has_layout, has_sky

UNPROVEN = 0.1
_PLANES = ('coarse_depth', 'tokens0', 'fine', 'tokens1', 'tokens2', 'tokens3')


def _constant(value: float, shape: tuple[int, ...]) -> Tensor:
    return torch.full((1, *shape), value)


def _kind_maps(kind: SceneKind | None, shape: tuple[int, ...]) -> list[Tensor]:
    """Spread kind of scene and its probability over maps."""
    known = kind is not None and kind.sure
    index = kind.index if kind is not None and known else len(KINDS)
    maps = [_constant(float(i == index), shape) for i in range(len(KINDS) + 1)]
    return [*maps, _constant(kind.probability if kind is not None else 0.0, shape)]


def withhold(frame: DecodedFrame, least: float) -> DecodedFrame:
    """
    Take from a frame what is trusted less than ``least``, 0..1: depth NaN, classes 255.

    A frame without trust loses all of it.
    """
    if least <= 0 or frame.depth is None or frame.segmentation is None:
        return frame
    shape = frame.rgb.shape[:2]
    trust = np.zeros(shape, np.uint8) if frame.trust is None else frame.trust
    low = trust < 255 * least
    depth = np.where(low, np.float32(np.nan), frame.depth)
    classes = np.where(low, np.uint8(UNLABELLED), frame.segmentation)
    return replace(frame, depth=depth, segmentation=classes)


def _came(symbols: FrameSymbols, name: str) -> NDArray[np.bool_]:
    """
    Find which cells of a plane the frame tells of: bool (rows, columns).

    Those of a delta frame that only the reference had are of another time.
    """
    known = symbols.received(name)
    if name in symbols.sent:
        known &= symbols.sent[name] | symbols.skip_mask.get(name, np.zeros(1, bool))
    return known


def features_of(
    out: Synthesis, frames: Sequence[FrameSymbols]
) -> Tensor:  # fmt: skip
    """Return what trust is judged by: float32 (N, FEATURES, h, w) on the 1/8 grid, on the CPU."""
    probabilities = out.segmentation.float().softmax(1).cpu()
    best = probabilities.topk(2, 1).values.clamp(1e-4, 1 - 1e-4)
    entropy = -(probabilities * probabilities.clamp(min=1e-6).log()).sum(1, keepdim=True)
    sure = torch.cat(
        [torch.logit(best[:, :1]) / 4, (best[:, :1] / best[:, 1:]).log() / 4, entropy], 1
    )
    depth = out.depth.float().cpu()
    slope = functional.pad((depth[..., 1:] - depth[..., :-1]).abs(), (0, 1))
    slope = slope + functional.pad((depth[..., 1:, :] - depth[..., :-1, :]).abs(), (0, 0, 0, 1))
    shape = tuple(depth.shape[2:])
    rest = []
    for symbols in frames:
        received = [
            torch.from_numpy(_came(symbols, name).astype(np.float32))[None, None]
            for name in _PLANES
        ]
        masks = [functional.interpolate(x, shape, mode='nearest')[0] for x in received]
        row = torch.linspace(-1, 1, shape[0])[None, :, None].expand(1, *shape)
        scaled = _constant(float(symbols.scale != LEARNED), shape)
        rest.append(torch.cat([*masks, row, *_kind_maps(symbols.kind, shape), scaled]))
    found = torch.cat([probabilities, sure, 4 * depth - 2, 20 * slope, torch.stack(rest)], 1)
    assert found.shape[1] == FEATURES
    return found


@torch.inference_mode()
def trust_of(
    net: TrustNet | None, out: Synthesis, frames: Sequence[FrameSymbols]
) -> NDArray[np.float32]:
    """
    Return the probabilities that class and depth of each cell are right, on the 1/8 grid.

    float32 (N, 2, h, w); their product is trust. A class that is not stated cannot be wrong, nor
    depth in the sky. Without a network nothing is proven.
    """
    if net is None:
        unproven = np.ones((len(frames), 2, *out.depth.shape[2:]), np.float32)
        unproven[:, 1] = UNPROVEN
        return unproven
    features = features_of(out, frames)
    if not net.scaled:
        features[:, -1] = 0
    right = net(features).sigmoid().numpy()
    sky = (out.segmentation.argmax(1) == SKY).cpu().numpy()
    trust = []
    for index, symbols in enumerate(frames):
        classes, depth = right[index]
        if has_sky(symbols.kind):  # in the sky there is no depth to be wrong
            depth = np.where(sky[index], 1.0, depth)
        if not has_layout(symbols.kind):
            classes = np.ones_like(depth)
        kind = symbols.kind
        proven = kind is not None and kind.sure and kind.classed and kind.index in net.calibrated
        if not proven:  # where classes were withheld, it looks like nothing in the truth
            depth = np.minimum(depth, UNPROVEN)
        trust.append(np.stack([classes, depth]))
    return np.stack(trust).astype(np.float32)
