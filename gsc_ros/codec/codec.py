"""The codec end to end: picture -> bytes within a budget -> picture, depth, classes and trust."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from gsc_ros.codec import bitstream, streams
from gsc_ros.codec.bitstream import HEADER_BYTES, BitstreamError, FrameHeader
from gsc_ros.codec.caption import median_depth, token_ids
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.networks import Networks
from gsc_ros.codec.streams import FrameSymbols
from gsc_ros.models.flow import sample
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.tokenizer import LEVELS, UNKNOWN_CLASS, UNKNOWN_RELIEF, Synthesis, from_symbols
from gsc_ros.perception.labels import SKY, UNLABELLED

MIN_BUDGET = 40
MAX_BUDGET = HEADER_BYTES + bitstream.MAX_STREAM
DEFAULT_STEPS = 1

# Of a pixel: what of it was sent, what follows from what was sent around it, and what is made up.
SENT, PREDICTED, GENERATED = 255, 128, 0


@dataclass(frozen=True)
class EncodedFrame:
    """A packed frame: ``data`` is what goes on air; ``stream_bits`` before the cut, by part."""

    data: bytes
    header: FrameHeader
    caption: str
    stream_bits: dict[str, float]


@dataclass(frozen=True)
class DecodedFrame:
    """
    What the ground sees, all at the size of the robot's picture.

    ``rgb`` uint8 (H, W, 3); ``depth`` float32 (H, W) in metres, NaN where unknown, +inf for sky;
    ``segmentation`` uint8 (H, W) of ``perception.labels``, 255 where unknown; ``trust`` uint8 (H,
    W): 255 sent, 128 predicted from what was sent, 0 generated.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]
    trust: NDArray[np.uint8]
    caption: str
    header: FrameHeader


def check_picture(rgb: NDArray) -> None:
    """Raise ``ValueError`` unless it is a picture: uint8 (H, W, 3), sides 16..4096."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, 'shape', type(rgb).__name__)
        raise ValueError(f'picture of shape {shape}: give an array (height, width, 3) in RGB')
    if rgb.dtype != np.uint8:
        raise ValueError(
            f'picture of {rgb.dtype}: give uint8 0..255 '
            '(scale floats, and replace NaN and Inf, first)'
        )
    coding_size(rgb.shape[1], rgb.shape[0])


class SemanticCodec:
    """
    Encode pictures to byte budgets and decode them.

    Symbols are exact on every machine; what the networks draw of them agrees to rounding.
    """

    def __init__(self, networks: Networks, preset: str = 'gsc') -> None:
        if preset not in bitstream.PRESETS:
            raise ValueError(f'preset {preset!r} is not one of {", ".join(bitstream.PRESETS)}')
        self.networks = networks
        self.preset = preset

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
    ) -> EncodedFrame:
        """
        Encode a picture to at most ``budget_bytes`` bytes.

        ``rgb``: uint8 (H, W, 3), sides 16..4096; ``depth``: float32 (H, W) in metres from a
        sensor, which then sets the scale (NaN and inf allowed); ``sequence``: counted modulo 256
        on air. Raises ``ValueError`` for bad pictures and budgets under 40 bytes.
        """
        check_picture(rgb)
        if not MIN_BUDGET <= budget_bytes <= MAX_BUDGET:
            raise ValueError(
                f'budget_bytes {budget_bytes} is outside {MIN_BUDGET}..{MAX_BUDGET}: '
                'a frame needs its header and a little more'
            )
        height, width = rgb.shape[:2]
        symbols, scale = self.networks.robot.analyse(rgb)
        if depth is not None:
            if depth.shape != (height, width):
                raise ValueError(
                    f'depth of shape {depth.shape} for a picture of {(height, width)}'
                )
            measured = median_depth(depth)
            scale = scale if np.isnan(measured) else measured
        stream, bits = streams.encode(symbols, self.networks.tables)
        header = FrameHeader(
            self.preset,
            self.fingerprint,
            sequence % 256,
            width,
            height,
            bitstream.depth_code(scale),
        )
        data = bitstream.pack(header, stream[: budget_bytes - HEADER_BYTES])
        return EncodedFrame(data, bitstream.unpack(data)[0], str(symbols.caption), bits)

    def inspect(self, data: bytes, truncated: bool = False) -> tuple[FrameHeader, FrameSymbols]:
        """
        Read a frame's header and symbols, without drawing anything.

        Raises :class:`BitstreamError` for anything but a whole frame of these weights (or, with
        ``truncated``, the beginning of one).
        """
        header, stream = bitstream.unpack(data, truncated)
        if header.fingerprint != self.fingerprint:
            raise BitstreamError(
                f'frame was coded with weights {header.fingerprint:04x}, these are '
                f'{self.fingerprint:04x}: install the same weights on both ends'
            )
        try:
            size = coding_size(header.width, header.height)
        except ValueError as error:
            raise BitstreamError(f'frame of an impossible size: {error}') from error
        return header, streams.decode(stream, size, self.networks.tables)

    @torch.inference_mode()
    def decode(
        self, data: bytes, truncated: bool = False, steps: int | None = None
    ) -> DecodedFrame:
        """
        Decode a packed frame.

        ``truncated``: decode what is there of a frame whose end was lost. ``steps``: steps of the
        rectified flow, 0 for the deterministic picture, None for the default. Raises
        :class:`BitstreamError` as :meth:`inspect` does and ``ValueError`` for negative steps.
        """
        steps = DEFAULT_STEPS if steps is None else steps
        if not 0 <= steps <= 100:
            raise ValueError(f'steps {steps} is outside 0..100')
        header, symbols = self.inspect(data, truncated)
        out = self._synthesise(symbols)
        latent = out.latent
        if steps:
            words = torch.from_numpy(token_ids(symbols.caption))[None]
            noise = np.random.default_rng(header.sequence).standard_normal(
                tuple(latent.shape), np.float32
            )
            latent = sample(
                self.networks.flow, latent, out.features, words, torch.from_numpy(noise), steps
            )
        picture = self.networks.decoder(latent * self.networks.robot.tokenizer.spread)[0]
        size = (header.width, header.height)
        rgb = ((picture * 127.5 + 127.5).round().clamp(0, 255)).byte().permute(1, 2, 0).numpy()
        trust = self._trust(symbols, size)
        segmentation = _classes(out, size)
        depth = _depth(out, size, header.depth_code)
        depth[segmentation == SKY] = np.inf
        depth[trust == GENERATED] = np.nan
        segmentation[trust == GENERATED] = UNLABELLED
        return DecodedFrame(
            cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA),
            depth,
            segmentation,
            trust,
            str(symbols.caption) if symbols.caption else '',
            header,
        )

    def _synthesise(self, symbols: FrameSymbols) -> Synthesis:
        """Run the deterministic prediction of what was received."""
        tokens, masks = [], []
        for level, n in enumerate(LEVELS):
            grid = torch.from_numpy(symbols.tokens[level].astype(np.int64))[None]
            tokens.append(from_symbols(grid, n))
            masks.append(torch.from_numpy(symbols.received(level)).float()[None, None])
        layout = symbols.coarse.repeat(2, 0).repeat(2, 1)
        layout = np.where(symbols.fine == UNLABELLED, layout, symbols.fine).astype(np.int64)
        layout[layout == UNLABELLED] = UNKNOWN_CLASS
        relief = symbols.relief.astype(np.int64)
        relief[symbols.relief == streams.UNKNOWN] = UNKNOWN_RELIEF
        return self.networks.robot.tokenizer.predictor(
            tokens, masks, torch.from_numpy(layout)[None], torch.from_numpy(relief)[None]
        )

    @staticmethod
    def _trust(symbols: FrameSymbols, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Tell by the finest token over a pixel whether it was sent, predicted or made up."""
        trust = np.where(symbols.received(0), np.uint8(PREDICTED), np.uint8(GENERATED))
        trust = trust.repeat(2, 0).repeat(2, 1)
        trust[symbols.received(1)] = SENT
        return cv2.resize(trust, size, interpolation=cv2.INTER_NEAREST)


def _classes(out: Synthesis, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids at full size: logits are enlarged, not labels, for edges without stairs."""
    logits = functional.interpolate(
        out.segmentation, (2 * out.segmentation.shape[2], 2 * out.segmentation.shape[3]),
        mode='bilinear', align_corners=False,
    )  # fmt: skip
    ids = logits[0].argmax(0).numpy().astype(np.uint8)
    return cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)


def _depth(out: Synthesis, size: tuple[int, int], code: int) -> NDArray[np.float32]:
    """Metres at full size, brought to the median depth that was sent."""
    metres = log_to_depth(out.depth)[0, 0].numpy()
    if code:
        sky = out.segmentation[0].argmax(0).numpy() == SKY
        median = median_depth(metres[~sky])
        if np.isfinite(median):
            metres = metres * np.float32(bitstream.depth_of_code(code) / median)
    return cv2.resize(metres.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
