"""
The robot's half of preset ``foundation``: an image to latents to a frame of at most so many bytes.

Rate control: the rung (working size and step) follows from the budget and from what the image
costs at each. At that rung every coefficient is then rounded to the value with the least error
plus multiplier times bits, and the multiplier is searched so that the frame is full. Errors in
the region of interest weigh sixteen times as much, and those in the middle of the image a little
more than those at its border: this is the dynamic selection of latents.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream
from gsc_ros.codec import notes as notes_coding
from gsc_ros.codec.analysis import check_image
from gsc_ros.codec.bitstream import NO_SECTIONS, FrameHeader, Sections
from gsc_ros.codec.caption import median_depth
from gsc_ros.codec.foundation import vae_stream
from gsc_ros.codec.foundation.entropy_tables import COSTED, ZERO
from gsc_ros.codec.foundation.vae_decoder import FoundationReader
from gsc_ros.codec.foundation.vae_model import FoundationModel, to_tensor
from gsc_ros.codec.foundation.vae_rungs import Rung
from gsc_ros.codec.foundation.vae_stream import LatentSymbols
from gsc_ros.codec.foundation.vae_stream import Region as Blocks
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.notes import Notes, Timing
from gsc_ros.codec.presets import find
from gsc_ros.codec.rangecoder import RangeEncoder
from gsc_ros.codec.types import EncodedFrame, Reference
from gsc_ros.perception.content import find_loss
from gsc_ros.region import Region

if TYPE_CHECKING:
    from gsc_ros.perception.foundation.loading import Options

DEFAULT_CAPTION_BYTES = 24
_NATURAL = 0.12  # squares of the step a bit: where an error costs as much as a finer step saves
_COARSEST = 16.0
_REGION_WEIGHT, _BORDER_WEIGHT = 16.0, 0.6
_FULL = 0.97  # of the room: what a rung fills at least, or the next one is cut
_SEARCHED = 14  # halvings of the multiplier
_CAPTION_SHARE = 0.25  # of the room, at most


class Captioner(Protocol):
    """Describes images in words."""

    def caption(self, rgb: NDArray[np.uint8]) -> str:
        """Describe an image uint8 (H, W, 3)."""
        ...


@dataclass
class LatentAnalysis:
    """
    All that can be sent of an image, for any number of budgets to pack it for.

    ``size``: (W, H); ``depth_code``: of its median depth; ``text``: a caption; ``region``: of
    interest; the coefficients of a working size are computed when a rung is tried.
    """

    rgb: NDArray[np.uint8]
    depth_code: int
    notes: Notes | None
    text: str
    region: Region | None
    coefficients: dict[tuple[int, int], NDArray[np.float64]] = field(
        default_factory=dict, repr=False
    )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def lossy(self) -> bool:
        """Whether a part of the image is lost."""
        return self.notes is not None and self.notes.loss is not None


@dataclass(frozen=True)
class _Candidate:
    """The coefficients of a rung in steps: ``means`` (C, rows, columns), ``details`` of blocks."""

    index: int
    rung: Rung
    means: NDArray[np.int64]
    mean_bits: float
    classes: NDArray[np.int64]
    details: NDArray[np.float64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]


class FoundationEncoder:
    """
    Encodes images by a pretrained autoencoder; it keeps nothing between them.

    ``captioner``: describes each image, None for no captions; ``caption_bytes``: that a caption
    takes at most.
    """

    def __init__(
        self,
        model: FoundationModel,
        captioner: Captioner | None = None,
        caption_bytes: int = DEFAULT_CAPTION_BYTES,
    ) -> None:
        self.model, self.captioner, self.caption_bytes = model, captioner, caption_bytes
        self.preset = find('foundation')
        self.reader = FoundationReader(model)
        self._bits = model.layout.tables.bits()
        self._report: Callable[[str], object] = warnings.warn
        self._reported = ''

    @classmethod
    def load(
        cls,
        preset: str = 'foundation',
        weights: str | Path | None = None,
        threads: int | None = None,
        device: str = 'auto',
    ) -> 'FoundationEncoder':
        """
        Load the robot's half.

        ``weights``: the folder that ``gsc train entropy`` wrote. Raises as
        :meth:`FoundationModel.load`.
        """
        if threads:
            torch.set_num_threads(threads)
        return cls(FoundationModel.load(weights, device))

    def choose_captioner(
        self, name: str, models: 'Options', caption_bytes: int = DEFAULT_CAPTION_BYTES
    ) -> None:
        """
        Let a model describe each image.

        ``name``: its folder or ``owner/name@revision`` of the hub; ``models``: how it is loaded.
        Raises ``ValueError`` where it cannot be loaded.
        """
        from gsc_ros.perception.foundation.captioner import TransformersCaptioner

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
        before = len(bitstream.pack_sections(sections))
        least = bitstream.MIN_BUDGET + before
        if not least <= budget_bytes <= bitstream.MAX_STREAM:
            raise ValueError(
                f'budget_bytes {budget_bytes} is outside {least}..{bitstream.MAX_STREAM}: a frame '
                'needs its header, its sections and a little more'
            )
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

    # Rate control

    def _fill(self, analysis: LatentAnalysis, room: int) -> tuple[bytes, LatentSymbols]:
        symbols = LatentSymbols(None, {}, notes=analysis.notes, text=analysis.text)
        caption_bytes = min(self.caption_bytes, int(_CAPTION_SHARE * room))
        if not symbols.empty:
            overhead = self._overhead(symbols, caption_bytes, analysis.region is not None)
            candidate, multiplier = self._search(analysis, 8 * room - overhead)
            rows, columns = candidate.classes.shape
            symbols.allocate((rows, columns), self.model.layout.channels)
            symbols.rung, symbols.means = candidate.index, candidate.means
            symbols.classes = candidate.classes
            symbols.details = self._rounded(candidate, multiplier)[0].astype(np.int64)
            symbols.region = _blocks(analysis.region, (rows, columns))
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

    def _search(self, analysis: LatentAnalysis, room: float) -> tuple[_Candidate, float]:
        """Return the rung to send, and the multiplier at which it fills so many bits."""
        chosen: _Candidate | None = None
        for index in range(len(self.model.layout.rungs)):
            candidate = self._candidate(analysis, index)
            if chosen is not None and self._cost(candidate, _NATURAL) > room:
                break
            chosen = candidate
        assert chosen is not None
        more = chosen.index + 1 < len(self.model.layout.rungs)
        if more and self._cost(chosen, 0.0) < _FULL * room:
            chosen = self._candidate(analysis, chosen.index + 1)
        low, high = 0.0, _COARSEST
        if self._cost(chosen, low) <= room:
            return chosen, low
        for _ in range(_SEARCHED):
            middle = high / 8 if low == 0 else (low + high) / 2
            if self._cost(chosen, middle) > room:
                low = middle
            else:
                high = middle
        return chosen, high

    def _candidate(self, analysis: LatentAnalysis, index: int) -> _Candidate:
        layout, (width, height) = self.model.layout, analysis.size
        rung, shape = layout.rungs[index], layout.shape(index, width, height)
        blocks = self._coefficients(analysis, shape) / rung.step
        rows, columns, channels, _ = blocks.shape
        means = np.round(blocks[..., 0]).astype(np.int64).transpose(2, 0, 1)
        means[rung.means == ZERO] = 0
        details = blocks[..., 1:].reshape(rows, columns, channels * 15)
        classes = np.searchsorted(rung.edges, np.square(details).sum(-1)).astype(np.int64)
        groups = rung.details[classes].astype(np.int64)
        groups[groups == ZERO] = layout.tables.groups
        weights = _weights(analysis.region, (rows, columns))
        bits = self._mean_bits(means, rung) - float(
            np.log2(rung.counts[classes] / rung.counts.sum()).sum()
        )
        return _Candidate(index, rung, means, bits, classes, details, groups, weights)

    def _coefficients(
        self, analysis: LatentAnalysis, shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Encode the image at a working size of so many blocks; kept with the analysis."""
        if shape not in analysis.coefficients:
            cell = self.model.layout.cell
            size = shape[1] * cell, shape[0] * cell
            enlarged = size[0] > analysis.size[0] or size[1] > analysis.size[1]
            how = cv2.INTER_CUBIC if enlarged else cv2.INTER_AREA
            small = cv2.resize(analysis.rgb, size, interpolation=how)
            latent = self.model.vae.encode(to_tensor([small]))[0].numpy()
            analysis.coefficients[shape] = self.model.transform.blocks(latent)
        return analysis.coefficients[shape]

    def _mean_bits(self, means: NDArray[np.int64], rung: Rung) -> float:
        """Estimate the bits of all means."""
        left = np.zeros_like(means)
        up = np.zeros_like(means)
        left[:, :, 1:], up[:, 1:] = means[:, :, :-1], means[:, :-1]
        a, b = rung.left[:, None, None], rung.up[:, None, None]
        guess = (a * left + b * up + 8) >> 4
        guess[:, 0] = ((a + b)[:, 0] * left[:, 0] + 8) >> 4
        guess[:, :, 0] = ((a + b)[:, :, 0] * up[:, :, 0] + 8) >> 4
        groups = rung.means.astype(np.int64)
        groups[groups == ZERO] = self.model.layout.tables.groups
        rest = np.clip(means - guess, -COSTED, COSTED) + COSTED
        return float(self._bits[groups[:, None, None], rest].sum())

    def _rounded(
        self, candidate: _Candidate, multiplier: float
    ) -> tuple[NDArray[np.float64], float]:
        """
        Round details to the least sum of weighted error and bits.

        Returns float64 whole numbers (rows, columns, C * 15), and their bits.
        """
        details, groups = candidate.details, candidate.groups
        size, sign = np.abs(details), np.sign(details)
        nearest = np.round(size)
        price = multiplier / candidate.weights[..., None]
        best, best_bits = np.zeros(size.shape), np.zeros(size.shape, np.float32)
        best_cost = np.full(size.shape, np.inf)
        for value in (nearest, np.maximum(nearest - 1, 0), np.zeros_like(nearest)):
            signed = sign * value
            index = np.clip(signed, -COSTED, COSTED).astype(np.int64) + COSTED
            bits = self._bits[groups, index]
            cost = np.square(size - value) + price * bits
            better = cost < best_cost
            for kept, new in ((best, signed), (best_cost, cost), (best_bits, bits)):
                kept[better] = new[better]
        best[groups == self.model.layout.tables.groups] = 0
        return best, float(best_bits.sum())

    def _cost(self, candidate: _Candidate, multiplier: float) -> float:
        """Return the bits of a rung at a multiplier."""
        return candidate.mean_bits + self._rounded(candidate, multiplier)[1]


def _blocks(region: Region | None, shape: tuple[int, int]) -> Blocks | None:
    """Return the blocks that a region touches."""
    if region is None:
        return None
    rows, columns = shape
    top, left = int(region.top * rows), int(region.left * columns)
    bottom = min(max(int(np.ceil(region.bottom * rows)), top + 1), rows)
    right = min(max(int(np.ceil(region.right * columns)), left + 1), columns)
    return min(top, rows - 1), bottom, min(left, columns - 1), right


def _weights(region: Region | None, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the weight of an error in each block."""
    rows, columns = shape
    y = np.abs((np.arange(rows) + 0.5) / rows - 0.5)[:, None]
    x = np.abs((np.arange(columns) + 0.5) / columns - 0.5)[None]
    weights = 1 - (1 - _BORDER_WEIGHT) * np.maximum(x, y) * 2
    inside = _blocks(region, shape)
    if inside is not None:
        weights[inside[0] : inside[1], inside[2] : inside[3]] *= _REGION_WEIGHT
    return weights
