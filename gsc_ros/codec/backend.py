"""
The halves of a preset: what they have to do (protocols), and how they are loaded.

Importing this needs no torch: the classes of a preset are imported when they are loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from gsc_ros.codec.presets import PRESETS, Preset, find, find_code, register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gsc_ros.codec.analysis import ImageAnalysis
    from gsc_ros.codec.notes import Timing
    from gsc_ros.codec.renderers import Renderer, RendererOptions
    from gsc_ros.codec.types import DecodedFrame, EncodedFrame, ReceivedFrame, Reference
    from gsc_ros.region import Region

__all__ = [
    'PRESETS',
    'DecoderBackend',
    'EncoderBackend',
    'Preset',
    'ReaderBackend',
    'RendererBackend',
    'find',
    'find_code',
    'load_decoder',
    'load_encoder',
    'register',
]


class EncoderBackend(Protocol):
    """The robot's half of a preset."""

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        ...

    def analyse(
        self,
        rgb: 'NDArray[np.uint8]',
        depth: 'NDArray[np.float32] | None' = None,
        region: 'Region | Iterable[float] | None' = None,
        timing: 'Timing | None' = None,
    ) -> 'ImageAnalysis':
        """Work out all that can be sent of an image."""
        ...

    def pack(
        self,
        analysis: 'ImageAnalysis',
        budget_bytes: int,
        sequence: int = 0,
        reference: 'Reference | None' = None,
        or_key: bool = False,
        sections: 'Mapping[int, bytes]' = MappingProxyType({}),
    ) -> 'EncodedFrame':
        """Fill a frame with what matters most."""
        ...

    def reference(self, data: bytes, reference: 'Reference | None' = None) -> 'Reference':
        """Return what a receiver has of a whole frame."""
        ...


class ReaderBackend(Protocol):
    """The part of the ground's half that reads symbols: exact on every machine."""

    def read(
        self, data: bytes, truncated: bool = False, reference: 'Reference | None' = None
    ) -> 'ReceivedFrame':
        """Read a packed frame."""
        ...


class RendererBackend(Protocol):
    """The part of the ground's half that renders images: pure and batched."""

    def render(
        self, frames: 'Sequence[ReceivedFrame]', steps: int | None = None
    ) -> 'list[DecodedFrame]':
        """Render frames that were read."""
        ...


class DecoderBackend(ReaderBackend, RendererBackend, Protocol):
    """The ground's half of a preset."""

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        ...


def _load(path: str, preset: str, options: Mapping[str, Any]) -> Any:
    module, name = path.split(':')
    return getattr(import_module(module), name).load(preset, **options)


def load_encoder(
    preset: str = 'gsc',
    weights: str | Path | None = None,
    threads: int | None = None,
    device: str = 'auto',
) -> EncoderBackend:
    """Load the robot's half of a preset; see :meth:`gsc_ros.codec.FrameEncoder.load`."""
    options = {'weights': weights, 'threads': threads, 'device': device}
    encoder: EncoderBackend = _load(find(preset).encoder, preset, options)
    return encoder


def load_decoder(
    preset: str = 'gsc',
    weights: str | Path | None = None,
    threads: int | None = None,
    device: str = 'auto',
    renderer: 'str | RendererOptions | Renderer' = '',
) -> DecoderBackend:
    """
    Load the ground's half of a preset; see :meth:`gsc_ros.codec.FrameDecoder.load`.

    A preset whose ground's half renders in its own way is not given a ``renderer`` of ''.
    """
    options: dict[str, Any] = {'weights': weights, 'threads': threads, 'device': device}
    if renderer:
        options['renderer'] = renderer
    decoder: DecoderBackend = _load(find(preset).decoder, preset, options)
    return decoder
