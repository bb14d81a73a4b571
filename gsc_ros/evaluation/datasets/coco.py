"""
COCO 2017 (Lin et al., ECCV 2014; https://cocodataset.org/#format-data).

``<split>2017/NNNNNNNNNNNN.jpg`` (or ``images/<split>2017/``) and
``annotations/instances_<split>2017.json``; without the latter there are no boxes. Crowds, which
are regions and no objects, are left out. The 80 classes, numbered 1..90 with gaps in the file,
become 0..79.
"""

import json
from functools import cache, partial
from pathlib import Path

from gsc_ros.evaluation.datasets.frame import Frame, images
from gsc_ros.evaluation.metrics import Box

_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_CLASSES = {c: i for i, c in enumerate(c for c in range(1, 91) if c not in _UNUSED)}


def _folder(root: Path, split: str) -> Path | None:
    places = (root / f'{split}2017', root / 'images' / f'{split}2017')
    return next((p for p in places if p.is_dir()), None)


def is_coco2017(root: Path) -> bool:
    """Return whether there are images of 2017."""
    return any(_folder(root, split) for split in ('val', 'train', 'test'))


@cache
def _instances(path: Path) -> dict[str, list[Box]]:
    """Read a file of instances: the boxes of each image's file name."""
    try:
        content = json.loads(path.read_text())
        names = {image['id']: image['file_name'] for image in content['images']}
        found: dict[str, list[Box]] = {name: [] for name in names.values()}
        for thing in content['annotations']:
            if thing.get('iscrowd'):
                continue
            x, y, w, h = (float(v) for v in thing['bbox'])
            label = _CLASSES[thing['category_id']]
            found[names[thing['image_id']]].append((x, y, x + w, y + h, 1.0, label))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path}: not instances of COCO 2017 ({error!r}); fetch the file again'
        ) from error
    return found


def _boxes(path: Path, name: str) -> list[Box]:
    found = _instances(path)
    if name not in found:
        raise ValueError(f'{path}: does not know {name}; take the file of the same split')
    return list(found[name])


def read_coco2017(root: Path, split: str) -> list[Frame]:
    """List a split's images; the file of instances is read when boxes are first asked for."""
    folder = _folder(root, split)
    if folder is None:
        return []
    path = root / 'annotations' / f'instances_{split}2017.json'
    known = path.is_file()
    return [
        Frame(p.stem, p, boxes=partial(_boxes, path, p.name) if known else None)
        for p in images(folder)
    ]
