"""
Rate control of preset ``foundation``: which rung to send, and every coefficient as how much.

The rung (working size and step) follows from the budget and from what the image costs at each. At
that rung every coefficient is then rounded to the value with the least error plus multiplier times
bits, and the multiplier is searched so that the frame is full. Errors in the region of interest
weigh sixteen times as much, and those in the middle of the image a little more than those at its
border: this is the dynamic selection of latents.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.foundation.entropy_tables import COSTED, ZERO
from gsc_ros.codec.foundation.vae_model import FoundationModel, to_tensor
from gsc_ros.codec.foundation.vae_rungs import Rung
from gsc_ros.codec.foundation.vae_stream import Region as Blocks
from gsc_ros.codec.notes import Notes
from gsc_ros.region import Region

_NATURAL = 0.12  # squares of the step a bit: where an error costs as much as a finer step saves
_COARSEST = 16.0
_REGION_WEIGHT, _BORDER_WEIGHT = 16.0, 0.6
_FULL = 0.97  # of the room: what a rung fills at least, or the next one is cut
_SEARCHED = 14  # halvings of the multiplier


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
class Candidate:
    """The coefficients of a rung in steps: ``means`` (C, rows, columns), ``details`` of blocks."""

    index: int
    rung: Rung
    means: NDArray[np.int64]
    mean_bits: float
    classes: NDArray[np.int64]
    details: NDArray[np.float64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]


class RateControl:
    """Chooses what is sent of an image with a model's autoencoder and tables."""

    def __init__(self, model: FoundationModel) -> None:
        self.model = model
        self._bits = model.layout.tables.bits()

    def search(self, analysis: LatentAnalysis, room: float) -> tuple[Candidate, float]:
        """Return the rung to send, and the multiplier at which it fills so many bits."""
        chosen: Candidate | None = None
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

    def _candidate(self, analysis: LatentAnalysis, index: int) -> Candidate:
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
        return Candidate(index, rung, means, bits, classes, details, groups, weights)

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

    def rounded(
        self, candidate: Candidate, multiplier: float
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

    def _cost(self, candidate: Candidate, multiplier: float) -> float:
        """Return the bits of a rung at a multiplier."""
        return candidate.mean_bits + self.rounded(candidate, multiplier)[1]


def blocks_of(region: Region | None, shape: tuple[int, int]) -> Blocks | None:
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
    inside = blocks_of(region, shape)
    if inside is not None:
        weights[inside[0] : inside[1], inside[2] : inside[3]] *= _REGION_WEIGHT
    return weights
