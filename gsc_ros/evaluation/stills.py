"""Classical stills as real files at their best: WebP, AVIF and JPEG through Pillow."""

import io

import cv2
import numpy as np

from gsc_ros.evaluation.metrics import psnr
from gsc_ros.evaluation.types import Metric, Outcome, RgbImage

_SCALES = (1.0, 0.71, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.0625)
# Format and options of Pillow; slower AVIF saves nothing at such sizes, and a JPEG without Huffman
# tables of its own wastes 200 bytes.
_FORMATS: dict[str, tuple[str, dict[str, int]]] = {
    'webp': ('WEBP', {'method': 6}),
    'avif': ('AVIF', {'speed': 4}),
    'jpeg': ('JPEG', {'optimize': 1}),
}
STILLS = tuple(_FORMATS)


class Still:
    """
    WebP, AVIF or JPEG through Pillow: the best of all down-scales and qualities that fit.

    ``metric`` decides what is best (PSNR at full size by default). The time of ``encode`` is
    that of the whole search.
    """

    def __init__(self, name: str, metric: Metric = psnr) -> None:
        from PIL import Image, features

        if name not in _FORMATS:
            raise ValueError(f'codec {name!r} is not one of gsc, {", ".join(_FORMATS)}')
        if name == 'avif' and not features.check('avif'):
            raise ValueError('this Pillow has no AVIF: pip install "pillow>=11.3"')
        self.name, self._metric, self._image = name, metric, Image

    def _write(self, image: RgbImage, quality: int) -> bytes:
        out = io.BytesIO()
        format_, options = _FORMATS[self.name]
        self._image.fromarray(image).save(out, format_, quality=quality, **options)
        return out.getvalue()

    def _largest(self, image: RgbImage, budget: int) -> bytes | None:
        """Find the best quality that fits by bisection (sizes grow with quality)."""
        best = self._write(image, 0)
        if len(best) > budget:
            return None
        low, high = 1, 95
        while low <= high:
            middle = (low + high) // 2
            data = self._write(image, middle)
            if len(data) <= budget:
                best, low = data, middle + 1
            else:
                high = middle - 1
        return best

    def encode(self, rgb: RgbImage, budget: int) -> bytes | None:
        """Search scales and qualities."""
        height, width = rgb.shape[:2]
        best: tuple[float, bytes] | None = None
        for scale in _SCALES:
            size = (max(8, round(width * scale)), max(8, round(height * scale)))
            data = self._largest(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), budget)
            if data is None:
                continue
            quality = self._metric(rgb, self.decode(data, (width, height)).rgb)
            if best is None or quality > best[0]:
                best = (quality, data)
        return best[1] if best else None

    def decode(self, data: bytes, size: tuple[int, int]) -> Outcome:
        """Decode and enlarge."""
        image = np.array(self._image.open(io.BytesIO(data)).convert('RGB'))
        return Outcome(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
