"""The robot's half of the codec: an image to a frame of at most so many bytes."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec.analysis import ImageAnalysis
from gsc_ros.codec.bitstream import NO_SECTIONS, FrameHeader, Sections
from gsc_ros.codec.caption import Caption
from gsc_ros.codec.halves import LoadOptions, RobotHalf, bytes_before
from gsc_ros.codec.kind import SCALES
from gsc_ros.codec.networks import RobotNetworks
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.presets import find
from gsc_ros.codec.rate_control import RateControl
from gsc_ros.codec.reader import FrameReader
from gsc_ros.codec.types import EncodedFrame, Reference
from gsc_ros.models.precision import autocast, fast_bfloat16
from gsc_ros.models.pretrained import Options
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.choice import load as load_perception
from gsc_ros.perception.hazards import Limits
from gsc_ros.region import Region


class FrameEncoder(RobotHalf):
    """
    Encodes images; it keeps nothing between them (see :class:`SequenceEncoder`).

    ``bfloat16``: compute in it; by default on CPUs that are faster with it.
    """

    def __init__(self, networks: RobotNetworks, preset: str = 'gsc') -> None:
        self.networks = networks
        self.reader = FrameReader(networks.prior, networks.fingerprint, preset)
        self.preset = self.reader.preset
        self.bfloat16 = self.device.type == 'cpu' and fast_bfloat16()
        self._left_out: frozenset[str] = frozenset()
        self._rate_control = RateControl(
            networks.reconstructor, networks.prior, self.reader.planes, self.preset.pseudo_words
        )

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'FrameEncoder':
        """Load the half; see :meth:`load`."""
        worded = find(options.preset).pseudo_words
        return cls(RobotNetworks.load(options.weights, options.device, worded), options.preset)

    def choose_perception(self, choice: str, models: Options | None = None) -> None:
        """
        Replace who sees, by a choice as in :mod:`gsc_ros.perception.choice`.

        ``models``: how foundation models are loaded, None for float32 on the device. Raises
        ``ValueError`` for what is no choice and for a model that cannot be loaded.
        """
        analyser = self.networks.analyser
        options = models or Options(device=str(self.device))
        analyser.perception = load_perception(choice, lambda: analyser.perception, options)

    def leave_out(self, names: Iterable[str]) -> None:
        """
        Make the frames that follow without these parts (:attr:`Preset.optional`).

        ``caption``: with the objects; ``selection``: of blocks where the budget ends;
        ``residual``; of a preset with pseudo-words also ``pseudo_words`` and the names of planes.
        Raises ``ValueError`` for what the preset cannot leave out.
        """
        self._left_out = self.preset.check_left_out(names)
        self._rate_control = replace(self._rate_control, left_out=self._left_out)

    def see_by(self, camera: Camera | None, limits: Limits | None = None) -> None:
        """
        Set the camera of the images that follow, and what counts as a hazard.

        ``camera``: None for one of 70 degrees at an unknown height.
        """
        analyser = self.networks.analyser
        analyser.camera, analyser.limits = camera, limits or Limits()

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.networks.reconstructor.device

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.networks.fingerprint

    @torch.inference_mode()
    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
    ) -> ImageAnalysis:
        """Work out all that can be sent of an image; arguments as of :meth:`encode`."""
        with autocast(self.bfloat16, self.device):
            return self.networks.analyser.analyse(rgb, depth, region, timing)

    @torch.inference_mode()
    def pack(
        self,
        analysis: ImageAnalysis,
        budget_bytes: int,
        sequence: int = 0,
        reference: Reference | None = None,
        or_key: bool = False,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """Fill a frame; see :meth:`RobotHalf.pack`."""
        before = bytes_before(budget_bytes, sections)
        if analysis.lossy:
            reference = None  # what is lost may not be filled from another frame
        if reference is not None and reference.size != analysis.size:
            raise ValueError(
                f'reference of working size {reference.size} for an image of {analysis.size}: '
                'send a key frame'
            )
        header = FrameHeader(
            self.preset.name,
            self.fingerprint,
            sequence % 256,
            analysis.width,
            analysis.height,
            analysis.depth_code,
            region=analysis.region is not None,
            noted=analysis.symbols.notes is not None,
        )
        with autocast(self.bfloat16, self.device):
            best = self._rate_control.search(
                self._kept(analysis), header, budget_bytes - before, reference, or_key
            )
        if best.header.reference is None:
            reference = None
        header, data = bitstream.pack(
            best.header, best.stream, reference.crc if reference else 0, sections
        )
        notes = best.coded.notes
        return EncodedFrame(
            data,
            header,
            best.coded.description,
            best.coded.bits,
            notes,
            self.preset.progressive,
            dict(sections),
            None if notes and notes.blind else analysis.symbols.kind,
            best.coded.objects,
            SCALES[analysis.symbols.scale] if analysis.depth_code else '',
        )

    def _kept(self, analysis: ImageAnalysis) -> ImageAnalysis:
        """Return an analysis without what is left out."""
        symbols = analysis.symbols
        if 'caption' in self._left_out:
            symbols = replace(symbols, caption=Caption(), objects=None)
        planes = self._left_out.intersection(self.preset.planes)
        return replace(analysis, symbols=replace(symbols, left_out=planes))

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """
        Return what a receiver has of a whole frame, to code later delta frames against.

        ``reference``: that of the frame itself. Raises :class:`BitstreamError` as
        :meth:`FrameReader.read` does, and for a frame of which a part of the image is lost.
        """
        return self.reader.reference(data, reference)
