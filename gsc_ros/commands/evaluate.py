"""`gsc evaluate`: codecs side by side on a folder of pictures."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gsc_ros.evaluation.codecs import Worth


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
        '--peers-by', default='psnr', metavar='WORTH',
        help='what the stills choose their scale and quality by: psnr, ms_ssim, or a distance of '
        "the judge's (kindest to them, and slow)",
    )  # fmt: skip
    parser.add_argument('--weights', help="folder of weights; 'random' for untrained, for tests")


def _worth(name: str, judge: Any) -> 'Worth':
    from gsc_ros.evaluation import metrics

    if name in ('psnr', 'ms_ssim'):
        worth: Worth = getattr(metrics, name)
        return worth
    if not hasattr(judge, 'distances'):
        raise ValueError(f'--peers-by {name}: give psnr, ms_ssim, or a --judge with distances')

    def likeness(original: Any, decoded: Any) -> float:
        found = judge.distances(original, decoded)
        if name not in found:
            raise ValueError(f'--peers-by {name}: give psnr, ms_ssim, {", ".join(found)}')
        return -found[name]

    return likeness


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the summary."""
    from gsc_ros.codec.codec import SemanticCodec
    from gsc_ros.evaluation import judge
    from gsc_ros.evaluation.codecs import Codec, Gsc, Still
    from gsc_ros.evaluation.run import evaluate, frames, markdown, summarise, write_csv

    files = frames(args.folder, args.limit)
    judged = judge.load(args.judge) if args.judge else None
    worth = _worth(args.peers_by, judged)
    ours: SemanticCodec | None = None
    codecs: list[Codec] = []
    for name in args.codec.split(','):
        if match := re.fullmatch(r'gsc(?:-(\d+))?', name):
            ours = ours or SemanticCodec.load(weights=args.weights)
            codecs.append(Gsc(ours, int(match[1]) if match[1] else None))
        else:
            codecs.append(Still(name, worth))
    args.report.mkdir(parents=True, exist_ok=True)
    rows = list(evaluate(files, codecs, args.budgets, judged, args.report / 'pictures'))
    write_csv(args.report / 'rows.csv', rows)
    table = markdown(summarise(rows))
    (args.report / 'summary.md').write_text(table + '\n')
    print(table)
    return 0
