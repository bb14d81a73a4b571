"""
The ground's half of preset ``cod_lite``: tokens to an image and its trust.

Depth and classes are not in a frame: the ground's perception sees them on the image
(:mod:`gsc_ros.codec.ground_perception`).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.codec import bitstream, presets
from gsc_ros.codec import device as devices
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader
from gsc_ros.codec.cod_lite import checkpoint, symbols
from gsc_ros.codec.cod_lite.checkpoint import Model
from gsc_ros.codec.cod_lite.symbols import TokenSymbols
from gsc_ros.codec.halves import GroundHalf, LoadOptions
from gsc_ros.codec.notes import Notes
from gsc_ros.codec.presets import Preset
from gsc_ros.codec.reader import check_header
from gsc_ros.codec.trust import UNPROVEN
from gsc_ros.codec.types import GENERATED, SENT, DecodedFrame, ReceivedFrame, Reference
from gsc_ros.models.precision import autocast, fast_bfloat16
from gsc_ros.perception.content import FILLS

_UNKNOWN = 128  # grey, where nothing at all is known


def read_frame(model: Model, preset: Preset, data: bytes, truncated: bool) -> ReceivedFrame:
    """Read a packed frame; see :meth:`CodLiteDecoder.read`."""
    header = bitstream.read_header(data)
    check_header(header, preset, model.fingerprint, truncated)
    if header.reference is not None:
        raise BitstreamError('preset cod_lite has no delta frames: the sender is broken')
    header, sections, stream = bitstream.unpack(data, truncated)
    found = symbols.read(header, stream, model.config, truncated)
    return ReceivedFrame(header, cast(Any, found), sections, truncated)


class CodLiteDecoder(GroundHalf):
    """Decodes frames; it keeps nothing between them."""

    PRESET = 'cod_lite'

    def __init__(self, model: Model, preset: str = PRESET) -> None:
        self.model, self.preset = model, presets.find(preset)
        self.bfloat16 = self.device.type == 'cpu' and fast_bfloat16()

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'CodLiteDecoder':
        """Load the half, which draws in its own way; see :class:`CodLiteEncoder`."""
        device = devices.resolve(options.device)
        return cls(checkpoint.load(options.weights, device, options.models), options.preset)

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.model.net.y_embedder.bottleneck.embedding.weight.device

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.model.fingerprint

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """
        Read a packed frame.

        ``truncated``: accept a frame whose end was lost; ``reference`` is of no effect. Raises
        :class:`BitstreamError` for anything else but a whole frame of this preset and these
        weights (or, with ``truncated``, the beginning of one).
        """
        return read_frame(self.model, self.preset, data, truncated)

    @torch.inference_mode()
    def render(
        self, frames: Sequence[ReceivedFrame], steps: int | None = None
    ) -> list[DecodedFrame]:
        """
        Render frames, in their order; those of one working size share the networks' passes.

        ``steps`` is of no effect: there is one. Depth and classes are None.
        """
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        found = [cast(TokenSymbols, frame.symbols) for frame in frames]
        for index, one in enumerate(found):
            if one.tokens is not None and one.received().any():
                groups[one.tokens.shape].append(index)
        drawn: dict[int, NDArray[np.uint8]] = {}
        for indices in groups.values():
            tokens = np.stack([concealed(cast(Any, found[i].tokens)) for i in indices])
            images = self._draw(tokens, [frames[i].header for i in indices])
            drawn |= dict(zip(indices, images, strict=True))
        return [
            _finish(frame, one, drawn.get(index))
            for index, (frame, one) in enumerate(zip(frames, found, strict=True))
        ]

    def _draw(
        self, tokens: NDArray[np.int64], headers: Sequence[FrameHeader]
    ) -> list[NDArray[np.uint8]]:
        """Draw images uint8 (H, W, 3) of tokens int64 (n, rows, columns)."""
        noise: Tensor | None = None
        if self.model.config.noise_level:
            stride = self.model.config.stride
            shape = (3, tokens.shape[1] * stride, tokens.shape[2] * stride)
            # Seeded by the frame: the same bytes give the same image.
            noise = torch.stack(
                [
                    torch.from_numpy(
                        np.random.default_rng(h.sequence).standard_normal(shape, np.float32)
                    )
                    for h in headers
                ]
            ).to(self.device)
        with autocast(self.bfloat16, self.device):
            images = self.model.net.draw(torch.from_numpy(tokens).to(self.device), noise)
        images = ((images + 1) * 127.5).round().clamp(0, 255).byte()
        return list(images.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def concealed(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put the nearest token that was received in place of each that was not; one at least was."""
    missing = (tokens < 0).astype(np.uint8)
    if not missing.any():
        return tokens
    _, labels = cv2.distanceTransformWithLabels(
        missing, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros(labels.max() + 1, np.int64)
    here = missing == 0
    by_label[labels[here]] = tokens[here]
    return np.asarray(by_label[labels])


def _finish(
    frame: ReceivedFrame, symbols_: TokenSymbols, drawn: NDArray[np.uint8] | None
) -> DecodedFrame:
    """Make the decoded frame of an image uint8 (h, w, 3) at the working size, None for none."""
    header, notes = frame.header, symbols_.notes
    size = (header.width, header.height)
    if drawn is None:
        rgb = np.full((*size[::-1], 3), _UNKNOWN, np.uint8)
    else:
        grown = size[0] * size[1] > drawn.shape[0] * drawn.shape[1]
        how = cv2.INTER_CUBIC if grown else cv2.INTER_AREA
        rgb = cv2.resize(drawn, size, interpolation=how)
    received = cv2.resize(
        np.where(symbols_.received(), np.uint8(SENT), np.uint8(GENERATED)),
        size,
        interpolation=cv2.INTER_NEAREST,
    )
    if notes is not None and notes.loss is not None:
        lost = cv2.resize(notes.loss.cells.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        rgb[lost > 0] = FILLS[notes.loss.kind]
        received[lost > 0] = GENERATED
    if _unclear(header, notes):
        received[:] = GENERATED
    # No depth and no class is stated, and what is drawn from what was sent is not proven.
    trust = np.where(received == GENERATED, np.uint8(0), np.uint8(round(255 * UNPROVEN)))
    return DecodedFrame(
        rgb,
        None,
        None,
        trust,
        symbols_.description,
        header,
        frame.reference,
        notes,
        frame.sections,
        received,
    )


def _unclear(header: FrameHeader, notes: Notes | None) -> bool:
    """Whether nothing may be taken from an image: it is not of now, or its notes are lost."""
    return header.noted and (notes is None or notes.blind)
