"""
What is told of the scene as a whole: its kind, how certain that is, and where depth has its scale.

Three bits for the kind, three for its probability, and half a bit for the scale, or three.
"""

from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.labels import KINDS
from gsc_ros.perception.kinds import PROBABILITIES, SceneKind

# Where the scale of depth comes from: a network, a depth sensor, the camera's known height.
SCALES = ('learned', 'sensor', 'camera height')
LEARNED, SENSOR, HEIGHT = range(len(SCALES))
_SCALES = (0, 6, 7, 8)
_CLASSED = (0, 1, 8)  # cdf of whether the classes that apply are stated
_KINDS = range(9)  # cdf of eight: the last one means that nothing is told
_LEVELS = range(len(PROBABILITIES) + 1)
_UNTOLD = len(_KINDS) - 2


def write(encoder: RangeEncoder, kind: SceneKind | None, scale: int) -> None:
    """Write the kind of scene, None where nothing is told of it, and the source of the scale."""
    encoder.encode(_UNTOLD if kind is None else kind.index, _KINDS)
    if kind is not None:
        encoder.encode(PROBABILITIES.index(kind.probability), _LEVELS)
        encoder.encode(int(kind.classed), _CLASSED)
    encoder.encode(scale, _SCALES)


def read(decoder: RangeDecoder) -> tuple[SceneKind | None, int]:
    """Read kind and scale; raises ``EndOfStream`` where the frame was cut."""
    index, kind = decoder.decode(_KINDS), None
    if index != _UNTOLD:
        level, classed = decoder.decode(_LEVELS), decoder.decode(_CLASSED)
        kind = SceneKind(min(index, len(KINDS) - 1), PROBABILITIES[level], bool(classed))
    return kind, decoder.decode(_SCALES)
