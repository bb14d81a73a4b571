"""Read the symbols of a packed frame: exact on every machine, and no network runs."""

from gsc_ros.codec import bitstream, presets
from gsc_ros.codec.bitstream import BitstreamError, FrameHeader
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.planes import layout
from gsc_ros.codec.presets import Preset
from gsc_ros.codec.prior import Prior
from gsc_ros.codec.streams import StreamReader
from gsc_ros.codec.types import ReceivedFrame, Reference


def check_header(
    header: FrameHeader, preset: Preset, fingerprint: int, truncated: bool = False
) -> None:
    """Refuse a frame of another preset or of other weights, and a cut one that may not be."""
    if header.preset != preset.name:
        raise BitstreamError(
            f'frame of preset {header.preset!r}, this decoder reads {preset.name!r}: '
            f'load a decoder of preset {header.preset!r}'
        )
    if header.fingerprint != fingerprint:
        raise BitstreamError(
            f'frame was coded with weights {header.fingerprint:04x}, these are '
            f'{fingerprint:04x}: install the same weights on both ends'
        )
    if truncated and not preset.progressive:
        raise BitstreamError(
            f'preset {header.preset!r} is not progressive: a frame that is cut is lost'
        )


class FrameReader:
    """
    Reads frames of one preset and one set of weights.

    It keeps nothing between frames. Both halves have one: the ground reads what comes, the robot
    what it has sent, to code the next delta frame against it.
    """

    def __init__(self, prior: Prior, fingerprint: int, preset: str = 'gsc') -> None:
        self.prior, self.fingerprint = prior, fingerprint
        self.preset = presets.find(preset)
        self.planes = layout(self.preset.planes)

    def read(
        self, data: bytes, truncated: bool = False, reference: Reference | None = None
    ) -> ReceivedFrame:
        """
        Read a packed frame.

        ``truncated``: accept a frame whose end was lost; ``reference``: the frame against which a
        delta frame was coded. Raises :class:`MissingReferenceError` for a delta frame whose
        reference is another frame, and :class:`BitstreamError` for anything else but a whole frame
        of this preset and these weights (or, with ``truncated``, the beginning of one).
        """
        header = bitstream.read_header(data)
        check_header(
            header, self.preset, self.fingerprint, truncated
        )  # first: a key frame would not help
        seeds = {} if reference is None else {reference.sequence: reference.crc}
        header, sections, stream = bitstream.unpack(data, truncated, seeds)
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
        symbols = StreamReader(
            stream,
            size,
            self.prior,
            known,
            planes=self.planes,
            regional=header.region,
            noted=header.noted,
            worded=self.preset.pseudo_words,
        ).read()
        return ReceivedFrame(header, symbols, sections, truncated)

    def reference(self, data: bytes, reference: Reference | None = None) -> Reference:
        """
        Read a whole frame as a reference; ``reference``: that of a delta frame.

        Raises as :meth:`read`, and for a frame that can be no reference.
        """
        found = self.read(data, reference=reference).reference
        if found is None:
            raise BitstreamError('part of the image of this frame is lost: it is no reference')
        return found
