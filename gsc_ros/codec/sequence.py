"""
Frames in a row: delta frames are coded against one that the receiver has.

The halves of the codec keep nothing between frames; these two do. A receiver keeps the last few
whole frames; a delta frame whose reference it has not got is refused by name.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec.analysis import ImageAnalysis
from gsc_ros.codec.backend import DecoderBackend, EncoderBackend
from gsc_ros.codec.bitstream import NO_SECTIONS, Sections
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.types import DecodedFrame, EncodedFrame, ReceivedFrame, Reference
from gsc_ros.region import Region

KEPT = 8


class SequenceEncoder:
    """
    The robot's side.

    ``encoder``: a :class:`FrameEncoder` or a :class:`SemanticCodec`; ``keyframe_interval``: a key
    frame after so many frames at most, 1 for key frames only, 0 for as few as the scenes need;
    ``chained``: code against the frame before; else against the last key frame, so that a lost
    delta frame harms no other. :meth:`force_keyframe` may be called from any thread.
    """

    def __init__(
        self,
        encoder: EncoderBackend,
        keyframe_interval: int = 0,
        chained: bool = True,
        *,
        key_every: int | None = None,
    ) -> None:
        if key_every is not None:
            warnings.warn('key_every is now keyframe_interval', DeprecationWarning, stacklevel=2)
            keyframe_interval = key_every
        if keyframe_interval < 0:
            raise ValueError(
                f'keyframe_interval {keyframe_interval} must be 0 (as few as can be) or more'
            )
        self.encoder, self.keyframe_interval = encoder, keyframe_interval
        self.chained = chained
        self._reference: Reference | None = None
        self._since_key = 0
        self._key_wanted = threading.Event()

    def force_keyframe(self) -> None:
        """Make the next frame that begins a key frame: the receiver has lost its reference."""
        self._key_wanted.set()

    def _usable(self, analysis: ImageAnalysis) -> Reference | None:
        """Return the reference of the next frame; None where a key frame is due."""
        interval = self.keyframe_interval
        if self._reference is None or (interval and self._since_key + 1 >= interval):
            return None
        return self._reference if self._reference.size == analysis.size else None

    def encode(
        self,
        rgb: NDArray[np.uint8],
        budget_bytes: int,
        depth: NDArray[np.float32] | None = None,
        sequence: int = 0,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """Encode the next frame; see :meth:`FrameEncoder.encode`."""
        # A request that comes while this frame is coded holds for the next one.
        if self._key_wanted.is_set():
            self._key_wanted.clear()
            self._reference = None
        analysis = self.encoder.analyse(rgb, depth, region, timing)
        if analysis.lossy:  # what is lost stands alone, and nothing is coded against it
            self._reference = None
            return self.encoder.pack(analysis, budget_bytes, sequence, sections=sections)
        reference = self._usable(analysis)
        frame = self.encoder.pack(
            analysis, budget_bytes, sequence, reference, or_key=True, sections=sections
        )
        if frame.header.reference is None:
            reference = None
        if self.keyframe_interval != 1 and (reference is None or self.chained):
            self._reference = self.encoder.reference(frame.data, reference)
        self._since_key = 0 if reference is None else self._since_key + 1
        return frame


class SequenceDecoder:
    """
    The ground's side, of one robot.

    ``decoder``: a :class:`FrameDecoder` or a :class:`SemanticCodec`; several may share one.
    """

    def __init__(self, decoder: DecoderBackend) -> None:
        self.decoder = decoder
        self._known: OrderedDict[int, Reference] = OrderedDict()

    def decode(
        self, data: bytes, truncated: bool = False, steps: int | None = None
    ) -> DecodedFrame:
        """Read and render the next frame; see :meth:`FrameDecoder.decode`."""
        return self.decoder.render([self.read(data, truncated)], steps)[0]

    def read(self, data: bytes, truncated: bool = False) -> ReceivedFrame:
        """Read the next frame without rendering it; see :meth:`FrameDecoder.read`."""
        known = self._known  # of this frame also when another sequence begins meanwhile
        number = bitstream.read_header(data).reference
        reference = None if number is None else known.get(number)
        frame = self.decoder.read(data, truncated, reference)
        if frame.reference is not None:
            known[frame.header.sequence] = frame.reference
            known.move_to_end(frame.header.sequence)
            while len(known) > KEPT:
                known.popitem(last=False)
        return frame

    def forget(self) -> None:
        """Forget all references: the next frames are of another sequence."""
        self._known = OrderedDict()

    def add_reference(self, key: bytes) -> None:
        """Read a key frame as a reference; one of which a part is lost can be none."""
        self.read(key)
