"""
Presets: which streams a frame has, and which classes code them.

A frame names its preset in the header. The table here is plain data: reading a header, and asking
what presets exist, imports no torch. The classes of a preset are imported when they are loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gsc_ros.codec.analysis import ImageAnalysis
    from gsc_ros.codec.notes import Timing
    from gsc_ros.codec.types import DecodedFrame, EncodedFrame, ReceivedFrame, Reference
    from gsc_ros.region import Region

MAX_CODE = 3  # the header has two bits


@dataclass(frozen=True)
class Preset:
    """
    A kind of frame.

    ``code``: its number on air, 0..3; ``planes``: the stream layout, names of ``codec.planes`` in
    the order on air; ``progressive``: whether any prefix of a frame decodes, so that a sender may
    cut it; ``encoder``, ``decoder``: the classes of the two halves, as ``module:class``.
    """

    name: str
    code: int
    planes: tuple[str, ...]
    progressive: bool = True
    encoder: str = 'gsc_ros.codec.encoder:FrameEncoder'
    decoder: str = 'gsc_ros.codec.decoder:FrameDecoder'


PRESETS: dict[str, Preset] = {}  # by name, the default first


def register(preset: Preset) -> Preset:
    """Add a preset; raises ``ValueError`` for a name or a code that is taken or impossible."""
    if not 0 <= preset.code <= MAX_CODE:
        raise ValueError(f'preset {preset.name!r}: code {preset.code} is outside 0..{MAX_CODE}')
    for other in PRESETS.values():
        if preset.name == other.name or preset.code == other.code:
            raise ValueError(
                f'preset {preset.name!r} with code {preset.code}: '
                f'{other.name!r} has code {other.code}'
            )
    PRESETS[preset.name] = preset
    return preset


def find(name: str) -> Preset:
    """Return a preset by name; raises ``ValueError`` naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f'preset {name!r} is not one of {", ".join(PRESETS)}') from None


def find_code(code: int) -> Preset | None:
    """Return the preset of a code on air, None where there is none."""
    return next((preset for preset in PRESETS.values() if preset.code == code), None)


register(
    Preset(
        'gsc', 0, ('coarse', 'coarse_depth', 'tokens0', 'fine', 'tokens1', 'tokens2', 'tokens3')
    )
)


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
) -> DecoderBackend:
    """Load the ground's half of a preset; see :meth:`gsc_ros.codec.FrameDecoder.load`."""
    options = {'weights': weights, 'threads': threads, 'device': device}
    decoder: DecoderBackend = _load(find(preset).decoder, preset, options)
    return decoder
