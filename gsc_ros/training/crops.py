"""Random windows of training images, cut and recoloured where the training runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gsc_ros.labels import UNLABELLED
from gsc_ros.models.perception import FARTHEST_M, NEAREST_M, REFERENCE_PX
from gsc_ros.training.corpus import LABEL_SCALE, NO_DEPTH, Sample

_CELL = 4  # pixels that windows are counted in


@dataclass(frozen=True)
class Window:
    """Where to cut: left, top, width, height in pixels, multiples of four; and whether to flip."""

    x: int
    y: int
    width: int
    height: int
    flip: bool


def window(
    image: tuple[int, int], size: tuple[int, int], rng: np.random.Generator, zoom: float
) -> Window:
    """
    Draw a window of an image (W, H) that is to be scaled to ``size`` (w, h).

    It has that aspect and is up to ``zoom`` times as large, or smaller where the image is.
    """
    width, height = image
    most = min(zoom, width / size[0], height / size[1])
    scale = rng.uniform(min(1.0, most), most)
    w, h = (
        max(16, min(side, round(wanted * scale / _CELL) * _CELL))
        for side, wanted in zip(image, size, strict=True)
    )
    x = int(rng.integers(0, (width - w) // _CELL + 1)) * _CELL
    y = int(rng.integers(0, (height - h) // _CELL + 1)) * _CELL
    return Window(x, y, w, h, bool(rng.random() < 0.5))


def _cut(values: Tensor, at: Window, scale: int, size: tuple[int, int], mode: str) -> Tensor:
    """Cut (C, H, W) of 1/scale the image's size, and bring it to ``size`` (w, h) over that."""
    x, y, w, h = (side // scale for side in (at.x, at.y, at.width, at.height))
    part = values[None, :, y : y + h, x : x + w].float()
    wanted = (size[1] // scale, size[0] // scale)
    if part.shape[2:] != wanted:
        smooth = {'antialias': True} if mode == 'bilinear' else {}
        part = functional.interpolate(part, wanted, mode=mode, **smooth)
    return part.flip(3) if at.flip else part


def _as_by_reference(log_depth: Tensor, focal_px: float) -> Tensor:
    """Bring log depth in an image of a focal length to that by a camera of ``REFERENCE_PX``."""
    shift = math.log(REFERENCE_PX / focal_px) / math.log(FARTHEST_M / NEAREST_M)
    return torch.where(log_depth < 0, log_depth, (log_depth + shift).clamp(0, 1))


def recoloured(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary exposure, contrast, gamma and colour balance of images (N, 3, h, w) in [0, 1]."""
    n = len(x)
    gain = rng.uniform(0.75, 1.25, (n, 1)) * rng.uniform(0.93, 1.07, (n, 3))
    shift, power = rng.uniform(-0.08, 0.08, (n, 1)), rng.uniform(0.75, 1.35, (n, 1))
    kept = rng.random((n, 1)) < 0.3

    def each(values: np.ndarray, neutral: float) -> Tensor:
        chosen = np.where(kept, neutral, values).astype(np.float32)
        return torch.from_numpy(chosen)[..., None, None].to(x.device)

    return (x * each(gain, 1.0) + each(shift, 0.0)).clamp(0, 1) ** each(power, 1.0)


class Crops:
    """
    Images and labels on a device, and random windows of them.

    ``size``: (w, h) of the windows, multiples of 16.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        device: torch.device,
        seed: int = 0,
        zoom: float = 1.6,
    ) -> None:
        self.size, self.device, self.zoom = size, device, zoom
        self.rng = np.random.default_rng(seed)

        def grey(values: np.ndarray | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(values)[None].to(device)

        self._rgb = [torch.from_numpy(s.rgb).to(device).permute(2, 0, 1) for s in samples]
        self._segmentation = [grey(s.segmentation) for s in samples]
        self._log_depth = [grey(s.log_depth) for s in samples]
        self._focal_px = [s.focal * s.rgb.shape[1] for s in samples]

    def cut(self, indices: Iterable[int]) -> tuple[Tensor, Tensor, Tensor]:
        """
        Cut a window of each image, flip and recolour it.

        Returns images float32 (N, 3, h, w) in [-1, 1], channels last; classes int64 (N, h/4,
        w/4), 255 unknown; log depth float32 (N, h/4, w/4) in [0, 1], -1 unknown, by a camera of
        ``REFERENCE_PX``.
        """
        small = (1, 1, self.size[1] // LABEL_SCALE, self.size[0] // LABEL_SCALE)
        rgb: list[Tensor] = []
        classes: list[Tensor] = []
        depth: list[Tensor] = []
        for i in indices:
            image = self._rgb[i]
            at = window((image.shape[2], image.shape[1]), self.size, self.rng, self.zoom)
            rgb.append(_cut(image, at, 1, self.size, 'bilinear'))
            for labels, nothing, out in (
                (self._segmentation[i], UNLABELLED, classes),
                (self._log_depth[i], float(NO_DEPTH), depth),
            ):
                out.append(
                    torch.full(small, float(nothing), device=self.device)
                    if labels is None
                    else _cut(labels, at, LABEL_SCALE, self.size, 'nearest-exact')
                )
            depth[-1] = _as_by_reference(depth[-1], self._focal_px[i] * self.size[0] / at.width)
        x = recoloured(torch.cat(rgb) / 255, self.rng) * 2 - 1
        x = x.contiguous(memory_format=torch.channels_last)
        return x, torch.cat(classes)[:, 0].long(), torch.cat(depth)[:, 0]
