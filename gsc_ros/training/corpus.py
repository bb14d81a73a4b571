"""
Training images and their labels, held in memory at the codec's working size.

A corpus folder holds ``manifest.csv`` (columns ``file`` and, where there are labels,
``teacher_seg``, ``teacher_depth``, ``seg_file`` + ``has_seg``, ``depth_file`` + ``has_depth``,
``hfov_deg``), or just images in any tree of folders. Frames of the package's own simulator
(``*_rgb.png`` with ``*_seg.png``, ``*_depth.npy`` beside them, cameras in ``frames.csv``) are read
too.
"""

import csv
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation.datasets.frame import gridded, read_depth
from gsc_ros.evaluation.datasets.manifest import DEPTH
from gsc_ros.image_files import SUFFIXES, read_map, read_rgb
from gsc_ros.labels import CAMVID11, OTHER, SKY, UNLABELLED
from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.perception.camera import DEFAULT_FOCAL, Camera

LABEL_SCALE = 4  # labels are kept at a quarter of the working size
NO_DEPTH = np.float16(-1)

T = TypeVar('T')


@dataclass
class Sample:
    """One image: rgb uint8 (H, W, 3); labels at a quarter of that, or None where unknown."""

    name: str
    kind: str
    rgb: NDArray[np.uint8]
    segmentation: NDArray[np.uint8] | None = None  # 255 unknown
    log_depth: NDArray[np.float16] | None = None  # 0..1 (see depth_to_log), -1 unknown
    focal: float = DEFAULT_FOCAL  # of the camera, in widths of the image
    sequence: str = ''  # the video that the image is a frame of, in order


def _log_depth(metres: NDArray[np.float32]) -> NDArray[np.float16]:
    code = np.log(np.clip(metres, NEAREST_M, FARTHEST_M) / NEAREST_M)
    return (code / np.log(FARTHEST_M / NEAREST_M)).astype(np.float16)


def _fit(labels: NDArray, size: tuple[int, int]) -> NDArray:
    small = (size[0] // LABEL_SCALE, size[1] // LABEL_SCALE)
    return cv2.resize(labels, small, interpolation=cv2.INTER_NEAREST)


def _load(path: Path, kind: str) -> Sample | None:
    try:
        rgb = read_rgb(path)
    except (OSError, ValueError) as error:
        warnings.warn(f'left out of the corpus: {error}', stacklevel=2)
        return None
    size = coding_size(rgb.shape[1], rgb.shape[0])
    return Sample(str(path), kind, cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def _teacher_depth(path: Path, size: tuple[int, int]) -> NDArray[np.float16]:
    code = _fit(read_map(path), size)
    depth = _log_depth(100.0 ** (code.astype(np.float32) / 254.0))
    depth[code == 255] = NO_DEPTH
    return depth


def _depth(root: Path, row: dict[str, str], size: tuple[int, int]) -> NDArray[np.float16] | None:
    """Read true depth where there is any, and a teacher's elsewhere."""
    taught = row.get('teacher_depth')
    depth = _teacher_depth(root / taught, size) if taught else None
    kind = row.get('has_depth', '')
    if kind in DEPTH:
        truth = read_depth(root / row['depth_file'], DEPTH[kind])
        truth = gridded(truth, (size[1] // LABEL_SCALE, size[0] // LABEL_SCALE))
        unknown = np.full(truth.shape, NO_DEPTH) if depth is None else depth
        depth = np.where(np.isnan(truth), unknown, _log_depth(truth))
    return depth


def _segmentation(root: Path, row: dict[str, str], size: tuple[int, int]) -> NDArray | None:
    teacher = row.get('teacher_seg')
    labels = None
    if teacher:
        labels = _fit(read_map(root / teacher), size)
        labels[labels >= OTHER] = UNLABELLED  # the teacher's background is not a class of ours
    if row.get('has_seg', '').startswith('gt:'):
        truth = _fit(read_map(root / row['seg_file']), size)
        if row['has_seg'] == 'gt:camvid11':
            truth = CAMVID11[truth]
            if (
                labels is not None
            ):  # truth knows fewer classes: keep the teacher's where they agree
                fine = np.isin(labels, (14, 15, 6, 9, 3, 17, 18)) & np.isin(
                    truth, (13, 7, 8, 4, 12)
                )
                truth = np.where(fine, labels, truth)
        labels = truth
    return labels


def _read(read: Callable[[T], Sample | None], what: Iterable[T]) -> list[Sample]:
    """Read samples side by side, in order; those that cannot be read are left out."""
    with ThreadPoolExecutor() as pool:
        return [sample for sample in pool.map(read, what) if sample is not None]


def load_manifest(root: Path, split: str) -> list[Sample]:
    """Read ``root/split/manifest.csv``; label paths are relative to ``root``."""

    def read(row: dict[str, str]) -> Sample | None:
        sample = _load(root / row['file'], row.get('kind', 'general'))
        if sample is not None:
            size = (sample.rgb.shape[1], sample.rgb.shape[0])
            sample.sequence = row.get('sequence', '')
            sample.segmentation = _segmentation(root, row, size)
            sample.log_depth = _depth(root, row, size)
            if row.get('hfov_deg'):
                sample.focal = Camera.of_hfov(float(row['hfov_deg']), 1.0).fx
        return sample

    with open(root / split / 'manifest.csv', newline='') as file:
        return _read(read, list(csv.DictReader(file)))


def cameras_of(root: Path) -> dict[str, Camera]:
    """Read the cameras of the simulator's frames by file name; none without ``frames.csv``."""
    if not (root / 'frames.csv').is_file():
        return {}
    with open(root / 'frames.csv', newline='') as file:
        return {
            row['file']: Camera(*(float(row[name]) for name in ('fx', 'fy', 'cx', 'cy')))
            for row in csv.DictReader(file)
        }


def load_simulated(root: Path) -> list[Sample]:
    """Read simulator frames with true labels below ``root``, and their cameras (frames.csv)."""
    cameras = cameras_of(root)

    def read(path: Path) -> Sample | None:
        sample = _load(path, 'simulated')
        if sample is not None:
            size = (sample.rgb.shape[1], sample.rgb.shape[0])
            stem = str(path)[: -len('_rgb.png')]
            sample.segmentation = _fit(read_map(Path(stem + '_seg.png')), size)
            depth = _fit(np.load(stem + '_depth.npy').astype(np.float32), size)
            sample.log_depth = _log_depth(np.where(np.isfinite(depth), depth, FARTHEST_M))
            sample.log_depth[~np.isfinite(depth) | (sample.segmentation == SKY)] = NO_DEPTH
            camera = cameras.get(path.relative_to(root).as_posix())
            sample.focal = camera.fx if camera else DEFAULT_FOCAL
        return sample

    return _read(read, sorted(root.rglob('*_rgb.png')))


def load_images(root: Path) -> list[Sample]:
    """Read every image below ``root``, without labels."""
    found = [p for p in sorted(root.rglob('*')) if p.suffix.lower() in SUFFIXES]
    return _read(lambda path: _load(path, 'general'), found)


def load(
    root: Path | None, split: str = 'train', simulated: Path | None = None
) -> list[Sample]:  # fmt: skip
    """
    Load a corpus folder, and simulator frames where given; either may be None.

    Raises ``ValueError`` when nothing readable is found.
    """
    samples: list[Sample] = []
    if root is not None:
        listed = (root / split / 'manifest.csv').is_file()
        samples = load_manifest(root, split) if listed else load_images(root)
    if simulated is not None:
        samples += load_simulated(simulated)
    if not samples:
        raise ValueError(
            f'{root or simulated}: no images found; give a folder of images or one with '
            f'{split}/manifest.csv'
        )
    return samples
