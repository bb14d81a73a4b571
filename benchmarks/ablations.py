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
from gsc_ros.codec.encoder import FrameEncoder
from gsc_ros.evaluation import judge as judges
from gsc_ros.evaluation.codecs import Gsc
from gsc_ros.evaluation.datasets import open_dataset, thin
from gsc_ros.evaluation.report import markdown
from gsc_ros.evaluation.run import evaluate, summarise
from gsc_ros.evaluation.types import RgbImage

JUDGE = Path(__file__).parent / 'judge_teachers.py'
RESIDUAL_EVERYWHERE, NO_WORDS = 'residual everywhere', 'no words'
# What each row leaves out, where the preset can.
PARTS = {
    'whole': (),
    'no caption': ('caption',),
    'no layout': ('coarse', 'fine'),
    'no coarse depth': ('coarse_depth',),
    'no selection': ('selection',),
    'no residual': ('residual',),
    RESIDUAL_EVERYWHERE: (),
    NO_WORDS: ('pseudo_words',),
    'tokens alone': ('caption', 'coarse', 'fine', 'coarse_depth', 'pseudo_words'),
}


def _changed(part: str) -> AbstractContextManager[object]:
    """Change the encoder for a row that leaves nothing out."""
    if part == RESIDUAL_EVERYWHERE:
        return mock.patch('gsc_ros.codec.residual.FAITHFUL', residual.STEPS)
    return nullcontext()


class Ablated(Gsc):
    """The codec whose encoder lacks a part; ``steps``: of the flow, None for none."""

    def __init__(self, codec: SemanticCodec, part: str, steps: int | None = None) -> None:
        super().__init__(codec)
        self.part, self._steps = part, steps
        self.name = f'{codec.preset}, {part if steps is None else f"{steps} steps"}'

    def encode(self, images: Sequence[RgbImage], budget: float, fps: float) -> list[bytes] | None:
        """Encode without the part."""
        encoder = self._codec.encoder
        assert isinstance(encoder, FrameEncoder)
        encoder.leave_out(PARTS[self.part])
        with _changed(self.part):
            return super().encode(images, budget, fps)


def rows_of(codec: SemanticCodec, wanted: Sequence[str]) -> list[Ablated]:
    """Make the codecs of a preset without one part each; all that there are for none wanted."""
    encoder = codec.encoder
    assert isinstance(encoder, FrameEncoder)
    parts = [p for p in wanted or PARTS if set(PARTS[p]) <= set(encoder.preset.optional)]
    worded = encoder.networks.reconstructor.words is not None
    return [Ablated(codec, part) for part in parts if worded or part != NO_WORDS]


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
    parser.add_argument('--presets', default='gsc,mtgc')
    parser.add_argument('--parts', default='', help=f'rows, of {", ".join(PARTS)} (all)')
    parser.add_argument('--judge', type=Path, default=JUDGE)
    parser.add_argument('--weights', type=Path)
    args = parser.parse_args()
    wanted = [part for part in args.parts.split(',') if part]
    if unknown := set(wanted) - set(PARTS):
        parser.error(f'--parts {", ".join(sorted(unknown))}: there are {", ".join(PARTS)}')
    codecs: list[Ablated] = []
    for preset in args.presets.split(','):
        codec = SemanticCodec.load(preset, args.weights)
        codecs += rows_of(codec, wanted)
        codecs += [Ablated(codec, 'whole', int(n)) for n in args.steps.split(',') if n]
    frames = [f for f in open_dataset(args.folder) if args.sequence in f.sequence]
    budgets = [int(budget) for budget in args.budgets.split(',')]
    sequences = [[frame] for frame in thin(frames, args.limit)]
    judge = judges.load(args.judge)
    scores = evaluate(sequences, codecs, budgets, judge)
    print(markdown(summarise(list(scores)), judges.trained_columns(judge)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
