"""The layer of perception that tells the kind of scene."""

import torch
from torch import Tensor, nn

from gsc_ros.models.lite0 import FEATURES


class KindLayer(nn.Module):
    """
    Logits (N, kinds) of features (N, FEATURES).

    Features are brought to unit variance first, so that their weights are alike and eight bits on
    disk are enough.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(FEATURES))
        self.register_buffer('deviation', torch.ones(FEATURES))
        self.linear = nn.Linear(FEATURES, kinds)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear((features - self.mean) / self.deviation)
        return logits
