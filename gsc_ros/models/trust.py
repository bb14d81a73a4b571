"""How far a decoded pixel can be relied on: the probability that its class and depth are right."""

import torch
from torch import Tensor, nn

from gsc_ros.labels import KINDS, NUM_CLASSES

# Class probabilities; likeliest, margin, entropy; log depth, its slope and four of its shape;
# what was received of six planes; row; whether a sensor or the camera's height gave the scale.
LOCAL = NUM_CLASSES + 3 + 6 + 6 + 1 + 2
# The same, and the kind of scene, one for none, and its probability.
FEATURES = LOCAL + len(KINDS) + 1 + 1
QUESTIONS = 2  # class and depth
HIDDEN = (24, 8)


def _head(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 1, 1))


class TrustNet(nn.Module):
    """
    Judge each cell by itself.

    ``forward``: features (N, ``FEATURES``, h, w) of ``gsc_ros.codec.trust`` -> logits
    (N, 2, h, w): that the class is right, and that depth is within 25 % of the truth. What depth
    is judged by does not tell the place, so that it holds in others.
    ``calibration``: float (kinds + 1, 2, 2, 2), factor and offset of these logits in a place that
    was not fitted, by kind of scene (the last: none), whether the scale of depth is known, and
    question. ``calibrated``: kinds of scene for which there was truth; elsewhere nothing is
    promised. ``scaled``: whether it was fitted to frames with a known scale, too; else that means
    nothing to it.
    """

    calibration: Tensor

    def __init__(
        self,
        hidden: tuple[int, int] = HIDDEN,
        calibrated: tuple[int, ...] = (),
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.config = {
            'hidden': list(hidden), 'calibrated': list(calibrated), 'scaled': scaled
        }  # fmt: skip
        self.calibrated, self.scaled = tuple(calibrated), scaled
        self.classes, self.depth = _head(FEATURES, hidden[0]), _head(LOCAL, hidden[1])
        none = torch.tensor([1.0, 0.0]).expand(len(KINDS) + 1, 2, QUESTIONS, 2)
        self.register_buffer('calibration', none.clone())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.classes(x), self.depth(x[:, :LOCAL])], 1)

    def calibrate(self, logits: Tensor, kind: int, scaled: bool) -> Tensor:
        """Return logits (2, h, w) as they hold in a kind of scene, with or without a scale."""
        factor, offset = self.calibration[kind, int(scaled)].unbind(1)
        return factor[:, None, None] * logits + offset[:, None, None]
