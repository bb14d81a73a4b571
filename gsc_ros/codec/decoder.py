"""
The ground's half of the codec: a frame to image, depth, classes and trust.

Reading gives exact symbols, frame by frame. Rendering draws them: it is pure, takes frames of any
number of robots as a batch and runs on any device.
"""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec import bitstream, hazards, renderers, residual
from gsc_ros.codec.caption import median_depth
from gsc_ros.codec.halves import GroundHalf, LoadOptions
from gsc_ros.codec.networks import GroundNetworks
from gsc_ros.codec.planes import BY_NAME, FrameSymbols
from gsc_ros.codec.presets import find
from gsc_ros.codec.reader import FrameReader
from gsc_ros.codec.renderers import Renderer, RendererOptions
from gsc_ros.codec.trust import trust_of
from gsc_ros.codec.types import (
    GENERATED,
    PREDICTED,
    SENT,
    DecodedFrame,
    ReceivedFrame,
    Reference,
)
from gsc_ros.labels import SKY, UNLABELLED
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.precision import autocast, fast_bfloat16
from gsc_ros.models.tokenizer import Synthesis
from gsc_ros.models.trust import TrustNet
from gsc_ros.perception.areas import connected_to_top
from gsc_ros.perception.content import FILLS
from gsc_ros.perception.kinds import SceneKind, classes_of

_CERTAIN = 0.7  # probability of sky from which on depth is infinite


class FrameDecoder(GroundHalf):
    """
    Decodes frames; it keeps nothing between them (see :class:`SequenceDecoder`).

    ``renderer``: what draws the images. ``bfloat16``: compute in it; by default on CPUs that are
    faster with it. Symbols never depend on these, nor on the device.
    """

    def __init__(
        self,
        networks: GroundNetworks,
        preset: str = 'gsc',
        renderer: str | RendererOptions | Renderer = '',
    ) -> None:
        self.networks = networks
        self.renderer = renderers.load_or_fall_back(renderer, str(self.device))
        self.reader = FrameReader(networks.prior, networks.fingerprint, preset)
        self.preset = self.reader.preset
        self.bfloat16 = self.device.type == 'cpu' and fast_bfloat16()

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'FrameDecoder':
        """Load the half; see :meth:`load`."""
        worded = find(options.preset).pseudo_words
        networks = GroundNetworks.load(options.weights, options.device, worded)
        if not options.renderer:  # subclasses may take none
            return cls(networks, options.preset)
        return cls(networks, options.preset, options.renderer)

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.networks.reconstructor.device

    @property
    def fingerprint(self) -> int:
        """Sixteen bits of the weights that both ends must share."""
        return self.networks.fingerprint

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """Read a packed frame's symbols; see :meth:`FrameReader.read`."""
        return self.reader.read(data, truncated, reference)

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """Read a whole frame as a reference, without rendering it."""
        return self.reader.reference(data, reference)

    @torch.inference_mode()
    def render(
        self, frames: Sequence[ReceivedFrame], steps: int | None = None
    ) -> list[DecodedFrame]:
        """
        Render frames, in their order; those of one working size share the networks' passes.

        ``steps``: of the renderer, 0 for the deterministic image, None for the renderer's default.
        A frame with a residual is always deterministic. Raises ``ValueError`` for steps that the
        renderer does not take.
        """
        steps = renderers.steps_of(self.renderer, steps)
        groups: dict[tuple[tuple[int, int], int], list[int]] = defaultdict(list)
        for index, frame in enumerate(frames):
            own = 0 if frame.symbols.residual is not None else steps
            groups[frame.symbols.size, own].append(index)
        rendered: dict[int, DecodedFrame] = {}
        for (_, own), indices in groups.items():
            images = self._render([frames[index] for index in indices], own)
            rendered |= dict(zip(indices, images, strict=True))
        return [rendered[index] for index in range(len(frames))]

    def _render(self, frames: list[ReceivedFrame], steps: int) -> list[DecodedFrame]:
        """Render frames of one working size with so many steps each."""
        reconstructor = self.networks.reconstructor
        with autocast(self.bfloat16, self.device):
            out = reconstructor.predict(*(frame.symbols for frame in frames))
            if steps:
                images = self.renderer.draw(self.networks, frames, out, steps)
            else:
                images = reconstructor.draw(out)
        maps = _Maps(out, [frame.symbols for frame in frames], self.networks.trust)
        return [
            _finish(frame, image, maps, index)
            for index, (frame, image) in enumerate(zip(frames, images, strict=True))
        ]

    @torch.inference_mode()
    def maps(
        self, frame: ReceivedFrame
    ) -> tuple[Synthesis, NDArray[np.uint8], NDArray[np.float32]]:
        """
        Predict the maps of a frame on the 1/8 grid, as far as it is stated (training of trust).

        Returns the prediction, classes uint8 (H/8, W/8), and depth in metres, float32.
        """
        with autocast(self.bfloat16, self.device):
            out = self.networks.reconstructor.predict(frame.symbols)
        maps = _Maps(out, [frame.symbols])
        classes = maps.classes[0]
        size = (classes.shape[1], classes.shape[0])
        return out, classes, _depth(maps, 0, size, frame.header.depth_code)


def _enlarge(array: NDArray, size: tuple[int, int]) -> NDArray:
    """Resize a map to (width, height) without mixing its values."""
    return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST)


def _stated(logits: Tensor, kinds: Sequence[SceneKind | None]) -> NDArray[np.uint8]:
    """Return the classes (N, h, w) of logits, 255 for one that does not apply in its scene."""
    classes = logits.argmax(1).byte().cpu().numpy()
    for found, kind in zip(classes, kinds, strict=True):
        found[~classes_of(kind)[found]] = UNLABELLED
    return classes


class _Maps:
    """The predicted maps of a batch, on the CPU."""

    def __init__(
        self, out: Synthesis, frames: Sequence[FrameSymbols], net: TrustNet | None = None
    ) -> None:
        logits, kinds = out.segmentation, [symbols.kind for symbols in frames]
        # Logits are enlarged, not labels, for edges without stairs.
        large = functional.interpolate(
            logits, scale_factor=2, mode='bilinear', align_corners=False
        )
        self.large_classes = _stated(large, kinds)
        self.classes = _stated(logits, kinds)
        self.right = trust_of(net, out, frames)
        self.sky: NDArray[np.float32] = logits.softmax(1)[:, SKY].float().cpu().numpy()
        self.metres: NDArray[np.float32] = log_to_depth(out.depth.float())[:, 0].cpu().numpy()


def _finish(
    frame: ReceivedFrame, drawn: NDArray[np.float32], maps: _Maps, index: int
) -> DecodedFrame:
    """Make the decoded frame of the networks' outputs for it, ``drawn`` and ``maps[index]``."""
    header, symbols = frame.header, frame.symbols
    if symbols.residual is not None:
        drawn = drawn + residual.added(symbols.residual, symbols.size)
    size = (header.width, header.height)
    rgb = drawn.round().clip(0, 255).astype(np.uint8)
    notes = symbols.notes
    if notes is not None and notes.loss is not None:
        lost = _enlarge(notes.loss.cells.astype(np.uint8), symbols.size).astype(bool)
        rgb[lost] = FILLS[notes.loss.kind]
    received = _received(symbols, size, header.noted)
    trust = _trust(maps.right[index].prod(0), received)
    segmentation = cv2.resize(maps.large_classes[index], size, interpolation=cv2.INTER_NEAREST)
    depth = _depth(maps, index, size, header.depth_code)
    depth[segmentation == SKY] = np.nan
    if not (notes and notes.sky_doubtful):
        depth[_open_sky(maps.sky[index], symbols, segmentation)] = np.inf
    depth[received == GENERATED] = np.nan
    segmentation[received == GENERATED] = UNLABELLED
    return DecodedFrame(
        cv2.resize(rgb, size, interpolation=cv2.INTER_AREA),
        depth,
        segmentation,
        trust,
        symbols.description,
        header,
        frame.reference,
        notes,
        frame.sections,
        received,
        None if header.noted and (notes is None or notes.blind) else symbols.kind,
        maps.right[index],
        hazards.published(symbols.hazards, size, _hidden(symbols, header.noted, size)),
        symbols.objects,
    )


def _hidden(symbols: FrameSymbols, noted: bool, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Find where the image is lost or not of now: bool (H, W)."""
    if noted and (symbols.notes is None or symbols.notes.blind):
        return np.ones(size[::-1], bool)
    return _enlarge(symbols.lost('fine').astype(np.uint8), size).astype(bool)


def _trust(
    probability: NDArray[np.float32], received: NDArray[np.uint8]
) -> NDArray[np.uint8]:  # fmt: skip
    """Code probabilities (h, w) as uint8 (H, W): 0 where generated, 1 to 255 elsewhere."""
    size = (received.shape[1], received.shape[0])
    large = cv2.resize(probability, size, interpolation=cv2.INTER_LINEAR)
    trust = (255 * large).round().clip(1, 255).astype(np.uint8)
    trust[received == GENERATED] = 0
    return trust


def _received(symbols: FrameSymbols, size: tuple[int, int], noted: bool) -> NDArray[np.uint8]:
    """
    Tell by the finest token over a pixel whether it was sent, predicted or generated.

    Of a noted image nothing counts as sent while it is not known what is wrong with it.
    """
    if noted and (symbols.notes is None or symbols.notes.blind):
        return np.full(size[::-1], GENERATED, np.uint8)
    coarse, middle = BY_NAME['tokens0'], BY_NAME['tokens1']
    known = symbols.received(middle.name)
    sent = symbols.sent.get(middle.name, known)
    factor = 1 << (coarse.log2_stride - middle.log2_stride)
    guessed = symbols.received(coarse.name).repeat(factor, 0).repeat(factor, 1)
    received = np.where(known | guessed, np.uint8(PREDICTED), np.uint8(GENERATED))
    received[sent] = SENT
    if noted:
        received = received.repeat(1 << middle.log2_stride, 0).repeat(1 << middle.log2_stride, 1)
        received[symbols.lost('fine')] = GENERATED
    return _enlarge(received, size)


def _open_sky(
    sky_probability: NDArray[np.float32], symbols: FrameSymbols, segmentation: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """
    Find where the sky is certain: likely, and open up to the upper border: bool (H, W).

    ``sky_probability``: float32 (h, w).
    """
    small = (sky_probability.shape[1], sky_probability.shape[0])
    lost = _enlarge(symbols.lost('fine').astype(np.uint8), small).astype(bool)
    likely = connected_to_top((sky_probability >= _CERTAIN) & ~lost)
    size = (segmentation.shape[1], segmentation.shape[0])
    return _enlarge(likely.astype(np.uint8), size).astype(bool) & (segmentation == SKY)


def _depth(maps: _Maps, index: int, size: tuple[int, int], code: int) -> NDArray[np.float32]:
    """Metres at full size, brought to the median depth that was sent."""
    metres = maps.metres[index]
    if code:
        median = median_depth(metres[maps.classes[index] != SKY])
        if np.isfinite(median):
            metres = metres * np.float32(bitstream.depth_of_code(code) / median)
    return cv2.resize(metres.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
