"""
Gathers images with true depth or classes from checkouts of public repositories.

    python -m tools.gather_truth CHECKOUTS DATA

``CHECKOUTS`` holds any of the repositories of ``SOURCES`` as ``git clone`` makes them, named
``owner+name``; those that are not there are left out. Writes images and truth to
``DATA/<split>/<source>`` and appends rows to ``DATA/<split>/manifest.csv`` (docs/training.md,
Data). An image that the manifest has stays as it is. Mind the repositories' licences.
"""

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS, UNLABELLED

FIELDS = (
    'file', 'split', 'kind', 'sequence', 'width', 'height', 'has_seg', 'seg_file', 'has_depth',
    'depth_file', 'hfov_deg',
)  # fmt: skip
KINECT, LIDAR = 'gt:kinect_u16_mm', 'gt:lidar_sparse_u16_m*256'
_INVALID = 65535  # some of the depth images have it for unknown
# Colours (B, G, R) of the Yamaha-CMU off-road labels.
_TRAILS = {
    (255, 88, 1): 'sky', (30, 76, 156): 'terrain', (153, 176, 178): 'terrain',
    (0, 255, 128): 'terrain', (0, 80, 40): 'vegetation', (0, 160, 0): 'vegetation',
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """
    Images of a repository.

    ``images``: a glob in it; ``truth``: what of an image's path is replaced by what for its truth;
    ``focal_px``: of the images, 0 where it is not known; ``every``: takes each nth; ``border``:
    pixels that are cut off each side.
    """

    name: str
    repository: str
    images: str
    truth: tuple[tuple[str, str], ...]
    focal_px: float
    every: int = 1
    split: str = 'train'
    kind: str = 'indoor'
    of: str = KINECT
    border: int = 0


_COLOR = (('.color.', '.depth.'),)
_FOLDERS = (('/color/', '/depth/'), ('.jpg', '.png'))
SOURCES = (
    Source('tsdf_python', 'andyzeng+tsdf-fusion-python', 'data/*.color.jpg',
           (('.color.jpg', '.depth.png'),), 585, 12),
    Source('tsdf_cpp', 'andyzeng+tsdf-fusion', 'data/rgbd-frames/*.color.png', _COLOR, 585, 5),
    Source('m3_rgbd_frames', 'andyzeng+3dmatch-toolbox',
           'data/sample/depth-fusion-demo/rgbd-frames/*.color.png', _COLOR, 585, 8),
    Source('nvblox', 'nvidia-isaac+nvblox', 'nvblox/tests/data/3dmatch/*/*.color.png', _COLOR,
           585),
    Source('redwood', 'mikiec84+Open3D', 'examples/TestData/RGBD/color/*.jpg',
           _FOLDERS, 525),
    Source('nyu_demo', 'YvanYin+Metric3D', 'data/nyu_demo/rgb/*.jpg',
           (('/rgb/rgb_', '/depth/sync_depth_'), ('.jpg', '.png')), 518.86, border=8),
    Source('scannet0000', 'Jun-CEN+SegmentAnyRGBD',
           'UI/scannetv2/examples/scene0000_00/color/*.jpg',
           _FOLDERS, 1169.6),
    Source('slambook_rgbd', 'gaoxiang12+slambook2', 'ch5/rgbd/color/*.png',
           (('/color/', '/depth/'), ('.png', '.pgm')), 518, split='val'),
    Source('kitti_other', 'YvanYin+Metric3D', 'data/kitti_demo/rgb/*.png',
           (('/rgb/', '/depth/'),), 707.05, split='val', kind='driving', of=LIDAR),
    Source('ycor', 'thatsrux+Off-Road-Image-Segmentation', 'train/*/rgb.jpg',
           (('rgb.jpg', 'labels.png'),), 0, 2, kind='offroad', of='gt:cityscapes19'),
)  # fmt: skip


def classes_of(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn colours of the off-road labels, BGR (H, W, 3), into class ids (H, W)."""
    ids = np.full(colours.shape[:2], UNLABELLED, np.uint8)
    for colour, name in _TRAILS.items():
        ids[(colours == np.array(colour)).all(-1)] = LABELS.index(name)
    return ids


def gather(
    source: Source, checkouts: Path, data: Path, known: set[str]
) -> list[dict[str, object]]:
    """Write the images of a source with their truth, and return their rows of the manifest."""
    root = checkouts / source.repository
    rows: list[dict[str, object]] = []
    for path in sorted(root.glob(source.images))[:: source.every]:
        other = str(path)
        for old, new in source.truth:
            other = other.replace(old, new)
        folder = f'{source.split}/{source.name}'
        key = path.parent.name if source.kind == 'offroad' else path.name.split('.')[0]
        file, truth_file = f'{folder}/{key}.jpg', f'{folder}_truth/{key}.png'
        image, truth = cv2.imread(str(path)), cv2.imread(other, cv2.IMREAD_UNCHANGED)
        if image is None or truth is None or file in known:
            continue
        inner = slice(source.border, -source.border or None)
        image, truth = image[inner, inner], truth[inner, inner]
        height, width = image.shape[:2]
        row: dict[str, object] = dict.fromkeys(FIELDS, '') | {
            'file': file, 'split': source.split, 'kind': source.kind, 'sequence': source.name,
            'width': width, 'height': height,
        }  # fmt: skip
        if source.of in (KINECT, LIDAR):
            truth[truth == _INVALID] = 0
            row |= {'has_depth': source.of, 'depth_file': truth_file}
        else:
            truth = classes_of(truth)
            row |= {'has_seg': source.of, 'seg_file': truth_file, 'sequence': ''}
        if source.focal_px:
            row['hfov_deg'] = f'{2 * math.degrees(math.atan(width / 2 / source.focal_px)):.2f}'
        for name, array in ((file, image), (truth_file, truth)):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(data / name), array)  # JPEG at 95, PNG
        rows.append(row)
    return rows


def main() -> None:
    """Gather all sources that are there."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('checkouts', type=Path)
    parser.add_argument('data', type=Path)
    args = parser.parse_args()
    for split in ('train', 'val'):
        manifest = args.data / split / 'manifest.csv'
        rows: list[dict[str, object]] = []
        fields = list(FIELDS)
        if manifest.is_file():
            with open(manifest, newline='') as file:
                reader = csv.DictReader(file)
                rows = [dict(row) for row in reader]
                fields = list(dict.fromkeys([*(reader.fieldnames or ()), *FIELDS]))
        known = {str(row['file']) for row in rows}
        for source in (s for s in SOURCES if s.split == split):
            found = gather(source, args.checkouts, args.data, known)
            print(f'{split}/{source.name}: {len(found)} images')
            rows += found
        manifest.parent.mkdir(parents=True, exist_ok=True)
        with open(manifest, 'w', newline='') as file:
            writer = csv.DictWriter(file, fields, restval='')
            writer.writeheader()
            writer.writerows(rows)


if __name__ == '__main__':
    main()
