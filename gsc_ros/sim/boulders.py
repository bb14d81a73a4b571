"""A field of boulders: what the worlds of Moon and Mars have in common."""

from dataclasses import dataclass

import numpy as np

from gsc_ros.sim import rocks
from gsc_ros.sim.scene import Colour, Light, Scene
from gsc_ros.sim.terrain import CELLS, rolling
from gsc_ros.sim.textures import mottled, noise

EXTENT = 60.0  # metres a side
_REACH = 0.36 * EXTENT  # of the robot
_LOOKS = 3  # of rocks


@dataclass(frozen=True)
class Ground:
    """Looks of a field: colours of dust and rock, contrast of the dust, relief in m."""

    dust: Colour
    rock: Colour
    contrast: float
    relief: float


def field(
    rng: np.random.Generator,
    sky: tuple[Colour, Colour],
    fog: tuple[float, float],
    light: Light,
    ground: Ground,
) -> Scene:
    """
    Build a field: rocks in patches, many small ones and few large ones.

    The cumulative number of rocks falls with a power of their size, as counted at landing sites
    (Golombek and Rapp, "Size-frequency distributions of rocks on Mars", 1997).
    """
    scene = Scene(sky=sky, fog=fog, light=light, half=(_REACH, _REACH))
    scene.terrain = rolling(rng, EXTENT, ground.relief, float(rng.uniform(8, 26)), (4, 8, 32))
    octaves = tuple(int(2 ** rng.integers(low, low + 2)) for low in (2, 4, 6))
    dust = mottled(rng, ground.dust, ground.contrast, (*octaves, 128), rng.uniform(0.6, 1.3))
    repeat = float(rng.uniform(10, 30))
    scene.material('dust', dust, repeat=(repeat, repeat))
    for i in range(_LOOKS):
        tone = np.asarray(ground.rock) * rng.uniform(0.6, 1.15)
        look = mottled(rng, tuple(tone), rng.uniform(0.1, 0.3), (8, 32, 64))
        scene.material(f'stone{i}', look, cube=True)
    rocks.shapes(scene, rng)
    scene.floor('terrain', 'dust')
    places = _patches(rng, int(rng.integers(400, 1000)))
    sizes = np.minimum(0.08 * (1 + rng.pareto(rng.uniform(1.3, 1.9), len(places))), 1.8)
    rocks.strew(scene, rng, places, sizes, _LOOKS, clear=1.5)
    return scene


def _patches(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw places (N, 2), more where a random field is high."""
    density = np.exp(0.9 * noise(rng, CELLS - 1, (4, 8, 16)))
    cells = rng.choice(density.size, 4 * count, p=(density / density.sum()).ravel())
    at = np.stack([cells % (CELLS - 1), cells // (CELLS - 1)], 1) + rng.random((4 * count, 2))
    places = (at / (CELLS - 1) - 0.5) * EXTENT
    return places[(np.abs(places) < 1.15 * _REACH).all(1)][:count]
