"""
Pretrained renderers for frames of preset ``foundation``.

A renderer of :mod:`gsc_ros.codec.renderers` draws from the deterministic image, the caption and
where tokens vouch for means over 64, 32 and 16 pixels. Here the autoencoder draws that image, and
blocks vouch in the place of tokens. Renderers that draw from the tokens themselves refuse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.caption import Caption
from gsc_ros.codec.foundation.vae_stream import LatentSymbols
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.planes import FrameSymbols
from gsc_ros.codec.renderers import Deterministic, Flow, Renderer, RendererError
from gsc_ros.codec.types import ReceivedFrame

# The cells that details of blocks vouch for, pixels a side.
_VOUCHED = (('tokens1', 32), ('tokens2', 16))


@dataclass(frozen=True)
class Spoken(Caption):
    """A caption in free text, for what prints captions."""

    text: str = ''

    def __str__(self) -> str:
        return self.text


class _Tokens:
    """Stands for the prediction of tokens, which these frames have not."""

    def __getattr__(self, name: str) -> Any:
        raise RendererError(
            'this renderer draws from the tokens of preset gsc: give another one for frames of '
            'preset foundation.'
        )


class _Drawn:
    """Networks whose deterministic images are drawn already, float32 (N, H, W, 3), 0..255."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._images = images

    @property
    def reconstructor(self) -> '_Drawn':
        """What draws."""
        return self

    def draw(self, out: Any, latent: Any = None) -> NDArray[np.float32]:
        """Return the images."""
        return self._images


def pretrained(renderer: Renderer) -> Renderer | None:
    """Return a renderer unless it is one of preset ``gsc``, in whose place the image itself is."""
    return None if isinstance(renderer, Deterministic | Flow) else renderer


def draw(
    renderer: Renderer,
    frames: Sequence[ReceivedFrame],
    images: Sequence[NDArray[np.uint8]],
    steps: int,
) -> list[NDArray[np.uint8]]:
    """
    Draw frames of one size in ``steps`` steps, from their deterministic images (h, w, 3).

    Returns images at the coding size of the embedded codec.
    """
    header = frames[0].header
    size = coding_size(header.width, header.height)
    base = np.stack(
        [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in images]
    ).astype(np.float32)
    stand_ins = [
        replace(frame, symbols=_vouching(frame, size, image.shape[1]))
        for frame, image in zip(frames, images, strict=True)
    ]
    drawn = renderer.draw(cast(Any, _Drawn(base)), stand_ins, cast(Any, _Tokens()), steps)
    return list(np.asarray(drawn).round().clip(0, 255).astype(np.uint8))


def _vouching(frame: ReceivedFrame, size: tuple[int, int], width: int) -> FrameSymbols:
    """
    Return symbols that say where the means of a frame are known.

    ``width``: of the working size. Means of blocks vouch for 64 pixels; details for finer cells,
    as far as a cell has at least two pixels of the working size.
    """
    symbols = cast(LatentSymbols, frame.symbols)
    made = FrameSymbols.unknown(size)
    means = symbols.known_means.all(0)
    known = {'tokens0': means}
    for name, pixels in _VOUCHED:
        if pixels * width >= 2 * size[0]:
            known[name] = symbols.complete
    for name, blocks in known.items():
        plane = made.planes[name]
        rows, columns = plane.shape[1:]
        there = cv2.resize(
            blocks.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST
        )
        plane[:, there > 0] = 0
    return replace(made, caption=Spoken(text=symbols.text), notes=symbols.notes)
