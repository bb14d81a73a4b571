"""
What the robot's perception is worth by itself, before anything is coded, source by source.

    python -m benchmarks.perception --data DATA [--split val] [--weights W]

`DATA` is a folder with `<split>/manifest.csv` (docs/training.md, Data). Columns: images;
`teacher`: share of cells whose class is the teacher network's; `truth`: the same against true
labels; `log depth`: mean error of log depth (0..1 for 0.5 to 200 m) against the teacher network's;
`AbsRel`: against true depth, and `scaled` after the median of each image was set right; `0.25`:
share of cells whose depth is within 25 % of the truth.
"""

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation.datasets.frame import gridded, read_depth
from gsc_ros.evaluation.datasets.manifest import DEPTH
from gsc_ros.image_files import read_map, read_rgb
from gsc_ros.labels import CAMVID11, OTHER, UNLABELLED
from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.models.weights import FOLDER
from gsc_ros.perception.camera import DEFAULT_FOCAL, Camera
from gsc_ros.perception.model import PerceptionModel, seen_by

COLUMNS = ('teacher', 'truth', 'log depth', 'AbsRel', 'scaled', '0.25')


def _resized(ids: NDArray, shape: tuple[int, ...]) -> NDArray:
    return cv2.resize(ids, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)


def _share_equal(ids: NDArray[np.uint8], classes: NDArray[np.uint8]) -> float:
    """Return the share of the cells with a class, uint8 (h, w), that have the same here."""
    known = ids < OTHER
    return float((ids == classes)[known].mean()) if known.any() else math.nan


def _against_teacher(code: NDArray[np.uint8], metres: NDArray[np.float32]) -> float:
    taught = 100.0 ** (code.astype(np.float64) / 254)
    known = (code != UNLABELLED) & np.isfinite(metres)
    span = math.log(FARTHEST_M / NEAREST_M)
    return float(np.abs(np.log(metres[known] / taught[known])).mean() / span)


def _against_truth(truth: NDArray[np.float32], metres: NDArray[np.float32]) -> dict[str, float]:
    known = np.isfinite(truth) & (truth >= NEAREST_M) & (truth <= 80)
    truth, found = truth[known], metres[known]
    scale = np.median(truth) / np.median(found)
    return {
        'AbsRel': float((np.abs(found - truth) / truth).mean()),
        'scaled': float((np.abs(scale * found - truth) / truth).mean()),
        '0.25': float((np.abs(found - truth) < 0.25 * truth).mean()),
    }


def judged(model: PerceptionModel, root: Path, row: dict[str, str]) -> dict[str, float]:
    """Compare what the network sees in an image of a manifest with all that is known of it."""
    rgb = read_rgb(root / row['file'])
    size = coding_size(rgb.shape[1], rgb.shape[0])
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    hfov = row.get('hfov_deg')
    focal = Camera.of_hfov(float(hfov), size[0] / size[1]).fx if hfov else DEFAULT_FOCAL
    view = seen_by(model.predict(small), focal * size[0])
    assert view.depth_in_sky is not None
    found: dict[str, float] = {}
    shape = view.classes.shape
    if row.get('teacher_seg'):
        ids = _resized(read_map(root / row['teacher_seg']), shape)
        found['teacher'] = _share_equal(ids, view.classes)
    if row.get('teacher_depth'):
        code = _resized(read_map(root / row['teacher_depth']), shape)
        found['log depth'] = _against_teacher(code, view.depth_in_sky)
    if row.get('has_seg'):
        ids = read_map(root / row['seg_file'])
        ids = CAMVID11[ids] if row['has_seg'] == 'gt:camvid11' else ids
        found['truth'] = _share_equal(_resized(ids, shape), view.classes)
    if row.get('has_depth'):
        truth = read_depth(root / row['depth_file'], DEPTH[row['has_depth']])
        found |= _against_truth(gridded(truth, shape), view.depth_in_sky)
    return found


def main() -> None:
    """Print a row a source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--split', default='val')
    parser.add_argument('--weights', type=Path, default=FOLDER)
    parser.add_argument('--every', type=int, default=1, help='take each nth image')
    args = parser.parse_args()
    model = PerceptionModel.load(args.weights)
    by_source: dict[str, list[dict[str, float]]] = defaultdict(list)
    with open(args.data / args.split / 'manifest.csv', newline='') as file:
        for row in list(csv.DictReader(file))[:: args.every]:
            found = judged(model, args.data, row)
            for source in (Path(row['file']).parent.name, f'all {row["kind"]}'):
                by_source[source].append(found)
    print('| source | images | ' + ' | '.join(COLUMNS) + ' |\n|---|---|' + '---|' * len(COLUMNS))
    for source, rows in sorted(by_source.items()):
        means = [
            np.mean([r[c] for r in rows if c in r]) if any(c in r for r in rows) else math.nan
            for c in COLUMNS
        ]
        cells = ' | '.join('' if math.isnan(m) else f'{m:.4f}' for m in means)
        if any(not math.isnan(m) for m in means):
            print(f'| {source} | {len(rows)} | {cells} |')


if __name__ == '__main__':
    main()
