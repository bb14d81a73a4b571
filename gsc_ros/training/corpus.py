"""
Training pictures and their labels, held in memory at the codec's working size.

A corpus folder holds ``manifest.csv`` (columns ``file`` and, where there are labels,
``teacher_seg``, ``teacher_depth``, ``seg_file`` + ``has_seg``), or just pictures in any tree of
folders. Frames of the package's own simulator (``*_rgb.png`` with ``*_seg.png``, ``*_depth.npy``
beside them) are read too.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.grid import coding_size
from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.perception.labels import CAMVID11, OTHER, SKY, UNLABELLED

PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')
LABEL_SCALE = 4  # labels are kept at a quarter of the working size
NO_DEPTH = np.float16(-1)


@dataclass
class Sample:
    """One picture: rgb uint8 (H, W, 3); labels at a quarter of that, or None where unknown."""

    name: str
    kind: str
    rgb: NDArray[np.uint8]
    segmentation: NDArray[np.uint8] | None = None  # 255 unknown
    log_depth: NDArray[np.float16] | None = None  # 0..1 (see depth_to_log), -1 unknown
    sequence: str = ''  # the film that the picture is a frame of, in order


def _log_depth(metres: NDArray[np.float32]) -> NDArray[np.float16]:
    code = np.log(np.clip(metres, NEAREST_M, FARTHEST_M) / NEAREST_M)
    return (code / np.log(FARTHEST_M / NEAREST_M)).astype(np.float16)


def _fit(labels: NDArray | None, size: tuple[int, int]) -> NDArray:
    if labels is None:
        raise ValueError('a label file named by the manifest cannot be read')
    small = (size[0] // LABEL_SCALE, size[1] // LABEL_SCALE)
    return cv2.resize(labels, small, interpolation=cv2.INTER_NEAREST)


def _load(path: Path, kind: str) -> Sample | None:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        return None
    size = coding_size(bgr.shape[1], bgr.shape[0])
    rgb = cv2.cvtColor(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return Sample(str(path), kind, rgb)


def _teacher_depth(path: Path, size: tuple[int, int]) -> NDArray[np.float16]:
    code = _fit(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), size)
    depth = _log_depth(100.0 ** (code.astype(np.float32) / 254.0))
    depth[code == 255] = NO_DEPTH
    return depth


def _indexed(path: Path) -> NDArray[np.uint8]:
    from PIL import Image  # OpenCV would turn the palette into colours

    return np.array(Image.open(path))


def _segmentation(root: Path, row: dict[str, str], size: tuple[int, int]) -> NDArray | None:
    teacher = row.get('teacher_seg')
    labels = None
    if teacher:
        labels = _fit(_indexed(root / teacher), size)
        labels[labels >= OTHER] = UNLABELLED  # the teacher's background is not a class of ours
    if row.get('has_seg', '').startswith('gt:'):
        truth = _fit(_indexed(root / row['seg_file']), size)
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


def load_manifest(root: Path, split: str) -> list[Sample]:
    """Read ``root/split/manifest.csv``; label paths are relative to ``root``."""
    samples = []
    with open(root / split / 'manifest.csv', newline='') as file:
        for row in csv.DictReader(file):
            sample = _load(root / row['file'], row.get('kind', 'general'))
            if sample is None:
                continue
            size = (sample.rgb.shape[1], sample.rgb.shape[0])
            sample.sequence = row.get('sequence', '')
            sample.segmentation = _segmentation(root, row, size)
            if row.get('teacher_depth'):
                sample.log_depth = _teacher_depth(root / row['teacher_depth'], size)
            samples.append(sample)
    return samples


def load_simulated(root: Path) -> list[Sample]:
    """Read simulator frames with true labels below ``root``."""
    samples = []
    for path in sorted(root.rglob('*_rgb.png')):
        sample = _load(path, 'simulated')
        if sample is None:
            continue
        size = (sample.rgb.shape[1], sample.rgb.shape[0])
        stem = str(path)[: -len('_rgb.png')]
        sample.segmentation = _fit(cv2.imread(stem + '_seg.png', cv2.IMREAD_UNCHANGED), size)
        depth = _fit(np.load(stem + '_depth.npy').astype(np.float32), size)
        sample.log_depth = _log_depth(np.where(np.isfinite(depth), depth, FARTHEST_M))
        sample.log_depth[~np.isfinite(depth) | (sample.segmentation == SKY)] = NO_DEPTH
        samples.append(sample)
    return samples


def load_pictures(root: Path) -> list[Sample]:
    """Read every picture below ``root``, without labels."""
    found = (p for p in sorted(root.rglob('*')) if p.suffix.lower() in PICTURES)
    return [s for s in (_load(p, 'general') for p in found) if s is not None]


def load(root: Path, split: str = 'train', simulated: Path | None = None) -> list[Sample]:
    """
    Load a corpus folder, and simulator frames where given.

    Raises ``ValueError`` when nothing readable is found.
    """
    samples = (
        load_manifest(root, split)
        if (root / split / 'manifest.csv').is_file()
        else load_pictures(root)
    )
    if simulated is not None:
        samples += load_simulated(simulated)
    if not samples:
        raise ValueError(
            f'{root}: no pictures found; give a folder of pictures or one with '
            f'{split}/manifest.csv'
        )
    return samples


def crop(
    sample: Sample, size: tuple[int, int], rng: np.random.Generator, zoom: float = 1.6
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float16]]:
    """
    Cut a random window, flip and recolour it.

    Returns rgb uint8 (h, w, 3), segmentation uint8 and log depth float16 (h/4, w/4); ``size`` is
    (w, h), multiples of 16; the window is up to ``zoom`` times as large before it is scaled.
    """
    height, width = sample.rgb.shape[:2]
    most = min(zoom, width / size[0], height / size[1])
    scale = rng.uniform(min(1.0, most), most) if most > 0 else 1.0
    w = max(16, min(width, round(size[0] * scale / 4) * 4))
    h = max(16, min(height, round(size[1] * scale / 4) * 4))
    x = int(rng.integers(0, (width - w) // 4 + 1)) * 4
    y = int(rng.integers(0, (height - h) // 4 + 1)) * 4
    flip = rng.random() < 0.5

    def cut(array: NDArray, factor: int, how: int) -> NDArray:
        part = array[y // factor : (y + h) // factor, x // factor : (x + w) // factor]
        if flip:
            part = part[:, ::-1]
        target = (size[0] // factor, size[1] // factor)
        if (part.shape[1], part.shape[0]) == target:
            return np.ascontiguousarray(part)
        return cv2.resize(np.ascontiguousarray(part), target, interpolation=how)

    rgb = recolour(cut(sample.rgb, 1, cv2.INTER_AREA), rng)
    small = (size[1] // LABEL_SCALE, size[0] // LABEL_SCALE)
    segmentation = np.full(small, UNLABELLED, np.uint8)
    depth = np.full(small, NO_DEPTH, np.float16)
    if sample.segmentation is not None:
        segmentation = cut(sample.segmentation, LABEL_SCALE, cv2.INTER_NEAREST)
    if sample.log_depth is not None:
        near = cut(sample.log_depth.astype(np.float32), LABEL_SCALE, cv2.INTER_NEAREST)
        depth = near.astype(np.float16)
    return rgb, segmentation, depth


def recolour(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Vary exposure, contrast, gamma and colour balance by one lookup table a channel."""
    if rng.random() < 0.3:
        return rgb
    levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    table = np.clip(levels * gain + rng.uniform(-0.08, 0.08), 0, 1) ** rng.uniform(0.75, 1.35)
    lut = (table * 255 + 0.5).astype(np.uint8)
    return np.stack([lut[:, c][rgb[..., c]] for c in range(3)], -1)
