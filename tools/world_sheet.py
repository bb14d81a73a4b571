"""
Draws docs/worlds.jpg: each simulated world by two seeds, hazards of the true geometry in red.

    python -m tools.world_sheet
"""

from pathlib import Path

import cv2
import numpy as np

from gsc_ros.sim import SCENES
from gsc_ros.sim.world import World
from gsc_ros.sim.worlds import place_of

FILE = Path(__file__).parent.parent / 'docs/worlds.jpg'
SEEDS, SIZE, QUALITY = (5, 9), (192, 144), 70


def main() -> None:
    """Write the file."""
    columns = []
    for scene in SCENES:
        images = []
        for seed in SEEDS:
            world = World(scene, seed, *SIZE, rig=place_of(scene).drawn(seed))
            world.jump(np.random.default_rng(seed))
            view = world.look()
            world.close()
            marked = view.rgb[..., ::-1].copy()
            marked[view.hazards()] = marked[view.hazards()] // 2 + np.array((0, 0, 127), np.uint8)
            images.append(np.vstack([view.rgb[..., ::-1], marked]))
        columns.append(np.vstack(images))
    cv2.imwrite(str(FILE), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == '__main__':
    main()
