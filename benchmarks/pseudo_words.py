"""
What pseudo-words are worth at equal bytes, by the predictor alone: no judge, many images.

Run ``python -m benchmarks.pseudo_words DIR --weights W``. Of each image the frames of preset gsc,
of preset mtgc with so many words, and of mtgc with the words of another image are compared.
Printed are means, and paired differences from gsc with standard errors. Rows of a task have the
most words, those of the task another image's; their differences are from all own words: what
these words say of an image.

Figures: squared error of the latent in its variances, the same of its means over the image, and
over its quarters; percent of the cells of the fine layout that are wrong, and of those of people,
vehicles, poles and signs; error of the depth in percent, scale apart, and the same nearer than
12 m off the ground.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.analysis import ImageAnalysis
from gsc_ros.codec.planes import FrameSymbols
from gsc_ros.codec.pseudo_words import NONE, WEIGHTS, Words
from gsc_ros.codec.synthesis import Reconstructor
from gsc_ros.evaluation.datasets import open_dataset, thin
from gsc_ros.labels import GROUND
from gsc_ros.models.perception import log_to_depth
from gsc_ros.models.pseudo_words import COUNTS, MAX_WORDS, SEEN, TASKS, PseudoWords
from gsc_ros.models.weights import FOLDER
from gsc_ros.training.words import NEAR_M, THINGS

FIGURES = (
    'latent', 'its means', 'of quarters', 'wrong cells', 'wrong things', 'depth', 'near depth',
)  # fmt: skip

ADDED = 'added to the features'


@dataclass(frozen=True)
class Original:
    """
    An image, and what the robot sees in it.

    ``metres``: depth float32 on the 1/8 grid, everywhere.
    """

    analysis: ImageAnalysis
    metres: NDArray[np.float32]

    @classmethod
    def of(cls, codec: SemanticCodec, rgb: NDArray[np.uint8]) -> 'Original':
        """Analyse an image uint8 (H, W, 3)."""
        assert codec.networks is not None
        analysis = codec.encoder.analyse(rgb)
        view = codec.networks.robot.analyser.perception.predict(analysis.image)
        assert view.depth_in_sky is not None
        return cls(analysis, view.depth_in_sky)

    def words(self) -> Words:
        """Return all pseudo-words of the image."""
        return self.analysis.symbols.pseudo_words


def received(codec: SemanticCodec, original: Original, budget: int, words: int) -> FrameSymbols:
    """Return what comes of an image's frame of so many bytes and words."""
    with mock.patch('gsc_ros.codec.pseudo_words.count_for', return_value=words):
        data = codec.encoder.pack(original.analysis, budget).data
    return codec.read(data).symbols


def of_another(symbols: FrameSymbols, other: Words, task: str | None = None) -> FrameSymbols:
    """Put another image's words in place of all, or of those of a task."""
    words = symbols.pseudo_words.copy()
    step = slice(None) if task is None else slice(TASKS.index(task), None, len(TASKS))
    words[step] = other[: len(words)][step]
    return replace(symbols, pseudo_words=words)


def _mean(values: NDArray[np.float64], where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else float('nan')


@torch.inference_mode()
def figures(
    reconstructor: Reconstructor, original: Original, symbols: FrameSymbols
) -> tuple[float, ...]:
    """Return the figures of what came of an image."""
    out = reconstructor.predict(symbols)
    error = out.latent.float() - original.analysis.latent / reconstructor.latent_std
    fine = original.analysis.symbols.planes['fine'].astype(np.int64)
    found = functional.avg_pool2d(out.segmentation.float(), 2).argmax(1).cpu().numpy()
    wrong = 100.0 * (found != fine)
    off = np.log(log_to_depth(out.depth.float())[0, 0].cpu().numpy() / original.metres)
    off = 100 * np.expm1(np.abs(off - np.median(off)))
    near = original.metres < NEAR_M
    near &= ~np.isin(fine[0], (-1, *GROUND)).repeat(2, 0).repeat(2, 1)
    return (
        float(error.square().mean()),
        *(float(functional.adaptive_avg_pool2d(error, n).square().mean()) for n in (1, 2)),
        _mean(wrong, fine >= 0),
        _mean(wrong, np.isin(fine, THINGS)),
        float(off.mean()),
        _mean(off, near),
    )


@torch.inference_mode()
def added(
    reconstructor: Reconstructor, symbols: FrameSymbols, other: Words
) -> tuple[float, float]:
    """
    Return how much words add to the features, as a share of these.

    First all that they add, then what another image's words would not add (root mean squares).
    """
    frames = replace(symbols, pseudo_words=NONE), symbols, of_another(symbols, other)
    plain, own, others = reconstructor.predict(*frames).features.float()
    return float((own - plain).std() / plain.std()), float((own - others).std() / plain.std())


@torch.inference_mode()
def milliseconds(net: PseudoWords) -> tuple[float, float]:
    """Return the processor time to write and to read words of an image of 640x480, medians."""
    features, seen = (torch.randn(1, n, 15, 20) for n in (net.config['features'], SEEN))
    guidance = torch.randn(1, net.config['guidance'], 30, 40)
    words = net.write(features, seen)

    def median(run: Callable[[], object]) -> float:
        times = []
        for _ in range(20):
            begun = time.process_time()
            run()
            times.append(1e3 * (time.process_time() - begun))
        return float(np.median(times))

    write, read = lambda: net.write(features, seen), lambda: net.read(guidance, words[:, :4])
    return median(write), median(read)


def _cells(values: NDArray[np.float64], change: NDArray[np.float64]) -> str:
    """Format means of figures (N, figures), and those of paired differences."""
    cells = []
    for value, each in zip(values.T, change.T, strict=True):
        known = each[~np.isnan(each)]
        error = known.std() / max(len(known) - 1, 1) ** 0.5
        digits = 4 if np.nanmean(value) < 1 else 2
        mean, by = f'{np.nanmean(value):.{digits}f}', f'{known.mean():+.{digits}f}'
        cells.append(f'{mean} ({by} ± {error:.{digits}f})')
    return ' | '.join(cells)


def compare(
    worded: SemanticCodec,
    images: Sequence[NDArray[np.uint8]],
    budgets: Sequence[int],
    counts: Sequence[int],
) -> dict[tuple[int, str], NDArray[np.float64]]:
    """
    Return figures (images, figures) by budget and row.

    A budget's first row is preset gsc, its last what most words add (:func:`added`).
    """
    assert worded.networks is not None
    plain = SemanticCodec.of(worded.networks, 'gsc')
    reconstructor = worded.networks.ground.reconstructor
    found: defaultdict[tuple[int, str], list[tuple[float, ...]]] = defaultdict(list)
    originals = [Original.of(worded, rgb) for rgb in images]
    for (index, original), budget in product(enumerate(originals), budgets):
        other = originals[index - len(originals) // 2].words()
        rows = {'gsc': received(plain, original, budget, 0)}
        for count in counts:
            own = received(worded, original, budget, count)
            rows[f'{count} words'] = own
            rows[f'{count} words, not read'] = replace(own, pseudo_words=NONE)
            rows[f'{count} words of another'] = of_another(own, other)
        rows |= {f'{task} of another': of_another(own, other, task) for task in TASKS}
        for name, symbols in rows.items():
            found[budget, name].append(figures(reconstructor, original, symbols))
        found[budget, ADDED].append(added(reconstructor, own, other))
    return {key: np.array(values) for key, values in found.items()}


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='dataset or folder of images')
    parser.add_argument('--sequence', default='', help='of sequences whose name contains this')
    parser.add_argument('--limit', type=int, default=40, help='images, evenly spaced (40)')
    parser.add_argument('--budgets', default='150,300', help='bytes a frame')
    parser.add_argument('--weights', type=Path, default=FOLDER)
    args = parser.parse_args()
    if not (args.weights / WEIGHTS).is_file():
        print(f'{args.weights} has no {WEIGHTS}: gsc train words makes it', file=sys.stderr)
        return 2
    codec = SemanticCodec.load('mtgc', args.weights)
    frames = [f for f in open_dataset(args.folder) if args.sequence in f.sequence]
    images = [frame.rgb() for frame in thin(frames, args.limit)]
    budgets = [int(budget) for budget in args.budgets.split(',')]
    found = compare(codec, images, budgets, COUNTS[1:])
    assert codec.networks is not None
    net = codec.networks.ground.reconstructor.words
    assert net is not None
    write, read = milliseconds(net)
    print(f'{write:.1f} ms of processor time to write the words, {read:.1f} ms to read them\n')
    print(f'| bytes | | {" | ".join(FIGURES)} |\n|---|---|{"---|" * len(FIGURES)}')
    for (budget, name), values in found.items():
        if name == ADDED:
            continue
        by_task = name.removesuffix(' of another') in TASKS
        base = found[budget, f'{MAX_WORDS} words' if by_task else 'gsc']
        print(f'| {budget} | {name} | {_cells(values, values - base)} |')
    for budget in budgets:
        all_of_it, own = found[budget, ADDED].mean(0)
        print(
            f'\n{budget} bytes: {MAX_WORDS} words add {all_of_it:.3f} of the features, '
            f"of which another image's words would not add {own:.3f}"
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
