"""Rubble of collapsed houses: slabs, bricks, beams and bars on broken ground."""

import numpy as np

from gsc_ros.sim import rocks
from gsc_ros.sim.place import Place, Rig
from gsc_ros.sim.scene import Scene, daylight
from gsc_ros.sim.terrain import rolling
from gsc_ros.sim.textures import facade, mottled

EXTENT = 46.0  # metres a side
_REACH = 0.36 * EXTENT
_CLEAR = 1.8  # round the start
_LOOKS = 3


def _away(rng: np.random.Generator, far: float = _REACH) -> tuple[float, float]:
    """Draw a place that is not where the robot starts."""
    while True:
        x, y = rng.uniform(-far, far, 2)
        if np.hypot(x, y) > _CLEAR:
            return float(x), float(y)


def _slabs(scene: Scene, rng: np.random.Generator, count: int) -> None:
    """Add tilted pieces of floors and walls."""
    for _ in range(count):
        x, y = _away(rng)
        size = (rng.uniform(0.15, 0.9), rng.uniform(0.1, 0.6), rng.uniform(0.04, 0.12))
        if np.hypot(x, y) < _CLEAR + size[0]:
            continue
        tilt = rng.normal(0, 18, 2)
        z = scene.height(x, y) + size[0] * float(np.sin(np.radians(np.abs(tilt).max()))) * 0.7
        turn, look = (*tilt, rng.uniform(0, 360)), f'concrete{rng.integers(_LOOKS)}'
        scene.geom('other', 'box', size, (x, y, z), material=look, euler=turn)
        if size[0] > 0.25:
            scene.obstacles.append((x, y, 0.7 * float(size[0])))


def _bricks(scene: Scene, rng: np.random.Generator, count: int) -> None:
    """Add heaps of bricks; most of them are too low to be in the way."""
    x, y = _away(rng)
    for i in range(count):
        if i % 12 == 0:
            x, y = _away(rng)
        at = (x + float(rng.normal(0, 0.5)), y + float(rng.normal(0, 0.5)))
        size = np.array((0.12, 0.057, 0.035)) * rng.uniform(0.7, 1.6)
        z = scene.height(*at) + rng.uniform(0, 0.05)
        turn, look = rng.uniform(0, 180, 3), f'brick{rng.integers(_LOOKS)}'
        scene.geom('other', 'box', size, (*at, z), material=look, euler=turn)


def _bars(scene: Scene, rng: np.random.Generator, count: int) -> None:
    """Add bars and beams that stick out of the ground."""
    for _ in range(count):
        x, y = _away(rng)
        thin = rng.random() < 0.6
        radius = rng.uniform(0.012, 0.025) if thin else rng.uniform(0.04, 0.1)
        half = rng.uniform(0.3, 1.1)
        tilt = rng.uniform(20, 88)
        z = scene.height(x, y) + 0.6 * half * float(np.cos(np.radians(tilt)))
        turn = (tilt, 0, rng.uniform(0, 360))
        look = {'colour': (0.3, 0.2, 0.15)} if thin else {'material': 'wood'}
        scene.geom('other', 'capsule', (radius, half), (x, y, z), euler=turn, **look)
        scene.obstacles.append((x, y, 0.3))


def _walls(scene: Scene, rng: np.random.Generator) -> None:
    """Add what stands of walls, and houses around."""
    for _ in range(rng.integers(5, 14)):
        x, y = _away(rng)
        size = (rng.uniform(0.6, 2.2), rng.uniform(0.08, 0.16), rng.uniform(0.2, 1.3))
        if np.hypot(x, y) < _CLEAR + size[0]:
            continue
        yaw, z = rng.uniform(0, 180), scene.height(x, y) + size[2] * 0.9
        look = f'brickwork{rng.integers(_LOOKS)}'
        scene.geom('wall', 'box', size, (x, y, z), material=look, euler=(rng.normal(0, 6), 0, yaw))
        along = np.array((np.cos(np.radians(yaw)), np.sin(np.radians(yaw))))
        for step in np.arange(-size[0], size[0] + 0.1, 0.4):
            px, py = np.array((x, y)) + step * along
            scene.obstacles.append((float(px), float(py), 0.25))
    for angle in np.arange(0, 2 * np.pi, 0.35):
        if rng.random() < 0.3:
            continue
        far = rng.uniform(1.15, 1.3) * _REACH
        x, y = far * np.cos(angle), far * np.sin(angle)
        size = (rng.uniform(2, 4), rng.uniform(1, 3), rng.uniform(1.0, 5.0))
        turn = (rng.normal(0, 4), rng.normal(0, 4), np.degrees(angle) + 90)
        look = f'house{rng.integers(2)}'
        scene.geom('building', 'box', size, (x, y, size[2]), material=look, euler=turn)


def _materials(scene: Scene, rng: np.random.Generator) -> None:
    dust = rng.uniform(0.38, 0.68) * np.array(
        (1.0, rng.uniform(0.88, 1.0), rng.uniform(0.72, 0.98))
    )
    scene.material('dust', mottled(rng, tuple(dust), rng.uniform(0.1, 0.25), (8, 32, 64, 128),
                                   rng.uniform(0.6, 1.2)), repeat=(12, 12))  # fmt: skip
    for i in range(_LOOKS):
        grey = dust * rng.uniform(0.7, 1.3)
        scene.material(f'stone{i}', mottled(rng, tuple(grey), 0.2, (8, 32, 64)), cube=True)
        scene.material(f'concrete{i}', mottled(rng, tuple(grey), 0.12, (4, 32, 128)), cube=True)
        red = rng.uniform(0.3, 0.6) * np.array((1.0, rng.uniform(0.5, 0.8), rng.uniform(0.4, 0.7)))
        scene.material(f'brick{i}', mottled(rng, tuple(red), 0.15, (4, 32)), cube=True)
        scene.material(f'brickwork{i}', mottled(rng, tuple(red), 0.25, (32, 64)), cube=True)
    scene.material('wood', mottled(rng, (0.4, 0.3, 0.2), 0.2, (4, 64)), cube=True)
    for i in range(2):
        scene.material(f'house{i}', facade(rng, tuple(dust * rng.uniform(0.8, 1.3))), cube=True)


def build(seed: int) -> Scene:
    """Build the rubble of a seed."""
    rng = np.random.default_rng((seed, 14))
    grey = rng.uniform(0.5, 0.85)
    haze = (grey, grey * 0.99, grey * rng.uniform(0.92, 1.05))
    sun = (float(rng.normal(0, 0.6)), float(rng.normal(0, 0.6)), -1.0)
    scene = Scene(
        sky=((haze[0] * 0.8, haze[1] * 0.88, min(1.0, haze[2])), haze),
        fog=(rng.uniform(20, 60), rng.uniform(80, 200)),
        light=daylight(seed, sun, rng.uniform(0.7, 1.05)),
        half=(_REACH, _REACH),
    )
    relief = rng.uniform(0.08, 0.2)
    scene.terrain = rolling(rng, EXTENT, relief, hills=4.0, octaves=(4, 8, 32, 128))
    _materials(scene, rng)
    rocks.shapes(scene, rng)
    scene.floor('terrain', 'dust')
    stones = int(rng.integers(150, 500))
    places = rng.uniform(-_REACH, _REACH, (stones, 2))
    sizes = np.minimum(0.05 * (1 + rng.pareto(1.6, stones)), 0.8)
    rocks.strew(scene, rng, places, sizes, _LOOKS, clear=_CLEAR)
    _slabs(scene, rng, int(rng.integers(60, 200)))
    _bricks(scene, rng, int(rng.integers(100, 400)))
    _bars(scene, rng, int(rng.integers(20, 80)))
    _walls(scene, rng)
    return scene


PLACE = Place(
    build, Rig(0.6, 12.0), heights_m=(0.3, 1.4), pitches_deg=(2.0, 25.0), cruise=0.5, radius=0.3
)  # fmt: skip
