"""
Cityscapes (Cordts et al., CVPR 2016; https://www.cityscapes-dataset.com, layout and label ids as
in https://github.com/mcordts/cityscapesScripts).

``leftImg8bit/<split>/<city>/<city>_SSSSSS_FFFFFF_leftImg8bit.png`` are stills;
``leftImg8bit_sequence/`` holds snippets of the same naming at 17 Hz and is read where the former
is missing, or when it is itself the root. Truth is ``gtFine/<split>/<city>/``
``<city>_SSSSSS_FFFFFF_gtFine_labelTrainIds.png``, or ``..._labelIds.png``, whose ids are mapped.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from gsc_ros.evaluation.datasets.frame import Frame, images, read_ids
from gsc_ros.labels import OTHER, UNLABELLED

FPS = 17.0
_STILLS, _SEQUENCES = 'leftImg8bit', 'leftImg8bit_sequence'
_TRAIN_IDS = np.arange(256, dtype=np.uint8)
_TRAIN_IDS[OTHER:] = UNLABELLED
_LABEL_IDS = np.full(256, UNLABELLED, np.uint8)
_LABEL_IDS[[7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]] = np.arange(19)
_NAME = re.compile(r'(.+_\d+)_(\d+)_leftImg8bit')


def _source(root: Path) -> Path | None:
    if root.name in (_STILLS, _SEQUENCES):
        return root
    return next((root / d for d in (_STILLS, _SEQUENCES) if (root / d).is_dir()), None)


def is_cityscapes(root: Path) -> bool:
    """Return whether there are left images."""
    return _source(root) is not None


def read_cityscapes(root: Path, split: str) -> list[Frame]:
    """List a split's images, with their classes where gtFine has them."""
    source = _source(root)
    if source is None:
        return []
    in_sequence = source.name == _SEQUENCES
    frames: list[Frame] = []
    sequence, last = '', ('', -1)
    for image in images(source / split, '*/*_leftImg8bit.*'):
        match = _NAME.fullmatch(image.stem)
        if match is None:
            continue
        group, number = match[1], int(match[2])
        if in_sequence and last != (group, number - 1):  # a gap in the numbers starts a snippet
            sequence = f'{group}_{match[2]}'
        last = (group, number)
        stem = f'{group}_{match[2]}_gtFine'
        folder = source.parent / 'gtFine' / split / image.parent.name
        segmentation = None
        for tail, table in (('labelTrainIds', _TRAIN_IDS), ('labelIds', _LABEL_IDS)):
            if (truth := folder / f'{stem}_{tail}.png').is_file():
                segmentation = partial(read_ids, truth, table)
                break
        name = f'{group}_{match[2]}'
        frames.append(Frame(name, image, sequence, FPS if in_sequence else 0.0, segmentation))
    return frames
