"""
Count what is reported of images where there is nothing to see: false alarms, and sky that is none.

Run ``python -m benchmarks.nothing_to_see DIR`` on a dataset (``docs/datasets.md``). The first
table lists the images of which something is reported as lost. The second gives, by folder and at a
budget, the share of the pixels that is classed as sky, the share whose depth is +Inf, and the
images where that is over 1 %; where the dataset has labels, the shares of the labelled sky that
are classed as sky and that are +Inf, and the share of +Inf that is labelled sky.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.grid import coding_size
from gsc_ros.evaluation.datasets import Frame, open_dataset, thin
from gsc_ros.labels import SKY, UNLABELLED
from gsc_ros.perception.content import find_loss


def losses(frames: list[Frame]) -> None:
    """Print the images of which something is reported as lost."""
    found = 0
    print('| image | reported |\n|---|---|')
    for frame in frames:
        rgb = frame.rgb()
        size = coding_size(rgb.shape[1], rgb.shape[0])
        loss = find_loss(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
        if loss is not None:
            found += 1
            print(f'| {frame.name} | {loss} |')
    print(f'\n{found} of {len(frames)} images\n')


def sky(frames: list[Frame], codec: SemanticCodec, budget: int) -> None:
    """Print shares of sky and of infinite depth."""
    sums: dict[str, list[np.ndarray]] = defaultdict(list)
    for frame in frames:
        decoded = codec.decode(codec.encode(frame.rgb(), budget).data)
        assert decoded.depth is not None and decoded.segmentation is not None
        infinite, classed = np.isposinf(decoded.depth), decoded.segmentation == SKY
        row = [1, classed.mean(), infinite.mean(), infinite.mean() > 0.01, 0, 0, 0, 0]
        if frame.segmentation is not None:
            truth = frame.segmentation()
            true = truth == SKY
            known = infinite & (truth != UNLABELLED)
            row[4:] = [area.sum() for area in (classed & true, infinite & true, true, known)]
        sums[frame.image.parent.name].append(np.array(row, float))
    print('| folder | images | sky | +Inf | over 1 % | labelled: sky | +Inf | right |')
    print('|---|---|---|---|---|---|---|---|')
    for name, rows in sorted(sums.items()):
        n, share, infinite, over, seen, both, true, known = np.sum(rows, 0)
        print(f'| {name} | {n:.0f} | {share / n:.1%} | {infinite / n:.1%} | {over:.0f} |', end=' ')
        shares = (seen / true, both / true, both / max(known, 1)) if true else ()
        print(' | '.join(f'{value:.1%}' for value in shares) if true else '| |', '|')


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('dataset', type=Path)
    parser.add_argument('--split', default='val', help='of the dataset (val)')
    parser.add_argument('--limit', type=int, help='images of the second table, evenly spaced')
    parser.add_argument('--budget', type=int, default=300, help='bytes a frame (300)')
    args = parser.parse_args()
    frames = open_dataset(args.dataset, split=args.split)
    losses(frames)
    sky(thin(frames, args.limit), SemanticCodec.load(), args.budget)
    return 0


if __name__ == '__main__':
    sys.exit(main())
