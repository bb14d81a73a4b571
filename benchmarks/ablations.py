"""
Take parts of the codec away, and print what each changes: distances, classes, depth.

Run ``GSC_DATA=DIR python -m benchmarks.ablations DIR --sequence camvid_0016E5``. The frames, the
judge and the figures are those of ``gsc evaluate`` (``docs/evaluation.md``). A second table has
the paired differences from the complete preset, with standard errors.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np

from gsc_ros.codec import SemanticCodec, residual
from gsc_ros.codec.encoder import FrameEncoder
from gsc_ros.codec.planes import TOKENS
from gsc_ros.evaluation import judge as judges
from gsc_ros.evaluation.codecs import Gsc
from gsc_ros.evaluation.datasets import open_dataset, thin
from gsc_ros.evaluation.report import markdown
from gsc_ros.evaluation.run import evaluate, summarise
from gsc_ros.evaluation.scores import Row, Score
from gsc_ros.evaluation.types import RgbImage
from gsc_ros.models.pseudo_words import COUNTS

JUDGE = Path(__file__).parent / 'judge_teachers.py'
WHOLE, RESIDUAL_EVERYWHERE, NO_WORDS = 'whole', 'residual everywhere', 'no words'
WORDS = {f'{count} words': count for count in COUNTS[1:]}
DIFFERENCES = (
    'vgg', 'vgg_cosine', 'drivable', 'lost', 'invented', 'lite0', 'gt_agreement',
    'own_gt_agreement', 'squeeze_crops', 'agreement', 'absrel', 'own_agreement', 'own_absrel',
    'psnr',
)  # fmt: skip
# What each row leaves out, where the preset can.
PARTS = {
    WHOLE: (),
    'no caption': ('caption',),
    'no layout': ('coarse', 'fine'),
    'no coarse depth': ('coarse_depth',),
    **{f'no {plane}': (plane,) for plane in TOKENS},
    'no selection': ('selection',),
    'no residual': ('residual',),
    RESIDUAL_EVERYWHERE: (),
    NO_WORDS: ('pseudo_words',),
    **dict.fromkeys(WORDS, ()),
    'tokens alone': ('caption', 'coarse', 'fine', 'coarse_depth', 'pseudo_words'),
}


def _changed(part: str) -> AbstractContextManager[object]:
    """Change the encoder for a row that leaves nothing out."""
    if part == RESIDUAL_EVERYWHERE:
        return mock.patch('gsc_ros.codec.residual.FAITHFUL', residual.STEPS)
    if part in WORDS:
        return mock.patch('gsc_ros.codec.pseudo_words.count_for', return_value=WORDS[part])
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
    if encoder.networks.reconstructor.words is None or not encoder.preset.pseudo_words:
        parts = [part for part in parts if part not in (NO_WORDS, *WORDS)]
    return [Ablated(codec, part) for part in parts]


def differences(scores: Sequence[Score]) -> list[Row]:
    """
    Compare rows, image by image, with that of the complete preset at the same budget.

    Returns a row a codec and budget: of each figure mean and standard error of the differences,
    as text; figures that some of its images lack are of the others.
    """
    by_row: defaultdict[tuple[str, float], dict[str, Row]] = defaultdict(dict)
    for score in scores:
        row = score.row
        by_row[str(row['codec']), float(row['budget'])][str(row['frame'])] = row
    out: list[Row] = []
    for (codec, budget), rows in by_row.items():
        preset = codec.split(',')[0]
        whole = by_row.get((f'{preset}, {WHOLE}', budget))
        if whole is None or rows is whole:
            continue
        found: Row = {'codec': codec, 'budget': budget}
        for name in DIFFERENCES:
            pairs = [
                (row.get(name, np.nan), whole[key].get(name, np.nan)) for key, row in rows.items()
            ]
            change = np.array([float(a) - float(b) for a, b in pairs])
            change = change[np.isfinite(change)]
            if len(change) > 1:
                error = change.std(ddof=1) / len(change) ** 0.5
                found[name] = f'{change.mean():+.3f} ± {error:.3f}'
        out.append(found)
    return out


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
    scores = list(evaluate(sequences, codecs, budgets, judge))
    trained = judges.trained_columns(judge)
    print(markdown(summarise(scores), trained))
    print(f'\n{markdown(differences(scores), trained)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
