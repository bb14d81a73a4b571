"""
What judges see in decoded images because of the pattern of the decoder's grid.

Run ``GSC_DATA=DIR python -m benchmarks.pattern DIR --sequence camvid``. Each image is judged as it
is, with the harmonics of the grid brought to the level of their surroundings, and with the same
filter halfway between the harmonics, which is the control. Images are judged at the codec's
working size, where the pattern has whole periods.
"""

import argparse
import sys
from pathlib import Path

import cv2

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation import judge as judges
from gsc_ros.evaluation.codecs import Gsc
from gsc_ros.evaluation.datasets import Frame, open_dataset, thin
from gsc_ros.evaluation.report import markdown
from gsc_ros.evaluation.run import evaluate, summarise
from gsc_ros.evaluation.types import Outcome, RgbImage
from gsc_ros.training.pattern import without_harmonics

JUDGE = Path(__file__).parent / 'judge_teachers.py'
BETWEEN = 2  # bins: halfway from one harmonic to the next


class AtWorkingSize(Frame):
    """A frame scaled to the size that the codec draws at."""

    def rgb(self) -> RgbImage:
        """Read and scale the image."""
        image = super().rgb()
        size = coding_size(image.shape[1], image.shape[0])
        scaled: RgbImage = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return scaled


class Filtered(Gsc):
    """The codec with its images filtered, at the harmonics (offset 0) or between them."""

    def __init__(self, codec: SemanticCodec, name: str, offset: int) -> None:
        super().__init__(codec)
        self.name, self._offset = name, offset

    def decode(self, data: list[bytes], size: tuple[int, int]) -> list[Outcome]:
        """Decode and filter."""
        return [
            Outcome(without_harmonics(outcome.rgb, self._offset), outcome.frame)
            for outcome in super().decode(data, size)
        ]


def main() -> int:
    """Judge and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='dataset or folder of images')
    parser.add_argument('--sequence', default='', help='of sequences whose name contains this')
    parser.add_argument('--limit', type=int, default=6, help='images, evenly spaced (6)')
    parser.add_argument('--budgets', default='150,1200', help='bytes an image (150,1200)')
    parser.add_argument('--judge', type=Path, default=JUDGE)
    parser.add_argument('--weights', type=Path)
    args = parser.parse_args()
    codec = SemanticCodec.load(weights=args.weights)
    codecs = [
        Gsc(codec),
        Filtered(codec, 'at harmonics', 0),
        Filtered(codec, 'between them', BETWEEN),
    ]
    found = [f for f in open_dataset(args.folder) if args.sequence in f.sequence]
    frames = [AtWorkingSize(f.name, f.image) for f in thin(found, args.limit)]
    budgets = [int(budget) for budget in args.budgets.split(',')]
    judge = judges.load(args.judge)
    scores = evaluate([[frame] for frame in frames], codecs, budgets, judge)
    print(markdown(summarise(list(scores)), judges.trained_columns(judge)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
