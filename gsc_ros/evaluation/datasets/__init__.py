"""Datasets as they lie on disk: frames, and the truth about them where there is some."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gsc_ros.evaluation.datasets.camvid import is_camvid, read_camvid
from gsc_ros.evaluation.datasets.cityscapes import is_cityscapes, read_cityscapes
from gsc_ros.evaluation.datasets.coco import is_coco2017, read_coco2017
from gsc_ros.evaluation.datasets.folder import (
    is_div2k,
    is_folder,
    is_kodak,
    read_div2k,
    read_folder,
    read_kodak,
)
from gsc_ros.evaluation.datasets.frame import Frame, at_height
from gsc_ros.evaluation.datasets.hypersim import is_hypersim, read_hypersim
from gsc_ros.evaluation.datasets.kitti import (
    is_kitti_depth,
    is_kitti_raw,
    read_kitti_depth,
    read_kitti_raw,
)
from gsc_ros.evaluation.datasets.manifest import is_manifest, read_manifest
from gsc_ros.evaluation.datasets.sequences import sequences
from gsc_ros.evaluation.datasets.simulated import is_simulated, read_simulated

__all__ = ['LAYOUTS', 'Frame', 'at_height', 'open_dataset', 'sequences', 'thin']

_Reader = tuple[Callable[[Path], bool], Callable[[Path, str], list[Frame]]]

# In the order in which 'auto' tries them: what holds another layout comes before it.
_READERS: dict[str, _Reader] = {
    'manifest': (is_manifest, read_manifest),
    'simulated': (is_simulated, read_simulated),
    'cityscapes': (is_cityscapes, read_cityscapes),
    'kitti_depth': (is_kitti_depth, read_kitti_depth),
    'kitti_raw': (is_kitti_raw, read_kitti_raw),
    'coco2017': (is_coco2017, read_coco2017),
    'hypersim': (is_hypersim, read_hypersim),
    'camvid': (is_camvid, read_camvid),
    'div2k': (is_div2k, read_div2k),
    'kodak': (is_kodak, read_kodak),
    'folder': (is_folder, read_folder),
}
LAYOUTS: tuple[str, ...] = tuple(_READERS)


def open_dataset(root: Path, layout: str = 'auto', split: str = 'val') -> list[Frame]:
    """
    List the frames below ``root``, sequences in order; nothing but names and tables is read yet.

    ``layout``: one of ``LAYOUTS`` (each module here describes its folders), or 'auto' to recognise
    it. ``split`` is for the layouts that have splits. Raises ``ValueError`` when nothing is found.
    """
    if layout not in ('auto', *LAYOUTS):
        raise ValueError(f'layout {layout!r} is unknown; give auto or one of {", ".join(LAYOUTS)}')
    if not root.is_dir():
        raise ValueError(f'{root}: no such folder; give the folder the dataset was unpacked into')
    if layout == 'auto':
        layout = next(name for name, (known, _) in _READERS.items() if known(root))
    known, read = _READERS[layout]
    if not known(root):
        raise ValueError(
            f'{root}: does not look like {layout}; give the folder as docs/datasets.md shows it, '
            "or the layout 'auto'"
        )
    frames = read(root, split)
    if not frames:
        raise ValueError(
            f'{root}: no frames of layout {layout}, split {split!r}; give a folder of images, '
            'or another split'
        )
    return _distinct(frames)


def _distinct(frames: list[Frame]) -> list[Frame]:
    """Give names that come again, as those of a.png and a.jpg, a number."""
    taken: set[str] = set()
    result = []
    for frame in frames:
        name, count = frame.name, 1
        while name in taken:
            count += 1
            name = f'{frame.name}-{count}'
        taken.add(name)
        result.append(frame if name == frame.name else replace(frame, name=name))
    return result


def thin(frames: list[Frame], limit: int | None) -> list[Frame]:
    """
    Keep ``limit`` frames, evenly spaced from the first to the last; all when None.

    Thin stills only: a thinned sequence has fewer frames a second. ``ValueError`` below 1.
    """
    if limit is None:
        return list(frames)
    if limit < 1:
        raise ValueError(f'limit {limit} must be 1 or more frames')
    if limit >= len(frames):
        return list(frames)
    step = (len(frames) - 1) / max(limit - 1, 1)
    return [frames[round(i * step)] for i in range(limit)]
