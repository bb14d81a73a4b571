"""
Who sees what: the embedded network, or a foundation model for a task of its own.

A choice is text, of a node's parameter or a command's option: ``embedded``, or for each task a
folder or a model of the hub, ``depth=FOLDER,classes=owner/name@revision,objects=FOLDER``. Tasks
that are not named stay with the embedded network, which finds no objects of its own: the caption
takes them from the classes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.labels import NUM_CLASSES, SKY, UNLABELLED
from gsc_ros.perception.interface import EMBEDDED, TASKS, Perception
from gsc_ros.perception.model import Prediction, sky_doubtful

if TYPE_CHECKING:
    from gsc_ros.models.pretrained import Options


def parse(choice: str) -> dict[str, str]:
    """
    Return the models of a choice by task; none for ``embedded``.

    Raises ``ValueError`` for what is no choice.
    """
    models: dict[str, str] = {}
    if choice.strip() in ('', EMBEDDED):
        return models
    for part in choice.split(','):
        task, _, source = (word.strip() for word in part.partition('='))
        if task not in TASKS or not source or task in models:
            raise ValueError(
                f'perception {choice!r}: give {EMBEDDED}, or a folder or a model of the hub for '
                f'each task, as depth=FOLDER,classes=owner/name@revision; '
                f'tasks are {", ".join(TASKS)}'
            )
        if source != EMBEDDED:
            models[task] = source
    return models


class Chosen:
    """
    Perception by a model for each task.

    ``embedded``: tells the kind of scene and does the tasks that have no model; None for none,
    where depth and classes have one. ``depth``, ``classes``, ``objects``: a ``DepthModel``, a
    ``SegmentationModel`` and a ``Detector`` of ``perception.foundation``, None for none.
    """

    def __init__(
        self, embedded: Perception | None, depth: Any = None, classes: Any = None,
        objects: Any = None,
    ) -> None:  # fmt: skip
        if embedded is None and (depth is None or classes is None):
            raise ValueError('depth and classes need a model each, or the embedded network')
        self.embedded, self.depth, self.classes, self.objects = embedded, depth, classes, objects

    def predict(self, rgb: NDArray[np.uint8], stride: int = 8) -> Prediction:
        """See an image; see :meth:`Perception.predict`."""
        view = None if self.embedded is None else self.embedded.predict(rgb, stride)
        # The caller's bfloat16 is for its own networks; a model has the dtype that was asked for.
        with torch.autocast('cpu', enabled=False), torch.autocast('cuda', enabled=False):
            return self._combine(rgb, stride, view)

    def _combine(self, rgb: NDArray[np.uint8], stride: int, view: Prediction | None) -> Prediction:
        """Put the models' outputs and those of the embedded network together."""
        size = rgb.shape[0] // stride, rgb.shape[1] // stride
        if self.depth is not None:
            metres = self.depth.metres(rgb, size)
        else:
            assert view is not None
            metres = view.metres.copy()
        if self.classes is not None:
            scores = self.classes.probabilities(rgb, size).cpu().numpy()
            best = scores.argmax(0)
            classes = np.where(best == NUM_CLASSES, UNLABELLED, best).astype(np.uint8)
            # Where the embedded network saw the sky and this model does not, depth is unknown.
            metres[np.isinf(metres) & (classes != SKY)] = np.nan
            doubtful = sky_doubtful(classes, scores[:NUM_CLASSES], metres)
            confidence = None  # of a model for which objects are not calibrated
            chances = scores[:NUM_CLASSES]
        else:
            assert view is not None
            classes, doubtful, confidence = view.classes, view.sky_doubtful, view.confidence
            chances = view.probabilities
        metres[classes == SKY] = np.inf
        objects = view.objects if view is not None else None
        if self.objects is not None:
            objects = self.objects.detect(rgb)
        in_sky = view.depth_in_sky if view is not None and self.depth is None else None
        kind = view.kind if view is not None else None
        standing = view.standing if view is not None else None
        return Prediction(
            classes, metres, doubtful, objects, in_sky, confidence, kind, chances, standing
        )


def load(
    choice: str, embedded: Callable[[], Perception], options: 'Options | None' = None
) -> Perception:
    """
    Load who sees, of a choice.

    ``embedded``: loads the embedded network. Raises ``ValueError`` for what is no choice and for a
    model that cannot be loaded.
    """
    models = parse(choice)
    if not models:
        return embedded()
    from gsc_ros.perception.foundation.depth import DepthModel
    from gsc_ros.perception.foundation.detection import Detector
    from gsc_ros.perception.foundation.loading import quiet
    from gsc_ros.perception.foundation.segmentation import SegmentationModel

    quiet()
    kinds: dict[str, Any] = {
        'depth': DepthModel, 'classes': SegmentationModel, 'objects': Detector
    }  # fmt: skip
    loaded = {task: kinds[task].load(source, options) for task, source in models.items()}
    return Chosen(embedded(), **loaded)
