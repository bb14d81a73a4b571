"""Frames of the simulator with their truth, as images for training: `gsc train simulated`."""

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from gsc_ros.sim.world import SCENES, World

FIRST_SEED = 2  # the seeds before it are for tests and demonstrations
FRAMES_A_WORLD = 10


def export(output: Path, worlds: int = 20, seed: int = 0) -> Path:
    """
    Render ``worlds`` worlds of each scene into ``output``; returns it.

    Writes ``NNNN_rgb.png``, ``NNNN_seg.png`` (class ids) and ``NNNN_depth.npy`` (float16 metres,
    inf for sky) per frame, seen from poses along the robot's way and a little off it.
    """
    rng = np.random.default_rng(seed)
    for scene in SCENES:
        folder = output / scene
        folder.mkdir(parents=True, exist_ok=True)
        for number in tqdm(range(worlds), desc=scene):
            world = World(scene, FIRST_SEED + number, hfov_deg=float(rng.uniform(55, 85)))
            for frame in range(FRAMES_A_WORLD):
                for _ in range(int(rng.integers(10, 30))):
                    world.step(0.25)
                straight = world.yaw
                world.yaw += float(rng.normal(0, 0.35))
                view = world.look()
                world.yaw = straight
                stem = str(folder / f'{number * FRAMES_A_WORLD + frame:04d}')
                cv2.imwrite(f'{stem}_rgb.png', view.rgb[..., ::-1])
                cv2.imwrite(f'{stem}_seg.png', view.segmentation)
                np.save(f'{stem}_depth.npy', view.depth.astype(np.float16))
            world.close()
    return output
