"""Perception at the robot: classes, depth and kind of scene of an image."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from gsc_ros.labels import SKY
from gsc_ros.models.layers import fold_batch_norms, to_tensor
from gsc_ros.models.perception import REFERENCE_PX, PerceptionNet, log_to_depth
from gsc_ros.models.weights import FOLDER, frozen, restore
from gsc_ros.perception.areas import connected_to_top
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.perception.objects import Detection
from gsc_ros.perception.standing import Standing

WEIGHTS = 'perception.safetensors'
_STRIDE = 8  # of the network's maps

# The network was trained on streets and takes pale walls and ceilings for sky. Evidence for the
# sky: the probability of its class, that of the classes in the lower third of the image, and the
# distance of what it ends at. Weights of the logits of these probabilities and of the log distance
# (m), and the sum from which the sky is certain: by logistic regression on streets against rooms.
_SKY_WEIGHTS, _SKY_CERTAIN = (1.25, 2.7, 8.0), 32.7


@dataclass(frozen=True)
class Prediction:
    """
    Classes, depth and objects of an image (H, W), its maps in cells of ``stride`` pixels.

    ``classes``: ids uint8 (H/stride, W/stride), 255 where there is none; ``metres``: depth float32
    (H/stride, W/stride), NaN where unknown, +inf where the class is sky; ``sky_doubtful``: what is
    classed as sky may be something else; ``objects``: those that a detector found, None where
    there is no detector; ``depth_in_sky``: of the embedded network, depth everywhere, as if there
    were no sky; ``confidence``: probability of the class, float32 (H/stride, W/stride), None
    where it is not known; ``kind``: of scene, None where nothing tells it; ``probabilities``: of
    the classes, float32 (classes, H/stride, W/stride), None where they are not known;
    ``standing``: tells what is in the way, None where nothing does.
    """

    classes: NDArray[np.uint8]
    metres: NDArray[np.float32]
    sky_doubtful: bool
    objects: tuple[Detection, ...] | None = None
    depth_in_sky: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None
    kind: SceneKind | None = None
    probabilities: NDArray[np.float32] | None = None
    standing: Standing | None = None


def seen_by(view: Prediction, focal_px: float) -> Prediction:
    """
    Bring depth of the embedded network to that by a camera of a focal length in pixels.

    The network tells depth by a camera of ``REFERENCE_PX``. Other predictions stay.
    """
    return scaled(view, focal_px / REFERENCE_PX)


def scaled(view: Prediction, factor: float) -> Prediction:
    """Multiply depth of the embedded network by a factor; other predictions stay."""
    if view.depth_in_sky is None:
        return view
    metres, in_sky = (x * np.float32(factor) for x in (view.metres, view.depth_in_sky))
    return replace(view, metres=metres, depth_in_sky=in_sky)


def sky_doubtful(
    classes: NDArray[np.uint8], probabilities: NDArray[np.float32], metres: NDArray[np.float32]
) -> bool:
    """
    Return whether what is classed as sky may be something else.

    ``classes``: ids (h, w); ``probabilities``: of the classes, (classes, h, w); ``metres``: depth
    (h, w), NaN where unknown.
    """
    sky = classes == SKY
    if not sky.any():
        return False
    above = connected_to_top(sky)
    # Two cells deep, for the edge of the sky is not sharp.
    below = np.zeros_like(sky)
    below[1:] = above[:-1]
    below[2:] |= above[:-2]
    below &= ~sky
    if not (above.any() and below.any()):
        return True
    lower = probabilities[:, -(len(classes) // 3) :].max(0)
    confidence = np.clip([np.median(probabilities[SKY][above]), lower.mean()], 0.01, 0.995)
    known = metres[below & ~np.isnan(metres)]
    if not known.size:
        return True
    evidence = [*np.log(confidence / (1 - confidence)), np.log1p(np.median(known))]
    return bool(np.dot(_SKY_WEIGHTS, evidence) < _SKY_CERTAIN)


class PerceptionModel:
    """Classes, depth and kind of scene of an image by the small network."""

    def __init__(self, net: PerceptionNet) -> None:
        self.net = net

    @classmethod
    def load(cls, folder: Path = FOLDER) -> 'PerceptionModel':
        """Load trained weights; raises ``FileNotFoundError`` when there are none."""
        return cls(fold_batch_norms(restore(PerceptionNet, folder / WEIGHTS)))

    @classmethod
    def random(cls) -> 'PerceptionModel':
        """Make an untrained network of the real architecture, for tests."""
        return cls(fold_batch_norms(frozen(PerceptionNet())))

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.net.parameters()).device

    @torch.inference_mode()
    def predict(self, rgb: NDArray[np.uint8], stride: int = 8) -> Prediction:
        """
        See an image uint8 (H, W, 3), sides multiples of 32.

        ``stride``: pixels a side of a cell of the maps, a divisor of 32. Depth is by a camera of
        ``REFERENCE_PX`` (:func:`seen_by`).
        """
        image = torch.from_numpy(np.ascontiguousarray(rgb))[None].to(self.device)
        logits, code, kinds, seen = self.net(to_tensor(image))
        if stride != _STRIDE:
            size = rgb.shape[0] // stride, rgb.shape[1] // stride
            logits, code = (
                functional.interpolate(x.float(), size, mode='bilinear', align_corners=False)
                for x in (logits, code)
            )
        classes = logits[0].argmax(0).cpu().numpy().astype(np.uint8)
        depth = log_to_depth(code.float())[0, 0].cpu().numpy()
        probabilities = logits[0].float().softmax(0).cpu().numpy()
        doubtful = sky_doubtful(classes, probabilities, depth)
        metres = np.where(classes == SKY, np.float32(np.inf), depth)
        kind = None
        if kinds is not None:
            kind = SceneKind.of(kinds[0].float().softmax(0).cpu().numpy())
        standing = None
        if seen is not None and self.net.hazards is not None:
            standing = Standing(self.net.hazards, seen, _STRIDE)
        return Prediction(
            classes, metres, doubtful, None, depth, probabilities.max(0), kind, probabilities,
            standing,
        )  # fmt: skip
