"""
Make the tables of docs/experiments.md that are of the shipped weights, one after another.

Run ``GSC_DATA=DIR python -m benchmarks.tables --report OUT [--only street_film,all_stills]``. Each
table is one run of ``gsc evaluate`` with its report in ``OUT/NAME``; printed are its command, its
summary and how long it took.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from gsc_ros.cli import main as gsc

JUDGE = Path(__file__).parent / 'judge_teachers.py'
_FILM = '--fps 5 --kbps 3,12 --codec gsc,gsc-key,x265,svtav1'
TABLES = {
    'street_stills': '--sequence camvid --limit 12 --codec gsc,gsc-0,webp,avif '
    '--budgets 150,300,600,1200,2400',
    'all_stills': '--limit 32 --codec gsc --budgets 150,300,1200',
    'all_peers': '--limit 16 --codec webp --budgets 300,1200',
    'street_film': f'--sequence camvid --limit 16 {_FILM}',
    'highway_film': f'--sequence vehdet --limit 8 {_FILM}',
}


def command(name: str, data: str, report: Path, weights: str | None = None) -> list[str]:
    """Return the words of ``gsc`` that make a table of :data:`TABLES`."""
    words = ['evaluate', data, *shlex.split(TABLES[name]), '--judge', str(JUDGE)]
    words += ['--report', str(report / name)]
    return words + (['--weights', weights] if weights else [])


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--report', type=Path, default=Path('report'))
    parser.add_argument('--only', default=','.join(TABLES), help=f'of {", ".join(TABLES)} (all)')
    parser.add_argument('--weights', help='folder of weights (the shipped ones)')
    args = parser.parse_args()
    wanted = args.only.split(',')
    if unknown := set(wanted) - set(TABLES):
        parser.error(f'--only {", ".join(sorted(unknown))}: there are {", ".join(TABLES)}')
    if 'GSC_DATA' not in os.environ:
        parser.error('set GSC_DATA to the folder with the images and the networks of the judge')
    for name in wanted:
        words = command(name, os.environ['GSC_DATA'], args.report, args.weights)
        print(f'## {name}\n\ngsc {shlex.join(words)}\n', flush=True)
        begun = time.monotonic()
        if code := gsc(words):
            return code
        print(f'\n{(time.monotonic() - begun) / 60:.1f} minutes\n', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
