"""Objects that were stated, against true classes."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.objects import SeenObject
from gsc_ros.labels import LABELS, UNLABELLED
from gsc_ros.perception.objects import Box
from gsc_ros.perception.regions import GROUP_OF, GROUPS

RIGHT = 0.3  # of the labelled part of a box has a class of the group
FOUND = 0.5  # of a true object lies in boxes of its group
LEAST_AREA = 0.004  # of the image, of a true object that counts
# What counts as being there: some truths have one class for a cyclist and the bicycle.
_ACCEPTED = tuple(
    np.array([LABELS.index(name) for name in (*names, *(('rider',) if i == 1 else ()))])
    for i, names in enumerate(GROUPS)
)


def _inside(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the pixels of a map (H, W) in a box, one at least."""
    height, width = shape
    left, top, right, bottom = box
    x, y = min(int(left * width), width - 1), min(int(top * height), height - 1)
    return (
        slice(y, max(int(np.ceil(bottom * height)), y + 1)),
        slice(x, max(int(np.ceil(right * width)), x + 1)),
    )


def covered(class_id: int, box: Box, truth: NDArray[np.uint8]) -> float | None:
    """
    Return which share of the labelled part of a box has a true class of the object's group.

    None where less than half of the box is labelled.
    """
    inside = truth[_inside(box, truth.shape)]
    labelled = inside[inside != UNLABELLED]
    if labelled.size < inside.size / 2:
        return None
    return float(np.isin(labelled, _ACCEPTED[GROUP_OF[class_id]]).mean())


def count(objects: Iterable[SeenObject], truth: NDArray[np.uint8]) -> dict[str, int]:
    """
    Count people and vehicles stated and true, of a true class map uint8 (H, W).

    Returns ``named``, how many were stated where the truth can tell, ``there``, how many of these
    are there, ``true``, the regions of people and vehicles of 0.4 % of the image or more, and
    ``found``, those that lie in stated boxes of their group by half.
    """
    named = there = true = found = 0
    boxes = np.zeros((len(GROUPS), *truth.shape), bool)
    for item in objects:
        group = GROUP_OF.get(item.class_id)
        if group is None:
            continue
        boxes[group][_inside(item.box, truth.shape)] = True
        share = covered(item.class_id, item.box, truth)
        if share is not None and group < len(GROUPS) - 1:
            named += 1
            there += share >= RIGHT
    boxes[0] |= boxes[1]  # a cyclist may be told as either
    boxes[1] |= boxes[0]
    for group, names in enumerate(GROUPS[:-1]):
        mine = np.isin(truth, [LABELS.index(name) for name in names]).astype(np.uint8)
        regions, parts, stats, _ = cv2.connectedComponentsWithStats(mine)
        for region in range(1, regions):
            if stats[region, cv2.CC_STAT_AREA] < LEAST_AREA * truth.size:
                continue
            true += 1
            found += bool(boxes[group][parts == region].mean() >= FOUND)
    return {'named': named, 'there': there, 'true': true, 'found': found}


def shares(counts: Iterable[dict[str, int]]) -> dict[str, float]:
    """
    Sum counts of :func:`count` over frames.

    Returns ``precision`` (there / named) and ``recall`` (found / true), NaN where there was
    nothing to count, and ``invented``, objects a frame that are not there.
    """
    all_counts = list(counts)
    total = {name: sum(one[name] for one in all_counts) for name in all_counts[0]}

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float('nan')

    return {
        'precision': share(total['there'], total['named']),
        'recall': share(total['found'], total['true']),
        'invented': (total['named'] - total['there']) / len(all_counts),
    }
