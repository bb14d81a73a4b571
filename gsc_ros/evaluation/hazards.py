"""Hazards that were told, against true ones."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.hazards import IN_THE_WAY, NOT_KNOWN

LEAST_AREA = 0.0012  # of the image, of a true hazard that counts
_FOUND = 0.5  # of a true hazard is told to be in the way


def count(told: NDArray[np.uint8], truth: NDArray[np.bool_]) -> dict[str, int]:
    """
    Count hazards of a map of ``decoded/hazards``, uint8 (H, W), against the truth, bool (H, W).

    Returns ``true``, the regions of 0.12 % of the image or more; ``missed``, those of which under
    half is told to be in the way (what is not known is missed); ``false``, the regions told that
    hold no true pixel; ``untold``, 1 where all is not known.
    """
    regions, parts, stats, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8))
    large = [i for i in range(1, regions) if stats[i, cv2.CC_STAT_AREA] >= LEAST_AREA * truth.size]
    way = told == IN_THE_WAY
    alarms, where = cv2.connectedComponents(way.astype(np.uint8))
    right = np.unique(where[truth & way])
    return {
        'true': len(large),
        'missed': sum(bool(way[parts == i].mean() < _FOUND) for i in large),
        'false': alarms - 1 - len(right),
        'untold': int((told == NOT_KNOWN).all()),
    }


def shares(counts: Iterable[dict[str, int]]) -> dict[str, float]:
    """
    Sum counts of :func:`count` over frames.

    Returns ``missed``, the share of the true hazards, NaN where there were none; ``false``, alarms
    a frame; ``untold``, the share of the frames.
    """
    every = list(counts)
    total = {name: sum(one[name] for one in every) for name in every[0]}
    return {
        'missed': total['missed'] / total['true'] if total['true'] else float('nan'),
        'false': total['false'] / len(every),
        'untold': total['untold'] / len(every),
    }
