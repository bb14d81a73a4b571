"""
Judge the hazards that are found and sent, against the true geometry of the simulator's worlds.

    python -m benchmarks.world_hazards [--seeds 6] [--first 10000] [--budgets 150,300] [--own]
        [--height]

Seeds that no training saw, 10000 and on (the thresholds of the robot's own hazards were chosen
on the first six), cameras drawn by seed without distortion. Columns, a row for each world:
`things`: what stands more than 0.15 m out of the ground nearer than 5 m, and is seen so on 0.1 %
of the image or more; `missed`: of them, those of which the map of hazards says 255 on less than
half (128, not known, is a miss); `false`: regions of 255 a frame that hold no pixel of a hazard;
`ground`: share of the ground nearer than 5 m, lower than 0.08 m, that is told to be in the
way; `unknown`: share of frames of which nothing is told. `robot`: the map before it is sent.

The robot has a depth sensor: true depth, with `--noise` normal errors of that share of the
distance and 8 % of holes. With `--own` it has none, and goes by its networks. With `--height` it
knows the height of its camera.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec import FrameEncoder, SemanticCodec
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.hazards import CELL, IN_THE_WAY, NOT_KNOWN, Hazards, measured, published
from gsc_ros.perception.camera import Camera
from gsc_ros.perception.hazards import Limits
from gsc_ros.sim import SCENES
from gsc_ros.sim.view import View
from gsc_ros.sim.world import World
from gsc_ros.sim.worlds import place_of
from gsc_ros.training.simulated import KEPT_OUT

SIZE = (480, 360)
VIEWS = 3  # of a world
LEAST_SEEN, LEAST_FOUND = 0.001, 0.5
GROUND_M = 0.08  # what is lower is ground
RANGE_M, HOLES = 12.0, 0.08  # of a sensor with noise


@dataclass
class Tally:
    """What was counted over the frames of a world."""

    frames: int = 0
    things: int = 0
    missed: int = 0
    false: int = 0
    ground: int = 0
    blocked: int = 0
    unknown: int = 0

    def add(self, view: View, shown: NDArray[np.uint8]) -> None:
        """Count a map of hazards, uint8 (H, W), against the truth."""
        truth, told = view.hazards(), shown == IN_THE_WAY
        self.frames += 1
        self.unknown += bool((shown == NOT_KNOWN).all())
        with np.errstate(invalid='ignore'):
            ground = (view.heights < GROUND_M) & (view.depth < Limits().within_m)
        self.ground += int(ground.sum())
        self.blocked += int((ground & told).sum())
        for thing in np.unique(view.things[truth]):
            seen = truth & (view.things == thing)
            if seen.mean() >= LEAST_SEEN:
                self.things += 1
                self.missed += bool(told[seen].mean() < LEAST_FOUND)
        regions, parts = cv2.connectedComponents(told.astype(np.uint8))
        self.false += sum(not truth[parts == i].any() for i in range(1, regions))

    def __add__(self, other: 'Tally') -> 'Tally':
        return Tally(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def __str__(self) -> str:
        missed, false = self.missed / max(1, self.things), self.false / max(1, self.frames)
        blocked, unknown = self.blocked / max(1, self.ground), self.unknown / self.frames
        return f'{self.things} | {missed:.3f} | {false:.2f} | {blocked:.3f} | {unknown:.2f}'


def views(scene: str, seeds: int, first: int = KEPT_OUT) -> Iterator[tuple[View, Camera]]:
    """Yield what is seen of a world, and by which camera."""
    for seed in range(first, first + seeds):
        rig = replace(place_of(scene).drawn(seed), k1=0.0)
        world, rng = World(scene, seed, *SIZE, rig=rig), np.random.default_rng(seed)
        for _ in range(VIEWS):
            world.jump(rng)
            yield (
                world.look(),
                Camera(rig.focal, rig.focal * SIZE[0] / SIZE[1], height_m=rig.height_m),
            )
        world.close()


def sensed(depth: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Return depth as a sensor measures it; without ``noise`` the truth."""
    if not noise:
        return depth
    rng = np.random.default_rng(0)
    out = depth * (1 + rng.normal(0, noise, depth.shape)).astype(np.float32)
    out[depth > RANGE_M] = np.nan
    holes = (rng.random((SIZE[1] // 10, SIZE[0] // 10)) < HOLES).astype(np.uint8)
    out[cv2.resize(holes, SIZE, interpolation=cv2.INTER_NEAREST) > 0] = np.nan
    return out


def main() -> None:
    """Print a row for each world, at the robot and by budget."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--seeds', type=int, default=6)
    parser.add_argument('--first', type=int, default=KEPT_OUT, help='seed')
    parser.add_argument('--budgets', default='', help='such as 150,300; none: at the robot alone')
    parser.add_argument('--own', action='store_true', help='no depth sensor')
    parser.add_argument('--height', action='store_true', help='the height of the camera is stated')
    parser.add_argument('--noise', type=float, default=0.0)
    args = parser.parse_args()
    budgets = [int(b) for b in args.budgets.split(',') if b]
    codec = SemanticCodec.load(device='cpu') if budgets or args.own else None
    print('| world | at | things | missed | false a frame | ground | unknown |')
    print('|---|---|---|---|---|---|---|')
    totals: dict[str, Tally] = defaultdict(Tally)
    for scene in SCENES:
        tallies: dict[str, Tally] = defaultdict(Tally)
        for view, camera in views(scene, args.seeds, args.first):
            known = camera if args.height else replace(camera, height_m=None)
            depth = None if args.own else sensed(view.depth, args.noise)
            for at, found in told(codec, view.rgb, depth, known, budgets):
                tallies[at].add(view, published(found, SIZE, np.zeros(SIZE[::-1], bool)))
        for at, tally in tallies.items():
            totals[at] += tally
            print(f'| {scene} | {at} | {tally} |', flush=True)
    for at, tally in totals.items():
        print(f'| all | {at} | {tally} |')


def told(
    codec: SemanticCodec | None,
    rgb: NDArray[np.uint8],
    depth: NDArray[np.float32] | None,
    camera: Camera,
    budgets: list[int],
) -> Iterator[tuple[str, Hazards | None]]:
    """Yield the hazards that the robot finds, and those of the frames that it sends."""
    if codec is None:
        assert depth is not None
        width, height = coding_size(*SIZE)
        yield 'robot', measured(depth, camera, Limits(), (height // CELL, width // CELL))
        return
    encoder = codec.encoder
    assert isinstance(encoder, FrameEncoder)
    encoder.see_by(camera)
    analysis = codec.analyse(rgb, depth)
    yield 'robot', analysis.symbols.hazards
    for budget in budgets:
        frame = codec.pack(analysis, budget)
        yield f'{budget} B', codec.decoder.read(frame.data).symbols.hazards


if __name__ == '__main__':
    main()
