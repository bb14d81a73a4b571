"""The report of a run: tables, rate-distortion plots, and a page of images side by side."""

import csv
import html
import math
from collections.abc import Sequence, Set
from pathlib import Path

from gsc_ros.evaluation.scores import Row

# Which way is better, of the figures that are worth a plot.
PLOTTED = {
    'dists': 'less', 'kid': 'less', 'vgg': 'less', 'vgg_cosine': 'less', 'drivable': 'less',
    'lite0': 'less', 'squeeze_crops': 'less', 'squeeze': 'less',
    'agreement': 'more', 'miou': 'more', 'absrel': 'less', 'delta1': 'more', 'det_f1': 'more',
    'lost': 'less', 'invented': 'less', 'hazards_missed': 'less', 'psnr': 'more',
    'ms_ssim': 'more', 'pattern_4': 'less', 'pattern_8': 'less', 'pattern_16': 'less',
    'gt_agreement': 'more', 'gt_miou': 'more', 'gt_absrel': 'less', 'own_agreement': 'more',
    'own_absrel': 'less',
}  # fmt: skip

_NOTE = '* of a network that took part in training'

_STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem; background: #fafafa; color: #222; }
table { border-collapse: collapse; font-size: 0.8rem; }
th, td { padding: 0.25rem 0.5rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.plots img { width: 24rem; max-width: 100%; margin: 0.3rem; background: white; }
.row { display: flex; flex-wrap: wrap; gap: 0.6rem; margin-bottom: 0.6rem; }
figure { margin: 0; width: 15rem; }
figure img { width: 100%; display: block; image-rendering: auto; }
figcaption { font-size: 0.75rem; color: #555; padding: 0.2rem 0 0.5rem; }
"""


def cell(value: float | str | None) -> str:
    """Format a figure."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return '-'
    if isinstance(value, str):
        return value
    if float(value).is_integer() or abs(value) >= 100:
        return f'{value:.0f}'
    return f'{value:.3f}' if abs(value) >= 0.1 else f'{value:.4f}'


def heading(column: str, trained: Set[str]) -> str:
    """Mark the columns of networks that took part in training by an asterisk."""
    return f'{column}*' if column in trained else column


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Name the union of the rows' columns, in order."""
    return list(dict.fromkeys(name for row in rows for name in row))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the union of their columns."""
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns_of(rows))
        writer.writeheader()
        writer.writerows(rows)


def markdown(rows: Sequence[Row], trained: Set[str] = frozenset()) -> str:
    """Format rows as a Markdown table; the columns ``trained`` are marked."""
    columns = columns_of(rows)
    heads = [heading(column, trained) for column in columns]
    lines = ['| ' + ' | '.join(heads) + ' |', '|' + '---|' * len(columns)]
    lines += ['| ' + ' | '.join(cell(row.get(c)) for c in columns) + ' |' for row in rows]
    if heads != columns:
        lines += ['', _NOTE.replace('*', r'\*')]
    return '\n'.join(lines)


def plots(folder: Path, summary: Sequence[Row], trained: Set[str] = frozenset()) -> list[Path]:
    """
    Draw a figure against bytes for each of the figures that were measured; ``trained``: marked.

    Raises ``ValueError`` where matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError('plots need matplotlib: pip install "gsc_ros[evaluation]"') from error
    matplotlib.use('Agg')
    from matplotlib import pyplot

    files = []
    codecs = list(dict.fromkeys(str(row['codec']) for row in summary))
    ticks = sorted({float(row['budget']) for row in summary})
    for name, better in PLOTTED.items():
        figure, axes = pyplot.subplots(figsize=(6, 4), dpi=110)
        drawn = False
        for codec in codecs:
            points = sorted(
                (float(r['bytes']), float(r[name]))
                for r in summary
                if r['codec'] == codec and name in r and 'bytes' in r
            )
            if points:
                axes.plot(*zip(*points, strict=True), marker='o', markersize=4, label=codec)
                drawn = True
        if drawn:
            axes.set(
                xscale='log',
                xlabel='bytes a frame',
                ylabel=f'{heading(name, trained)} ({better} is better)',
            )
            axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
            axes.set_xticks([], minor=True)
            axes.grid(alpha=0.3, which='both')
            axes.legend(fontsize=8)
            figure.tight_layout()
            files.append(folder / f'{name}.png')
            figure.savefig(files[-1])
        pyplot.close(figure)
    return files


def page(
    path: Path,
    rows: Sequence[Row],
    summary: Sequence[Row],
    drawn: Sequence[Path],
    trained: Set[str] = frozenset(),
) -> None:
    """
    Write the page: summary, plots, and each frame beside what the codecs made of it.

    The columns ``trained`` are marked.
    """

    def text(value: object) -> str:
        return html.escape(str(value))

    columns = columns_of(summary)
    head = ''.join(f'<th>{text(heading(c, trained))}</th>' for c in columns)
    note = f'<p>{_NOTE}</p>' if trained & set(columns) else ''
    body = ''.join(
        '<tr>' + ''.join(f'<td>{text(cell(r.get(c)))}</td>' for c in columns) + '</tr>'
        for r in summary
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>gsc evaluate</title>',
        f'<style>{_STYLE}</style></head><body><h1>gsc evaluate</h1>',
        f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>{note}',
        '<h2>Against bytes</h2><div class="plots">',
        *(f'<img src="{text(p.relative_to(path.parent))}" alt="{text(p.stem)}">' for p in drawn),
        '</div><h2>Images</h2>',
    ]
    frames: dict[str, list[Row]] = {}
    for row in rows:
        frames.setdefault(str(row['frame']), []).append(row)
    for name, group in frames.items():
        parts.append(f'<h3>{text(name)}</h3><div class="row">')
        parts.append(_figure(f'{name}.png', 'original'))
        parts.append('</div>')
        for codec in dict.fromkeys(str(r['codec']) for r in group):
            shown = [r for r in group if r['codec'] == codec and 'image' in r]
            if shown:
                parts.append('<div class="row">')
                parts += [_figure(str(r['image']), _caption(r)) for r in shown]
                parts.append('</div>')
    path.write_text('\n'.join([*parts, '</body></html>']))


def _caption(row: Row) -> str:
    figures = [f'{row["codec"]}, {cell(row["bytes"])} bytes']
    figures += [f'{n} {cell(row[n])}' for n in ('squeeze', 'agreement', 'absrel') if n in row]
    return ', '.join(figures)


def _figure(file: str, caption: str) -> str:
    source = html.escape(f'images/{file}', quote=True)
    return (
        f'<figure><a href="{source}"><img loading="lazy" src="{source}" alt=""></a>'
        f'<figcaption>{html.escape(caption)}</figcaption></figure>'
    )
