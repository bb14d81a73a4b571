"""Map a model's class names onto ``gsc_ros.labels``, by name."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS, UNLABELLED
from gsc_ros.models.pretrained import Tell

# Other names of our classes, as COCO and ADE20K have them.
_SYNONYMS = {
    'pavement': 'sidewalk', 'street': 'road', 'route': 'road', 'edifice': 'building',
    'house': 'building', 'skyscraper': 'building', 'fencing': 'fence', 'column': 'pole',
    'streetlight': 'pole', 'trafficlight': 'traffic light', 'stoplight': 'traffic light',
    'stop sign': 'traffic sign', 'tree': 'vegetation', 'plant': 'vegetation',
    'grass': 'terrain', 'earth': 'terrain', 'ground': 'terrain', 'field': 'terrain',
    'sand': 'terrain', 'dirt track': 'terrain', 'pedestrian': 'person', 'human': 'person',
    'auto': 'car', 'automobile': 'car', 'motortruck': 'truck', 'autobus': 'bus',
    'motorbike': 'motorcycle', 'minibike': 'motorcycle', 'bike': 'bicycle', 'cyclist': 'rider',
    'bicyclist': 'rider', 'motorcyclist': 'rider',
}  # fmt: skip
_SHOWN = 8


def class_of(name: str) -> int:
    """
    Return our id of a class name; ``UNLABELLED`` where there is none.

    Of a list of names (``'road, route'``) the first counts that is known.
    """
    for part in name.replace(';', ',').split(','):
        words = ' '.join(part.lower().replace('_', ' ').replace('-', ' ').split())
        words = _SYNONYMS.get(words, words)
        if words in LABELS:
            return LABELS.index(words)
    return UNLABELLED


def id_table(
    names: Mapping[int, str] | Mapping[str, str] | None, source: str, report: Tell
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """
    Map a model's ids to ours: uint8 (ids), and its names by id.

    ``names``: ``id2label`` of its configuration. Reports the names that are not known here. Raises
    ``ValueError`` where none is.
    """
    own = {int(number): str(name) for number, name in (names or {}).items()}
    table = np.full(max(own, default=-1) + 1, UNLABELLED, np.uint8)
    for number, name in own.items():
        table[number] = class_of(name)
    unknown = [name for number, name in own.items() if table[number] == UNLABELLED]
    if len(unknown) == len(own):
        raise ValueError(
            f'{source}: none of its {len(own)} classes ({", ".join(unknown[:3])}, ...) has a '
            'name that is known here; name a model of Cityscapes, ADE20K or COCO, or set id2label '
            'in its config.json'
        )
    if unknown:
        more = f' and {len(unknown) - _SHOWN} more' if len(unknown) > _SHOWN else ''
        report(f'{source}: unlabelled: {", ".join(unknown[:_SHOWN])}{more}')
    return table, own
