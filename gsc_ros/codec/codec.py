"""Both halves of the codec in one object: image -> bytes -> image, depth, classes and trust."""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.analysis import ImageAnalysis
from gsc_ros.codec.backend import DecoderBackend, EncoderBackend, load_decoder, load_encoder
from gsc_ros.codec.bitstream import NO_SECTIONS, FrameHeader, Sections
from gsc_ros.codec.decoder import FrameDecoder
from gsc_ros.codec.encoder import FrameEncoder
from gsc_ros.codec.halves import GroundHalf, LoadOptions, RobotHalf
from gsc_ros.codec.networks import Networks
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.planes import FrameSymbols
from gsc_ros.codec.presets import find
from gsc_ros.codec.renderers import Renderer, RendererOptions
from gsc_ros.codec.types import DecodedFrame, EncodedFrame, ReceivedFrame, Reference
from gsc_ros.region import Region


class SemanticCodec(GroundHalf, RobotHalf):
    """
    The robot's half of a preset (``encoder``) and the ground's (``decoder``).

    Symbols are exact on every machine; what the networks draw of them agrees to rounding.
    ``networks``: those that this package's two halves share; None for halves of other classes.
    """

    def __init__(
        self,
        preset: str,
        encoder: EncoderBackend,
        decoder: DecoderBackend,
        networks: Networks | None = None,
    ) -> None:
        self.preset, self.networks = preset, networks
        self.encoder, self.decoder = encoder, decoder

    @classmethod
    def of(
        cls,
        networks: Networks,
        preset: str = 'gsc',
        renderer: str | RendererOptions | Renderer = '',
    ) -> 'SemanticCodec':
        """Make this package's halves of networks that are loaded."""
        encoder = FrameEncoder(networks.robot, preset)
        return cls(preset, encoder, FrameDecoder(networks.ground, preset, renderer), networks)

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'SemanticCodec':
        """Load the preset's halves; see :meth:`load`."""
        preset, weights, device = options.preset, options.weights, options.device
        if find(preset).has_own_halves:  # what both run is loaded once
            networks = Networks.load(weights, device, find(preset).pseudo_words)
            return cls.of(networks, preset, options.renderer)
        encoder = load_encoder(preset, weights, None, device, models=options.models)
        decoder = load_decoder(
            preset, weights, None, device, options.renderer, models=options.models
        )
        return cls(preset, encoder, decoder)

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.encoder.fingerprint

    @property
    def bfloat16(self) -> bool:
        """Whether the networks compute in bfloat16; symbols are read alike with and without."""
        return bool(getattr(self.encoder, 'bfloat16', False))

    @bfloat16.setter
    def bfloat16(self, value: bool) -> None:
        for half in (self.encoder, self.decoder):
            if hasattr(half, 'bfloat16'):
                half.bfloat16 = value

    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
    ) -> ImageAnalysis:
        """Work out all that can be sent of an image; see :meth:`FrameEncoder.analyse`."""
        return self.encoder.analyse(rgb, depth, region, timing)

    def pack(
        self,
        analysis: ImageAnalysis,
        budget_bytes: int,
        sequence: int = 0,
        reference: Reference | None = None,
        or_key: bool = False,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """Fill a frame with what matters most; see :meth:`FrameEncoder.pack`."""
        return self.encoder.pack(analysis, budget_bytes, sequence, reference, or_key, sections)

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """Return what a receiver has of a whole frame; see :meth:`FrameEncoder.reference`."""
        return self.encoder.reference(data, reference)

    def inspect(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> tuple[FrameHeader, FrameSymbols]:
        """Do as :meth:`read`, and return header and symbols; deprecated."""
        warnings.warn('inspect is now read', DeprecationWarning, stacklevel=2)
        frame = self.read(data, truncated, reference)
        return frame.header, frame.symbols

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """Read a packed frame's symbols; see :meth:`FrameReader.read`."""
        return self.decoder.read(data, truncated, reference)

    def render(
        self, frames: Sequence[ReceivedFrame], steps: int | None = None
    ) -> list[DecodedFrame]:
        """Render frames as a batch; see :meth:`FrameDecoder.render`."""
        return self.decoder.render(frames, steps)
