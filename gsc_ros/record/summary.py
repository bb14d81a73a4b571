"""Figures of a run: gathered a frame at a time, summarised as a table."""

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import metrics


def truth_errors(
    depth: NDArray[np.float32],
    segmentation: NDArray[np.uint8],
    true_depth: NDArray[np.float32] | None,
    true_segmentation: NDArray[np.uint8] | None,
) -> dict[str, float]:
    """Compare decoded maps with the simulator's truth of the same moment."""
    figures = {}
    if true_depth is not None and true_depth.shape == depth.shape:
        figures['depth AbsRel'], figures['depth delta<1.25'] = metrics.depth_errors(
            depth, true_depth, scaled=False
        )
        figures['depth known share'] = metrics.depth_known(depth, true_depth)
    if true_segmentation is not None and true_segmentation.shape == segmentation.shape:
        figures['class agreement'] = metrics.agreement(segmentation, true_segmentation)
        figures['class mIoU'] = metrics.mean_iou(
            metrics.confusion(segmentation, true_segmentation)
        )
    return figures


class Figures:
    """Collects values by name; gives their mean, minimum and maximum."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, figures: dict[str, float]) -> None:
        """Note one frame's or one second's figures; those that are not finite are left out."""
        for name, value in figures.items():
            if math.isfinite(value):
                self._values[name].append(float(value))

    def table(self) -> dict[str, dict[str, float]]:
        """Return ``{name: {mean, min, max, count}}``."""
        return {
            name: {
                'mean': float(np.mean(values)),
                'min': min(values),
                'max': max(values),
                'count': len(values),
            }
            for name, values in self._values.items()
        }

    def markdown(self) -> str:
        """Format the table."""
        lines = ['| figure | mean | min | max | samples |', '|---|---|---|---|---|']
        lines += [
            f'| {name} | {row["mean"]:.4g} | {row["min"]:.4g} | {row["max"]:.4g} '
            f'| {row["count"]} |'
            for name, row in self.table().items()
        ]
        return '\n'.join(lines)
