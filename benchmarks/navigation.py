"""
Judge the obstacles that navigation takes of decoded images, against the simulator's truth.

Run ``python -m benchmarks.navigation [BUDGET]`` (a minute on a core): by world, how many beams of
the decoded scan show an obstacle, how many of the truth's are missed, and how far points between
0.4 and 2 m above the ground are from anything that stands there.
"""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.clouds import beams_of, points_of, scan_of, trusted
from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.types import PREDICTED
from gsc_ros.labels import GROUND, SKY
from gsc_ros.sim import SCENES
from gsc_ros.sim.world import World

SIZE, HFOV_DEG = (480, 360), 70.0
SEEDS, VIEWS = 4, 3
BAND, RANGE_M = (0.4, 0.75), 12.0  # as the decoder and nav2_costmap.yaml have them
HEIGHTS_M, OFF_M = (0.4, 2.0), 1.5


@dataclass
class Tally:
    """What was counted over the views of a world."""

    beams: int = 0
    true: int = 0  # beams that meet an obstacle
    marked: int = 0  # beams that show one
    both: int = 0
    missed: int = 0  # that meet one, and show free space
    error: float = 0.0  # sum of relative errors where both are
    points: int = 0
    off: int = 0  # of them, further than OFF_M from any obstacle


def rays_of(k: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return x and y over z at each pixel (H, W, 2)."""
    u, v = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
    return np.dstack([x, y]).astype(np.float32)


def far_off(points: NDArray[np.float64], truth: NDArray[np.float64]) -> int:
    """Count points (N, 3) that are over OFF_M from all true ones in the plane."""
    if not len(truth):
        return len(points)
    parts = np.array_split(points, len(points) // 200 + 1)
    near = [
        (np.square(part[:, None, :2] - truth[None, :, :2]).sum(-1) < OFF_M**2).any(1)
        for part in parts
    ]
    return len(points) - int(np.concatenate(near).sum())


def judge(world: World, codec: SemanticCodec, budget: int, tally: Tally) -> None:
    """Add what the world shows now."""
    view, rays = world.look(), rays_of(world.k)
    beams = beams_of(rays, *BAND)
    decoded = codec.decode(codec.encode(view.rgb, budget).data, steps=0)
    assert decoded.depth is not None
    depth = trusted(decoded.depth, decoded.received, PREDICTED)
    true = scan_of(view.depth, view.segmentation, beams, RANGE_M)
    found = scan_of(depth, decoded.segmentation, beams, RANGE_M)
    meets, shows = np.isfinite(true), np.isfinite(found)
    both = meets & shows
    tally.beams += beams.count
    tally.true += int(meets.sum())
    tally.marked += int(shows.sum())
    tally.both += int(both.sum())
    tally.missed += int((meets & np.isposinf(found)).sum())
    tally.error += float(np.abs(found[both] / true[both] - 1).sum())
    camera, base = world.base @ world.mount, np.array(world.base.position)
    obstacle = ~np.isin(view.segmentation, (*GROUND, SKY)) & np.isfinite(view.depth)
    truth = camera.apply(points_of(view.depth, rays)[obstacle])[::5] - base
    points = camera.apply(points_of(depth, rays)[::4, ::4]).reshape(-1, 3) - base
    high = (points[:, 2] > HEIGHTS_M[0]) & (points[:, 2] < HEIGHTS_M[1])
    points = points[high & (np.hypot(points[:, 0], points[:, 1]) < RANGE_M)]
    tally.points += len(points)
    tally.off += far_off(points, truth)


def main(words: list[str]) -> None:
    """Print a row for each world."""
    budget = int(words[0]) if words else 300
    codec = SemanticCodec.load(device='cpu')
    print(f'{SEEDS * VIEWS} views a world, {budget} bytes, obstacles within {RANGE_M:.0f} m')
    for scene in SCENES:
        tally = Tally()
        for seed in range(SEEDS):
            world = World(scene, seed, *SIZE, HFOV_DEG)
            for _ in range(VIEWS):
                for _ in range(20):
                    world.step(0.1)
                judge(world, codec, budget, tally)
            world.close()
        print(
            f'{scene}: of {tally.true} beams at obstacles {tally.both / max(1, tally.true):.0%} '
            f'show one, {tally.error / max(1, tally.both):.0%} off, and '
            f'{tally.missed / max(1, tally.true):.0%} show free space; '
            f'{tally.marked - tally.both} of {tally.beams - tally.true} others show one; '
            f'{tally.off / max(1, tally.points):.0%} of {tally.points} points are over '
            f'{OFF_M} m from any obstacle'
        )


if __name__ == '__main__':
    main(sys.argv[1:])
