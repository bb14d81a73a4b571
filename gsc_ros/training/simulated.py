"""Frames of the simulator with their truth, as images for training: `gsc train simulated`."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from gsc_ros.sim import SCENES
from gsc_ros.sim.world import World
from gsc_ros.sim.worlds import place_of

# The seeds before it are for tests and demonstrations, those from KEPT_OUT on for evaluation.
FIRST_SEED, KEPT_OUT = 2, 10_000
FRAMES_A_WORLD = 6
_COLUMNS = ('file', 'scene', 'seed', 'fx', 'fy', 'cx', 'cy', 'k1', 'height_m', 'pitch_deg',
            'roll_deg')  # fmt: skip


def export(
    output: Path,
    worlds: int = 40,
    seed: int = 0,
    scenes: Sequence[str] = SCENES,
    size: tuple[int, int] = (480, 360),
) -> Path:
    """
    Render ``worlds`` worlds of each scene into ``output``, images of ``size`` (W, H); returns it.

    Writes ``SCENE/NNNNN_rgb.png``, ``_seg.png`` (class ids, 255 where none applies),
    ``_depth.npy`` (float16 metres, inf for sky), ``_heights.npy`` (float16 metres over the ground
    right below, NaN for sky) and ``_hazards.png`` (255 higher than 0.15 m over the ground and
    nearer than 5 m) per frame, and their cameras, which differ by world, to ``frames.csv``: in
    shares of the image, as ``gsc_ros.perception.camera`` has them.
    """
    rng = np.random.default_rng(seed)
    output.mkdir(parents=True, exist_ok=True)
    with open(output / 'frames.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for number in tqdm(range(worlds), unit='world of each'):
            for scene in scenes:
                (output / scene).mkdir(exist_ok=True)
                chosen = FIRST_SEED + number
                rig = place_of(scene).drawn(chosen)
                world = World(scene, chosen, *size, rig=rig)
                for frame in range(FRAMES_A_WORLD):
                    world.jump(rng)
                    stem = f'{scene}/{number * FRAMES_A_WORLD + frame:05d}'
                    _write(world, output / stem)
                    focal = rig.focal
                    writer.writerow((f'{stem}_rgb.png', scene, chosen, focal,
                                     focal * size[0] / size[1], 0.5, 0.5, rig.k1, rig.height_m,
                                     rig.pitch_deg, rig.roll_deg))  # fmt: skip
                world.close()
    return output


def _write(world: World, stem: Path) -> None:
    """Write what a world shows now to files of a stem."""
    view = world.look()
    cv2.imwrite(f'{stem}_rgb.png', view.rgb[..., ::-1])
    cv2.imwrite(f'{stem}_seg.png', view.segmentation)
    cv2.imwrite(f'{stem}_hazards.png', view.hazards() * np.uint8(255))
    np.save(f'{stem}_depth.npy', view.depth.astype(np.float16))
    np.save(f'{stem}_heights.npy', view.heights.astype(np.float16))
