"""How far a decoded pixel can be relied on: the probability that its class and depth are right."""

from torch import Tensor, nn

from gsc_ros.labels import KINDS, NUM_CLASSES

# Class probabilities; likeliest, margin, entropy; log depth and its slope; what was received of
# six planes; row; kind of scene, one for none; its probability; whether a sensor gave the scale.
FEATURES = NUM_CLASSES + 3 + 2 + 6 + 1 + len(KINDS) + 1 + 1 + 1


class TrustNet(nn.Module):
    """
    Judge each cell by itself.

    ``forward``: features (N, ``FEATURES``, h, w) of ``gsc_ros.codec.trust`` -> logits
    (N, 2, h, w): that the class is right, and that depth is within 25 % of the truth.
    ``calibrated``: kinds of scene for which there was truth; elsewhere nothing is promised.
    ``scaled``: whether it was fitted to frames with a sensor's scale, too; else that feature means
    nothing to it.
    """

    def __init__(
        self, hidden: int = 24, calibrated: tuple[int, ...] = (), scaled: bool = False
    ) -> None:
        super().__init__()
        self.config = {'hidden': hidden, 'calibrated': list(calibrated), 'scaled': scaled}
        self.calibrated, self.scaled = tuple(calibrated), scaled
        self.layers = nn.Sequential(
            nn.Conv2d(FEATURES, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits
