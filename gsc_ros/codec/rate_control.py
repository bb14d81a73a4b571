"""
Rate control: what of an image goes into a budget.

Selection: of the plane in which the budget ends, the encoder sends first the blocks that matter
most. It predicts as the receiver would, once without the plane and once with all of it, and takes
the blocks where that lowers the error of latent and layout most, weighted by the importance of
what is there: a person's block before one of sky. In the same way a delta frame skips, of the
blocks that changed, those where sending them anew helps least. Of several plans for a delta frame
the one with the least error at the receiver is sent.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import pseudo_words, residual
from gsc_ros.codec.analysis import ImageAnalysis
from gsc_ros.codec.bitstream import FrameHeader
from gsc_ros.codec.planes import BY_NAME, PLANES, TOKENS, UNKNOWN, FrameSymbols, Plane, blocks_of
from gsc_ros.codec.prior import Prior
from gsc_ros.codec.residual import Residual
from gsc_ros.codec.skip_mask import find_skip_mask
from gsc_ros.codec.streams import Plan, StreamWriter, completed
from gsc_ros.codec.synthesis import Reconstructor
from gsc_ros.codec.types import Reference

# A key frame stands alone, a delta frame is void where its reference was lost: at much the same
# error the key frame is sent.
KEY_SHARE = 0.95
_RESIDUAL_BITS = 80  # from which a residual pays
_WRONG_CLASS = 4.0  # a wrong cell of the layout, in squared errors of the latent
_MAP_SHARE = 0.93  # of what fitted without a map of the blocks still fits beside one
# Shares of the changed blocks that a delta frame may send, and of how many blocks all fit anyway.
_SENT_SHARES = (1.0, 0.5, 0.25)
_FEW = 0.1  # of all blocks


def errors(
    analysis: ImageAnalysis, reconstructor: Reconstructor, *frames: FrameSymbols
) -> list[NDArray[np.float64]]:
    """Compute weighted errors of what a receiver makes of frames, by block of the 1/64 grid."""
    fine = analysis.symbols.planes['fine'][0].astype(np.int64)
    out = reconstructor.predict(*frames)
    true = analysis.latent / reconstructor.latent_std
    wrong = (out.latent - true).square().mean(1).double().cpu().numpy()
    classes = torch.nn.functional.avg_pool2d(out.segmentation, 2).argmax(1).cpu().numpy()
    wrong = (wrong + _WRONG_CLASS * (classes != fine)) * analysis.importance
    return [blocks_of(error, BY_NAME['fine']) for error in wrong]


def choose_blocks(
    analysis: ImageAnalysis,
    plane: Plane,
    coded: FrameSymbols,
    reference: FrameSymbols | None,
    reconstructor: Reconstructor,
) -> NDArray[np.bool_] | None:
    """
    Choose blocks of the plane in which coding ended: bool (H/64, W/64), None where none help.

    ``coded``: what of the image fitted without a choice; ``reference``: of a delta frame.
    """
    name = plane.name
    share = float(coded.received(name).mean()) * _MAP_SHARE
    without, whole = ({**coded.planes} for _ in range(2))
    without[name] = np.full_like(without[name], UNKNOWN)
    whole[name] = analysis.symbols.planes[name]
    if name in coded.skip_mask:
        skipped = coded.skip_mask[name]
        without[name][:, skipped] = coded.planes[name][:, skipped]
        whole[name] = np.where(skipped, coded.planes[name], whole[name])
    before, after = (replace(coded, planes=planes) for planes in (without, whole))
    if reference is not None:
        before = completed(before, reference)
        after = completed(after, reference)
    without_it, with_it = errors(analysis, reconstructor, before, after)
    gain = without_it - with_it
    count = round(share * gain.size)
    if not 0 < count < gain.size:
        return None
    blocks = np.zeros(gain.shape, bool)
    blocks.flat[np.argsort(-gain, axis=None, kind='stable')[:count]] = True
    return blocks


def skip_masks(
    analysis: ImageAnalysis, reference: FrameSymbols, reconstructor: Reconstructor
) -> list[NDArray[np.bool_]]:
    """
    Propose masks of the blocks that a delta frame skips: bool (H/64, W/64) each.

    First those that stand still, then more and more of the others: where a scene moves, the coarse
    planes of all that changed would leave no room for anything finer.
    """
    skipped = find_skip_mask(analysis.symbols, reference)
    changed = int((~skipped).sum())
    if changed <= _FEW * skipped.size:
        return [skipped]
    nothing, kind = FrameSymbols.unknown(reference.size), analysis.symbols.kind
    sent = {n: g for n, g in analysis.symbols.planes.items() if n not in TOKENS[1:]}
    stale, fresh = (
        completed(FrameSymbols(None, {**nothing.planes, **planes}, kind=kind), reference)
        for planes in ({}, sent)
    )
    before, after = errors(analysis, reconstructor, stale, fresh)
    order = np.argsort(np.where(skipped, np.inf, after - before), axis=None, kind='stable')
    masks = []
    for share in _SENT_SHARES:
        mask = np.ones(skipped.shape, bool)
        mask.flat[order[: round(share * changed)]] = False
        masks.append(mask)
    return masks


@dataclass(frozen=True)
class Attempt:
    """A frame that could be sent: what is coded of it, and all that a receiver then has."""

    header: FrameHeader
    stream: bytes
    coded: FrameSymbols
    received: FrameSymbols


@dataclass(frozen=True)
class _Policy:
    """Answers the stream writer where the budget ends, or does not."""

    analysis: ImageAnalysis
    reconstructor: Reconstructor
    reference: FrameSymbols | None
    left_out: frozenset[str] = frozenset()

    def blocks(self, plane: Plane, coded: FrameSymbols) -> NDArray[np.bool_] | None:
        """Choose those that lower the receiver's error most; a region has chosen already."""
        if self.analysis.region is not None or 'selection' in self.left_out:
            return None
        return choose_blocks(self.analysis, plane, coded, self.reference, self.reconstructor)

    def residual(self, coded: FrameSymbols, bits: float) -> Residual | None:
        """Fill the room with the difference from the deterministic image."""
        if bits < _RESIDUAL_BITS or 'residual' in self.left_out or coded.lost('fine').all():
            return None
        drawn = self.reconstructor.draw(self.reconstructor.predict(coded))[0]
        difference = self.analysis.image.astype(np.float32) - drawn
        return residual.fitted(difference, bits, self.analysis.importance)


@dataclass(frozen=True)
class RateControl:
    """
    Searches the plan of a frame.

    ``reconstructor``: what the receiver renders with; ``planes``: the stream layout;
    ``worded``: whether frames have pseudo-words; ``left_out``: of ``selection``, ``residual`` and
    ``pseudo_words`` what is left out.
    """

    reconstructor: Reconstructor
    prior: Prior
    planes: tuple[Plane, ...] = PLANES
    worded: bool = False
    left_out: frozenset[str] = frozenset()

    def search(
        self,
        analysis: ImageAnalysis,
        header: FrameHeader,
        budget_bytes: int,
        reference: Reference | None = None,
        or_key: bool = False,
    ) -> Attempt:
        """
        Find the frame of at most ``budget_bytes`` with the least error at the receiver.

        ``header``: of a key frame of the image; ``or_key``: with a ``reference`` try a key frame
        too.
        """
        if reference is None:
            return self.attempt(analysis, header, budget_bytes)
        masks = skip_masks(analysis, reference.symbols, self.reconstructor)
        plans: list[tuple[Reference | None, NDArray[np.bool_] | None]]
        plans = [(reference, mask) for mask in masks]
        if or_key:
            plans.append((None, None))
        if len(masks) > 1:
            attempts = [
                self.attempt(analysis, header, budget_bytes, *plan, final=False) for plan in plans
            ]
            received = (attempt.received for attempt in attempts)
            left = [e.sum() for e in errors(analysis, self.reconstructor, *received)]
            if or_key:
                left[-1] *= KEY_SHARE
            # Where everything fits, coding against the reference leaves most for the residual.
            whole = 'residual' in attempts[0].coded.bits
            plans = [plans[0 if whole else int(np.argmin(left))]]
        return self.attempt(analysis, header, budget_bytes, *plans[0])

    def attempt(
        self,
        analysis: ImageAnalysis,
        header: FrameHeader,
        budget_bytes: int,
        reference: Reference | None = None,
        skip_mask: NDArray[np.bool_] | None = None,
        final: bool = True,
    ) -> Attempt:
        """
        Code a key frame, or a delta frame that skips the blocks of ``skip_mask``.

        ``final``: take the time to choose what to send where the budget ends.
        """
        known = None
        if reference is not None:
            header, known = replace(header, reference=reference.sequence), reference.symbols
        plan = Plan(
            budget_bytes - header.bytes,
            _Policy(analysis, self.reconstructor, known, self.left_out) if final else None,
            skip_mask,
            analysis.region,
            self.planes,
            header.bytes,
            self._words_in(budget_bytes),
        )
        stream, coded = StreamWriter(analysis.symbols, self.prior, plan, known).write()
        received = coded if known is None else completed(coded, known)
        return Attempt(header, stream, coded, received)

    def _words_in(self, budget_bytes: int) -> int | None:
        """Return how many pseudo-words a frame has at most, None for a preset without."""
        if not self.worded:
            return None
        return 0 if 'pseudo_words' in self.left_out else pseudo_words.count_for(budget_bytes)
