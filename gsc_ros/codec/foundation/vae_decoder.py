"""
The ground's half of preset ``foundation``: a frame to an image and its trust map.

Reading gives exact symbols. Rendering turns them into latents, which the autoencoder draws: it is
pure and takes frames of any number of robots as a batch. Depth and classes are not sent.
"""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream, renderers
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader
from gsc_ros.codec.foundation import vae_renderer, vae_stream
from gsc_ros.codec.foundation.vae_model import FoundationModel
from gsc_ros.codec.foundation.vae_stream import LatentSymbols
from gsc_ros.codec.foundation.vae_transform import BLOCK
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.halves import GroundHalf, LoadOptions
from gsc_ros.codec.presets import find
from gsc_ros.codec.renderers import Renderer, RendererOptions
from gsc_ros.codec.trust import UNPROVEN
from gsc_ros.codec.types import (
    GENERATED,
    PREDICTED,
    SENT,
    DecodedFrame,
    ReceivedFrame,
    Reference,
)
from gsc_ros.perception.content import FILLS

_SENT_PIXELS = 32  # between latents, of the coding size, up to which pixels count as sent


class FoundationReader:
    """Reads the symbols of frames of one autoencoder and its tables."""

    def __init__(self, model: FoundationModel) -> None:
        self.model = model

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """
        Read a packed frame; ``truncated``: accept one whose end was lost.

        Raises :class:`BitstreamError` for anything but a frame of this preset and these weights.
        """
        header = bitstream.read_header(data)
        self._check(header)
        header, sections, stream = bitstream.unpack(data, truncated)
        size = header.width, header.height
        try:
            symbols = vae_stream.read(stream, size, self.model.layout, header.noted, header.region)
        except ValueError as error:
            raise BitstreamError(f'frame cannot be read ({error}): drop it') from error
        return ReceivedFrame(header, symbols, sections, truncated)

    def _check(self, header: FrameHeader) -> None:
        if header.preset != 'foundation':
            raise BitstreamError(
                f"frame of preset {header.preset!r}, this decoder reads 'foundation': load a "
                f'decoder of preset {header.preset!r}'
            )
        if header.fingerprint != self.model.fingerprint:
            raise BitstreamError(
                f'frame was coded with weights {header.fingerprint:04x}, these are '
                f'{self.model.fingerprint:04x}: use the same autoencoder, revision and folder of '
                'tables on both ends'
            )
        if header.reference is not None:
            raise BitstreamError('preset foundation has no delta frames: the sender is broken')

    def reference(self, data: bytes) -> Reference:
        """Read a whole frame as a reference; raises as :meth:`read`."""
        found = self.read(data).reference
        if found is None:
            raise BitstreamError('part of the image of this frame is lost: it is no reference')
        return found


class FoundationDecoder(GroundHalf):
    """
    Decodes frames; it keeps nothing between them.

    ``renderer``: a pretrained one that draws on the autoencoder's image; that of preset ``gsc``
    (``deterministic``, ``flow``, '') leaves the image as it is.
    """

    PRESET = 'foundation'

    def __init__(
        self, model: FoundationModel, renderer: str | RendererOptions | Renderer = ''
    ) -> None:
        self.model = model
        loaded = renderers.load_or_fall_back(renderer, str(self.device))
        self.renderer = vae_renderer.pretrained(loaded)
        self.preset = find(self.PRESET)
        self.reader = FoundationReader(model)

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'FoundationDecoder':
        """Load the half; its weights are the folder of :meth:`FoundationModel.load`."""
        model = FoundationModel.load(options.weights, options.device, options.models)
        return cls(model, options.renderer)

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.model.fingerprint

    @property
    def device(self) -> torch.device:
        """The device of the autoencoder."""
        return self.model.vae.device

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """Read a packed frame's symbols; see :meth:`FoundationReader.read`."""
        return self.reader.read(data, truncated, reference)

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """Read a whole frame as a reference, without rendering it."""
        return self.reader.reference(data)

    def render(
        self, frames: Sequence[ReceivedFrame], steps: int | None = None
    ) -> list[DecodedFrame]:
        """
        Render frames, in their order; those of one size share the networks' passes.

        ``steps``: of a pretrained renderer, 0 for the autoencoder's image, None for the renderer's
        default; without such a renderer it has no effect. A batch gives the images of single
        frames, to rounding. Raises ``ValueError`` for steps that the renderer does not take.
        """
        if self.renderer is not None:
            steps = renderers.steps_of(self.renderer, steps)
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, frame in enumerate(frames):
            size = frame.header.width, frame.header.height
            groups[_symbols(frame).complete.shape + size].append(index)
        rendered: dict[int, DecodedFrame] = {}
        for (rows, *_), indices in groups.items():
            own = [frames[index] for index in indices]
            images = self._images(own, steps or 0) if rows else [None] * len(own)
            for index, image in zip(indices, images, strict=True):
                rendered[index] = _finish(frames[index], image)
        return [rendered[index] for index in range(len(frames))]

    def _images(self, frames: list[ReceivedFrame], steps: int) -> list[NDArray[np.uint8] | None]:
        """Draw frames of one size and working size."""
        latents = [self.latent(_symbols(frame)) for frame in frames]
        drawn = self.model.vae.decode(torch.from_numpy(np.stack(latents)))
        images = list((255 * drawn.permute(0, 2, 3, 1)).round().byte().numpy())
        if self.renderer is None or not steps:
            return images
        return [*vae_renderer.draw(self.renderer, frames, images, steps)]

    def latent(self, symbols: LatentSymbols) -> NDArray[np.float32]:
        """Return the latents of a frame, float32 (C, h, w); what did not come is concealed."""
        step = self.model.layout.rungs[symbols.rung].step
        rows, columns = symbols.complete.shape
        blocks = np.zeros((rows, columns, self.model.layout.channels, 16))
        known = symbols.known_means
        count = known.sum((1, 2), keepdims=True)
        # A mean that did not come: that of the blocks that did.
        filler = (symbols.means * known).sum((1, 2), keepdims=True) / np.maximum(count, 1)
        blocks[..., 0] = np.where(known, symbols.means, filler).transpose(1, 2, 0)
        blocks[..., 1:] = symbols.details.reshape(*blocks.shape[:3], 15)
        return self.model.transform.latent(step * blocks)


def _symbols(frame: ReceivedFrame) -> LatentSymbols:
    assert isinstance(frame.symbols, LatentSymbols), 'a frame of another preset'
    return frame.symbols


def _fine(symbols: LatentSymbols, size: tuple[int, int]) -> bool:
    """
    Tell whether a block that came whole says of its pixels what a token of preset gsc says.

    At low rungs a block spans a large part of the image: of that only coarse shapes came.
    """
    columns = symbols.complete.shape[1]
    return coding_size(*size)[0] <= _SENT_PIXELS * BLOCK * columns


def _finish(frame: ReceivedFrame, image: NDArray[np.uint8] | None) -> DecodedFrame:
    """Make the decoded frame; ``image``: at the working size, None where nothing came of it."""
    symbols, header = _symbols(frame), frame.header
    size, notes = (header.width, header.height), symbols.notes
    if image is None:
        rgb = np.full((header.height, header.width, 3), 128, np.uint8)
        received = np.full((header.height, header.width), GENERATED, np.uint8)
    else:
        rgb = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        blocks = np.where(symbols.known_means.all(0), np.uint8(PREDICTED), np.uint8(GENERATED))
        if _fine(symbols, size):
            blocks[symbols.complete] = SENT
        received = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)
    if notes is not None and notes.loss is not None:
        cells = notes.loss.cells.astype(np.uint8)
        lost = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST).astype(bool)
        rgb[lost], received[lost] = FILLS[notes.loss.kind], GENERATED
    if header.noted and (notes is None or notes.blind):
        received[:] = GENERATED  # it is not known yet what is wrong with the image
    # No depth and no class is stated, and what is drawn from what was sent is not proven.
    trust = np.where(received == GENERATED, np.uint8(0), np.uint8(round(255 * UNPROVEN)))
    return DecodedFrame(
        rgb,
        None,
        None,
        trust,
        symbols.description,
        header,
        frame.reference,
        notes,
        frame.sections,
        received,
    )
