"""
A corpus made small, to be carried to where the training runs: `gsc train pack`.

Images are brought to the codec's working size and labels to a quarter of it, as the other stages
would on loading them; frames of a sequence that hardly differ are left out. The result is a corpus
folder itself.
"""

import csv
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gsc_ros.models.perception import FARTHEST_M, NEAREST_M
from gsc_ros.training import corpus

_ALIKE = 0.985  # correlation of two frames seen from afar
_AFAR = (24, 16)
_QUALITIES = range(92, 49, -3)
_TRIED = 60  # images, to estimate the size of all
_LABEL_BYTES = 6000  # of a labelled image, about


def _afar(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = cv2.cvtColor(cv2.resize(rgb, _AFAR, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    centred = grey.astype(np.float64).ravel() - grey.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9))


def thinned(samples: list[corpus.Sample]) -> list[corpus.Sample]:
    """Leave out frames of a sequence that look like the last one of it that was kept."""
    kept: list[corpus.Sample] = []
    sequence, last = '', None
    for sample in samples:
        view = _afar(sample.rgb)
        if last is not None and sample.sequence == sequence != '' and float(view @ last) > _ALIKE:
            continue
        kept.append(sample)
        sequence, last = sample.sequence, view
    return kept


def _webp(rgb: NDArray[np.uint8], quality: int) -> bytes:
    coded = cv2.imencode('.webp', rgb[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return coded.tobytes()


def _quality(samples: list[corpus.Sample], most_bytes: float) -> int:
    """Find the best quality by which all samples together have at most so many bytes."""
    some = samples[:: max(1, len(samples) // _TRIED)]
    for quality in _QUALITIES:
        size = sum(len(_webp(sample.rgb, quality)) for sample in some) / len(some)
        if size * len(samples) <= most_bytes:
            return quality
    raise ValueError(
        f'{len(samples)} images do not fit {most_bytes / 1e6:.0f} MB at quality '
        f'{_QUALITIES[-1]}: allow more'
    )


def _depth_code(log_depth: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Log depth in [0, 1], -1 unknown -> 0..254 for 100^(code/254) metres, 255 unknown."""
    metres = NEAREST_M * (FARTHEST_M / NEAREST_M) ** log_depth.astype(np.float64)
    code = np.log(np.maximum(metres, 1.0)) / np.log(100.0) * 254
    return np.where((log_depth < 0) | (code > 254.5), 255, np.round(code)).astype(np.uint8)


def export(
    data: Path | None, output: Path, simulated: Path | None = None, megabytes: float = 60.0
) -> Path:
    """
    Write a corpus of at most about ``megabytes`` into ``output``; returns it.

    Raises ``ValueError`` when that is too little for the images there are.
    """
    samples = thinned(corpus.load(data, simulated=simulated))
    labelled = sum(sample.segmentation is not None for sample in samples)
    quality = _quality(samples, megabytes * 1e6 - labelled * _LABEL_BYTES)
    folder = output / 'train'
    folder.mkdir(parents=True, exist_ok=True)
    columns = ['file', 'kind', 'sequence', 'has_seg', 'seg_file', 'teacher_depth', 'hfov_deg']
    with open(folder / 'manifest.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for number, sample in enumerate(tqdm(samples, unit='image')):
            stem = f'train/{number:05d}'
            row = {'file': f'{stem}.webp', 'kind': sample.kind, 'sequence': sample.sequence}
            row['hfov_deg'] = f'{math.degrees(2 * math.atan(0.5 / sample.focal)):.2f}'
            (output / row['file']).write_bytes(_webp(sample.rgb, quality))
            if sample.segmentation is not None:
                row |= {'has_seg': 'gt:ids', 'seg_file': f'{stem}_seg.png'}
                cv2.imwrite(str(output / row['seg_file']), sample.segmentation)
            if sample.log_depth is not None:
                row['teacher_depth'] = f'{stem}_depth.png'
                cv2.imwrite(str(output / row['teacher_depth']), _depth_code(sample.log_depth))
            writer.writerow(row)
    return output
