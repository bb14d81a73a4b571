"""The codec end to end: image -> bytes within a budget -> image, depth, classes and trust."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec import bitstream, residual, streams
from gsc_ros.codec.analysis import Analysed
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader
from gsc_ros.codec.caption import median_depth, token_ids
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.networks import Networks
from gsc_ros.codec.notes import Notes, Timing, spoken
from gsc_ros.codec.planes import BLOCK, BY_NAME, FrameSymbols, Plane, blocks_of
from gsc_ros.codec.residual import Residual
from gsc_ros.codec.selection import Region, choose, errors, interest, skip_masks
from gsc_ros.codec.synthesis import synthesise
from gsc_ros.labels import SKY, UNLABELLED
from gsc_ros.models.flow import sample
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.precision import autocast, fast_bfloat16
from gsc_ros.models.tokenizer import Synthesis
from gsc_ros.perception.content import FILLS
from gsc_ros.perception.model import connected_to_top, enlarge

MAX_BUDGET = bitstream.MAX_STREAM
DEFAULT_STEPS = 0
# A key frame stands alone, a delta is void where the other was lost: of much the same error the
# key frame is sent.
KEY_WORTH = 0.95
_CERTAIN = 0.7  # chance of sky from which on depth is infinite
_RESIDUAL_BITS = 80  # left over: a residual is worth its while

# Of a pixel: what of it was sent, what follows from what was sent around it, and what is made up.
SENT, PREDICTED, GENERATED = 255, 128, 0


@dataclass(frozen=True)
class Reference:
    """A frame that both ends have, for delta frames to lean on."""

    header: FrameHeader
    symbols: FrameSymbols


@dataclass(frozen=True)
class EncodedFrame:
    """
    A packed frame: ``data`` goes on air, ``stream_bits`` tells what it is spent on.

    ``notes``: what the ground is told of the image itself, None for nothing.
    """

    data: bytes
    header: FrameHeader
    caption: str
    stream_bits: dict[str, float]
    notes: Notes | None = None


@dataclass(frozen=True)
class DecodedFrame:
    """
    What the ground sees, all at the size of the robot's image.

    ``rgb`` uint8 (H, W, 3); ``depth`` float32 (H, W) in metres, NaN where unknown, +inf where it
    is certain to be sky; ``segmentation`` uint8 (H, W) of ``perception.labels``, 255 where
    unknown; ``trust`` uint8 (H, W): 255 sent, 128 predicted from what was sent, 0 generated.
    ``caption``: what the robot says it sees, and what is wrong with the image. ``notes``: the
    latter as data, None for nothing: where the image is lost, and everywhere when it shows nothing
    or is not of now, there is no object, depth is NaN, classes are 255 and trust is 0.
    ``reference``: the frame for delta frames to lean on, None when its end or part of its image
    was lost.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]
    trust: NDArray[np.uint8]
    caption: str
    header: FrameHeader
    reference: Reference | None = None
    notes: Notes | None = None


def check_image(rgb: NDArray) -> None:
    """Raise ``ValueError`` unless it is an image: uint8 (H, W, 3), sides 16..4096."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, 'shape', type(rgb).__name__)
        raise ValueError(f'image of shape {shape}: give an array (height, width, 3) in RGB')
    if rgb.dtype != np.uint8:
        raise ValueError(
            f'image of {rgb.dtype}: give uint8 0..255 '
            '(scale floats, and replace NaN and Inf, first)'
        )
    coding_size(rgb.shape[1], rgb.shape[0])


class SemanticCodec:
    """
    Encode images to byte budgets and decode them.

    Symbols are exact on every machine; what the networks draw of them agrees to rounding.
    """

    def __init__(self, networks: Networks, preset: str = 'gsc') -> None:
        if preset not in bitstream.PRESETS:
            raise ValueError(f'preset {preset!r} is not one of {", ".join(bitstream.PRESETS)}')
        self.networks = networks
        self.preset = preset
        self.bfloat16 = fast_bfloat16()  # what the networks compute in; symbols never depend on it

    @classmethod
    def load(
        cls,
        preset: str = 'gsc',
        weights: str | Path | None = None,
        threads: int | None = None,
    ) -> 'SemanticCodec':
        """
        Load a codec.

        ``weights``: a folder of weights, None for the shipped ones, or ``'random'`` for the real
        architecture untrained (for tests). ``threads``: CPU threads of torch, for the whole
        process. Raises ``FileNotFoundError`` when weights are missing and ``ValueError`` for
        foreign ones.
        """
        if threads:
            torch.set_num_threads(threads)
        return cls(Networks.load(weights), preset)

    @property
    def fingerprint(self) -> int:
        """Sixteen bits that both ends must share."""
        return self.networks.fingerprint

    @torch.inference_mode()
    def encode(
        self,
        rgb: NDArray[np.uint8],
        budget_bytes: int,
        depth: NDArray[np.float32] | None = None,
        sequence: int = 0,
        reference: Reference | None = None,
        region: Region | None = None,
        timing: Timing | None = None,
    ) -> EncodedFrame:
        """
        Encode an image to at most ``budget_bytes`` bytes.

        ``rgb``: uint8 (H, W, 3), sides 16..4096; ``depth``: float32 in metres from a sensor, of
        any size, whose median then sets the scale (NaN and inf allowed); ``sequence``: counted
        modulo 256 on air; ``reference``: makes it a delta frame against this one, of the same
        size;
        ``region``: part of the image of which most is told (left, top, right, bottom, in shares
        of its width and height); ``timing``: how the image lies in time, None for now. An image
        of which something is lost becomes a key frame. Raises ``ValueError`` for bad images and
        budgets under 40 bytes.
        """
        looked = self.analyse(rgb, depth, region, timing)
        return self.pack(looked, budget_bytes, sequence, reference)

    @torch.inference_mode()
    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | None = None,
        timing: Timing | None = None,
    ) -> 'Looked':
        """Say all there is to say of an image, once for any number of budgets to pack it for."""
        check_image(rgb)
        height, width = rgb.shape[:2]
        with autocast(self.bfloat16):
            found = self.networks.robot.analyse(rgb, timing)
        blocks = None
        if region is not None:
            found = replace(
                found, importance=found.importance * interest(region, found.importance.shape)
            )
            blocks = (
                blocks_of(interest(region, found.importance.shape), BY_NAME['fine']) > BLOCK**2
            )
        scale = found.scale
        if depth is not None:
            measured = median_depth(depth)
            scale = scale if np.isnan(measured) else measured
        return Looked(width, height, bitstream.depth_code(scale), found, blocks)

    @torch.inference_mode()
    def pack(
        self,
        looked: 'Looked',
        budget_bytes: int,
        sequence: int = 0,
        reference: Reference | None = None,
        or_key: bool = False,
    ) -> EncodedFrame:
        """
        Fill a frame of at most ``budget_bytes`` bytes with what matters most of an image.

        ``or_key``: rather than a delta frame make a key frame where that tells the receiver more.
        Else as :meth:`encode`.
        """
        if not bitstream.MIN_BUDGET <= budget_bytes <= MAX_BUDGET:
            raise ValueError(
                f'budget_bytes {budget_bytes} is outside {bitstream.MIN_BUDGET}..{MAX_BUDGET}: '
                'a frame needs its header and a little more'
            )
        size = looked.found.symbols.size
        if looked.lossy:
            reference = None  # what is lost may not be filled from another frame
        if reference is not None and reference.symbols.size != size:
            raise ValueError(
                f'reference of working size {reference.symbols.size} for an image of {size}: '
                'send a key frame'
            )
        with autocast(self.bfloat16):
            attempt = self._best(looked, budget_bytes, sequence, reference, or_key)
        known = reference if attempt.header.reference is not None else None
        data = bitstream.pack(attempt.header, attempt.stream, known.header.crc if known else 0)
        seeds = {known.header.sequence: known.header.crc} if known else {}
        header, _ = bitstream.unpack(data, references=seeds)
        notes = attempt.coded.notes
        caption = spoken(looked.found.symbols.caption, notes)
        return EncodedFrame(data, header, caption, attempt.coded.bits, notes)

    def _attempt(
        self,
        looked: 'Looked',
        budget_bytes: int,
        sequence: int,
        reference: Reference | None = None,
        skip_mask: NDArray[np.bool_] | None = None,
        final: bool = True,
    ) -> '_Attempt':
        """
        Code a key frame, or a delta frame that says nothing of the blocks ``skip_mask``.

        ``final``: take the time to choose what to send where the budget ends.
        """
        header = FrameHeader(
            self.preset,
            self.fingerprint,
            sequence % 256,
            looked.width,
            looked.height,
            looked.depth_code,
            None if reference is None else reference.header.sequence,
            region=looked.region is not None,
            noted=looked.found.symbols.notes is not None,
        )
        known = None if reference is None else reference.symbols
        stream, coded = streams.encode(
            looked.found.symbols,
            self.networks.prior,
            budget_bytes - header.bytes,
            known,
            _Sender(self, looked.found, known, looked.region is None) if final else None,
            skip_mask,
            looked.region,
        )
        return _Attempt(header, stream, coded, streams.completed(coded, known) if known else coded)

    def _best(
        self,
        looked: 'Looked',
        budget_bytes: int,
        sequence: int,
        reference: Reference | None,
        or_key: bool,
    ) -> '_Attempt':
        """Find the frame that leaves the receiver with the least error."""
        if reference is None:
            return self._attempt(looked, budget_bytes, sequence)
        tokenizer = self.networks.robot.tokenizer
        maps = skip_masks(looked.found, reference.symbols, tokenizer)
        plans: list[tuple[Reference | None, NDArray[np.bool_] | None]]
        plans = [(reference, skip_mask) for skip_mask in maps]
        if or_key:
            plans.append((None, None))
        if len(maps) > 1:
            tries = [
                self._attempt(looked, budget_bytes, sequence, *plan, final=False) for plan in plans
            ]
            told = errors(looked.found, tokenizer, *(attempt.told for attempt in tries))
            left = [error.sum() for error in told]
            if or_key:
                left[-1] *= KEY_WORTH
            # Where everything fits, saying it against the reference leaves most for the residual.
            whole = 'residual' in tries[0].coded.bits
            plans = [plans[0 if whole else int(np.argmin(left))]]
        return self._attempt(looked, budget_bytes, sequence, *plans[0])

    def draw(self, out: Synthesis, latent: Tensor | None = None) -> NDArray[np.float32]:
        """Draw an image of the prediction, or of a latent near it: float32 (H, W, 3) 0..255."""
        latent = out.latent if latent is None else latent
        latent_std = self.networks.robot.tokenizer.latent_std
        image = self.networks.decoder(latent * latent_std, out.features, out.maps)[0]
        return (image.float() * 127.5 + 127.5).clamp(0, 255).permute(1, 2, 0).contiguous().numpy()

    def _generated(self, out: Synthesis, symbols: FrameSymbols, seed: int, steps: int) -> Tensor:
        """Sample a latent near the prediction by so many steps of the flow."""
        words = torch.from_numpy(token_ids(symbols.caption))[None]
        shape = tuple(out.latent.shape)
        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return sample(
            self.networks.flow, out.latent, out.features, words, torch.from_numpy(noise), steps
        )

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """
        Tell what a receiver has of a whole frame, for later delta frames to lean on.

        ``reference``: what the frame itself leans on. Raises :class:`BitstreamError` as
        :meth:`inspect` does.
        """
        return Reference(*self.inspect(data, reference=reference))

    def inspect(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> tuple[FrameHeader, FrameSymbols]:
        """
        Read a frame's header and symbols, without drawing anything.

        Raises :class:`MissingReferenceError` for a delta frame that leans on another frame than
        ``reference``, and :class:`BitstreamError` for anything else but a whole frame of these
        weights (or, with ``truncated``, the beginning of one).
        """
        seeds = {} if reference is None else {reference.header.sequence: reference.header.crc}
        header, stream = bitstream.unpack(data, truncated, seeds)
        if header.fingerprint != self.fingerprint:
            raise BitstreamError(
                f'frame was coded with weights {header.fingerprint:04x}, these are '
                f'{self.fingerprint:04x}: install the same weights on both ends'
            )
        try:
            size = coding_size(header.width, header.height)
        except ValueError as error:
            raise BitstreamError(f'frame of an impossible size: {error}') from error
        known = None
        if header.reference is not None:
            assert reference is not None  # unpack has seen to it
            known = reference.symbols
            if known.size != size:
                raise BitstreamError('delta frame of another size than its reference: drop it')
        prior = self.networks.prior
        return header, streams.decode(stream, size, prior, known, header.region, header.noted)

    @torch.inference_mode()
    def decode(
        self,
        data: bytes,
        truncated: bool = False,
        steps: int | None = None,
        reference: Reference | None = None,
    ) -> DecodedFrame:
        """
        Decode a packed frame.

        ``truncated``: decode what is there of a frame whose end was lost. ``steps``: steps of the
        rectified flow, 0 for the deterministic image, None for the default. ``reference``: what
        a delta frame leans on. Raises :class:`BitstreamError` as :meth:`inspect` does and
        ``ValueError`` for negative steps.
        """
        steps = DEFAULT_STEPS if steps is None else steps
        if not 0 <= steps <= 100:
            raise ValueError(f'steps {steps} is outside 0..100')
        header, symbols = self.inspect(data, truncated, reference)
        with autocast(self.bfloat16):
            out = synthesise(self.networks.robot.tokenizer, symbols)
            if steps and symbols.residual is None:
                made = self.draw(out, self._generated(out, symbols, header.sequence, steps))
            else:
                made = self.draw(out)
        if symbols.residual is not None:
            made += residual.added(symbols.residual, symbols.size)
        size = (header.width, header.height)
        rgb = made.round().clip(0, 255).astype(np.uint8)
        notes = symbols.notes
        if notes is not None and notes.loss is not None:
            lost = enlarge(notes.loss.cells.astype(np.uint8), symbols.size).astype(bool)
            rgb[lost] = FILLS[notes.loss.kind]
        trust = _trust(symbols, size, header.noted)
        segmentation = _classes(out, size)
        depth = _depth(out, size, header.depth_code)
        depth[segmentation == SKY] = np.nan
        if not (symbols.notes and symbols.notes.sky_doubtful):
            depth[_open_sky(out, symbols, segmentation)] = np.inf
        depth[trust == GENERATED] = np.nan
        segmentation[trust == GENERATED] = UNLABELLED
        return DecodedFrame(
            cv2.resize(rgb, size, interpolation=cv2.INTER_AREA),
            depth,
            segmentation,
            trust,
            spoken(symbols.caption, notes),
            header,
            None if truncated or (notes and notes.loss) else Reference(header, symbols),
            notes,
        )


@dataclass(frozen=True)
class _Attempt:
    """A frame that could be sent: what is coded of it, and all that a receiver then has."""

    header: FrameHeader
    stream: bytes
    coded: FrameSymbols
    told: FrameSymbols


@dataclass(frozen=True)
class _Sender:
    """Answers what the walk over a frame asks where the budget ends, or does not."""

    codec: SemanticCodec
    found: Analysed
    known: FrameSymbols | None
    choosing: bool  # blocks; those of a region are chosen already

    def blocks(self, plane: Plane, coded: FrameSymbols) -> NDArray[np.bool_] | None:
        """Choose those that lower the receiver's error most."""
        if not self.choosing:
            return None
        return choose(self.found, plane, coded, self.known, self.codec.networks.robot.tokenizer)

    def residual(self, coded: FrameSymbols, bits: float) -> Residual | None:
        """Fill the room with the difference to the deterministic image."""
        if bits < _RESIDUAL_BITS or coded.lost('fine').all():
            return None
        made = self.codec.draw(synthesise(self.codec.networks.robot.tokenizer, coded))
        lack = self.found.image.astype(np.float32) - made
        return residual.fitted(lack, bits, self.found.importance)


@dataclass(frozen=True)
class Looked:
    """
    An image's size, the code of its median depth, and all that was found in it.

    ``region``: bool (H/64, W/64), the blocks of which most is to be told; None for no such.
    """

    width: int
    height: int
    depth_code: int
    found: Analysed
    region: NDArray[np.bool_] | None = None

    @property
    def lossy(self) -> bool:
        """Whether something of the image is lost."""
        notes = self.found.symbols.notes
        return notes is not None and notes.loss is not None


def _trust(symbols: FrameSymbols, size: tuple[int, int], noted: bool) -> NDArray[np.uint8]:
    """
    Tell by the finest token over a pixel whether it was sent, predicted or made up.

    Of a noted image nothing counts as sent while it is not known what is wrong with it.
    """
    if noted and (symbols.notes is None or symbols.notes.blind):
        return np.full(size[::-1], GENERATED, np.uint8)
    coarse, middle = BY_NAME['tokens0'], BY_NAME['tokens1']
    known = symbols.received(middle.name)
    sent = symbols.sent.get(middle.name, known)
    factor = 1 << (coarse.log2_stride - middle.log2_stride)
    guessed = symbols.received(coarse.name).repeat(factor, 0).repeat(factor, 1)
    trust = np.where(known | guessed, np.uint8(PREDICTED), np.uint8(GENERATED))
    trust[sent] = SENT
    if noted:
        trust = trust.repeat(1 << middle.log2_stride, 0).repeat(1 << middle.log2_stride, 1)
        trust[symbols.lost('fine')] = GENERATED
    return enlarge(trust, size)


def _classes(out: Synthesis, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids at full size: logits are enlarged, not labels, for edges without stairs."""
    logits = functional.interpolate(
        out.segmentation, (2 * out.segmentation.shape[2], 2 * out.segmentation.shape[3]),
        mode='bilinear', align_corners=False,
    )  # fmt: skip
    ids = logits[0].argmax(0).numpy().astype(np.uint8)
    return cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)


def _open_sky(
    out: Synthesis, symbols: FrameSymbols, segmentation: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Find where the sky is certain: likely, and open up to the upper border: bool (H, W)."""
    chance = out.segmentation[0].softmax(0)[SKY].float().numpy()
    lost = enlarge(symbols.lost('fine').astype(np.uint8), chance.shape[::-1]).astype(bool)
    likely = connected_to_top((chance >= _CERTAIN) & ~lost)
    size = (segmentation.shape[1], segmentation.shape[0])
    return enlarge(likely.astype(np.uint8), size).astype(bool) & (segmentation == SKY)


def _depth(out: Synthesis, size: tuple[int, int], code: int) -> NDArray[np.float32]:
    """Metres at full size, brought to the median depth that was sent."""
    metres = log_to_depth(out.depth.float())[0, 0].numpy()
    if code:
        sky = out.segmentation[0].argmax(0).numpy() == SKY
        median = median_depth(metres[~sky])
        if np.isfinite(median):
            metres = metres * np.float32(bitstream.depth_of_code(code) / median)
    return cv2.resize(metres.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
