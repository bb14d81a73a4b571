"""How likely what looks like an object is one: logistic regression by group of classes."""

import torch
from torch import Tensor, nn

FEATURES = 3  # one; logit of the mean probability of its class; log of its share of the image
UNCALIBRATED = -20.0  # the logit of a group without truth: nothing is stated


class ObjectNet(nn.Module):
    """
    Judge regions.

    ``forward``: mean probabilities of the class (N), shares of the image (N), groups int64 (N) ->
    logits (N) that a region is an object of its group.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.config = {'groups': groups}
        weights = torch.zeros(groups, FEATURES)
        weights[:, 0] = UNCALIBRATED
        self.weights = nn.Parameter(weights)

    def forward(self, confidence: Tensor, area: Tensor, group: Tensor) -> Tensor:
        certain = torch.logit(confidence.clamp(1e-3, 1 - 1e-3))
        features = torch.stack([torch.ones_like(area), certain, (100 * area).log2()], 1)
        return (self.weights[group] * features).sum(1)
