"""`gsc evaluate`: codecs side by side on a dataset."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsc_ros.commands.renderer import add_renderer_arguments, note, renderer_of

if TYPE_CHECKING:
    from gsc_ros.evaluation.scores import Score
    from gsc_ros.evaluation.types import Metric


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(',')]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: give numbers, as 150,300') from error


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'evaluate',
        help='compare codecs on a dataset',
        description='Encodes real files with every codec at every budget, judges what comes out, '
        'and writes index.html, rows.csv, summary.csv, summary.md, plots and the decoded images '
        'into the report folder.',
    )
    parser.add_argument('folder', type=Path, help='images, or a dataset (docs/datasets.md)')
    parser.add_argument(
        '--layout', default='auto', help='of the dataset (default: by its folders)'
    )
    parser.add_argument('--split', default='val', choices=('train', 'val', 'test'))
    parser.add_argument(
        '--codec', default='gsc,webp,avif',
        help='of gsc, gsc-N (N flow steps), webp, avif, jpeg; with --fps also x265, svtav1, and '
        'gsc-key (key frames only); or Python files (see evaluation/codecs.py)',
    )  # fmt: skip
    parser.add_argument('--budgets', type=_numbers, help='bytes of a frame (default: 150,300)')
    parser.add_argument(
        '--fps', type=float, help='code the sequences with so many frames a second'
    )
    parser.add_argument(
        '--kbps', type=_numbers, help='rates of sequences, in place of budgets: 3,12'
    )
    parser.add_argument(
        '--judge',
        help='the networks that judge: a Python file (see evaluation/judge.py), or `transformers`',
    )
    parser.add_argument(
        '--limit', type=int, help='so many frames, evenly spaced; of sequences the first'
    )
    parser.add_argument('--sequence', help='only the sequences whose name contains this')
    parser.add_argument(
        '--height', type=float, metavar='M',
        help='of the camera over the ground, of frames whose camera is known and not its height',
    )  # fmt: skip
    parser.add_argument('--report', type=Path, default=Path('report'))
    parser.add_argument(
        '--reliability', type=Path, metavar='FOLDER',
        help='write how far trust can be relied on, by kind of scene: tables, diagrams, images',
    )  # fmt: skip
    parser.add_argument(
        '--peers-by', default='psnr', metavar='METRIC',
        help='what the peers choose their scale by: psnr, ms_ssim, or a distance of '
        "the judge's (best for them, and slow)",
    )  # fmt: skip
    parser.add_argument(
        '--slow', action='store_true',
        help="with the judge's slow columns: distances, and the kernel distance of patches",
    )  # fmt: skip
    parser.add_argument('--weights', help="folder of weights; 'random' for untrained, for tests")
    add_renderer_arguments(parser)


def _metric(name: str, judge: Any) -> 'Metric':
    from gsc_ros.evaluation import metrics

    if name in ('psnr', 'ms_ssim'):
        metric: Metric = getattr(metrics, name)
        return metric
    if not hasattr(judge, 'distances'):
        raise ValueError(f'--peers-by {name}: give psnr, ms_ssim, or a --judge with distances')

    def likeness(original: Any, decoded: Any) -> float:
        found = judge.distances(original, decoded)
        if name not in found:
            raise ValueError(f'--peers-by {name}: give psnr, ms_ssim, {", ".join(found)}')
        return -found[name]

    return likeness


def _budgets(args: argparse.Namespace) -> list[float]:
    if args.kbps is None:
        budgets: list[float] = args.budgets or [150.0, 300.0]
    elif args.fps is None or args.budgets is not None:
        raise ValueError('--kbps needs --fps, and takes the place of --budgets')
    else:
        budgets = [1000 * rate / 8 / args.fps for rate in args.kbps]
    if min(budgets) <= 0:
        raise ValueError('budgets and rates must be more than 0')
    return budgets


def _scores(args: argparse.Namespace, judge: Any) -> 'Iterator[Score]':
    """Open the dataset, make the codecs and judge them."""
    from gsc_ros.codec import SemanticCodec, renderers
    from gsc_ros.evaluation.codecs import is_ours, make_codec
    from gsc_ros.evaluation.datasets import at_height, open_dataset, sequences, thin
    from gsc_ros.evaluation.run import evaluate
    from gsc_ros.evaluation.videos import VIDEOS

    metric = _metric(args.peers_by, judge)
    frames = open_dataset(args.folder, args.layout, args.split)
    if args.sequence:
        frames = [frame for frame in frames if args.sequence in frame.sequence]
    if args.height is not None:
        frames = [at_height(frame, args.height) for frame in frames]
    names, budgets = args.codec.split(','), _budgets(args)
    videos = [name for name in names if name in VIDEOS]
    if args.fps is None:
        if videos:
            raise ValueError(f'{", ".join(videos)} code sequences: give --fps')
        shown = [[frame] for frame in thin(frames, args.limit)]
        budgets = [int(budget) for budget in budgets]
    else:
        shown = sequences(frames, args.fps, args.limit)
    ours = None
    if any(map(is_ours, names)):
        renderer = renderers.load(renderer_of(args), note=partial(note, args))
        ours = SemanticCodec.load(weights=args.weights, renderer=renderer)
    codecs = [make_codec(name, args.weights, metric, ours) for name in names]
    return evaluate(shown, codecs, budgets, judge, args.report / 'images', args.fps, args.slow)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the summary."""
    from gsc_ros.evaluation import judge as judges
    from gsc_ros.evaluation.memory import peak_mib
    from gsc_ros.evaluation.report import markdown, page, plots, write_csv
    from gsc_ros.evaluation.run import summarise

    renderer = renderer_of(args)
    judge = judges.load(args.judge) if args.judge else None
    if args.slow and not any(judges.can(judge, name) for name in judges.SLOW):
        raise ValueError(f'--slow: give a --judge that defines {" or ".join(judges.SLOW)}')
    trained = judges.trained_columns(judge)
    scores = list(_scores(args, judge))
    rows, summary = [score.row for score in scores], summarise(scores)
    original = args.report / 'images' / f'{rows[0]["frame"]}.png'
    peaks: dict[str, float] = {}
    given = {Path(name).stem: name for name in args.codec.split(',')}
    for row in summary:
        name = str(row['codec'])
        if row['frames'] and name not in peaks:
            budget = int(float(row['budget']))
            peaks[name] = peak_mib(given[name], original, budget, args.weights, renderer)
        if name in peaks:
            row['peak_mib'] = peaks[name]
    write_csv(args.report / 'rows.csv', rows)
    write_csv(args.report / 'summary.csv', summary)
    table = markdown(summary, trained)
    (args.report / 'summary.md').write_text(table + '\n')
    drawn = plots(args.report, summary, trained)
    page(args.report / 'index.html', rows, summary, drawn, trained)
    print(table)
    if args.reliability:
        from gsc_ros.evaluation import reliability

        reliability.write(args.reliability, scores, args.report / 'images')
    return 0
