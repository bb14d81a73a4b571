"""Objects in a class map: connected regions of people, vehicles and signs, with their features."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS
from gsc_ros.perception.objects import Box, Detection

# Classes of objects, in groups that are calibrated together.
GROUPS: tuple[tuple[str, ...], ...] = (
    ('person', 'rider'),
    ('bicycle', 'motorcycle'),
    ('car', 'truck', 'bus', 'train'),
    ('traffic light', 'traffic sign'),
)
GROUP_OF = {LABELS.index(name): i for i, names in enumerate(GROUPS) for name in names}
PEOPLE_AND_VEHICLES = frozenset(label for label, group in GROUP_OF.items() if group < 3)
LEAST_AREA = 0.0012  # of the image


@dataclass(frozen=True)
class Region:
    """
    What may be an object.

    ``class_id``: of ``gsc_ros.labels``; ``box``: left, top, right, bottom in shares 0..1 of the
    image; ``area``: share of the image; ``confidence``: mean probability of the class, 0..1;
    ``distance_m``: median depth.
    """

    class_id: int
    box: Box
    area: float
    confidence: float
    distance_m: float

    @property
    def rank(self) -> float:
        """Order of importance: nearer and larger ones come first."""
        return self.distance_m / (1 + 20 * self.area)


def _median(metres: NDArray[np.float32]) -> float:
    known = metres[np.isfinite(metres)]
    return float(np.median(known)) if known.size else float('nan')


def find_regions(
    classes: NDArray[np.uint8],
    metres: NDArray[np.float32],
    confidence: NDArray[np.float32],
) -> list[Region]:
    """
    Find the regions of objects in maps (h, w): ids, depth in metres, probability of the class.

    Those of unknown depth are left out.
    """
    rows, columns = classes.shape
    found = []
    for label in np.intersect1d(classes, list(GROUP_OF)):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (classes == label).astype(np.uint8), connectivity=8
        )
        for part in range(1, count):
            x, y, w, h, cells = stats[part].tolist()
            where = parts == part
            distance_m = _median(metres[where])
            if cells < LEAST_AREA * classes.size or np.isnan(distance_m):
                continue
            box = (x / columns, y / rows, (x + w) / columns, (y + h) / rows)
            certain = float(confidence[where].mean())
            found.append(Region(int(label), box, cells / classes.size, certain, distance_m))
    return found


def place_detections(
    objects: Iterable[Detection], metres: NDArray[np.float32]
) -> list[Region]:  # fmt: skip
    """
    Place the objects of a detector in a depth map (h, w); the middle of a box has its depth.

    Those of other classes and of unknown depth are left out.
    """
    rows, columns = metres.shape
    found = []
    for item in objects:
        left, top, right, bottom = item.box
        x, y = (left + right) / 2, (top + bottom) / 2
        x0, x1 = (int(columns * (v + x) / 2) for v in (left, right))
        y0, y1 = (int(rows * (v + y) / 2) for v in (top, bottom))
        distance_m = _median(metres[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])
        if item.class_id in GROUP_OF and not np.isnan(distance_m):
            found.append(Region(item.class_id, item.box, item.area, item.score, distance_m))
    return found
