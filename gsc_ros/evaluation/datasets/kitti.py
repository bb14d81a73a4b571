"""
KITTI (Geiger et al., IJRR 2013; Uhrig et al., 3DV 2017; https://www.cvlibs.net/datasets/kitti/).

* ``kitti_raw``: ``<date>/<date>_drive_NNNN_sync/image_02/data/NNNNNNNNNN.png``, the left colour
  camera at 10 Hz. The root is the folder of dates, a date or a drive. No splits, no truth.
* ``kitti_depth``: ``{train,val}/<drive>/proj_depth/groundtruth/image_02/NNNNNNNNNN.png`` of the
  annotated depth, 16 bits, metres x 256, 0 unknown, in the root or its ``data_depth_annotated/``,
  and the raw drives in the root, a folder of it, or beside it. Or the selection for validation,
  ``val_selection_cropped/{image,groundtruth_depth}/``, in the root, in ``depth_selection/``, or
  the root itself; split ``val_selection_cropped`` asks for it where both are there.
"""

from functools import partial
from pathlib import Path

from gsc_ros.evaluation.datasets.frame import Frame, images, name_of, read_depth, stills

FPS = 10.0
_PER_METRE = 256.0
_SELECTION = 'val_selection_cropped'
_TRUTH = 'proj_depth/groundtruth/image_02'


def _raw(root: Path) -> list[Path]:
    below = ('image_02/data', '*/image_02/data', '*/*/image_02/data')
    return sorted(folder for pattern in below for folder in root.glob(pattern))


def is_kitti_raw(root: Path) -> bool:
    """Return whether there are drives."""
    return bool(_raw(root))


def read_kitti_raw(root: Path, split: str) -> list[Frame]:
    """List the drives' images of camera 2, a sequence each."""
    frames = []
    for folder in _raw(root):
        drive = folder.parent.parent.resolve().name
        frames += [Frame(f'{drive}_{p.stem}', p, drive, FPS) for p in images(folder)]
    return frames


def _annotated(root: Path) -> Path:
    inner = root / 'data_depth_annotated'
    return inner if inner.is_dir() else root


def _selection(root: Path) -> Path | None:
    places = (root, root / _SELECTION, root / 'depth_selection' / _SELECTION)
    return next((p for p in places if (p / 'groundtruth_depth').is_dir()), None)


def is_kitti_depth(root: Path) -> bool:
    """Return whether there is annotated depth or the selection."""
    return any(_annotated(root).glob(f'*/*/{_TRUTH}')) or _selection(root) is not None


def _images_of(drive: str, root: Path, split: str) -> Path:
    """Find the folder of a drive's raw images."""
    places = [root, *sorted(p for p in root.iterdir() if p.is_dir()), root.resolve().parent]
    tails = (f'{drive[:10]}/{drive}', drive, f'{split}/{drive}')
    for place in places:
        for tail in tails:
            folder = place / tail / 'image_02/data'
            if folder.is_dir():
                return folder
    raise ValueError(
        f'{root}: annotated depth of {drive} but not its images; put the raw drive there as '
        f'{tails[0]}/image_02/data'
    )


def read_kitti_depth(root: Path, split: str) -> list[Frame]:
    """List the frames with depth; drives are sequences, the selection is of stills."""
    truths = sorted((_annotated(root) / split).glob(f'*/{_TRUTH}'))
    if not truths:
        selection = _selection(root) if split in ('val', _SELECTION) else None
        return _selected(selection) if selection else []
    frames = []
    for folder in truths:
        drive = folder.parents[2].name
        source = _images_of(drive, root, split)
        for truth in images(folder, '*.png'):
            image = next(iter(images(source, f'{truth.stem}.*')), source / truth.name)
            depth = partial(read_depth, truth, _PER_METRE)
            frames.append(Frame(f'{drive}_{truth.stem}', image, drive, FPS, depth=depth))
    return frames


def _selected(folder: Path) -> list[Frame]:
    frames = []
    for still in stills(images(folder / 'image', '*.png'), folder / 'image'):
        name = still.image.name.replace('_sync_image_', '_sync_groundtruth_depth_')
        truth = folder / 'groundtruth_depth' / name
        depth = partial(read_depth, truth, _PER_METRE) if truth.is_file() else None
        name = name_of(still.image, folder / 'image')
        frames.append(Frame(name, still.image, depth=depth))
    return frames
