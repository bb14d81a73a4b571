"""The robot's half of preset ``cod_lite``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import bitstream, presets
from gsc_ros.codec import device as devices
from gsc_ros.codec.analysis import check_image
from gsc_ros.codec.bitstream import NO_SECTIONS, FrameHeader, Sections, depth_code
from gsc_ros.codec.caption import median_depth
from gsc_ros.codec.cod_lite import checkpoint, packing, symbols
from gsc_ros.codec.cod_lite.checkpoint import Model
from gsc_ros.codec.cod_lite.decoder import read_frame
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.halves import LoadOptions, RobotHalf, bytes_before
from gsc_ros.codec.notes import Notes, Timing, caption_text
from gsc_ros.codec.types import EncodedFrame, ReceivedFrame, Reference
from gsc_ros.models.precision import autocast, fast_bfloat16
from gsc_ros.perception.content import find_loss
from gsc_ros.region import Region


@dataclass(frozen=True)
class ImageToSend:
    """
    An image, and what is known of it before it is known how many bytes there are.

    ``depth_code``: of the median of the robot's depth sensor, 0 for none; ``notes``: None for
    nothing.
    """

    rgb: NDArray[np.uint8]
    depth_code: int
    notes: Notes | None

    @property
    def size(self) -> tuple[int, int]:
        """Size (W, H) of the image; what is sent is smaller, by the budget."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def lossy(self) -> bool:
        """Whether a part of the image is lost."""
        return self.notes is not None and self.notes.loss is not None


class CodLiteEncoder(RobotHalf):
    """
    Encodes images; it keeps nothing between them, and every frame is a key frame.

    The rate of a checkpoint is fixed: of the largest working size whose tokens fit the budget, up
    to the size of the image.
    """

    PRESET = 'cod_lite'

    def __init__(self, model: Model, preset: str = PRESET) -> None:
        self.model, self.preset = model, presets.find(preset)
        self.bfloat16 = self.device.type == 'cpu' and fast_bfloat16()

    @classmethod
    def load_by(cls, options: LoadOptions) -> 'CodLiteEncoder':
        """Load the half; its weights are those of :func:`checkpoint.load`."""
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

    def analyse(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        region: Region | Iterable[float] | None = None,
        timing: Timing | None = None,
    ) -> ImageToSend:
        """
        Look at an image; arguments as of :meth:`gsc_ros.codec.FrameEncoder.encode`.

        ``region`` is of no effect: all tokens are sent alike. Raises ``ValueError`` for what is no
        image.
        """
        check_image(rgb)
        small = cv2.resize(
            rgb, coding_size(rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA
        )
        notes = Notes(find_loss(small), timing or Timing())
        code = 0 if depth is None else depth_code(median_depth(depth))
        return ImageToSend(rgb, code, notes or None)

    def pack(
        self,
        analysis: ImageToSend,
        budget_bytes: int,
        sequence: int = 0,
        reference: Reference | None = None,
        or_key: bool = False,
        sections: Sections = NO_SECTIONS,
    ) -> EncodedFrame:
        """
        Make a key frame of at most ``budget_bytes`` bytes.

        ``reference`` and ``or_key`` are of no effect. Raises ``ValueError`` for a budget that
        leaves under 40 bytes beside the sections, or no room for a single token.
        """
        before = bytes_before(budget_bytes, sections)
        width, height = analysis.size
        header = FrameHeader(
            self.preset.name,
            self.fingerprint,
            sequence % 256,
            width,
            height,
            analysis.depth_code,
            noted=analysis.notes is not None,
        )
        room = budget_bytes - before - header.bytes
        noted, notes = symbols.write_notes(analysis.notes)
        if notes is not None and self._size(analysis, room - len(noted)) is None:
            noted, notes = symbols.write_notes(symbols.coarser(notes))
        size = self._size(analysis, room - len(noted))
        if size is None:
            raise ValueError(
                f'budget_bytes {budget_bytes} has no room for tokens of this checkpoint: give '
                'more, or one of fewer bits'
            )
        empty = notes is not None and notes.loss is not None and notes.loss.whole
        body = symbols.write_tokens(self._tokens(analysis.rgb, size), self.model.config, empty)
        header, data = bitstream.pack(header, noted + body, 0, sections)
        bits = {'notes': 8.0 * len(noted), 'tokens': 8.0 * len(body)}
        return EncodedFrame(
            data,
            header,
            caption_text(None, notes),
            {name: value for name, value in bits.items() if value},
            notes,
            self.preset.progressive,
            dict(sections),
        )

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """Return a frame as a reference; no frame of this preset makes use of it."""
        frame = self.read(data)
        return Reference(frame.header.sequence, frame.header.crc, cast(Any, frame.symbols))

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """Read a packed frame; see :meth:`CodLiteDecoder.read`."""
        return read_frame(self.model, self.preset, data, truncated)

    def _size(self, analysis: ImageToSend, room: int) -> tuple[int, int] | None:
        config = self.model.config
        count = symbols.room_for_tokens(room, config)
        width, height = analysis.size
        return packing.working_size(width, height, max(count, 0), config.stride, config.unit)

    @torch.inference_mode()
    def _tokens(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.int64]:
        """Compute the tokens int64 (rows, columns) of an image at a working size (W, H)."""
        grown = size[0] * size[1] > rgb.shape[0] * rgb.shape[1]
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR if grown else cv2.INTER_AREA)
        x = torch.from_numpy(small).to(self.device).permute(2, 0, 1)[None].float() / 255
        with autocast(self.bfloat16, self.device):
            found = self.model.net.encode(x)
        return found[0].cpu().numpy()
