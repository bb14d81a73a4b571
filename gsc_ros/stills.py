"""One whole image in few bytes: AVIF or WebP, as good as fits."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

FORMATS = 'auto', 'avif', 'webp'
_OPTIONS: dict[str, dict[str, int]] = {'avif': {'speed': 7}, 'webp': {'method': 4}}
_WORST, _BEST = 10, 95
_SMALLEST = 32  # pixels of the shorter side, where it is made smaller


def encode_within(rgb: NDArray[np.uint8], most: int, form: str = 'auto') -> tuple[bytes, str]:
    """
    Encode an image, uint8 (H, W, 3) RGB, into ``most`` bytes: returns the file and its format.

    form: one of :data:`FORMATS`; auto: AVIF where Pillow has it. The best quality that fits; where
    none does, at half the size, and so on. Raises ``ValueError`` where nothing fits.
    """
    if form == 'auto':
        form = 'avif' if features.check('avif') else 'webp'
    image = Image.fromarray(rgb)
    while (data := _best(image, most, form)) is None:
        half = image.width // 2, image.height // 2
        if min(half) < _SMALLEST:
            raise ValueError(f'no image of {rgb.shape[1]}x{rgb.shape[0]} fits into {most} bytes')
        image = image.resize(half, Image.Resampling.BOX)
    return data, form


def _best(image: Image.Image, most: int, form: str) -> bytes | None:
    """Find the best quality that fits by bisection, as sizes grow with it; None for none."""
    found = None
    low, high = _WORST, _BEST
    while low <= high:
        # The worst first: where that does not fit, nothing does.
        quality = _WORST if found is None else (low + high) // 2
        out = io.BytesIO()
        image.save(out, form.upper(), quality=quality, **_OPTIONS[form])
        if out.tell() <= most:
            found, low = out.getvalue(), quality + 1
        elif found is None:
            return None
        else:
            high = quality - 1
    return found
