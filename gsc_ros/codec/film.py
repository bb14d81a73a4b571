"""
Frames in a row: delta frames lean on one that the receiver has, unless a key frame says more.

The codec itself keeps nothing between frames; these two do. A receiver keeps the last few whole
frames; a delta frame whose reference it has not got is refused by name.
"""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec.codec import DecodedFrame, EncodedFrame, Looked, Reference, SemanticCodec
from gsc_ros.codec.notes import Timing
from gsc_ros.codec.selection import Region

KEPT = 8


class FilmEncoder:
    """
    The robot's side.

    ``key_every``: a key frame after so many frames at most, 1 for key frames only, 0 for as few as
    the scenes need. ``chained``: lean on the frame before; else on the last key frame, so that
    a lost delta frame harms no other.
    """

    def __init__(self, codec: SemanticCodec, key_every: int = 0, chained: bool = True) -> None:
        if key_every < 0:
            raise ValueError(f'key_every {key_every} must be 0 (as few as can be) or more')
        self.codec, self.key_every, self.chained = codec, key_every, chained
        self._reference: Reference | None = None
        self._since_key = 0

    def restart(self) -> None:
        """Make the next frame a key frame: the receiver has lost what deltas lean on."""
        self._reference = None

    def _usable(self, looked: Looked) -> Reference | None:
        """Find what the next frame may lean on; None where a key frame is due."""
        if self._reference is None or (self.key_every and self._since_key + 1 >= self.key_every):
            return None
        same = self._reference.symbols.size == looked.found.symbols.size
        return self._reference if same else None

    def encode(
        self,
        rgb: NDArray[np.uint8],
        budget_bytes: int,
        depth: NDArray[np.float32] | None = None,
        sequence: int = 0,
        region: Region | None = None,
        timing: Timing | None = None,
    ) -> EncodedFrame:
        """Encode the next frame; see :meth:`SemanticCodec.encode`."""
        looked = self.codec.analyse(rgb, depth, region, timing)
        if looked.lossy:  # what is lost stands alone, and nothing leans on it
            self.restart()
            return self.codec.pack(looked, budget_bytes, sequence)
        reference = self._usable(looked)
        frame = self.codec.pack(looked, budget_bytes, sequence, reference, or_key=True)
        if frame.header.reference is None:
            reference = None
        if self.key_every != 1 and (reference is None or self.chained):
            self._reference = self.codec.reference(frame.data, reference)
        self._since_key = 0 if reference is None else self._since_key + 1
        return frame


class FilmDecoder:
    """The ground's side."""

    def __init__(self, codec: SemanticCodec) -> None:
        self.codec = codec
        self._known: OrderedDict[int, Reference] = OrderedDict()

    def decode(
        self, data: bytes, truncated: bool = False, steps: int | None = None
    ) -> DecodedFrame:
        """Decode the next frame; see :meth:`SemanticCodec.decode`."""
        leans_on = bitstream.read_header(data).reference
        reference = None if leans_on is None else self._known.get(leans_on)
        frame = self.codec.decode(data, truncated, steps, reference)
        if frame.reference is not None:
            self._keep(frame.reference)
        return frame

    def forget(self) -> None:
        """Forget all references: the next frames are of another film."""
        self._known.clear()

    def learn(self, key: bytes) -> None:
        """Take a key frame as a reference, without drawing it; see :meth:`decode`."""
        self._keep(self.codec.reference(key))

    def _keep(self, reference: Reference) -> None:
        self._known[reference.header.sequence] = reference
        self._known.move_to_end(reference.header.sequence)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
