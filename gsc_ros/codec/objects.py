"""
Objects in the stream: the people, vehicles and signs that the robot saw, each with its box.

The first of them are those that the caption names, in its order: of these only box and probability
follow. How many were seen that are not in the frame is sent too. It is what the robot saw in the
image as it was, not what the decoded image looks like.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from gsc_ros.codec.caption import (
    BEARINGS,
    DISTANCE_EDGES,
    DISTANCES,
    MAX_OBJECTS,
    OBJECT_KINDS,
    Caption,
    SceneObject,
)
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.labels import LABELS
from gsc_ros.perception.objects import Box

# A probability is sent as one of these; it is rounded down, so that it never promises too much.
PROBABILITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SURE = 0.7  # from which an object is named: of those named more than four in five are there
MOST_BEYOND = 15  # objects that the caption does not name, at most
SHARE = 0.15  # of a frame's bytes, for caption and objects at most
_CENTRES, _BOTTOMS, _SIDES = 16, 64, 24  # steps in a bearing, of the height, of a side
_OCTAVES = 6.0  # that a side spans, from 1/64 of the image to the whole of it


def _peaked(peak: int, spread: int, symbols: int) -> list[int]:
    """Make a cdf whose counts fall by half every so many symbols from a peak."""
    counts = (1 + (64 >> abs(symbol - peak) // spread) for symbol in range(symbols))
    return list(accumulate(counts, initial=0))


# Of what regions of streets are like (CamVid).
_TOLD = (0, 1, 4)
_BEYOND, _LOST = _peaked(1, 2, MOST_BEYOND + 1), _peaked(0, 1, MOST_BEYOND + 1)
_PLACE = (range(_CENTRES + 1), _peaked(37, 4, _BOTTOMS), _peaked(9, 4, _SIDES),
          _peaked(11, 2, _SIDES), range(len(PROBABILITIES) + 1))  # fmt: skip
_KINDS = (0, 8, 11, 13, 14, 22, 24, 26, 27, 28, 29, 30)
_WORDS = (_KINDS, range(len(BEARINGS) + 1), _peaked(4, 1, len(DISTANCES)))


@dataclass(frozen=True)
class SeenObject:
    """
    An object that was seen.

    ``words``: kind, bearing and distance, as the caption has them; ``place``: horizontal centre
    within the bearing, lower edge, width, height, in steps; ``level``: index into
    ``PROBABILITIES``.
    """

    words: SceneObject
    place: tuple[int, int, int, int]
    level: int

    @classmethod
    def of(cls, class_id: int, box: Box, distance_m: float, probability: float) -> 'SeenObject':
        """
        Round an object to what can be sent.

        ``class_id``: of a class whose name is in ``OBJECT_KINDS``; ``box``: left, top, right,
        bottom in shares of the image.
        """
        left, top, right, bottom = box
        across = min(max((left + right) / 2, 0.0), 1.0) * len(BEARINGS)
        bearing = min(int(across), len(BEARINGS) - 1)
        centre = min(int((across - bearing) * _CENTRES), _CENTRES - 1)
        low = min(max(round(bottom * _BOTTOMS) - 1, 0), _BOTTOMS - 1)
        far = sum(distance_m > edge for edge in DISTANCE_EDGES)
        level = max(sum(probability >= p for p in PROBABILITIES) - 1, 0)
        words = SceneObject(OBJECT_KINDS.index(LABELS[class_id]), bearing, far)
        return cls(words, (centre, low, _side(right - left), _side(bottom - top)), level)

    def __str__(self) -> str:
        return str(self.words)

    @property
    def name(self) -> str:
        """Its class in words."""
        return OBJECT_KINDS[self.words.kind]

    @property
    def class_id(self) -> int:
        """Its class, of ``gsc_ros.labels``."""
        return LABELS.index(self.name if self.name in LABELS else 'other')

    @property
    def distance_m(self) -> float:
        """Its distance, rounded to one of eight."""
        return float(DISTANCES[self.words.distance])

    @property
    def probability(self) -> float:
        """The calibrated probability that it is there, rounded down."""
        return PROBABILITIES[self.level]

    @property
    def sure(self) -> bool:
        """Whether it is certain enough to be named."""
        return self.probability >= SURE

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in shares of the image; never empty."""
        centre, low, wide, high = self.place
        x = (self.words.bearing + (centre + 0.5) / _CENTRES) / len(BEARINGS)
        bottom = (low + 1) / _BOTTOMS
        width, height = (2 ** (_OCTAVES * (side / (_SIDES - 1) - 1)) for side in (wide, high))
        return max(x - width / 2, 0.0), max(bottom - height, 0.0), min(x + width / 2, 1.0), bottom


def _side(share: float) -> int:
    """Code a side of a box in logarithmic steps."""
    octaves = math.log2(max(share, 2**-_OCTAVES)) + _OCTAVES
    return min(max(round(octaves * (_SIDES - 1) / _OCTAVES), 0), _SIDES - 1)


@dataclass(frozen=True)
class Objects:
    """
    What was seen.

    ``items``: those that are sure first, each part with the most important ones first; ``lost``:
    how many more were seen that are not here, at most 15.
    """

    items: tuple[SeenObject, ...] = ()
    lost: int = 0

    @property
    def named(self) -> tuple[SceneObject, ...]:
        """Those that the caption names."""
        return tuple(item.words for item in self.items if item.sure)[:MAX_OBJECTS]

    @property
    def unnamed(self) -> tuple[SeenObject, ...]:
        """Those that the caption does not name."""
        return self.items[len(self.named) :]

    def first(self, count: int) -> 'Objects':
        """Keep the first ones; the others are lost, of which at most 15 count."""
        kept = self.items[:count]
        return Objects(kept, min(self.lost + len(self.items) - len(kept), MOST_BEYOND))


def listed(objects: Objects | None, size: tuple[int, int]) -> dict[str, object]:
    """
    List objects as plain data, with boxes in pixels of an image of a size (W, H).

    ``objects``: null where nothing is told of them.
    """
    items = None
    if objects is not None:
        items = [
            {
                'class_id': item.class_id,
                'class': item.name,
                'probability': item.probability,
                'distance_m': item.distance_m,
                'box': [round(edge, 1) for edge in pixels(item.box, size)],
            }
            for item in objects.items
        ]
    return {
        'width': size[0],
        'height': size[1],
        'objects': items,
        'lost': 0 if objects is None else objects.lost,
    }


def pixels(box: Box, size: tuple[int, int]) -> Box:
    """Return a box in pixels of an image of a size (W, H)."""
    left, top, right, bottom = box
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


def write(encoder: RangeEncoder, objects: Objects | None, caption: Caption) -> None:
    """
    Write objects, None where nothing is told of them.

    ``caption``: as it was sent; it names the first of them.
    """
    encoder.encode(int(objects is not None), _TOLD)
    if objects is None:
        return
    beyond = objects.items[len(caption.objects) :]
    encoder.encode(len(beyond), _BEYOND)
    encoder.encode(min(objects.lost, MOST_BEYOND), _LOST)
    for index, item in enumerate(objects.items):
        if index >= len(caption.objects):
            words = (item.words.kind, item.words.bearing, item.words.distance)
            for word, cdf in zip(words, _WORDS, strict=True):
                encoder.encode(word, cdf)
        for step, cdf in zip((*item.place, item.level), _PLACE, strict=True):
            encoder.encode(step, cdf)


def read(decoder: RangeDecoder, caption: Caption) -> Iterator[Objects]:
    """
    Read objects one by one: each step has one more, and counts the others as lost.

    Nothing comes where nothing was told. Raises ``EndOfStream`` where the frame was cut.
    """
    if not decoder.decode(_TOLD):
        return
    total = len(caption.objects) + decoder.decode(_BEYOND)
    lost, items = decoder.decode(_LOST), []
    yield Objects((), min(lost + total, MOST_BEYOND))
    for index in range(total):
        if index < len(caption.objects):
            words = caption.objects[index]
        else:
            words = SceneObject(*(decoder.decode(cdf) for cdf in _WORDS))
        centre, low, wide, high, level = (decoder.decode(cdf) for cdf in _PLACE)
        items.append(SeenObject(words, (centre, low, wide, high), level))
        yield Objects(tuple(items), min(lost + total - len(items), MOST_BEYOND))
