"""
The halves of a preset: what they have to do (protocols), and how they are loaded.

Importing this needs no torch: the classes of a preset are imported when they are loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from gsc_ros.codec.presets import PRESETS, Preset, find, find_code, register

CAPTION_BYTES = 24  # of a caption in free text, at most
EMBEDDED = 'embedded'  # as in gsc_ros.perception.interface, which imports torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gsc_ros.codec.analysis import ImageAnalysis
    from gsc_ros.codec.notes import Timing
    from gsc_ros.codec.renderers import Renderer, RendererOptions
    from gsc_ros.codec.types import DecodedFrame, EncodedFrame, ReceivedFrame, Reference
    from gsc_ros.models.pretrained import Options
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


def _class(path: str) -> Any:
    module, name = path.split(':')
    return getattr(import_module(module), name)


def _load(kind: Any, preset: str, options: dict[str, Any]) -> Any:
    """Load a half by those options that its class knows, for it may be another package's."""
    known = signature(kind.load).parameters
    return kind.load(preset, **{name: value for name, value in options.items() if name in known})


def load_encoder(
    preset: str = 'gsc',
    weights: str | Path | None = None,
    threads: int | None = None,
    device: str = 'auto',
    perception: str = EMBEDDED,
    models: 'Options | None' = None,
    captioner: str = '',
    caption_bytes: int = CAPTION_BYTES,
    leave_out: Iterable[str] = (),
) -> EncoderBackend:
    """
    Load the robot's half of a preset; see :meth:`gsc_ros.codec.FrameEncoder.load`.

    ``perception``: who sees, as in :mod:`gsc_ros.perception.choice`; ``models``: how pretrained
    models are loaded, None for float32 on the device; ``captioner``: what describes images in free
    text, a folder or ``owner/name@revision`` of the hub, in ``caption_bytes`` at most;
    ``leave_out``: parts of frames, see :meth:`gsc_ros.codec.FrameEncoder.leave_out`. Raises
    ``ValueError`` also where a model cannot be loaded, for a preset whose robot does not see, for
    one without free text and for what it cannot leave out.
    """
    without = find(preset).check_left_out(leave_out)
    options = {'weights': weights, 'threads': threads, 'device': device, 'models': models}
    encoder: Any = _load(_class(find(preset).encoder), preset, options)
    if without:
        encoder.leave_out(without)
    if perception not in ('', EMBEDDED):
        choose = getattr(encoder, 'choose_perception', None)
        if choose is None:
            raise ValueError(
                f'preset {preset!r} takes no perception at the robot: set it at the decoder'
            )
        choose(perception, models)
    if captioner:
        choose = getattr(encoder, 'choose_captioner', None)
        if choose is None:
            raise ValueError(f'preset {preset!r} has no free text: give no captioner')
        choose(captioner, models, caption_bytes)
    loaded: EncoderBackend = encoder
    return loaded


def load_decoder(
    preset: str = 'gsc',
    weights: str | Path | None = None,
    threads: int | None = None,
    device: str = 'auto',
    renderer: 'str | RendererOptions | Renderer' = '',
    perception: str = EMBEDDED,
    models: 'Options | None' = None,
) -> DecoderBackend:
    """
    Load the ground's half of a preset; see :meth:`gsc_ros.codec.FrameDecoder.load`.

    A class that takes no ``renderer`` is given none. ``perception``: who sees on the decoded
    image, as in :mod:`gsc_ros.perception.choice`. ``embedded``: only for presets without maps; a
    model that is named replaces the map of its task. ``models``: how pretrained models are loaded,
    None for float32 on the device. Raises ``ValueError`` also where a model cannot be loaded.
    """
    found = find(preset)
    options: dict[str, Any] = {'weights': weights, 'threads': threads, 'device': device}
    options |= {'models': models} | ({'renderer': renderer} if renderer else {})
    decoder: DecoderBackend = _load(_class(found.decoder), preset, options)
    if found.maps and perception in ('', EMBEDDED):
        return decoder
    from gsc_ros.codec.ground_perception import SeeingDecoder

    return SeeingDecoder.load(decoder, perception, weights, device, models)
