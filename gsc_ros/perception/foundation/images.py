"""Images as models of transformers take them, in torch alone: no torchvision is needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """Mean and deviation of the channels that a model was trained with, in [0, 1]."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any], default: bool = True) -> 'Normalisation':
        """
        Read ``preprocessor_config.json``.

        ``default``: whether a model without the entry normalises, by ImageNet's figures.
        """
        if not config.get('do_normalize', default):
            return cls((0.0,) * 3, (1.0,) * 3)
        mean, deviation = (config.get(key) for key in ('image_mean', 'image_std'))
        return cls(tuple(mean or _IMAGENET[0]), tuple(deviation or _IMAGENET[1]))

    def tensor(self, rgb: NDArray[np.uint8], size: tuple[int, int], like: Tensor) -> Tensor:
        """Scale uint8 (H, W, 3) to (1, 3, h, w), on the device and in the dtype of ``like``."""
        x = torch.from_numpy(np.ascontiguousarray(rgb)).to(like.device)
        x = x.permute(2, 0, 1)[None].float() / 255
        if tuple(x.shape[2:]) != size:
            x = functional.interpolate(
                x, size, mode='bilinear', antialias=True, align_corners=False
            )
        mean, deviation = (
            torch.tensor(v, device=like.device).view(1, 3, 1, 1)
            for v in (self.mean, self.deviation)
        )
        return ((x - mean) / deviation).to(like.dtype)


def fitted(rgb: NDArray[np.uint8], side: float, longest: bool, multiple: int) -> tuple[int, int]:
    """
    Return (h, w) whose longest or shortest side is ``side``, both multiples of ``multiple``.

    The aspect ratio is kept as near as they allow.
    """
    height, width = rgb.shape[:2]
    scale = side / (max if longest else min)(height, width)
    rows, columns = (max(1, round(n * scale / multiple)) * multiple for n in (height, width))
    return rows, columns
