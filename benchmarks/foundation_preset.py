"""
The tables of docs/foundation_preset.md: what captions cost, and images against preset gsc.

``python -m benchmarks.foundation_preset --captions TRAIN.txt TEST.txt...`` counts the first file,
a caption a line, and prints the mean bytes of the captions of each other file under each coder;
those of zstd need the package zstandard. ``--images DIR --weights FOLDER --critics FILE`` prints,
for both presets, PSNR and the critics' feature distance, the mean over four crops; FOLDER is that
of ``gsc train entropy``.
"""

import argparse
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.foundation.caption_model import CaptionModel
from gsc_ros.codec.rangecoder import RangeEncoder
from gsc_ros.evaluation.metrics import over_crops, psnr
from gsc_ros.image_files import SUFFIXES, read_rgb
from gsc_ros.training import critics

_DICTIONARY = 110_000  # bytes
_WINDOW = 32_768  # of deflate
Coder = Callable[[bytes], int]


def _deflate(dictionary: bytes = b'') -> Coder:
    def size(text: bytes) -> int:
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionary)
        return len(coder.compress(text) + coder.flush())

    return size


def _own(model: CaptionModel) -> Coder:
    def size(text: bytes) -> int:
        encoder = RangeEncoder()
        written = model.write(encoder, text.decode(), 10_000)
        assert written, 'a caption that is not written has no size'
        return len(encoder.finish())

    return size


def _with_zstd(lines: Sequence[bytes]) -> dict[str, Coder]:
    """Return the coders with a trained dictionary; none where zstandard is not installed."""
    try:
        import zstandard
    except ImportError:
        return {}
    dictionary = zstandard.train_dictionary(_DICTIONARY, list(lines))
    coder = zstandard.ZstdCompressor(level=19, dict_data=dictionary, write_content_size=False)
    return {
        'zstd, level 19, trained dictionary': lambda text: len(coder.compress(text)),
        "deflate, the dictionary's last 32 kB": _deflate(dictionary.as_bytes()[-_WINDOW:]),
    }


def captions(train: Path, tests: Sequence[Path]) -> list[str]:
    """Measure the coders on the captions of files; returns the rows of a table."""
    known = [line for line in train.read_text().splitlines() if line.strip()]
    coders: dict[str, Coder] = {
        'UTF-8': len,
        'zlib, level 9': lambda text: len(zlib.compress(text, 9)),
        'deflate without header': _deflate(),
        **_with_zstd([line.encode() for line in known]),
        'counts of words and our range coder': _own(CaptionModel.count(known)),
    }
    sets = [[t.encode() for t in path.read_text().splitlines() if t.strip()] for path in tests]
    rows = [
        f'| coder | {" | ".join(path.stem for path in tests)} |',
        '|---' * (len(tests) + 1) + '|',
    ]
    for name, size in coders.items():
        means = ' | '.join(f'{np.mean([size(text) for text in texts]):.1f}' for texts in sets)
        rows.append(f'| {name} | {means} |')
    return rows


def distance(judges: Any, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the critics' feature distance of two images."""
    pair = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (a, b)]
    with torch.no_grad():
        return float(critics.feature_distance(*map(judges.features, pair)))


def images(
    paths: Sequence[Path], codecs: dict[str, SemanticCodec], budgets: Sequence[int], judges: Any
) -> list[str]:  # fmt: skip
    """Measure presets on images; returns the rows of a table."""
    rows = ['| bytes | preset | largest frame | PSNR | distance |', '|---|---|---|---|---|']
    for budget in budgets:
        for name, codec in codecs.items():
            found: list[tuple[int, float, float]] = []
            for path in paths:
                rgb = read_rgb(path)
                data = codec.encode(rgb, budget).data
                shown = codec.decode(data).rgb
                found.append(
                    (
                        len(data),
                        psnr(rgb, shown),
                        over_crops(partial(distance, judges), rgb, shown),
                    )
                )
            size = max(row[0] for row in found)
            _, likeness, apart = np.mean(found, 0)
            rows.append(f'| {budget} | {name} | {size} | {likeness:.1f} | {apart:.3f} |')
    return rows


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--captions', type=Path, nargs='+', metavar='FILE')
    parser.add_argument('--images', type=Path)
    parser.add_argument('--limit', type=int, default=8, help='images, evenly of all (8)')
    parser.add_argument('--budgets', type=int, nargs='+', default=[150, 300, 1200, 2400])
    parser.add_argument('--weights', help='folder of preset foundation')
    parser.add_argument('--critics', type=Path, help='as of gsc train')
    parser.add_argument('--device', default='auto')
    args = parser.parse_args()
    if args.captions:
        print('\n'.join(captions(args.captions[0], args.captions[1:])))
    if args.images:
        paths = sorted(p for p in args.images.rglob('*') if p.suffix.lower() in SUFFIXES)
        if not paths:
            raise SystemExit(f'{args.images}: no images here')
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, args.limit).astype(int)]
        codecs = {
            'foundation': SemanticCodec.load('foundation', args.weights, device=args.device),
            'gsc': SemanticCodec.load(device=args.device),
        }
        print('\n'.join(images(paths, codecs, args.budgets, critics.load(args.critics))))


if __name__ == '__main__':
    main()
