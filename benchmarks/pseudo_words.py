"""
What pseudo-words are worth at equal bytes, by the predictor alone: no judge, many images.

Run ``python -m benchmarks.pseudo_words DIR --weights W``. Of each image the frames of preset gsc,
of preset mtgc, and of mtgc with the words of the image before are compared: squared error of the
latent in its variances, share of wrong cells of the fine layout, and mean absolute error of the
image in grey levels. Printed are means, and paired differences from gsc with standard errors.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.analysis import ImageAnalysis
from gsc_ros.codec.pseudo_words import WEIGHTS
from gsc_ros.evaluation.datasets import open_dataset, thin
from gsc_ros.models.pseudo_words import SEEN, PseudoWords
from gsc_ros.models.weights import FOLDER

FIGURES = 'latent', 'wrong cells', 'grey levels'


@torch.inference_mode()
def figures(codec: SemanticCodec, analysis: ImageAnalysis, budget: int) -> tuple[float, ...]:
    """Return the figures of an image's frame of so many bytes."""
    assert codec.networks is not None
    reconstructor = codec.networks.ground.reconstructor
    symbols = codec.read(codec.encoder.pack(analysis, budget).data).symbols
    out = reconstructor.predict(symbols)
    true = analysis.latent / reconstructor.latent_std
    fine = torch.from_numpy(analysis.symbols.planes['fine'].astype(np.int64))
    found = functional.avg_pool2d(out.segmentation.float(), 2).argmax(1).cpu()
    known = fine >= 0
    wrong = float((found != fine)[known].float().mean()) if known.any() else float('nan')
    drawn = reconstructor.draw(out)[0]
    return (
        float((out.latent.float() - true).square().mean()),
        wrong,
        float(np.abs(drawn - analysis.image).mean()),
    )


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
    worded = SemanticCodec.load('mtgc', args.weights)
    assert worded.networks is not None
    plain = SemanticCodec.of(worded.networks, 'gsc')
    found: defaultdict[tuple[int, str], list[tuple[float, ...]]] = defaultdict(list)
    before = None
    frames = [f for f in open_dataset(args.folder) if args.sequence in f.sequence]
    for frame in thin(frames, args.limit):
        analysis = worded.encoder.analyse(frame.rgb())
        own = analysis.symbols.pseudo_words
        other = own if before is None else before
        before = own
        wrong = replace(analysis, symbols=replace(analysis.symbols, pseudo_words=other))
        for budget in map(int, args.budgets.split(',')):
            for name, codec, given in (
                ('gsc', plain, analysis),
                ('mtgc', worded, analysis),
                ('mtgc, other words', worded, wrong),
            ):
                found[budget, name].append(figures(codec, given, budget))
    net = worded.networks.ground.reconstructor.words
    assert net is not None
    write, read = milliseconds(net)
    print(f'{write:.1f} ms of processor time to write the words, {read:.1f} ms to read them\n')
    print(f'| bytes | | {" | ".join(FIGURES)} |\n|---|---|---|---|---|')
    for (budget, name), rows in found.items():
        values = np.array(rows)
        change = values - np.array(found[budget, 'gsc'])
        cells = []
        for value, each in zip(values.T, change.T, strict=True):
            known = each[~np.isnan(each)]
            error = known.std() / max(len(known) - 1, 1) ** 0.5
            cells.append(f'{np.nanmean(value):.4f} ({known.mean():+.4f} ± {error:.4f})')
        print(f'| {budget} | {name} | {" | ".join(cells)} |')
    return 0


if __name__ == '__main__':
    sys.exit(main())
