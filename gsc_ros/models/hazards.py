"""
The head of perception that tells what is in the way of a robot, by one image.

How high a thing is over the ground, and how far its foot is, shows in an image in heights of the
camera. So the head is asked with limits in metres and what is known of the camera, and answers
with a probability.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 48
_ASKED = 6  # numbers of a question
# What the head was taught: questions beyond are asked at the nearest of these.
ABOVE_M, WITHIN_M, HEIGHT_M = (0.07, 0.5), (1.5, 10.0), (0.2, 3.0)
_USUAL_M = (0.15, 5.0, 1.0)  # above, within, height: about zero in what the head is given
_USUAL_PX = 400.0


class Question(NamedTuple):
    """
    What is asked of an image (H, W): what is higher than ``above_m``, nearer than ``within_m``.

    ``height_m``: of the camera over the ground, None where it is not known; ``focal_px``: focal
    length (along x, y); ``centre_px``: the principal point.
    """

    above_m: float
    within_m: float
    height_m: float | None
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]

    def numbers(self) -> list[float]:
        """Write the question as the head reads it."""
        above, within = _log(self.above_m, ABOVE_M, 0), _log(self.within_m, WITHIN_M, 1)
        focal = math.log(self.focal_px[0] / _USUAL_PX)
        if self.height_m is None:
            return [above, within, focal, 0.0, 0.0, 0.0]
        height = _log(self.height_m, HEIGHT_M, 2)
        return [above, within, focal, 1.0, above - height, within - height]


def _log(metres: float, taught: tuple[float, float], which: int) -> float:
    return math.log(min(max(metres, taught[0]), taught[1]) / _USUAL_M[which])


def rays(question: Question, shape: tuple[int, int], stride: int) -> Tensor:
    """Return where the cells (h, w) of an image look: float32 (2, h, w), x and y over z."""
    x = ((torch.arange(shape[1]) + 0.5) * stride - question.centre_px[0]) / question.focal_px[0]
    y = ((torch.arange(shape[0]) + 0.5) * stride - question.centre_px[1]) / question.focal_px[1]
    return torch.stack([x.expand(shape), y[:, None].expand(shape)])


def _unit(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class HazardHead(nn.Module):
    """
    Tell the logit that a cell shows what is in the way.

    ``channels``: of the maps on the grids of 1/8, 1/16 and 1/32 that it sees.
    """

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.fine = nn.Conv2d(fine, WIDTH, 1)
        self.middle = nn.Conv2d(middle, WIDTH, 1)
        self.coarse = nn.Conv2d(coarse, WIDTH, 1)
        self.mix = nn.Sequential(
            _unit(WIDTH, WIDTH, 5, WIDTH), _unit(WIDTH, WIDTH, 1),
            _unit(WIDTH, WIDTH, 5, WIDTH), _unit(WIDTH, WIDTH, 1),
        )  # fmt: skip
        self.asked = nn.Sequential(
            nn.Linear(_ASKED, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * WIDTH)
        )
        self.first = nn.Conv2d(WIDTH + 2, WIDTH, 1)
        self.second = nn.Conv2d(WIDTH, WIDTH // 2, 1)
        self.last = nn.Conv2d(WIDTH // 2, 1, 1)

    def look(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Return what is seen, float32 (N, WIDTH, H/8, W/8), in maps of the three grids."""
        fine, middle, coarse = maps
        size = fine.shape[2:]
        y = self.fine(fine)
        for layer, x in ((self.middle, middle), (self.coarse, coarse)):
            y = y + functional.interpolate(layer(x), size, mode='bilinear', align_corners=False)
        y = functional.relu(y)
        mixed: Tensor = y + self.mix(y)
        return mixed

    def answer(self, seen: Tensor, rays: Tensor, asked: Tensor) -> Tensor:
        """
        Return logits (N, 1, H/8, W/8) that a cell shows what is in the way.

        ``seen``: of :meth:`look`, (N, ...) or of one image (1, ...); ``rays``: (N, 2, H/8, W/8);
        ``asked``: float32 (N, 6), :meth:`Question.numbers`.
        """
        y = self.first(torch.cat([seen.expand(len(asked), -1, -1, -1), rays], 1))
        scale, shift = self.asked(asked)[..., None, None].chunk(2, 1)
        y = functional.relu(y * (1 + scale) + shift)
        logits: Tensor = self.last(functional.relu(self.second(y)))
        return logits
