"""
What the halves of all presets do alike: they are loaded by the same names, and code in two steps.

A robot's half makes what can be sent of an image, then fills a frame with it; a ground's half
reads symbols, then draws them. How a preset does these is its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec.bitstream import NO_SECTIONS, Sections
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.renderers import Renderer, RendererOptions
from gsc_ros.codec.types import DecodedFrame, EncodedFrame, ReceivedFrame, Reference
from gsc_ros.models.pretrained import Options
from gsc_ros.region import Region

Robot = TypeVar('Robot', bound='RobotHalf')
Ground = TypeVar('Ground', bound='GroundHalf')


@dataclass(frozen=True)
class LoadOptions:
    """
    What a half is loaded with; see :meth:`RobotHalf.load` and :meth:`GroundHalf.load`.

    ``device``: a name of :mod:`gsc_ros.codec.device`.
    """

    preset: str
    weights: str | Path | None = None
    device: str = 'auto'
    models: Options = field(default_factory=Options)
    renderer: str | RendererOptions | Renderer = ''


def bytes_before(budget_bytes: int, sections: Sections) -> int:
    """
    Return the bytes that sections take of a budget.

    Raises ``ValueError`` for a budget that leaves under 40 bytes beside them, or is too large.
    """
    before = len(bitstream.pack_sections(sections))
    least = bitstream.MIN_BUDGET + before
    if not least <= budget_bytes <= bitstream.MAX_STREAM:
        raise ValueError(
            f'budget_bytes {budget_bytes} is outside {least}..{bitstream.MAX_STREAM}: a frame '
            'needs its header, its sections and a little more'
        )
    return before


class RobotHalf:
    """The robot's half of a preset; ``PRESET`` is its name."""

    PRESET: ClassVar[str] = 'gsc'

    @classmethod
    def load(
        cls: type[Robot],
        preset: str = '',
        weights: str | Path | None = None,
        threads: int | None = None,
        device: str = 'auto',
        *,
        models: Options | None = None,
    ) -> Robot:
        """
        Load the robot's half.

        ``preset``: '' for the class's own. ``weights``: a folder of weights, or what the preset
        takes in its place; None for the shipped ones where there are some; ``'random'`` for the
        real architecture untrained (for tests). ``threads``: CPU threads of torch, for the whole
        process. ``device``: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        ``models``: how pretrained models of others are loaded, by its ``offline`` and ``note``.
        Raises ``FileNotFoundError`` when weights are missing and ``ValueError`` for foreign ones
        and for a preset or device that does not exist; ``ImportError`` for a missing library.
        """
        if threads:
            torch.set_num_threads(threads)
        options = LoadOptions(preset or cls.PRESET, weights, device, models or Options())
        return cls.load_by(options)

    @classmethod
    def load_by(cls: type[Robot], options: LoadOptions) -> Robot:
        """Load the half; raises as :meth:`load`."""
        raise NotImplementedError

    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
    ) -> Any:
        """Work out all that can be sent of an image; arguments as of :meth:`encode`."""
        raise NotImplementedError

    def pack(
        self,
        analysis: Any,
        budget_bytes: int,
        sequence: int = 0,
        reference: Reference | None = None,
        or_key: bool = False,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """
        Fill a frame of at most ``budget_bytes`` bytes with what matters most of an image.

        ``or_key``: with a ``reference``, make a key frame where that leaves the receiver with less
        error. Else as :meth:`encode`.
        """
        raise NotImplementedError

    def encode(
        self,
        rgb: NDArray[np.uint8],
        budget_bytes: int,
        depth: NDArray[np.float32] | None = None,
        sequence: int = 0,
        reference: Reference | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """
        Encode an image to at most ``budget_bytes`` bytes.

        ``rgb``: uint8 (H, W, 3), sides 16..4096; ``depth``: float32 in metres from a sensor, of
        any size, whose median then sets the scale (NaN and inf allowed); ``sequence``: counted
        modulo 256 on air; ``reference``: makes it a delta frame against this one, of the same
        size, where the preset has them; ``region``: a part of the image that is sent first and in
        more detail, or its four numbers; ``timing``: how the image lies in time, None for now;
        ``sections``: content by id (:class:`Section`), sent before the image and counted in the
        budget. An image of which a part is lost becomes a key frame. Raises ``ValueError`` for bad
        images and for budgets that leave under 40 bytes beside the sections.
        """
        analysis = self.analyse(rgb, depth, region, timing)
        return self.pack(analysis, budget_bytes, sequence, reference, sections=sections)


class GroundHalf:
    """The ground's half of a preset; ``PRESET`` is its name."""

    PRESET: ClassVar[str] = 'gsc'

    @classmethod
    def load(
        cls: type[Ground],
        preset: str = '',
        weights: str | Path | None = None,
        threads: int | None = None,
        device: str = 'auto',
        renderer: str | RendererOptions | Renderer = '',
        *,
        models: Options | None = None,
    ) -> Ground:
        """
        Load the ground's half, without any perception network; see :meth:`RobotHalf.load`.

        ``renderer``: ``deterministic``, ``flow`` (or ''), or a diffusers pipeline. One that cannot
        be used gives a :class:`RendererWarning`, and images are deterministic. A preset that draws
        in its own way does not use it.
        """
        if threads:
            torch.set_num_threads(threads)
        given = models or Options()
        return cls.load_by(LoadOptions(preset or cls.PRESET, weights, device, given, renderer))

    @classmethod
    def load_by(cls: type[Ground], options: LoadOptions) -> Ground:
        """Load the half; raises as :meth:`load`."""
        raise NotImplementedError

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """Read a packed frame's symbols; raises as :meth:`decode`."""
        raise NotImplementedError

    def render(
        self, frames: Sequence[ReceivedFrame], steps: int | None = None
    ) -> list[DecodedFrame]:
        """Render frames, in their order."""
        raise NotImplementedError

    def decode(
        self,
        data: bytes,
        truncated: bool = False,
        steps: int | None = None,
        reference: Reference | None = None,
    ) -> DecodedFrame:
        """
        Read and render a packed frame.

        ``truncated``: decode what is there of a frame whose end was lost. ``steps``: of the
        renderer, 0 for the deterministic image, None for the default. ``reference``: that of
        a delta frame. Raises :class:`BitstreamError` as :meth:`FrameReader.read` does and
        ``ValueError`` for steps that the renderer does not take.
        """
        return self.render([self.read(data, truncated, reference)], steps)[0]
