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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS, UNLABELLED

FIELDS = (
    'file', 'split', 'kind', 'sequence', 'width', 'height', 'has_seg', 'seg_file', 'has_depth',
    'depth_file', 'hfov_deg', 'camera_height_m',
)  # fmt: skip
KINECT, LIDAR = 'gt:kinect_u16_mm', 'gt:lidar_sparse_u16_m*256'
CITYSCAPES, CLASSES = 'gt:cityscapes19', 'gt:labels20'
_LIDAR_UNIT = 256  # a metre, in depth images of lidar
_FARTHEST_M = 100.0
_INVALID = 65535  # some of the depth images have it for unknown
# What a label, a colour (B, G, R) or an id, is in our classes. Others stay unlabelled.
Palette = dict[tuple[int, ...], str]
_YAMAHA: Palette = {
    (255, 88, 1): 'sky', (30, 76, 156): 'terrain', (153, 176, 178): 'terrain',
    (0, 255, 128): 'terrain', (0, 80, 40): 'vegetation', (0, 160, 0): 'vegetation',
}  # fmt: skip
# Trees, hedge, trunks and bushes; lawn, grass and the path; sky; water, building and bridge.
_BOTANIC: Palette = {
    (52, 197, 139): 'vegetation', (114, 219, 189): 'vegetation', (56, 165, 242): 'vegetation',
    (216, 134, 239): 'vegetation', (225, 105, 65): 'terrain', (221, 151, 59): 'terrain',
    (174, 249, 248): 'terrain', (209, 249, 159): 'sky', (133, 147, 229): 'other',
    (255, 201, 202): 'other', (115, 106, 242): 'other',
}  # fmt: skip
# Grass, tree, pole, water, sky, vehicle, object, log, person, fence, bush, concrete, barrier,
# puddle, mud, rubble.
_RELLIS: Palette = {
    (3,): 'terrain', (4,): 'vegetation', (5,): 'other', (6,): 'other', (7,): 'sky',
    (8,): 'other', (9,): 'other', (15,): 'other', (17,): 'other', (18,): 'other',
    (19,): 'vegetation', (23,): 'terrain', (27,): 'other', (31,): 'other', (33,): 'terrain',
    (34,): 'terrain',
}  # fmt: skip
# Soil, bedrock, sand; large rocks.
_AI4MARS: Palette = {(0,): 'terrain', (1,): 'terrain', (2,): 'terrain', (3,): 'other'}
_MARSDATA: Palette = {(0, 0, 0): 'terrain', (0, 255, 255): 'other'}  # rocks


@dataclass(frozen=True)
class Rig:
    """
    A camera beside a lidar.

    ``camera``: focal lengths and centre (fx, fy, cx, cy) in pixels, without distortion;
    ``position`` (m) and ``rotation`` (unit quaternion x, y, z, w) of its optical frame in the
    lidar's.
    """

    camera: tuple[float, float, float, float]
    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float]


# Rectified camera and static transforms of TartanDrive 2.0's vehicle.
_ATV = Rig(
    (477.605, 477.605, 499.5, 252.0),
    (-0.0904, 0.1691, -0.1396),
    (-0.5594, 0.54718, -0.44603, 0.43442),
)


@dataclass(frozen=True)
class Source:
    """
    Images of a repository.

    ``images``: a glob in it; ``truth``: what of an image's path is replaced by what for its truth;
    ``focal_px``: of the images, 0 where it is not known; ``every``: takes each nth; ``border``:
    pixels that are cut off each side; ``palette``: of true classes; ``rig``: where truth is a
    lidar's points, .npy (N, 3); ``height_m``: of the camera over the ground, 0 where it is not
    known; ``folder``: images are named after their folder, as their own names repeat.
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
    palette: Palette = field(default_factory=dict)
    rig: Rig | None = None
    height_m: float = 0.0
    folder: bool = False


_COLOR = (('.color.', '.depth.'),)
_FOLDERS = (('/color/', '/depth/'), ('.jpg', '.png'))
_CLOUD = (('/image_left_color/', '/full_cloud/'), ('.png', '.npy'))
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
           (('rgb.jpg', 'labels.png'),), 0, 2, kind='offroad', of=CITYSCAPES, palette=_YAMAHA,
           folder=True),
    Source('botanic', 'robot-pesg+BotanicGarden', 'pics/photo_pairs/cam/*.jpg',
           (('/cam/c_', '/sem/s_'), ('.jpg', '.png')), 0, kind='offroad', of=CLASSES,
           palette=_BOTANIC),
    Source('rellis', 'unmannedlab+RELLIS-3D', 'utils/example/frame*.jpg', (('.jpg', '.png'),),
           2810, kind='offroad', of=CLASSES, palette=_RELLIS),
    Source('orfd', 'chaytonmin+Off-Road-Freespace-Detection', 'examples/*/image_data/*.png',
           (('/image_data/', '/dense_depth/'),), 1488, kind='offroad', of=LIDAR),
    Source('tartandrive', 'castacks+TartanDrive2', 'data/*/image_left_color/?.png', _CLOUD,
           477.605, kind='offroad', of=LIDAR, rig=_ATV, height_m=1.6),
    Source('tartandrive', 'castacks+TartanDrive2', 'data/*/image_left_color/??.png', _CLOUD,
           477.605, kind='offroad', of=LIDAR, rig=_ATV, height_m=1.6),
    Source('ai4mars', 'MagnusDaroe+TAMT-Traversability-Assessment-of-Martian-Terrain',
           'dataset/AI4MARS*/images/*.JPG', (('/images/', '/labels/'), ('.JPG', '.png')), 0, 5,
           kind='planetary', of=CLASSES, palette=_AI4MARS),
    Source('marsdata_rocks', 'CVIR-Lab+MarsData', 'samples/img_*.png', (('/img_', '/mask_'),), 0,
           kind='planetary', of=CLASSES, palette=_MARSDATA),
)  # fmt: skip


def classes_of(labels: NDArray[np.uint8], palette: Palette) -> NDArray[np.uint8]:
    """Turn labels, ids (H, W) or colours BGR (H, W, 3), into class ids (H, W)."""
    ids = np.full(labels.shape[:2], UNLABELLED, np.uint8)
    labels = labels[..., :3] if labels.ndim == 3 else labels[..., None]
    for label, name in palette.items():
        ids[(labels == np.array(label)).all(-1)] = LABELS.index(name)
    return ids


def depth_of_points(
    points: NDArray[np.floating], rig: Rig, shape: tuple[int, int]
) -> NDArray[np.uint16]:
    """Project points (N, 3) of a lidar: its depth image (H, W), the nearest of each pixel."""
    x, y, z, w = rig.rotation
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    seen = (points - np.array(rig.position)) @ rotation
    seen = seen[(seen[:, 2] > 0) & (seen[:, 2] < _FARTHEST_M)]
    seen = seen[np.argsort(-seen[:, 2])]  # the nearest is written last
    fx, fy, cx, cy = rig.camera
    column = np.rint(fx * seen[:, 0] / seen[:, 2] + cx).astype(int)
    row = np.rint(fy * seen[:, 1] / seen[:, 2] + cy).astype(int)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    depth = np.zeros(shape, np.uint16)
    depth[row[inside], column[inside]] = np.rint(seen[inside, 2] * _LIDAR_UNIT)
    return depth


def _truth(source: Source, path: Path, image: NDArray[np.uint8]) -> NDArray | None:
    """Read the truth of an image as it is written: class ids or depth, None if there is none."""
    if source.rig:
        if not path.is_file():
            return None
        return depth_of_points(np.load(path), source.rig, image.shape[:2])
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None:
        return None
    truth: NDArray = np.asarray(read)
    if source.palette:
        return classes_of(truth, source.palette)
    truth[truth == _INVALID] = 0
    return truth


def _pairs(source: Source, root: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray]]:
    """Yield name, image BGR (H, W, 3) and truth (H, W) of each image that has both."""
    for path in sorted(root.glob(source.images))[:: source.every]:
        other = str(path)
        for old, new in source.truth:
            other = other.replace(old, new)
        image = cv2.imread(str(path))
        if image is None:
            continue
        image = np.asarray(image, np.uint8)
        truth = _truth(source, Path(other), image)
        if truth is not None:
            inner = slice(source.border, -source.border or None)
            name = path.parent.name if source.folder else path.name.split('.')[0]
            yield name, image[inner, inner], truth[inner, inner]


def gather(
    source: Source, checkouts: Path, data: Path, known: set[str]
) -> list[dict[str, object]]:
    """Write the images of a source with their truth, and return their rows of the manifest."""
    rows: list[dict[str, object]] = []
    folder = f'{source.split}/{source.name}'
    for key, image, truth in _pairs(source, checkouts / source.repository):
        file, truth_file = f'{folder}/{key}.jpg', f'{folder}_truth/{key}.png'
        if file in known:
            continue
        height, width = image.shape[:2]
        row: dict[str, object] = dict.fromkeys(FIELDS, '') | {
            'file': file, 'split': source.split, 'kind': source.kind, 'sequence': source.name,
            'width': width, 'height': height,
        }  # fmt: skip
        if source.palette:
            row |= {'has_seg': source.of, 'seg_file': truth_file, 'sequence': ''}
        else:
            row |= {'has_depth': source.of, 'depth_file': truth_file}
        if source.focal_px:
            row['hfov_deg'] = f'{2 * math.degrees(math.atan(width / 2 / source.focal_px)):.2f}'
        if source.height_m:
            row['camera_height_m'] = source.height_m
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
