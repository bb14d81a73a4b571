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

from gsc_ros.codec.kind import HEIGHT, LEARNED, SENSOR
from gsc_ros.codec.planes import FrameSymbols
from gsc_ros.codec.types import DecodedFrame
from gsc_ros.labels import KINDS, SKY, UNLABELLED
from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.models.tokenizer import DEPTH_LEVELS, Synthesis
from gsc_ros.models.trust import FEATURES, LOCAL, TrustNet
from gsc_ros.perception.kinds import SceneKind, has_layout, has_sky

UNPROVEN = 0.1
_SPAN = float(np.log(FARTHEST_M / NEAREST_M))  # of log depth from 0 to 1
_EVEN = torch.tensor([1.0, 2.0, 2.0, 2.0, 1.0]) / 8
_PLANES = ('coarse_depth', 'tokens0', 'fine', 'tokens1', 'tokens2', 'tokens3')


def _constant(value: float, shape: tuple[int, ...]) -> Tensor:
    return torch.full((1, *shape), value)


def index_of(kind: SceneKind | None) -> int:
    """Return the index of a kind of scene; that behind the last where it is not certain."""
    return kind.index if kind is not None and kind.sure else len(KINDS)


def _kind_maps(kind: SceneKind | None, shape: tuple[int, ...]) -> list[Tensor]:
    """Spread kind of scene and its probability over maps."""
    index = index_of(kind)
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


def _even(maps: Tensor) -> Tensor:
    """
    Smooth maps (N, C, h, w) over five cells.

    The predictor's certainty repeats with its grids of two and four cells. The filter has a zero
    at both, so that trust does not show them as dots.
    """
    for kernel in (_EVEN[:, None], _EVEN[None]):
        margin = [(n - 1) // 2 for n in reversed(kernel.shape)]
        padded = functional.pad(maps, [m for m in margin for _ in range(2)], mode='replicate')
        channels = maps.shape[1]
        maps = functional.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)
    return maps


def _shape_of(depth: Tensor, frames: Sequence[FrameSymbols]) -> Tensor:
    """
    Return how depth (N, 1, h, w) lies around each cell, and against what was sent: (N, 4, h, w).

    Its deviation over 9x9 cells; how far disparity, which is linear on a plane, is off the mean of
    its neighbours; how far depth is off the coarse depth that was sent, with and without its sign.
    """
    near = functional.pad(depth, (4, 4, 4, 4), mode='replicate')
    mean, square = (functional.avg_pool2d(x, 9, 1) for x in (near, near.square()))
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    disparity = torch.exp(-_SPAN * depth)
    around = functional.avg_pool2d(functional.pad(disparity, (2, 2, 2, 2), mode='replicate'), 5, 1)
    off_plane = _even((around - disparity).abs() / disparity)
    shape = (depth.shape[2], depth.shape[3])
    off = []
    for index, symbols in enumerate(frames):
        level = torch.from_numpy(symbols.planes['coarse_depth'].astype(np.float32))[None]
        came = functional.interpolate((level >= 0).float(), shape, mode='bilinear')[0]
        sent = (level.clamp(min=0) + 0.5) / DEPTH_LEVELS
        sent = functional.interpolate(sent, shape, mode='bilinear')[0]
        off.append((depth[index] - sent) * came)
    signed = torch.stack(off)
    return torch.cat([8 * deviation, 10 * off_plane, 8 * signed, 8 * signed.abs()], 1)


def features_of(
    out: Synthesis, frames: Sequence[FrameSymbols]
) -> Tensor:  # fmt: skip
    """Return what trust is judged by: float32 (N, FEATURES, h, w) on the 1/8 grid, on the CPU."""
    probabilities = _even(out.segmentation.float().softmax(1).cpu())
    best = probabilities.topk(2, 1).values.clamp(1e-4, 1 - 1e-4)
    entropy = -(probabilities * probabilities.clamp(min=1e-6).log()).sum(1, keepdim=True)
    sure = torch.cat(
        [torch.logit(best[:, :1]) / 4, (best[:, :1] / best[:, 1:]).log() / 4, entropy], 1
    )
    depth = _even(out.depth.float().cpu())
    slope = functional.pad((depth[..., 1:] - depth[..., :-1]).abs(), (0, 1))
    slope = slope + functional.pad((depth[..., 1:, :] - depth[..., :-1, :]).abs(), (0, 0, 0, 1))
    shape = tuple(depth.shape[2:])
    rest = []
    for symbols in frames:
        received = [
            torch.from_numpy(_came(symbols, name).astype(np.float32))[None, None]
            for name in _PLANES
        ]
        masks = [functional.interpolate(x, shape, mode='bilinear')[0] for x in received]
        row = torch.linspace(-1, 1, shape[0])[None, :, None].expand(1, *shape)
        scaled = [_constant(float(symbols.scale == way), shape) for way in (SENSOR, HEIGHT)]
        rest.append(torch.cat([*masks, row, *scaled, *_kind_maps(symbols.kind, shape)]))
    local = [probabilities, sure, 4 * depth - 2, 20 * slope, _shape_of(depth, frames)]
    found = torch.cat([*local, torch.stack(rest)], 1)
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
        features[:, LOCAL - 2 : LOCAL] = 0
    logits = net(features)
    sky = (out.segmentation.argmax(1) == SKY).cpu().numpy()
    trust = []
    for index, symbols in enumerate(frames):
        known = symbols.scale != LEARNED and net.scaled
        right = net.calibrate(logits[index], index_of(symbols.kind), known).sigmoid().numpy()
        classes, depth = right
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
