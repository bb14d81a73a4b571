"""
What the pull of pretrained renderers should weigh by: that a token came, or trust.

``python -m benchmarks.pull_weights --images DIR`` prints, for each budget and in thirds of trust,
how far the means over 16x16 pixels of the deterministic image are from the original's where tokens
came, and how far those of one colour for the image are; and the rank correlation of trust and
error. With ``--renderer FOLDER`` it also prints how far the renderer's means are from those of the
deterministic image, weighed by what came and by trust.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.codec import FrameDecoder, RendererOptions, SemanticCodec, renderers
from gsc_ros.codec.foundation import pull
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.networks import Networks
from gsc_ros.codec.types import ReceivedFrame
from gsc_ros.image_files import SUFFIXES, read_rgb

_CELL = 16  # pixels


def means(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means over cells of images (..., H, W, 3): (..., H/16, W/16, 3)."""
    *n, height, width, _ = images.shape
    cells = images.reshape(*n, height // _CELL, _CELL, width // _CELL, _CELL, 3)
    return cells.astype(np.float64).mean((-4, -2))


def rank_correlation(a: NDArray, b: NDArray) -> float:
    """Spearman's; ties count in the order in which they come."""
    first, second = (np.argsort(np.argsort(values, kind='stable')) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def cells_of(codec: SemanticCodec, frame: ReceivedFrame) -> tuple[NDArray, NDArray]:
    """Return the trust of each cell, float32 in 0..1, and where a token came, bool."""
    (decoded,) = codec.render([frame], 0)
    assert decoded.right is not None
    right = torch.from_numpy(decoded.right.prod(0))[None, None]
    known = pull.weights([frame], torch.device('cpu'))[0]
    came = known.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return functional.avg_pool2d(right, 2)[0, 0].numpy(), came[0, 0].numpy() > 0


@contextmanager
def weighed(trust: NDArray[np.float32]) -> Iterator[None]:
    """Weigh the pull by the trust of cells (H/16, W/16), too."""
    plain, cells = pull.weights, torch.from_numpy(trust)[None, None]

    def by_trust(frames: Sequence[ReceivedFrame], device: torch.device) -> list[Tensor]:
        known = plain(frames, device)
        return [w * functional.interpolate(cells.to(w), w.shape[2:], mode='area') for w in known]

    pull.weights = by_trust
    try:
        yield
    finally:
        pull.weights = plain


def compare(codec: SemanticCodec, images: list[NDArray[np.uint8]], budget: int) -> str:
    """Compare trust with the errors of means; returns a row."""
    errors, blank, trusts = [], [], []
    for rgb in images:
        frame = codec.read(codec.encode(rgb, budget).data)
        trust, came = cells_of(codec, frame)
        (plain,) = codec.render([frame], 0)
        off = np.abs(means(plain.rgb) - means(rgb)).mean(-1)
        errors.append(off[came])
        blank.append(np.abs(means(plain.rgb).mean((0, 1)) - means(rgb)).mean(-1)[came])
        trusts.append(trust[came])
    error, trust, without = map(np.concatenate, (errors, trusts, blank))
    thirds = np.array_split(np.argsort(trust, kind='stable'), 3)
    by_third = ' | '.join(
        f'{trust[i].mean():.2f}: {error[i].mean():.1f}, {without[i].mean():.1f}' for i in thirds
    )
    return f'| {budget} | {by_third} | {rank_correlation(trust, error):+.2f} |'


def held(
    networks: Networks, images: list[NDArray[np.uint8]], budget: int, folder: str, steps: int
) -> str:
    """Measure how far a renderer's means are from those that were sent; returns a row."""
    codec, device = SemanticCodec.of(networks), networks.ground.reconstructor.device
    renderer = renderers.load(RendererOptions(folder, dtype='float32'), str(device))
    ground = FrameDecoder(networks.ground, renderer=renderer)
    distances: list[tuple[float, float]] = []
    for rgb in images:
        frame = codec.read(codec.encode(rgb, budget).data)
        (plain,) = codec.render([frame], 0)
        (received,) = ground.render([frame], steps)
        with weighed(cells_of(codec, frame)[0]):
            (trusted,) = ground.render([frame], steps)
        far = [float(np.abs(means(d.rgb) - means(plain.rgb)).mean()) for d in (received, trusted)]
        distances.append((far[0], far[1]))
    came, trust = np.mean(distances, 0)
    return f'| {budget} | {came:.2f} | {trust:.2f} |'


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=Path, nargs='+', required=True, help='folders')
    parser.add_argument('--limit', type=int, default=24, help='images, evenly of all (24)')
    parser.add_argument('--budgets', nargs='+', type=int, default=[150, 300, 1200])
    parser.add_argument('--renderer', default='')
    parser.add_argument('--steps', type=int, default=2)
    parser.add_argument('--weights', help='of the codec')
    args = parser.parse_args()
    found = (path for folder in args.images for path in folder.rglob('*'))
    paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f'{args.images}: no images here')
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, args.limit).astype(int)]
    images = [at_working_size(read_rgb(path)) for path in paths]
    networks = Networks.load(args.weights)
    codec = SemanticCodec.of(networks)
    print('| bytes | mean trust: error of means, of one colour | | | correlation |')
    print('|---|---|---|---|---|')
    for budget in args.budgets:
        print(compare(codec, images, budget), flush=True)
    if args.renderer:
        print('\n| bytes | distance to what was sent, by what came | by trust |\n|---|---|---|')
        for budget in args.budgets:
            print(held(networks, images, budget, args.renderer, args.steps), flush=True)


def at_working_size(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an image to the size at which it is coded."""
    size = coding_size(rgb.shape[1], rgb.shape[0])
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == '__main__':
    main()
