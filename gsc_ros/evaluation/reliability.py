"""
How far trust can be relied on, by kind of scene: tables, diagrams and images of a run.

A diagram shows for each bin of trust the share of the pixels that is right; the risk-coverage
curve which share of the pixels is kept at a least trust, and which share of these is wrong.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import metrics
from gsc_ros.evaluation.report import write_csv
from gsc_ros.evaluation.scores import Row, Score
from gsc_ros.image_files import read_rgb

_BINS = 16
_WHATS = ('both', 'depth', 'classes')
_WIDTH = 240  # of an image in a strip, pixels
Counts = NDArray[np.int64]
Group = tuple[str, float, str, str]  # codec, budget, kind of scene, what is right


def by_kind(scores: Sequence[Score]) -> dict[Group, Counts]:
    """Sum the counts of trust, (256, 2), of frames by codec, budget, kind and what is right."""
    groups: dict[Group, Counts] = defaultdict(lambda: np.zeros((256, 2), np.int64))
    for score in scores:
        for what, counts in score.trust.items():
            key = str(score.row['codec']), float(score.row['budget']), score.kind, what
            groups[key] += counts
    return dict(groups)


def _row(group: Group, counts: Counts) -> Row:
    codec, budget, kind, what = group
    coverage, risk = metrics.risk_coverage(counts)[128]
    return {
        'codec': codec,
        'budget': budget,
        'kind': kind,
        'right': what,
        'pixels': float(counts.sum()),
        'ece': metrics.calibration_error(counts, _BINS),
        'auroc': metrics.ranking(counts),
        'coverage': float(coverage),
        'risk': float(risk),
    }


def diagram(counts: Counts) -> NDArray[np.float64]:
    """Return mean trust, share right and pixels of each bin of trust that has any: (n, 3)."""
    of_bin = np.minimum(np.arange(256) * _BINS // 256, _BINS - 1)
    pixels = np.bincount(of_bin, counts.sum(1), _BINS)
    told = np.bincount(of_bin, counts.sum(1) * np.arange(256) / 255, _BINS)
    right = np.bincount(of_bin, counts[:, 1], _BINS)
    some = pixels > 0
    return np.stack([told[some] / pixels[some], right[some] / pixels[some], pixels[some]], 1)


def write(folder: Path, scores: Sequence[Score], images: Path) -> list[Path]:
    """
    Write ``trust.csv``, ``reliability.csv``, ``risk_coverage.csv``, ``depth_coverage.csv`` where
    there is true depth, plots and strips of images.

    ``images``: folder with those of the run. Returns the pictures. Raises ``ValueError`` where no
    frame has trust and truth.
    """
    groups = by_kind(scores)
    if not groups:
        raise ValueError('no frame has both trust and truth: name a dataset with labels or depth')
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / 'trust.csv', [_row(group, counts) for group, counts in groups.items()])
    bins: list[Row] = []
    curve: list[Row] = []
    for (codec, budget, kind, what), counts in groups.items():
        head: Row = {'codec': codec, 'budget': budget, 'kind': kind, 'right': what}
        bins += [
            {**head, 'trust': t, 'share_right': r, 'pixels': n} for t, r, n in diagram(counts)
        ]
        curve += [
            {**head, 'least_trust': i / 255, 'coverage': float(c), 'risk': float(r)}
            for i, (c, r) in enumerate(metrics.risk_coverage(counts))
        ]
    write_csv(folder / 'reliability.csv', bins)
    write_csv(folder / 'risk_coverage.csv', curve)
    depths = depth_curves(scores)
    if depths:
        write_csv(folder / 'depth_coverage.csv', depths)
    return [*_plots(folder, groups), *_strips(folder, scores, images)]


def depth_curves(scores: Sequence[Score]) -> list[Row]:
    """Return coverage and AbsRel of own depth against the truth, a row a kind and least trust."""
    sums: dict[tuple[str, float, str], NDArray[np.float64]] = {}
    for score in scores:
        if score.errors is not None:
            key = str(score.row['codec']), float(score.row['budget']), score.kind
            sums[key] = sums.get(key, 0) + score.errors
    return [
        {
            'codec': codec, 'budget': budget, 'kind': kind, 'least_trust': level / 255,
            'coverage': float(coverage), 'absrel': float(error),
        }
        for (codec, budget, kind), total in sums.items()
        for level, (coverage, error) in enumerate(metrics.error_coverage(total))
    ]  # fmt: skip


def _plots(folder: Path, groups: dict[Group, Counts]) -> list[Path]:
    """Draw the diagram and the risk-coverage curve of each kind of scene."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    files = []
    for kind in dict.fromkeys(group[2] for group in groups):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 4), dpi=90)
        left.plot([0, 1], [0, 1], color='grey', linewidth=1)
        mine = {group: counts for group, counts in groups.items() if group[2] == kind}
        for (codec, budget, _, what), counts in mine.items():
            label = f'{what}, {codec} {budget:g} B'
            told = diagram(counts)
            left.plot(told[:, 0], told[:, 1], marker='o', markersize=3, label=label)
            right.plot(*metrics.risk_coverage(counts).T, label=label)
        left.set(xlabel='trust', ylabel='share right', title=kind, xlim=(0, 1), ylim=(0, 1))
        right.set(xlabel='coverage', ylabel='risk', title=kind, xlim=(0, 1), ylim=(0, 1))
        left.legend(fontsize=7)
        figure.tight_layout()
        files.append(folder / f'reliability_{kind.replace(" ", "_")}.png')
        figure.savefig(files[-1])
        pyplot.close(figure)
    return files


def gap(score: Score) -> float:
    """Return how far the mean trust of a frame is off the share that is right; NaN: no truth."""
    for what in _WHATS:
        counts = score.trust.get(what)
        if counts is not None and counts.sum():
            told = (counts.sum(1) * np.arange(256) / 255).sum() / counts.sum()
            return float(abs(told - counts[:, 1].sum() / counts.sum()))
    return float('nan')


def _strips(folder: Path, scores: Sequence[Score], images: Path) -> list[Path]:
    """
    Show of each kind the best, median and worst frame by gap: original, decoded, trust.

    Where a kind has no truth, by likeness to the original.
    """
    kinds: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if 'trust_image' in score.row:
            kinds[score.kind].append(score)
    files = []
    for kind, shown in kinds.items():
        mine = sorted((score for score in shown if np.isfinite(gap(score))), key=gap)
        mine = mine or sorted(shown, key=lambda score: -float(score.row['ms_ssim']))
        rows = []
        for score in (mine[0], mine[len(mine) // 2], mine[-1]):
            parts = [f'{score.row["frame"]}.png', score.row['image'], score.row['trust_image']]
            rows.append(np.concatenate([_thumbnail(images / str(part)) for part in parts], 1))
        files.append(folder / f'{kind.replace(" ", "_")}.jpg')
        sheet = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(files[-1]), sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return files


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    image = read_rgb(path)
    height = round(image.shape[0] * _WIDTH / image.shape[1])
    return np.asarray(cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
