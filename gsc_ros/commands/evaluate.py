"""`gsc evaluate`: codecs side by side on a folder of pictures."""

import argparse
from pathlib import Path


def _integers(text: str) -> list[int]:
    return [int(word) for word in text.split(',')]


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'evaluate',
        help='compare codecs on a folder of pictures',
        description='Encodes real files with every codec at every budget, judges what comes out, '
        'and writes rows.csv, summary.md and the decoded pictures into the report folder.',
    )
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--codec', default='gsc,webp,avif', help='of gsc, gsc-N (N flow steps), webp, avif, jpeg'
    )
    parser.add_argument('--budgets', type=_integers, default=[150, 300], help='bytes: 150,300')
    parser.add_argument('--judge', type=Path, help='Python file with the networks that judge')
    parser.add_argument('--limit', type=int, help='so many frames, evenly spaced')
    parser.add_argument('--report', type=Path, default=Path('report'))
    parser.add_argument(
        '--peers-by', default='psnr', choices=('psnr', 'ms_ssim'),
        help='what the stills choose their scale and quality by',
    )  # fmt: skip
    parser.add_argument('--weights', help="folder of weights; 'random' for untrained, for tests")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the summary."""
    from gsc_ros.codec.codec import SemanticCodec
    from gsc_ros.evaluation import judge, metrics
    from gsc_ros.evaluation.codecs import Codec, Gsc, Still
    from gsc_ros.evaluation.run import evaluate, frames, markdown, summarise, write_csv

    files = frames(args.folder, args.limit)
    names = args.codec.split(',')
    ours = (
        SemanticCodec.load(weights=args.weights)
        if any(n.startswith('gsc') for n in names)
        else None
    )
    codecs: list[Codec] = []
    for name in names:
        if ours is not None and name.startswith('gsc'):
            _, _, steps = name.partition('-')
            codecs.append(Gsc(ours, int(steps) if steps else None))
        else:
            codecs.append(Still(name, getattr(metrics, args.peers_by)))
    judged = judge.load(args.judge) if args.judge else None
    args.report.mkdir(parents=True, exist_ok=True)
    rows = list(evaluate(files, codecs, args.budgets, judged, args.report / 'pictures'))
    write_csv(args.report / 'rows.csv', rows)
    table = markdown(summarise(rows))
    (args.report / 'summary.md').write_text(table + '\n')
    print(table)
    return 0
