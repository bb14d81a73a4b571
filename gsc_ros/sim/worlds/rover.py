"""A rover's terrain: dust, rocks and far hills under a hazy sky, varied by its seed."""

import numpy as np

from gsc_ros.sim import rocks
from gsc_ros.sim.place import Place, Rig
from gsc_ros.sim.scene import Scene, daylight
from gsc_ros.sim.terrain import rolling
from gsc_ros.sim.textures import mottled

EXTENT = 160.0  # metres a side


def build(seed: int) -> Scene:
    """Build the terrain of a seed: Mars-like for even seeds, Moon-like for odd ones."""
    rng = np.random.default_rng(seed)
    if seed % 2 == 0:
        dust = np.array((0.60, 0.40, 0.26)) * rng.uniform(0.8, 1.05)
        sky = ((0.62, 0.50, 0.38), (0.80, 0.68, 0.54))
        fog = (rng.uniform(35, 60), rng.uniform(140, 220))
    else:
        dust = np.full(3, rng.uniform(0.38, 0.5))
        sky = ((0.01, 0.01, 0.015), (0.03, 0.03, 0.035))
        fog = (500.0, 1000.0)
    angle = rng.uniform(0, 2 * np.pi)
    sun = (float(np.cos(angle)), float(np.sin(angle)), -rng.uniform(0.6, 1.2))
    scene = Scene(
        sky=sky,
        fog=fog,
        light=daylight(seed, sun, rng.uniform(0.85, 1.05)),
        half=(EXTENT * 0.36, EXTENT * 0.36),
    )
    scene.terrain = rolling(rng, EXTENT, 0.35)
    scene.material('dust', mottled(rng, tuple(dust), 0.12, (4, 16, 64, 128)), repeat=(30, 30))
    for i in range(2):
        tone = tuple(dust * rng.uniform(0.5, 0.85))
        scene.material(f'stone{i}', mottled(rng, tone, 0.2, (8, 32, 64)), cube=True)
    rocks.shapes(scene, rng)
    scene.floor('terrain', 'dust')
    count = int(rng.integers(220, 420))
    where = rng.uniform(-EXTENT * 0.36, EXTENT * 0.36, (count, 2))
    sizes = np.minimum(0.18 * rng.pareto(1.8, count) + 0.14, 1.6)
    rocks.strew(scene, rng, where, sizes, looks=2)
    return scene


PLACE = Place(build, Rig(1.1, 12.0), heights_m=(0.5, 1.8), pitches_deg=(4.0, 25.0), cruise=0.8)
