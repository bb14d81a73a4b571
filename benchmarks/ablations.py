"""
Take parts of the codec away, and print what each changes: distances, classes, depth.

Run ``GSC_DATA=DIR python -m benchmarks.ablations DIR --sequence camvid_0016E5``. The frames, the
judge and the figures are those of ``gsc evaluate`` (``docs/evaluation.md``).
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

from gsc_ros.codec import SemanticCodec, residual
from gsc_ros.evaluation import judge as judges
from gsc_ros.evaluation.codecs import Gsc
from gsc_ros.evaluation.datasets import open_dataset, thin
from gsc_ros.evaluation.report import markdown
from gsc_ros.evaluation.run import evaluate, summarise
from gsc_ros.evaluation.types import RgbImage

JUDGE = Path(__file__).parent / 'judge_teachers.py'


def _whole() -> AbstractContextManager[object]:
    return nullcontext()


def _without_selection() -> AbstractContextManager[object]:
    return mock.patch('gsc_ros.codec.rate_control.choose_blocks', return_value=None)


def _residual_everywhere() -> AbstractContextManager[object]:
    return mock.patch('gsc_ros.codec.residual.FAITHFUL', residual.STEPS)


def _without_residual() -> AbstractContextManager[object]:
    return mock.patch('gsc_ros.codec.rate_control._Policy.residual', return_value=None)


PARTS = {
    'whole': _whole,
    'no selection': _without_selection,
    'residual everywhere': _residual_everywhere,
    'no residual': _without_residual,
}


class Ablated(Gsc):
    """The codec whose encoder lacks a part."""

    def __init__(self, codec: SemanticCodec, name: str) -> None:
        super().__init__(codec)
        self.name = name

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Encode without the part."""
        with PARTS[self.name]():
            return super().encode(images, budget, fps)


def main() -> int:
    """Judge and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='dataset or folder of images')
    parser.add_argument('--sequence', default='', help='of sequences whose name contains this')
    parser.add_argument('--limit', type=int, default=12, help='images, evenly spaced (12)')
    parser.add_argument('--budgets', default='200,300,450,1200,2000', help='bytes a frame')
    parser.add_argument('--steps', default='1,4', help='of the flow, beside none')
    parser.add_argument('--judge', type=Path, default=JUDGE)
    parser.add_argument('--weights', type=Path)
    args = parser.parse_args()
    codec = SemanticCodec.load(weights=args.weights)
    codecs: list[Gsc] = [Ablated(codec, name) for name in PARTS]
    codecs += [Gsc(codec, f'gsc-{steps}') for steps in args.steps.split(',') if steps]
    frames = [f for f in open_dataset(args.folder) if args.sequence in f.sequence]
    budgets = [int(budget) for budget in args.budgets.split(',')]
    sequences = [[frame] for frame in thin(frames, args.limit)]
    judge = judges.load(args.judge)
    scores = evaluate(sequences, codecs, budgets, judge)
    print(markdown(summarise(list(scores)), judges.trained_columns(judge)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
