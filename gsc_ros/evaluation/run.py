"""One run: every frame through every codec at every budget, judged; a row each."""

import csv
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gsc_ros.evaluation import metrics
from gsc_ros.evaluation.codecs import Codec, Outcome

Row = dict[str, float | str]
_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.ppm')


def frames(folder: Path, limit: int | None = None) -> list[Path]:
    """
    List a folder's pictures, evenly spaced when limited.

    Raises ``ValueError`` when there are none, or the limit is not 1 or more.
    """
    if limit is not None and limit < 1:
        raise ValueError(f'limit {limit} must be 1 or more frames')
    files = (
        sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
        if folder.is_dir()
        else []
    )
    if not files:
        raise ValueError(f'{folder}: no pictures; give a folder of {", ".join(_SUFFIXES)}')
    if limit is not None and limit < len(files):
        files = [files[round(i)] for i in np.linspace(0, len(files) - 1, limit)]
    return files


class Seen:
    """What the judge sees in the originals, each looked at once."""

    def __init__(self, judge: Any, rgb: NDArray[np.uint8]) -> None:
        self.judge, self.rgb = judge, rgb
        has = lambda name: judge is not None and hasattr(judge, name)  # noqa: E731
        self.classes = judge.segment(rgb) if has('segment') else None
        self.depth = judge.depth(rgb) if has('depth') else None
        self.boxes = judge.detect(rgb) if has('detect') else None
        self.ground = (
            np.isin(self.classes, judge.GROUND)
            if self.classes is not None and hasattr(judge, 'GROUND')
            else None
        )
        if self.depth is not None and self.classes is not None and hasattr(judge, 'SKY'):
            self.depth = np.where(self.classes == judge.SKY, np.inf, self.depth)

    def compare(self, outcome: Outcome) -> Row:
        """Judge a decoded picture, and what came beside it, against the original."""
        judge: Any = self.judge
        row: Row = {}
        rgb = outcome.rgb
        if hasattr(judge, 'distances'):
            row.update(judge.distances(self.rgb, rgb))
        if self.classes is not None:
            found = judge.segment(rgb)
            row['agreement'] = metrics.agreement(found, self.classes)
            row['miou'] = metrics.mean_iou(found, self.classes)
        if self.depth is not None:
            depth = judge.depth(rgb)
            row['absrel'], row['delta1'] = metrics.depth_errors(depth, self.depth, False)
            row['absrel_scaled'], _ = metrics.depth_errors(depth, self.depth, True)
            if self.ground is not None:
                row['hazards_missed'], row['hazards'] = metrics.missed_hazards(
                    depth, self.depth, self.ground
                )
        if self.boxes is not None:
            row.update(metrics.detection(judge.detect(rgb), self.boxes))
        if outcome.frame is not None:
            row.update(self._own(outcome))
        return row

    def _own(self, outcome: Outcome) -> Row:
        """Compare the maps that came out of the decoder itself."""
        frame = outcome.frame
        row: Row = {}
        assert frame is not None
        if self.classes is not None:
            row['own_agreement'] = metrics.agreement(frame.segmentation, self.classes)
            row['own_miou'] = metrics.mean_iou(frame.segmentation, self.classes)
        if self.depth is not None:
            row['own_absrel'], row['own_delta1'] = metrics.depth_errors(
                frame.depth, self.depth, False
            )
            row['own_known'] = metrics.depth_known(frame.depth, self.depth)
            if self.ground is not None:
                row['own_hazards_missed'], _ = metrics.missed_hazards(
                    frame.depth, self.depth, self.ground
                )
        return row


def evaluate(
    files: Sequence[Path],
    codecs: Sequence[Codec],
    budgets: Sequence[int],
    judge: ModuleType | None,
    pictures: Path | None = None,
) -> Iterator[Row]:
    """Yield a row per frame, codec and budget; decoded pictures go to the folder ``pictures``."""
    work = len(files) * len(codecs) * len(budgets)
    with tqdm(total=work, unit='picture') as bar:
        for file in files:
            bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if bgr is None:
                raise ValueError(f'{file}: cannot be read')
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            height, width = rgb.shape[:2]
            seen = Seen(judge, rgb)
            for codec in codecs:
                for budget in budgets:
                    bar.set_postfix_str(f'{file.name} {codec.name} {budget}')
                    bar.update()
                    start = time.perf_counter()
                    data = codec.encode(rgb, budget)
                    encoded = time.perf_counter()
                    row: Row = {'file': file.name, 'codec': codec.name, 'budget': budget}
                    if data is None:
                        yield row | {'bytes': float('nan')}
                        continue
                    if len(data) > budget:
                        raise AssertionError(f'{codec.name} made {len(data)} bytes of {budget}')
                    outcome = codec.decode(data, (width, height))
                    done = time.perf_counter()
                    row |= {
                        'bytes': len(data),
                        'bpp': 8 * len(data) / (width * height),
                        'psnr': metrics.psnr(rgb, outcome.rgb),
                        'ms_ssim': metrics.ms_ssim(rgb, outcome.rgb),
                        **seen.compare(outcome),
                        'encode_ms': 1000 * (encoded - start),
                        'decode_ms': 1000 * (done - encoded),
                    }
                    if pictures is not None:
                        pictures.mkdir(parents=True, exist_ok=True)
                        name = f'{file.stem}_{codec.name}_{budget}.png'
                        cv2.imwrite(str(pictures / name), outcome.rgb[..., ::-1])
                    yield row


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Average rows by codec and budget; detections are summed and given as F1 and per frame."""
    groups: dict[tuple[str, float], list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row['codec']), float(row['budget'])].append(row)
    out = []
    for (codec, budget), group in groups.items():
        coded = [r for r in group if np.isfinite(float(r['bytes']))]
        mean: Row = {'codec': codec, 'budget': budget, 'frames': len(coded)}
        names = [n for n in (coded[0] if coded else {}) if n not in ('file', 'codec', 'budget')]
        for name in names:
            values = np.array([float(r.get(name, np.nan)) for r in coded])
            if np.isfinite(values).any():
                mean[name] = float(np.nanmean(values))
        if coded and 'matched' in coded[0]:
            counts = {n: sum(float(r[n]) for r in coded) for n in ('matched', 'lost', 'invented')}
            mean['det_f1'] = metrics.f1(**counts)
            del mean['matched']
        out.append(mean)
    return out


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the union of their columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def markdown(rows: Sequence[Row]) -> str:
    """Format summarised rows as a Markdown table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: float | str | None) -> str:
        if value is None:
            return '-'
        if isinstance(value, str):
            return value
        if float(value).is_integer() or abs(value) >= 100:
            return f'{value:.0f}'
        return f'{value:.3f}' if abs(value) >= 0.1 else f'{value:.4f}'

    lines = ['| ' + ' | '.join(columns) + ' |', '|' + '---|' * len(columns)]
    lines += ['| ' + ' | '.join(cell(row.get(c)) for c in columns) + ' |' for row in rows]
    return '\n'.join(lines)
