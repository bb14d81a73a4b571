"""What the codec takes and gives; importing this needs no torch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gsc_ros.codec.bitstream import FrameHeader, Section, Sections
from gsc_ros.region import WHOLE, Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gsc_ros.codec.notes import Notes
    from gsc_ros.codec.objects import Objects
    from gsc_ros.codec.planes import FrameSymbols
    from gsc_ros.perception.kinds import SceneKind

__all__ = [
    'GENERATED',
    'PREDICTED',
    'SENT',
    'WHOLE',
    'DecodedFrame',
    'EncodedFrame',
    'ReceivedFrame',
    'Reference',
    'Region',
    'Section',
    'Sections',
]

# What was received of a pixel: it was sent, it follows from what was sent around it, or nothing.
SENT, PREDICTED, GENERATED = 255, 128, 0


@dataclass(frozen=True)
class Reference:
    """
    A frame that both ends have, against which a delta frame is coded.

    ``sequence``: its number modulo 256; ``crc``: that of the frame, the seed of a delta frame's
    CRCs; ``symbols``: what a receiver has of it, at the working size that a delta frame shares.
    """

    sequence: int
    crc: int
    symbols: 'FrameSymbols'

    @property
    def size(self) -> tuple[int, int]:
        """Working size (W, H)."""
        return self.symbols.size


@dataclass(frozen=True)
class EncodedFrame:
    """
    A packed frame: ``data`` goes on air, ``stream_bits`` are its bits by part.

    ``notes``: what the frame says of the image itself, None for nothing; ``divisible``: whether a
    sender may cut the frame, because any prefix of it decodes; ``sections``: content by id;
    ``kind``: of scene, None where nothing is told of it, or the image is not of now; ``objects``:
    that it holds, with the count of those seen that it does not; None where nothing is told.
    ``scale``: where depth has its scale, one of ``codec.kind.SCALES``; '' where there is no depth.
    """

    data: bytes
    header: FrameHeader
    caption: str
    stream_bits: dict[str, float]
    notes: 'Notes | None' = None
    divisible: bool = True
    sections: Sections = field(default_factory=dict)
    kind: 'SceneKind | None' = None
    objects: 'Objects | None' = None
    scale: str = ''


@dataclass(frozen=True)
class ReceivedFrame:
    """
    What was read of a frame: exact symbols, ready to be rendered.

    ``sections``: content by id, as far as they came whole; ``truncated``: its end was lost.
    """

    header: FrameHeader
    symbols: 'FrameSymbols'
    sections: Sections = field(default_factory=dict)
    truncated: bool = False

    @property
    def reference(self) -> Reference | None:
        """The frame as a reference; None when its end or part of its image was lost."""
        notes = self.symbols.notes
        if self.truncated or (notes is not None and notes.loss is not None):
            return None
        return Reference(self.header.sequence, self.header.crc, self.symbols)


@dataclass(frozen=True)
class DecodedFrame:
    """
    What the ground sees, all at the size of the robot's image.

    ``rgb`` uint8 (H, W, 3); ``depth`` float32 (H, W) in metres, NaN where unknown, +inf where it
    is certain to be sky; ``segmentation`` uint8 (H, W) of ``gsc_ros.labels``, 255 where unknown;
    ``trust`` uint8 (H, W): the probability that what is stated of the pixel is right, its class
    and its depth to within 25 %, as 1..255 for up to 1, and 0 where the pixel is generated;
    ``received`` uint8 (H, W): 255 sent, 128 predicted from what was sent, 0 generated. Each map is
    None where the preset has no such map. ``kind``: of scene, None where nothing is told of it, or
    the image shows nothing or is not of now.
    ``right`` float32 (2, h, w): the two probabilities that trust is the product of, of class and
    depth, on a coarser grid. ``hazards`` uint8 (H, W): 255 in the way, as the robot found it, 0
    nothing found, 128 not known. ``objects``: people, vehicles and signs that the robot
    saw, and how many more; never what is seen in the decoded image. None where nothing is told.
    ``caption``: what the robot sees, and what is wrong with the image. ``notes``: the latter as
    data, None for nothing: where the image is lost, and everywhere when it shows nothing or is not
    of now, there is no object, depth is NaN, classes are 255 and trust is 0.
    ``reference``: the frame as a reference of delta frames, None when its end or part of its image
    was lost. ``sections``: content by id, also of ids unknown here, as far as they came whole.
    """

    rgb: 'NDArray[np.uint8]'
    depth: 'NDArray[np.float32] | None'
    segmentation: 'NDArray[np.uint8] | None'
    trust: 'NDArray[np.uint8] | None'
    caption: str
    header: FrameHeader
    reference: Reference | None = None
    notes: 'Notes | None' = None
    sections: Sections = field(default_factory=dict)
    received: 'NDArray[np.uint8] | None' = None
    kind: 'SceneKind | None' = None
    right: 'NDArray[np.float32] | None' = None
    hazards: 'NDArray[np.uint8] | None' = None
    objects: 'Objects | None' = None
