"""
A caption of what the robot perceives: a kind of scene and up to five objects.

In the stream it is a few symbols of a closed vocabulary; people read it as an English sentence;
the generator takes it as words (``token_ids``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS, SKY

SCENES = ('unknown scene', 'street', 'open road', 'off-road', 'vegetation')
OBJECT_KINDS = (
    'person', 'rider', 'bicycle', 'motorcycle', 'car', 'truck', 'bus', 'train', 'traffic light',
    'traffic sign', 'obstacle',
)  # fmt: skip
BEARINGS = ('far left', 'left', 'ahead', 'right', 'far right')
# Upper edges of the distance bins, and the distance that stands for each, in metres.
DISTANCE_EDGES = (3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0)
DISTANCES = (2, 4, 6, 10, 17, 27, 44, 70)
MAX_OBJECTS = 5
NOTHING = 'no object found'

# Sizes of a word's fields for the generator: kind (0 = none, scenes, objects), bearing and
# distance (0 = none).
VOCABULARY = (1 + len(SCENES) + len(OBJECT_KINDS), 1 + len(BEARINGS), 1 + len(DISTANCES))


@dataclass(frozen=True)
class SceneObject:
    """An object: indices into OBJECT_KINDS, BEARINGS and DISTANCES."""

    kind: int
    bearing: int
    distance: int

    def __str__(self) -> str:
        kind, where = OBJECT_KINDS[self.kind], BEARINGS[self.bearing]
        return f'{kind} {where} at {DISTANCES[self.distance]} m'


@dataclass(frozen=True)
class Caption:
    """A scene (index into SCENES) and at most five objects, most important first."""

    scene: int = 0
    objects: tuple[SceneObject, ...] = ()

    def __str__(self) -> str:
        return f'{SCENES[self.scene]}: {", ".join(map(str, self.objects)) or NOTHING}'


def scene_of(classes: NDArray[np.uint8]) -> int:
    """Return the scene (index into SCENES) of a class map uint8 (h, w), by the classes' shares."""
    counts = np.bincount(classes.ravel(), minlength=256)
    shares = {name: counts[i] / classes.size for i, name in enumerate(LABELS)}
    built = shares['building'] + shares['wall'] + shares['fence']
    if shares['road'] > 0.1:
        return SCENES.index('street' if built + shares['sidewalk'] > 0.1 else 'open road')
    if shares['terrain'] > 0.2:
        return SCENES.index('off-road')
    if built > 0.25:
        return SCENES.index('street')
    return SCENES.index('vegetation' if shares['vegetation'] > 0.3 else 'unknown scene')


def token_ids(caption: Caption | None) -> NDArray[np.int64]:
    """Words for the generator: int64 (1 + MAX_OBJECTS, 3), zeros where there is no word."""
    words = np.zeros((1 + MAX_OBJECTS, 3), np.int64)
    if caption is not None:
        words[0, 0] = 1 + caption.scene
        for i, item in enumerate(caption.objects, start=1):
            words[i] = (1 + len(SCENES) + item.kind, 1 + item.bearing, 1 + item.distance)
    return words


def median_depth(depth: NDArray[np.float32], classes: NDArray[np.uint8] | None = None) -> float:
    """Median of the finite, positive depths that are not sky; NaN when there are none."""
    known = np.isfinite(depth) & (depth > 0)
    if classes is not None:
        known &= classes != SKY
    return float(np.median(depth[known])) if known.any() else float('nan')
