"""
The codecs that are compared, each of sequences of images; a still is a sequence of one.

:func:`make_codec` makes one by name. A Python file of the user's is one, too, when it defines::

    encode(images, budget, fps) -> list of bytes, one a frame, or None
    decode(data, size) -> list of images uint8 (H, W, 3)

``images`` are RGB uint8 (H, W, 3) of one size, ``budget`` is in bytes a frame on average (None:
the format cannot go so low), ``size`` is (W, H).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gsc_ros.codec import (
    FrameEncoder,
    RendererOptions,
    SemanticCodec,
    SequenceDecoder,
    SequenceEncoder,
)
from gsc_ros.evaluation.types import Codec, Metric, Outcome, RgbImage, StillCodec
from gsc_ros.perception.camera import Camera
from gsc_ros.plugins import load_plugin

_OURS = re.compile(r'gsc(?:-(\d+|key))?')


class FrameByFrame:
    """A codec of stills, each frame on its own."""

    def __init__(self, codec: StillCodec) -> None:
        self.name, self._codec = codec.name, codec

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Encode each frame to the budget."""
        frames = [self._codec.encode(image, int(budget)) for image in images]
        return None if any(f is None for f in frames) else [f for f in frames if f is not None]

    def decode(self, data: list[bytes], size: tuple[int, int]) -> list[Outcome]:
        """Decode each frame."""
        return [self._codec.decode(frame, size) for frame in data]


class Gsc:
    """
    The codec of this package: each frame as it comes, none over the budget.

    ``name``: ``gsc``, ``gsc-N`` (N flow steps) or ``gsc-key`` (key frames only, as a sequence of
    one frame is coded in any case). Raises ``ValueError`` for others.
    """

    def __init__(self, codec: SemanticCodec, name: str = 'gsc') -> None:
        match = _OURS.fullmatch(name)
        if match is None:
            raise ValueError(f'codec {name!r} is not one of gsc, gsc-N, gsc-key')
        self.name, self._codec = name, codec
        self._keyframe_interval = int(match[1] == 'key')
        self._steps = int(match[1]) if match[1] and match[1] != 'key' else None

    def see_by(self, camera: Camera | None) -> None:
        """Set the camera of the images that follow, None where it is not known."""
        encoder = self._codec.encoder
        if isinstance(encoder, FrameEncoder):
            encoder.see_by(camera)

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Encode with delta frames against the frame before."""
        encoder = SequenceEncoder(self._codec, 1 if len(images) == 1 else self._keyframe_interval)
        return [encoder.encode(p, int(budget), sequence=i).data for i, p in enumerate(images)]

    def decode(self, data: list[bytes], size: tuple[int, int]) -> list[Outcome]:
        """Decode, with depth and classes beside the images."""
        decoder = SequenceDecoder(self._codec)
        frames = [decoder.decode(frame, steps=self._steps) for frame in data]
        return [Outcome(frame.rgb, frame) for frame in frames]


class Plugin:
    """A codec in a Python file of the user's; raises as :func:`load_plugin`."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._module: Any = load_plugin(path, ('encode', 'decode'), every=True)

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Encode by the file's function."""
        data: list[bytes] | None = self._module.encode(images, budget, fps)
        return data

    def decode(self, data: list[bytes], size: tuple[int, int]) -> list[Outcome]:
        """Decode by the file's function."""
        return [Outcome(rgb) for rgb in self._module.decode(data, size)]


def is_ours(name: str) -> bool:
    """Return whether a name is that of the codec of this package."""
    return _OURS.fullmatch(name) is not None


def make_codec(
    name: str,
    weights: str | None = None,
    metric: Metric | None = None,
    loaded: SemanticCodec | None = None,
    renderer: RendererOptions | None = None,
) -> Codec:
    """
    Make a codec by name, or of a Python file (``*.py``).

    Names: ``gsc``, ``gsc-N``, ``gsc-key``, ``webp``, ``avif``, ``jpeg``, ``x265``, ``svtav1``.
    ``weights``, ``renderer``: of ours, or one that is ``loaded``; ``metric``: by which the others
    choose their scale, PSNR by default. Raises ``ValueError`` for other names, and for missing
    libraries.
    """
    from gsc_ros.evaluation.metrics import psnr
    from gsc_ros.evaluation.stills import Still
    from gsc_ros.evaluation.videos import VIDEOS, Video

    if is_ours(name):
        ours = loaded or SemanticCodec.load(weights=weights, renderer=renderer or '')
        return Gsc(ours, name)
    if name.endswith('.py'):
        return Plugin(Path(name))
    if name in VIDEOS:
        return Video(name, metric or psnr)
    return FrameByFrame(Still(name, metric or psnr))
