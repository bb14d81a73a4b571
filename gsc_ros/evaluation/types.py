"""What codecs under test take and give, and what a measure of them is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import DecodedFrame

RgbImage = NDArray[np.uint8]
Metric = Callable[[RgbImage, RgbImage], float]  # (original, decoded) -> the higher the better


@dataclass(frozen=True)
class Outcome:
    """A decoded image, and what else came with it."""

    rgb: RgbImage
    frame: DecodedFrame | None = None


class Codec(Protocol):
    """A codec under test."""

    name: str

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Encode to ``budget`` bytes a frame on average; None where the format cannot."""
        ...

    def decode(self, data: list[bytes], size: tuple[int, int]) -> list[Outcome]:
        """Decode to images of (width, height), one a frame."""
        ...


class StillCodec(Protocol):
    """A codec of single images."""

    name: str

    def encode(self, rgb: RgbImage, budget: int) -> bytes | None:
        """Encode to at most ``budget`` bytes; None where the format cannot go so low."""
        ...

    def decode(self, data: bytes, size: tuple[int, int]) -> Outcome:
        """Decode to an image of (width, height)."""
        ...
