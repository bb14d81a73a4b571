"""
A caption of what the robot perceives: a kind of scene and up to five objects.

In the stream it is a few symbols of a closed vocabulary; people read it as an English sentence;
the generator takes it as words (``token_ids``).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS, SKY
from gsc_ros.perception.objects import Detection

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

_KIND_OF_LABEL = {
    LABELS.index(name): OBJECT_KINDS.index(name) for name in OBJECT_KINDS if name in LABELS
} | {LABELS.index('other'): OBJECT_KINDS.index('obstacle')}
_MIN_AREA = 0.0012  # of the image
_MIN_SHOWN = 0.08


@dataclass(frozen=True)
class SceneObject:
    """An object: indices into OBJECT_KINDS, BEARINGS and DISTANCES."""

    kind: int
    bearing: int
    distance: int


@dataclass(frozen=True)
class Caption:
    """A scene (index into SCENES) and at most five objects, most important first."""

    scene: int = 0
    objects: tuple[SceneObject, ...] = ()

    def __str__(self) -> str:
        parts = [
            f'{OBJECT_KINDS[t.kind]} {BEARINGS[t.bearing]} at {DISTANCES[t.distance]} m'
            for t in self.objects
        ]
        return f'{SCENES[self.scene]}: {", ".join(parts) or NOTHING}'


def _scene(share: NDArray[np.float64]) -> int:
    """Classify the scene by the classes' shares of the image."""
    shares = {name: float(share[i]) for i, name in enumerate(LABELS)}
    built = shares['building'] + shares['wall'] + shares['fence']
    if shares['road'] > 0.1:
        return SCENES.index('street' if built + shares['sidewalk'] > 0.1 else 'open road')
    if shares['terrain'] > 0.2:
        return SCENES.index('off-road')
    if built > 0.25:
        return SCENES.index('street')
    return SCENES.index('vegetation' if shares['vegetation'] > 0.3 else 'unknown scene')


def _place(metres: NDArray[np.float32], centre: float) -> tuple[float, int, int] | None:
    """
    Return distance in metres, bearing and distance bin of an object of these depths.

    ``centre``: 0 (left) to 1 (right) of the image. None where no depth is known.
    """
    metres = metres[np.isfinite(metres)]
    if metres.size == 0:
        return None
    distance = float(np.median(metres))
    bearing = min(len(BEARINGS) - 1, int(centre * len(BEARINGS)))
    return distance, bearing, int(np.searchsorted(DISTANCE_EDGES, distance))


def _from_boxes(
    objects: Iterable[Detection], depth: NDArray[np.float32]
) -> Iterable[tuple[float, SceneObject]]:
    """Place the objects of a detector, each with its rank; the middle of a box has its depth."""
    height, width = depth.shape
    for item in objects:
        kind = _KIND_OF_LABEL.get(item.class_id)
        if kind is None:
            continue
        left, top, right, bottom = item.box
        centre = (left + right) / 2
        x0, x1 = (int(width * (v + centre) / 2) for v in (left, right))
        y0, y1 = (int(height * (v + (top + bottom) / 2) / 2) for v in (top, bottom))
        place = _place(depth[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], centre)
        if place is not None:
            yield place[0] / (1 + 20 * item.area), SceneObject(kind, place[1], place[2])


def describe(
    classes: NDArray[np.uint8],
    depth: NDArray[np.float32],
    objects: Iterable[Detection] | None = None,
) -> Caption:
    """
    Describe a class map uint8 (h, w) with its depth float32 (h, w) in metres.

    ``objects``: those of a detector; None to take connected regions of a class. Nearer and larger
    ones come first.
    """
    _height, width = classes.shape
    share = np.bincount(classes.ravel(), minlength=256)[: len(LABELS)] / classes.size
    found = [] if objects is None else list(_from_boxes(objects, depth))
    for label, kind in _KIND_OF_LABEL.items() if objects is None else ():
        if share[label] < _MIN_AREA:
            continue
        count, regions, stats, centres = cv2.connectedComponentsWithStats(
            (classes == label).astype(np.uint8), connectivity=8
        )
        for i in range(1, count):
            area = stats[i, cv2.CC_STAT_AREA] / classes.size
            if area < _MIN_AREA or (
                kind == OBJECT_KINDS.index('obstacle') and area < _MIN_SHOWN / 8
            ):
                continue
            place = _place(depth[regions == i], centres[i][0] / width)
            if place is not None:
                rank = place[0] / (1 + 20 * area)
                found.append((rank, SceneObject(kind, place[1], place[2])))
    found.sort(key=lambda item: item[0])
    return Caption(_scene(share), tuple(item for _, item in found[:MAX_OBJECTS]))


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
