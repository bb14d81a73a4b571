"""The kind of scene of an image: pooled features of a pretrained backbone and a linear layer."""

from torch import Tensor, nn

from gsc_ros.labels import KINDS
from gsc_ros.models.lite0 import FEATURES, Lite0


class SceneNet(nn.Module):
    """
    Predict the kind of scene.

    ``forward``: float32 (N, 3, H, W) in [-1, 1], H and W multiples of 32 -> logits (N, kinds),
    whose softmax is calibrated (the temperature is in the weights of the layer).
    """

    def __init__(self, kinds: int = len(KINDS)) -> None:
        super().__init__()
        self.config = {'kinds': kinds}
        self.backbone = Lite0()
        self.head = nn.Linear(FEATURES, kinds)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(x))
        return logits
