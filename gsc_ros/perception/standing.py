"""
What stands in the way, by what the network sees of one image.

The network tells probabilities (``gsc_ros.models.hazards``). A region is told of cells that are
``POSSIBLE``, one of which is ``LIKELY``: what was missed costs more than a false alarm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.models.hazards import ABOVE_M, WITHIN_M, HazardHead, Question, rays
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.hazards import Limits

POSSIBLE, LIKELY = 0.1, 0.3


def question(camera: Camera, limits: Limits, size: tuple[int, int]) -> Question:
    """Ask by limits of an image of a size (W, H) of a camera."""
    width, height = size
    return Question(
        limits.above_m,
        limits.within_m,
        camera.height_m,
        (camera.fx * width, camera.fy * height),
        (camera.cx * width, camera.cy * height),
    )


@dataclass(frozen=True, eq=False)
class Standing:
    """
    An image as the head of hazards sees it.

    ``seen``: float32 (1, C, h, w); ``stride``: pixels a side of a cell.
    """

    head: HazardHead
    seen: Tensor
    stride: int

    @staticmethod
    def knows(limits: Limits) -> bool:
        """Whether all that these limits count as a hazard is told: none lower or further off."""
        return limits.above_m >= ABOVE_M[0] and limits.within_m <= WITHIN_M[1]

    @torch.inference_mode()
    def probabilities(self, camera: Camera, limits: Sequence[Limits]) -> NDArray[np.float32]:
        """
        Return how likely cells show what is in the way: float32 (L, h, w), for each of the limits.

        ``camera``: of the image; its height matters where it is known.
        """
        rows, columns = self.seen.shape[2:]
        size = (columns * self.stride, rows * self.stride)
        asked = [question(camera, one, size) for one in limits]
        looks = torch.stack([rays(one, (rows, columns), self.stride) for one in asked])
        numbers = torch.tensor([one.numbers() for one in asked])
        logits = self.head.answer(
            self.seen.float(), looks.to(self.seen.device), numbers.to(self.seen.device)
        )
        return logits.float().sigmoid()[:, 0].cpu().numpy()

    def find(
        self,
        camera: Camera,
        limits: Limits,
        edges_m: Sequence[float],
        lost: NDArray[np.bool_],
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """
        Find what is in the way: a mask, bool (h, w), and distances in m, float64 (h, w).

        Of distances is known between which of ``edges_m``, ascending, they are. They are told as
        just below the upper one. ``lost``: bool (h, w), where the image shows nothing.
        """
        nearer = [edge for edge in edges_m if edge < limits.within_m]
        asked = [*(replace(limits, within_m=edge) for edge in nearer), limits]
        chances = self.probabilities(camera, asked)
        chances[:, lost] = 0
        mask = regions(chances[-1], POSSIBLE, LIKELY)
        metres = np.full(mask.shape, np.nan)
        for one, chance in reversed(list(zip(asked, chances, strict=True))):
            metres[mask & ((chance > POSSIBLE) | (one is limits))] = np.nextafter(one.within_m, 0)
        return mask, metres


def regions(
    chances: NDArray[np.float32], possible: float, likely: float
) -> NDArray[np.bool_]:  # fmt: skip
    """Return the regions (h, w) of what is possible that hold something likely."""
    _, parts = cv2.connectedComponents((chances > possible).astype(np.uint8), connectivity=8)
    held = np.unique(parts[chances > likely])
    return np.asarray(np.isin(parts, held[held > 0]))
