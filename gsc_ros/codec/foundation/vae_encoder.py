"""The robot's half of preset ``foundation``: an image to a frame of at most so many bytes."""

import warnings
from collections.abc import Callable, Iterable
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec import notes as notes_coding
from gsc_ros.codec.analysis import check_image
from gsc_ros.codec.backend import CAPTION_BYTES
from gsc_ros.codec.bitstream import NO_SECTIONS, FrameHeader, Sections
from gsc_ros.codec.caption import median_depth
from gsc_ros.codec.foundation import vae_stream
from gsc_ros.codec.foundation.vae_decoder import FoundationReader
from gsc_ros.codec.foundation.vae_model import FoundationModel
from gsc_ros.codec.foundation.vae_rate import LatentAnalysis, RateControl, blocks_of
from gsc_ros.codec.foundation.vae_stream import LatentSymbols
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.halves import LoadOptions, RobotHalf, bytes_before
from gsc_ros.codec.notes import Notes, Timing
from gsc_ros.codec.presets import find
from gsc_ros.codec.rangecoder import RangeEncoder
from gsc_ros.codec.types import EncodedFrame, Reference
from gsc_ros.models.pretrained import Options
from gsc_ros.perception.content import find_loss
from gsc_ros.region import Region

_CAPTION_SHARE = 0.25  # of the room, at most


class Captioner(Protocol):
    """Describes images in words."""

    def caption(self, rgb: NDArray[np.uint8]) -> str:
        """Describe an image uint8 (H, W, 3)."""
        ...


class FoundationEncoder(RobotHalf):
    """
    Encodes images by a pretrained autoencoder; it keeps nothing between them.

    ``captioner``: describes each image, None for no captions; ``caption_bytes``: that a caption
    takes at most.
    """

    PRESET = 'foundation'

    def __init__(
        self,
        model: FoundationModel,
        captioner: Captioner | None = None,
        caption_bytes: int = CAPTION_BYTES,
    ) -> None:
        self.model, self.captioner, self.caption_bytes = model, captioner, caption_bytes
        self.preset = find(self.PRESET)
        self.reader = FoundationReader(model)
        self._rate = RateControl(model)
        self._report: Callable[[str], object] = warnings.warn
        self._reported = ''

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'FoundationEncoder':
        """Load the half; its weights are the folder of :meth:`FoundationModel.load`."""
        return cls(FoundationModel.load(options.weights, options.device, options.models))

    def choose_captioner(
        self, name: str, models: Options | None = None, caption_bytes: int = CAPTION_BYTES
    ) -> None:
        """
        Let a model describe each image.

        ``name``: its folder or ``owner/name@revision`` of the hub; ``models``: how it is loaded,
        None for float32 on the device.
        Raises ``ValueError`` where it cannot be loaded.
        """
        from gsc_ros.perception.foundation.captioner import TransformersCaptioner

        models = models or Options(device=str(self.device))
        self.captioner = TransformersCaptioner.load(name, models)
        self.caption_bytes, self._report = caption_bytes, models.report

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.model.fingerprint

    @property
    def device(self) -> torch.device:
        """The device of the autoencoder."""
        return self.model.vae.device

    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
        text: str | None = None,
    ) -> LatentAnalysis:
        """
        Work out all that can be sent of an image; as :meth:`gsc_ros.codec.FrameEncoder.encode`.

        ``text``: its caption, None to ask the captioner. Raises ``ValueError`` for what is no
        image.
        """
        check_image(rgb)
        small = cv2.resize(
            rgb, coding_size(rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA
        )
        notes = Notes(find_loss(small), timing or Timing())
        if text is None:
            text = '' if notes.blind else self._described(rgb)
        scale = median_depth(depth) if depth is not None else float('nan')
        return LatentAnalysis(
            rgb,
            bitstream.depth_code(scale),
            notes or None,
            text,
            None if region is None else Region(*region),
        )

    def _described(self, rgb: NDArray[np.uint8]) -> str:
        """Ask the captioner; one that fails costs the caption and not the image."""
        if self.captioner is None:
            return ''
        try:
            text = self.captioner.caption(rgb)
        except Exception as error:  # whatever a model does
            reason = str(error) or type(error).__name__
            if reason != self._reported:  # and not for every image
                self._report(f'images are sent without captions: the captioner failed ({reason})')
            self._reported = reason
            return ''
        self._reported = ''
        return text

    def pack(
        self,
        analysis: LatentAnalysis,
        budget_bytes: int,
        sequence: int = 0,
        reference: Reference | None = None,
        or_key: bool = False,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """
        Fill a frame of at most ``budget_bytes`` bytes; as :meth:`FrameEncoder.pack`.

        Every frame is a key frame: ``reference`` and ``or_key`` have no effect.
        """
        before = bytes_before(budget_bytes, sections)
        header = FrameHeader(
            self.preset.name,
            self.fingerprint,
            sequence % 256,
            *analysis.size,
            analysis.depth_code,
            region=analysis.region is not None,
            noted=analysis.notes is not None,
        )
        room = budget_bytes - before - header.bytes
        stream, symbols = self._fill(analysis, room)
        header, data = bitstream.pack(header, stream, 0, sections)
        return EncodedFrame(
            data,
            header,
            symbols.description,
            symbols.bits,
            symbols.notes,
            self.preset.progressive,
            dict(sections),
        )

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """Read a whole frame as a reference; no frame is coded against it."""
        return self.reader.reference(data)

    def _fill(self, analysis: LatentAnalysis, room: int) -> tuple[bytes, LatentSymbols]:
        symbols = LatentSymbols(None, {}, notes=analysis.notes, text=analysis.text)
        caption_bytes = min(self.caption_bytes, int(_CAPTION_SHARE * room))
        if not symbols.empty:
            overhead = self._overhead(symbols, caption_bytes, analysis.region is not None)
            candidate, multiplier = self._rate.search(analysis, 8 * room - overhead)
            rows, columns = candidate.classes.shape
            symbols.allocate((rows, columns), self.model.layout.channels)
            symbols.rung, symbols.means = candidate.index, candidate.means
            symbols.classes = candidate.classes
            symbols.details = self._rate.rounded(candidate, multiplier)[0].astype(np.int64)
            symbols.region = blocks_of(analysis.region, (rows, columns))
        encoder = RangeEncoder()
        vae_stream.write(encoder, symbols, self.model.layout, caption_bytes)
        return encoder.finish()[:room], symbols  # any prefix decodes

    def _overhead(self, symbols: LatentSymbols, caption_bytes: int, regional: bool) -> float:
        """Return the bits before the coefficients, and those of the end."""
        encoder = RangeEncoder()
        if symbols.notes is not None:
            notes_coding.write(encoder, symbols.notes)
        self.model.layout.captions.write(encoder, symbols.text, caption_bytes)
        return encoder.bits + 6 + (24 if regional else 0) + 10
