"""One run: every frame or film through every codec at every budget, judged; a row an image."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gsc_ros.evaluation import metrics
from gsc_ros.evaluation.codecs import Codec, Outcome
from gsc_ros.evaluation.datasets import Frame
from gsc_ros.evaluation.films import FilmCodec
from gsc_ros.evaluation.scores import ReferenceObservation, Row, Score

_COUNTED = ('matched', 'lost', 'invented')


def _shown(folder: Path | None, name: str, rgb: NDArray[np.uint8]) -> str:
    """Keep an image for the report; returns its file name."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), rgb[..., ::-1])
    return name


def _score(
    reference: ReferenceObservation,
    outcome: Outcome,
    row: Row,
    data_bytes: float,
    images: Path | None,
) -> Score:
    """Judge one outcome and finish its row."""
    height, width = reference.rgb.shape[:2]
    score = reference.compare(outcome)
    name = f'{row["frame"]}_{row["codec"]}_{row["budget"]:g}.png'
    score.row = {
        **row,
        'bytes': data_bytes,
        'bpp': 8 * data_bytes / (width * height),
        **score.row,
        'image': _shown(images, name, outcome.rgb),
    }
    return score


def evaluate(
    frames: Sequence[Frame],
    codecs: Sequence[Codec],
    budgets: Sequence[int],
    judge: Any,
    images: Path | None = None,
) -> Iterator[Score]:
    """
    Judge stills: a row per frame, codec and budget.

    Where a format cannot go so low, ``bytes`` is NaN. Decoded images go to ``images``.
    """
    with tqdm(total=len(frames) * len(codecs) * len(budgets), unit='image') as bar:
        for frame in frames:
            rgb = frame.rgb()
            height, width = rgb.shape[:2]
            reference = ReferenceObservation(judge, frame, rgb)
            _shown(images, f'{frame.name}.png', rgb)
            for codec in codecs:
                for budget in budgets:
                    bar.set_postfix_str(f'{frame.name} {codec.name} {budget}')
                    bar.update()
                    row: Row = {'frame': frame.name, 'codec': codec.name, 'budget': budget}
                    start = time.perf_counter()
                    data = codec.encode(rgb, budget)
                    encoded = time.perf_counter()
                    if data is None:
                        yield Score(row | {'bytes': float('nan')})
                        continue
                    if len(data) > budget:
                        raise AssertionError(f'{codec.name} made {len(data)} bytes of {budget}')
                    outcome = codec.decode(data, (width, height))
                    done = time.perf_counter()
                    score = _score(reference, outcome, row, len(data), images)
                    score.row['encode_ms'] = 1000 * (encoded - start)
                    score.row['decode_ms'] = 1000 * (done - encoded)
                    yield score


def evaluate_films(
    films: Sequence[Sequence[Frame]],
    fps: float,
    codecs: Sequence[FilmCodec],
    budgets: Sequence[float],
    judge: Any,
    images: Path | None = None,
) -> Iterator[Score]:
    """
    Judge films of ``fps`` frames a second: a row per frame, codec and budget (bytes a frame).

    ``bytes``, times and kbps are the film's means: frames of the peers lean on later ones.
    """
    frames = sum(len(film) for film in films)
    with tqdm(total=frames * len(codecs) * len(budgets), unit='image') as bar:
        for film in films:
            originals = [frame.rgb() for frame in film]
            height, width = originals[0].shape[:2]
            if any(rgb.shape != originals[0].shape for rgb in originals):
                raise ValueError(f'film {film[0].sequence}: frames of several sizes')
            reference = [
                ReferenceObservation(judge, f, rgb) for f, rgb in zip(film, originals, strict=True)
            ]
            for frame, rgb in zip(film, originals, strict=True):
                _shown(images, f'{frame.name}.png', rgb)
            for codec in codecs:
                for budget in budgets:
                    bar.set_postfix_str(f'{film[0].sequence} {codec.name} {budget:g}')
                    row: Row = {'codec': codec.name, 'budget': budget}
                    start = time.perf_counter()
                    data = codec.encode(originals, budget, fps)
                    encoded = time.perf_counter()
                    if data is None:
                        bar.update(len(film))
                        for frame in film:
                            yield Score({'frame': frame.name, **row, 'bytes': float('nan')})
                        continue
                    mean = sum(map(len, data)) / len(film)
                    if mean > budget:
                        raise AssertionError(f'{codec.name} made {mean:.1f} bytes of {budget:g}')
                    outcomes = codec.decode(data, (width, height))
                    done = time.perf_counter()
                    for frame, look, outcome in zip(film, reference, outcomes, strict=True):
                        bar.update()
                        score = _score(look, outcome, {'frame': frame.name, **row}, mean, images)
                        score.row |= {
                            'kbps': 8 * mean * fps / 1000,
                            'encode_ms': 1000 * (encoded - start) / len(film),
                            'decode_ms': 1000 * (done - encoded) / len(film),
                        }
                        yield score


def summarise(scores: Sequence[Score]) -> list[Row]:
    """
    Average rows by codec and budget.

    Detections are summed and given as F1 and per frame, hazards as the share missed, class maps as
    the IoU of the whole run, patterns as geometric means.
    """
    groups: dict[tuple[str, float], list[Score]] = defaultdict(list)
    for score in scores:
        groups[str(score.row['codec']), float(score.row['budget'])].append(score)
    out = []
    for (codec, budget), group in groups.items():
        coded = [j for j in group if np.isfinite(float(j.row['bytes']))]
        mean: Row = {'codec': codec, 'budget': budget, 'frames': len(coded)}
        rows = [j.row for j in coded]
        for name in dict.fromkeys(n for row in rows for n in row):
            if name in ('frame', 'codec', 'budget', 'image'):
                continue
            values = np.array([float(row.get(name, np.nan)) for row in rows])
            finite = values[np.isfinite(values)]
            if name.startswith('pattern_'):  # ratios
                finite = finite[finite > 0]
                if len(finite):
                    mean[name] = float(np.exp(np.log(finite).mean()))
            elif len(finite):
                mean[name] = float(finite.mean())
        for prefix in ('', 'gt_'):
            if prefix + 'matched' in mean:
                total = {n: sum(float(r[prefix + n]) for r in rows) for n in _COUNTED}
                mean[prefix + 'det_f1'] = metrics.f1(**total)
                del mean[prefix + 'matched']
        for name in dict.fromkeys(n for j in coded for n in j.counts):
            total_counts = sum(j.counts[name] for j in coded if name in j.counts)
            mean[name] = metrics.mean_iou(np.asarray(total_counts))
        out.append(mean)
    return out
