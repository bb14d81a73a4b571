"""One run: every sequence through every codec at every budget; a row of figures an image."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gsc_ros.evaluation import hazards, metrics, objects, realism
from gsc_ros.evaluation.codecs import Gsc
from gsc_ros.evaluation.datasets import Frame
from gsc_ros.evaluation.scores import ReferenceObservation, Row, Score
from gsc_ros.evaluation.types import Codec, Outcome

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
    if outcome.frame is not None and outcome.frame.trust is not None:
        trust = cv2.cvtColor(outcome.frame.trust, cv2.COLOR_GRAY2RGB)
        name = name.removesuffix('.png') + '_trust.png'
        score.row['trust_image'] = _shown(images, name, np.asarray(trust))
    return score


@dataclass(frozen=True)
class _Coded:
    """What a codec made of a sequence, and its means: bytes and milliseconds a frame."""

    outcomes: list[Outcome]
    bytes: float
    encode_ms: float
    decode_ms: float


def _code(
    codec: Codec, images: Sequence[NDArray[np.uint8]], budget: float, fps: float
) -> _Coded | None:
    """Encode and decode a sequence; None where the format cannot go so low."""
    start = time.perf_counter()
    data = codec.encode(images, budget, fps)
    encoded = time.perf_counter()
    if data is None:
        return None
    mean = statistics.mean(map(len, data))
    if mean > budget:
        raise AssertionError(f'{codec.name} made {mean:g} bytes of {budget:g}')
    height, width = images[0].shape[:2]
    outcomes = codec.decode(data, (width, height))
    done = time.perf_counter()
    per_frame = 1000 / len(images)
    return _Coded(outcomes, mean, per_frame * (encoded - start), per_frame * (done - encoded))


def _read(frames: Sequence[Frame]) -> list[NDArray[np.uint8]]:
    """Read a sequence's images; raises ``ValueError`` for several sizes."""
    images = [frame.rgb() for frame in frames]
    if any(rgb.shape != images[0].shape for rgb in images):
        raise ValueError(f'sequence {frames[0].sequence}: frames of several sizes')
    return images


def evaluate(
    sequences: Sequence[Sequence[Frame]],
    codecs: Sequence[Codec],
    budgets: Sequence[float],
    judge: Any,
    images: Path | None = None,
    fps: float | None = None,
    slow: bool = False,
) -> Iterator[Score]:
    """
    Judge sequences of frames: a row per frame, codec and budget (bytes a frame).

    A still is a sequence of one frame. ``fps``: frames a second, None for stills. ``bytes``, times
    and kbps are the sequence's means, as frames of some codecs refer to later ones; ``bytes`` is
    NaN where a format cannot go so low. Decoded images go to the folder ``images``. ``slow``: with
    the judge's slow columns.
    """
    count = sum(map(len, sequences)) * len(codecs) * len(budgets)
    with tqdm(total=count, unit='image') as bar:
        for frames in sequences:
            originals = _read(frames)
            references = [
                ReferenceObservation(judge, frame, rgb, slow)
                for frame, rgb in zip(frames, originals, strict=True)
            ]
            for frame, rgb in zip(frames, originals, strict=True):
                _shown(images, f'{frame.name}.png', rgb)
            for codec, budget in product(codecs, budgets):
                bar.set_postfix_str(f'{frames[0].name} {codec.name} {budget:g}')
                row: Row = {'codec': codec.name, 'budget': budget}
                if isinstance(codec, Gsc):
                    codec.see_by(frames[0].camera)
                coded = _code(codec, originals, budget, fps or 1.0)
                for i, frame in enumerate(frames):
                    bar.update()
                    head = {'frame': frame.name, **row}
                    if coded is None:
                        yield Score({**head, 'bytes': float('nan')})
                        continue
                    score = _score(references[i], coded.outcomes[i], head, coded.bytes, images)
                    if fps is not None:
                        score.row['kbps'] = 8 * coded.bytes * fps / 1000
                    score.row |= {'encode_ms': coded.encode_ms, 'decode_ms': coded.decode_ms}
                    yield score


def summarise(scores: Sequence[Score]) -> list[Row]:
    """
    Average rows by codec and budget.

    Detections are summed and given as F1 and per frame, hazards as the share missed, class maps as
    the IoU of the whole run, patterns as geometric means, trust as calibration error, area under
    the ROC curve, and coverage and risk at a trust of 0.5 or more, own depth of such trust as
    coverage and AbsRel, objects as precision and recall, patches as the kernel distance of their
    sets with its standard error.
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
            if name in ('frame', 'codec', 'budget', 'image', 'trust_image'):
                continue
            values = np.array([float(row.get(name, np.nan)) for row in rows])
            finite = values[np.isfinite(values)]
            if name.startswith('pattern_'):  # ratios
                finite = finite[finite > 0]
                if len(finite):
                    mean[name] = float(np.exp(np.log(finite).mean()))
            elif len(finite):
                mean[name] = float(finite.mean())
        pairs = [j.patches for j in coded if j.patches is not None]
        if pairs:
            found, original = map(np.concatenate, zip(*pairs, strict=True))
            mean['kid'], mean['kid_error'] = realism.kernel_distance(found, original)
        for prefix in ('', 'gt_'):
            if prefix + 'matched' in mean:
                total = {n: sum(float(r[prefix + n]) for r in rows) for n in _COUNTED}
                mean[prefix + 'det_f1'] = metrics.f1(**total)
                del mean[prefix + 'matched']
        for name in dict.fromkeys(n for j in coded for n in j.counts):
            total_counts = sum(j.counts[name] for j in coded if name in j.counts)
            mean[name] = metrics.mean_iou(np.asarray(total_counts))
        for name in dict.fromkeys(n for j in coded for n in j.trust):
            trusted = np.asarray(sum(j.trust[name] for j in coded if name in j.trust))
            mean[f'trust_{name}_ece'] = metrics.calibration_error(trusted)
            mean[f'trust_{name}_auroc'] = metrics.ranking(trusted)
            covered = metrics.risk_coverage(trusted)[128]
            mean[f'trust_{name}_coverage'], mean[f'trust_{name}_risk'] = map(float, covered)
        errors = [j.errors for j in coded if j.errors is not None]
        if errors:
            covered = metrics.error_coverage(np.sum(errors, 0))[128]
            mean['trusted_coverage'], mean['trusted_absrel'] = map(float, covered)
        for name in dict.fromkeys(n for j in coded for n in j.objects):
            counted = [j.objects[name] for j in coded if name in j.objects]
            mean |= {f'{name}_{n}': v for n, v in objects.shares(counted).items()}
        obstacles = [j.hazards for j in coded if j.hazards is not None]
        if obstacles:
            mean |= {f'obstacles_{n}': v for n, v in hazards.shares(obstacles).items()}
        out.append(mean)
    return out
