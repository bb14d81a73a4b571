"""
Hazards that a frame tells, against the simulator's truth or what true depth shows.

    gsc train simulated --output T --worlds 4
    python -m benchmarks.hazards T/simulated --budgets 150,300 --sensor

``--sensor``: the robot has a depth sensor of the camera's own view, the true depth. Without it
the network tells them. Frames without true hazards, but with dense true depth, are judged by what
stands out of the ground in that.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from gsc_ros.codec import FrameEncoder, SemanticCodec
from gsc_ros.evaluation.datasets import Frame, open_dataset, thin
from gsc_ros.evaluation.hazards import count, shares
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.hazards import find_hazards

_DENSE = 0.4  # of the pixels have true depth


def truth_of(frame: Frame, camera: Camera) -> np.ndarray | None:
    """Return what is in the way, bool (H, W); None where there is no truth."""
    if frame.hazards is not None:
        return frame.hazards()
    depth = frame.depth() if frame.depth else None
    if depth is None or np.isfinite(depth).mean() < _DENSE:
        return None
    found = find_hazards(depth, camera)
    return found.mask if found.ground is not None else None


def main() -> None:
    """Print a table by folder of images and budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('data', type=Path)
    parser.add_argument('--split', default='val')
    parser.add_argument('--budgets', default='150,300')
    parser.add_argument('--sensor', action='store_true')
    parser.add_argument('--height', action='store_true', help="give the camera's height")
    parser.add_argument('--limit', type=int)
    args = parser.parse_args()
    codec = SemanticCodec.load()
    encoder = codec.encoder
    assert isinstance(encoder, FrameEncoder)
    counted: dict[tuple[str, int], list[dict[str, int]]] = defaultdict(list)
    for frame in thin(open_dataset(args.data, split=args.split), args.limit):
        rgb = frame.rgb()
        known = frame.camera or Camera.assumed(rgb.shape[1], rgb.shape[0])
        truth = truth_of(frame, known)
        if truth is None:
            continue
        height_m = known.height_m if args.height else None
        camera = replace(known, height_m=height_m)
        encoder.see_by(camera)
        depth = frame.depth() if args.sensor and frame.depth else None
        analysis = codec.analyse(rgb, depth)
        for budget in map(int, args.budgets.split(',')):
            hazards = codec.decode(codec.pack(analysis, budget).data).hazards
            assert hazards is not None
            counted[frame.image.parent.name, budget].append(count(hazards, truth))
    print('| images of | bytes | frames | hazards | missed | false a frame | not told |')
    print('|---|---|---|---|---|---|---|')
    for (folder, budget), counts in sorted(counted.items()):
        true, found = sum(one['true'] for one in counts), shares(counts)
        print(
            f'| {folder} | {budget} | {len(counts)} | {true} | {found["missed"]:.2f} '
            f'| {found["false"]:.2f} | {found["untold"]:.2f} |'
        )


if __name__ == '__main__':
    main()
