"""
Time the codec: encode, decode without and with the rectified flow, import, memory.

Run ``python -m benchmarks.codec`` on an idle machine. The images are noise shaped like
photographs unless ``--images`` names a folder of real ones.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SIZES = ((480, 360), (640, 480))


def milliseconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Run it once; returns its time and what it made."""
    start = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - start), result


def peak_memory() -> float:
    """MiB this process has held at most (Linux counts in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == 'darwin' else 2**10
    )


def images(folder: Path | None, count: int) -> list[Any]:
    """Read the folder's images, evenly spaced, or draw some: uint8 (H, W, 3) RGB of any size."""
    import cv2
    import numpy as np

    if folder is not None:
        from gsc_ros.evaluation.datasets import open_dataset, thin
        from gsc_ros.image_files import read_rgb

        return [read_rgb(frame.image) for frame in thin(open_dataset(folder), count)]
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        image = np.zeros((480, 640, 3))
        for octave in range(2, 8):  # amplitude falls with frequency, as it does in photographs
            noise = random.standard_normal((3 * 2**octave // 4, 2**octave, 3)) / 2**octave
            image += cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
        drawn.append(np.clip(128 + 160 * image, 0, 255).astype(np.uint8))
    return drawn


def measure(codec: Any, frames: list[Any], size: tuple[int, int], budget: int) -> dict[str, float]:
    """Time every frame at (width, height) after one to warm up; medians in milliseconds."""
    import cv2

    times: dict[str, list[float]] = {'encode': [], 'decode, 0 steps': [], 'decode': []}
    sizes = []
    for i, frame in enumerate([frames[0], *frames]):
        rgb = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        took = {}
        took['encode'], encoded = milliseconds(partial(codec.encode, rgb, budget))
        data = encoded.data
        took['decode, 0 steps'], _ = milliseconds(partial(codec.decode, data, steps=0))
        took['decode'], _ = milliseconds(partial(codec.decode, data))
        if i:
            sizes.append(len(data))
            for name, value in took.items():
                times[name].append(value)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {'bytes': statistics.median(sizes), **medians}


def peak_gflops(bfloat16: bool) -> float:
    """Measure what this machine can do: a 3x3 convolution of 96 channels, as the codec's are."""
    import torch

    dtype = torch.bfloat16 if bfloat16 else torch.float32
    layer = torch.nn.Conv2d(96, 96, 3, padding=1, dtype=dtype)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.zeros(1, 96, 96, 128, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        best = min(milliseconds(partial(layer, x))[0] for _ in range(20))
    return 2 * 96 * 96 * 9 * 96 * 128 / best / 1e6


def operations(work: Callable[[], Any]) -> float:
    """Count the operations of the networks in a call, in units of 10**9."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


def floors(codec: Any, frame: Any, budget: int) -> dict[str, float]:
    """Operations of the networks, as they compute, over the peak of a plain convolution, ms."""
    peak = peak_gflops(codec.bfloat16)
    data = codec.encode(frame, budget).data
    work = {
        'encode': partial(codec.encode, frame, budget),
        'decode, 0 steps': partial(codec.decode, data, steps=0),
    }
    return {name: 1000 * operations(call) / peak for name, call in work.items()} | {'peak': peak}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--weights', help="folder of weights; 'random' for untrained ones")
    parser.add_argument('--images', type=Path, help='folder of images')
    parser.add_argument('--frames', type=int, default=10, help='images a size (10)')
    parser.add_argument('--budget', type=int, default=300, help='bytes a frame (300)')
    parser.add_argument('--threads', type=int, default=2, help='of torch (2)')
    parser.add_argument(
        '--float32', action='store_true', help='compute as on a CPU without units for bfloat16'
    )
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    args = parser.parse_args()
    if args.frames < 1:
        parser.error(f'--frames must be 1 or more, got {args.frames}')

    def import_codec() -> Any:
        from gsc_ros.codec import SemanticCodec

        return SemanticCodec

    # First of all: nothing heavy has been imported by now.
    import_ms, codec_class = milliseconds(import_codec)
    try:
        load = partial(codec_class.load, weights=args.weights, threads=args.threads)
        load_ms, codec = milliseconds(load)
    except FileNotFoundError as error:
        parser.error(str(error))
    codec.bfloat16 &= not args.float32
    frames = images(args.images, args.frames)
    rows = [{'size': f'{w}x{h}', **measure(codec, frames, (w, h), args.budget)} for w, h in SIZES]
    columns = ('encode', 'decode, 0 steps', 'decode')
    print(f'Medians of {len(frames)} frames, {args.threads} threads, ms')
    print(f'| size | bytes | {" | ".join(columns)} |')
    print('|---|' + '---|' * (len(columns) + 1))
    for row in rows:
        print(f'| {row["size"]} | {row["bytes"]:.0f} |', end='')
        print(''.join(f' {row[name]:.0f} |' for name in columns))
    floor = floors(codec, frames[0], args.budget)
    print(f'\nfloor of the networks at {floor["peak"]:.0f} GFLOP/s:')
    print(', '.join(f'{name} {floor[name]:.0f} ms' for name in ('encode', 'decode, 0 steps')))
    print(f'import {import_ms / 1000:.1f} s, load {load_ms / 1000:.1f} s, ', end='')
    print(f'peak memory {peak_memory():.0f} MiB')
    if args.json:
        figures = {
            'threads': args.threads, 'frames': len(frames), 'sizes': rows,
            'floors': floor, 'import_s': import_ms / 1000, 'load_s': load_ms / 1000,
            'peak_mib': peak_memory(),
        }  # fmt: skip
        args.json.write_text(json.dumps(figures, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
