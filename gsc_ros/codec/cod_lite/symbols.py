"""
The stream of a frame of preset ``cod_lite``, and what is read of it.

Behind header and sections::

    notes on the image, where the header announces them: 2 bytes length, then as in codec.notes
    1 byte  rows of the grid of tokens - 1
    1 byte  columns - 1
    tokens  of codebook_bits each, in the order of packing.order; none of an image that is lost

The tokens say what the working size is: their grid times the pixels of a token.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import notes as notes_coding
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader
from gsc_ros.codec.cod_lite import packing
from gsc_ros.codec.cod_lite.networks import Config
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.kind import LEARNED, SENSOR
from gsc_ros.codec.notes import Notes, caption_text
from gsc_ros.codec.rangecoder import EndOfStream, RangeDecoder, RangeEncoder
from gsc_ros.perception.content import CELL, Loss

_LENGTH_BYTES, _SIZE_BYTES = 2, 2
_DAMAGED = 'the stream is no stream of cod_lite: the sender is broken, or the frame damaged'


@dataclass
class TokenSymbols:
    """
    What was read of a frame.

    ``tokens``: int64 (rows, columns), -1 where not received; None where not even their number was.
    ``stride``: pixels a side of a token. ``notes``: on the image. ``bits``: by part of the stream.
    ``scale``: where depth has its scale from, as in ``codec.kind``.
    """

    tokens: NDArray[np.int64] | None
    stride: int
    notes: Notes | None = None
    bits: dict[str, float] = field(default_factory=dict)
    scale: int = LEARNED

    caption = kind = None  # no frame of this preset has them

    @property
    def description(self) -> str:
        """What is wrong with the image, in words; the robot says no more of it."""
        return caption_text(None, self.notes)

    @property
    def planes(self) -> dict[str, NDArray[np.int64]]:
        """The tokens as a plane: int64 (1, rows, columns) by name."""
        return {} if self.tokens is None else {'tokens': self.tokens[None]}

    def received(self, name: str = 'tokens') -> NDArray[np.bool_]:
        """Which tokens were received: bool (rows, columns)."""
        return np.zeros((1, 1), bool) if self.tokens is None else self.tokens >= 0

    @property
    def size(self) -> tuple[int, int]:
        """Working size (W, H); (0, 0) where it was not received."""
        rows, columns = (0, 0) if self.tokens is None else self.tokens.shape
        return columns * self.stride, rows * self.stride


def write_notes(notes: Notes | None) -> tuple[bytes, Notes | None]:
    """Write notes, none for None; returns their bytes, and the notes as they will be read."""
    if notes is None:
        return b'', None
    encoder = RangeEncoder()
    notes = notes_coding.write(encoder, notes)
    data = encoder.finish()
    return len(data).to_bytes(_LENGTH_BYTES, 'big') + data, notes


def coarser(notes: Notes) -> Notes:
    """Say that all of the image is lost, where there is no room to say which part."""
    if notes.loss is None:
        return notes
    whole = Loss(notes.loss.kind, np.ones_like(notes.loss.cells))
    return Notes(whole, notes.timing, notes.sky_doubtful)


def room_for_tokens(room: int, config: Config) -> int:
    """Return how many tokens fit into so many bytes behind the notes; negative for none."""
    return 8 * (room - _SIZE_BYTES) // config.codebook_bits


def write_tokens(tokens: NDArray[np.int64], config: Config, empty: bool) -> bytes:
    """Write tokens int64 (rows, columns); ``empty``: only how many there are."""
    rows, columns = tokens.shape
    body = b'' if empty else packing.pack(tokens, config.codebook_bits)
    return bytes([rows - 1, columns - 1]) + body


def read(header: FrameHeader, stream: bytes, config: Config, truncated: bool) -> TokenSymbols:
    """
    Read a stream.

    ``truncated``: its end may be missing. Raises :class:`BitstreamError` for what is no such
    stream.
    """
    symbols = TokenSymbols(None, config.stride, scale=SENSOR if header.depth_code else LEARNED)
    try:
        cells = coding_size(header.width, header.height)
    except ValueError as error:
        raise BitstreamError(f'frame of an impossible size: {error}') from error
    if header.noted:
        found = _read_notes(stream, (cells[1] // CELL, cells[0] // CELL))
        if found is None:
            if truncated:
                return symbols
            raise BitstreamError(_DAMAGED)
        symbols.notes, stream, symbols.bits['notes'] = found
    if len(stream) < _SIZE_BYTES:
        if truncated:
            return symbols
        raise BitstreamError(_DAMAGED)
    rows, columns = stream[0] + 1, stream[1] + 1
    each = config.unit // config.stride
    largest = [-(-side // config.unit) * each for side in (header.height, header.width)]
    if rows % each or columns % each or rows > largest[0] or columns > largest[1]:
        raise BitstreamError(_DAMAGED)
    symbols.bits['size'] = 8.0 * _SIZE_BYTES
    body = stream[_SIZE_BYTES:]
    whole = packing.packed_bytes(rows * columns, config.codebook_bits)
    nothing = symbols.notes is not None and symbols.notes.loss is not None
    if len(body) > whole or (len(body) < whole and not truncated and not (nothing and not body)):
        raise BitstreamError(_DAMAGED)
    symbols.tokens = packing.unpack(body, (rows, columns), config.codebook_bits)
    symbols.bits['tokens'] = float(config.codebook_bits * symbols.received().sum())
    return symbols


def _read_notes(stream: bytes, shape: tuple[int, int]) -> tuple[Notes, bytes, float] | None:
    """Read notes on so many cells, what follows, and their bits; None where they are cut."""
    length = int.from_bytes(stream[:_LENGTH_BYTES], 'big')
    end = _LENGTH_BYTES + length
    if len(stream) < _LENGTH_BYTES or len(stream) < end:
        return None
    decoder = RangeDecoder(stream[_LENGTH_BYTES:end])
    try:
        notes = notes_coding.read(decoder, shape)
    except EndOfStream as error:
        raise BitstreamError(_DAMAGED) from error
    return notes, stream[end:], 8.0 * end
