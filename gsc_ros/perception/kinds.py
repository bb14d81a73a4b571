"""The kind of a scene and how certain it is; needs no network."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import (
    KINDS,
    NUM_CLASSES,
    OTHER,
    SKY,
    STREET,
    UNLABELLED,
    applicable,
)

# A probability is sent as one of these; it is rounded down, so that it never promises too much.
PROBABILITIES = (0.0, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SURE = 0.6  # from which a kind is acted on
_POSSIBLE, _LOW_SKY = 0.9, 0.05
# Kinds of which there was enough truth to say that hazards are seen without a sensor.
_NOTHING_MISSED = ('planetary', 'indoor')


@dataclass(frozen=True)
class SceneKind:
    """
    A kind of scene.

    ``index``: into ``KINDS``; ``probability``: one of ``PROBABILITIES``; ``classed``: whether the
    classes that apply there are stated of this image.
    """

    index: int
    probability: float
    classed: bool = True

    @classmethod
    def of(cls, probabilities: NDArray[np.floating]) -> 'SceneKind':
        """Take the likeliest of the probabilities (KINDS)."""
        index = int(np.argmax(probabilities))
        level = int(np.searchsorted(PROBABILITIES, float(probabilities[index]), 'right')) - 1
        return cls(index, PROBABILITIES[max(level, 0)])

    @property
    def sure(self) -> bool:
        """Whether the kind is certain enough to be acted on."""
        return self.probability >= SURE

    @property
    def name(self) -> str:
        """The kind in words."""
        return KINDS[self.index]

    def __str__(self) -> str:
        return self.name if self.sure else f'not sure, perhaps {self.name}'


@lru_cache(maxsize=32)
def _classes(kind: SceneKind | None) -> NDArray[np.bool_]:
    if kind is None:
        return np.ones(NUM_CLASSES, bool)
    if not kind.sure:
        return np.zeros(NUM_CLASSES, bool)
    return applicable(kind.index) & kind.classed


def classes_of(kind: SceneKind | None) -> NDArray[np.bool_]:
    """
    Return the classes that may be stated: bool (NUM_CLASSES).

    All where nothing was told of the kind (None), none where it is not certain.
    """
    return _classes(kind)


def has_layout(kind: SceneKind | None) -> bool:
    """Tell whether any class may be stated, so that a class layout is sent."""
    return bool(_classes(kind).any())


def is_street(kind: SceneKind | None) -> bool:
    """Tell whether it is a street, or may be one as nothing was told of the kind."""
    return kind is None or (kind.sure and kind.index == STREET)


def has_sky(kind: SceneKind | None) -> bool:
    """Tell whether the class of the sky may be stated."""
    return bool(_classes(kind)[SKY])


def sees_hazards(kind: SceneKind) -> bool:
    """Tell whether it is a kind in which little of what stands in the way is missed."""
    return kind.sure and kind.name in _NOTHING_MISSED


def judged(kind: SceneKind, classes: NDArray[np.uint8]) -> SceneKind:
    """
    Decide by a class map (h, w) whether its classes are stated at all.

    Off the street the network is believed where it sees next to nothing that cannot be there, and
    no sky at the bottom of the image.
    """
    allowed = _classes(kind)
    if allowed.all() or not allowed.any():
        return kind
    possible = np.isin(classes, np.flatnonzero(allowed)).mean()
    low = (classes[-(len(classes) // 3) :] == SKY).mean()
    return replace(kind, classed=bool(possible >= _POSSIBLE and low <= _LOW_SKY))


def restrict(classes: NDArray[np.uint8], kind: SceneKind | None) -> NDArray[np.uint8]:
    """Replace classes of a map that may not be stated by "other", or by 255 if that may not."""
    allowed = _classes(kind)
    table = np.full(256, UNLABELLED, np.uint8)
    table[:NUM_CLASSES] = OTHER if allowed[OTHER] else UNLABELLED
    table[:NUM_CLASSES][allowed] = np.flatnonzero(allowed)
    return table[classes]
