"""A corridor indoors, with what is left standing in it: boxes, chairs, tables, bins, people."""

from collections.abc import Callable

import numpy as np

from gsc_ros.sim.place import Place, Rig
from gsc_ros.sim.scene import UNNAMED, Colour, Light, Scene
from gsc_ros.sim.textures import mottled, paving

LENGTH = 40.0  # metres along x, centred on the origin
_CLEAR = 1.8  # round the start
_LOOKS = 3  # of boards and boxes
_METAL = (0.32, 0.33, 0.35)


def _hull(scene: Scene, rng: np.random.Generator, half: float, high: float) -> None:
    """Add floor, walls, ceiling, skirting, doors and lamps."""
    long = LENGTH / 2
    scene.geom(
        UNNAMED, 'box', (long, half, 0.05), (0, 0, -0.05), material='floor', ground=True
    )  # fmt: skip
    scene.geom(
        UNNAMED, 'box', (long, half, 0.05), (0, 0, high + 0.05), material='ceiling'
    )  # fmt: skip
    for side in (-1, 1):
        y = side * (half + 0.05)
        scene.geom(UNNAMED, 'box', (long, 0.05, high / 2), (0, y, high / 2), material='plaster')
        scene.geom(
            UNNAMED,
            'box',
            (long, 0.012, 0.05),
            (0, side * (half - 0.012), 0.05),
            colour=rng.uniform(0.2, 0.6, 3),
        )
        for x in np.arange(-long + rng.uniform(1, 4), long - 1, rng.uniform(3.0, 6.0)):
            board = f'board{rng.integers(_LOOKS)}'
            where = (x, side * half, 1.03)
            scene.geom(UNNAMED, 'box', (0.45, 0.02, 1.03), where, material=board)
            knob = (x + 0.36, side * (half - 0.05), 1.0)
            scene.geom(UNNAMED, 'sphere', (0.03,), knob, colour=_METAL, part=True)
    for end in (-1, 1):
        x = end * (long + 0.05)
        scene.geom(UNNAMED, 'box', (0.05, half, high / 2), (x, 0, high / 2), material='plaster')
    for x in np.arange(-long + 1.5, long, rng.uniform(2.5, 4.5)):
        lamp = (x, 0, high - 0.01)
        scene.geom(UNNAMED, 'box', (0.6, 0.12, 0.02), lamp, colour=(1, 1, 0.95))


def _turned(x: float, y: float, yaw_deg: float) -> tuple[float, float]:
    angle = np.radians(yaw_deg)
    return x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)


def _stack(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    """Add one to three cardboard boxes; returns the radius that they take up, as all of these."""
    z = widest = 0.0
    for i in range(rng.integers(1, 4)):
        size = rng.uniform(0.1, 0.28, 3)
        look, turn = f'carton{rng.integers(_LOOKS)}', (0, 0, rng.uniform(0, 90))
        at = (x, y, z + size[2])
        scene.geom('other', 'box', size, at, material=look, euler=turn, part=i > 0)
        z += 2 * size[2]
        widest = max(widest, float(np.hypot(*size[:2])))
    return widest


def _legged(
    scene: Scene,
    rng: np.random.Generator,
    at: tuple[float, float, float],
    size: tuple[float, float, float],
    colour: Colour,
) -> None:
    """Add a board (half length, half width, height) on four thin legs, at x, y, yaw in degrees."""
    x, y, yaw = at
    long, wide, high = size
    board = f'board{rng.integers(_LOOKS)}'
    scene.geom(
        'other', 'box', (long, wide, 0.015), (x, y, high), material=board, euler=(0, 0, yaw)
    )
    leg = rng.uniform(0.01, 0.022)
    for a in (-1, 1):
        for b in (-1, 1):
            dx, dy = _turned(a * (long - 0.03), b * (wide - 0.03), yaw)
            where = (x + dx, y + dy, high / 2)
            scene.geom('other', 'cylinder', (leg, high / 2), where, colour=colour, part=True)


def _chair(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    yaw, colour = rng.uniform(0, 360), tuple(rng.uniform(0.1, 0.6, 3))
    _legged(scene, rng, (x, y, yaw), (0.21, 0.2, 0.45), colour)
    dx, dy = _turned(-0.2, 0, yaw)
    back = (x + dx, y + dy, 0.68)
    scene.geom('other', 'box', (0.015, 0.19, 0.22), back, colour=colour, euler=(0, 0, yaw),
               part=True)  # fmt: skip
    return 0.3


def _table(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    size = (rng.uniform(0.3, 0.5), rng.uniform(0.22, 0.3), rng.uniform(0.5, 0.8))
    _legged(scene, rng, (x, y, rng.normal(0, 8)), size, _METAL)
    return float(size[0])


def _cabinet(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    size = (rng.uniform(0.25, 0.5), rng.uniform(0.18, 0.25), rng.uniform(0.3, 1.0))
    board = f'board{rng.integers(_LOOKS)}'
    scene.geom('other', 'box', size, (x, y, size[2]), material=board)
    return float(size[0])


def _bin(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    radius, half = rng.uniform(0.1, 0.22), rng.uniform(0.12, 0.45)
    at, colour = (x, y, half), rng.uniform(0.05, 0.8, 3)
    scene.geom('other', 'cylinder', (radius, half), at, colour=colour)
    return float(radius)


def _plant(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    scene.geom('other', 'cylinder', (0.15, 0.14), (x, y, 0.14), colour=rng.uniform(0.2, 0.7, 3))
    for _ in range(7):
        dx, dy, dz = rng.normal(0, 0.09, 3)
        size, at = (0.05, 0.14, 0.2), (x + dx, y + dy, 0.55 + dz)
        scene.geom('vegetation', 'ellipsoid', size, at, material='leaves',
                   euler=rng.uniform(0, 180, 3), part=True)  # fmt: skip
    return 0.3


def _person(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    coat, legs, tall = rng.uniform(0.05, 0.8, 3), rng.uniform(0.05, 0.35, 3), rng.uniform(0.9, 1.1)
    scene.geom('person', 'capsule', (0.19, 0.27 * tall), (x, y, 1.13 * tall), colour=coat)
    for dy in (-0.1, 0.1):
        size, at = (0.08, 0.38 * tall), (x, y + dy, 0.46 * tall)
        scene.geom('person', 'capsule', size, at, colour=legs, part=True)
    skin = np.array((0.75, 0.56, 0.45)) * rng.uniform(0.4, 1.1)
    scene.geom('person', 'sphere', (0.12,), (x, y, 1.62 * tall), colour=skin, part=True)
    return 0.3


def _pole(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    """Add a broom, a rod or a stand: thin, and upright or lying slanted."""
    radius, half = rng.uniform(0.012, 0.03), rng.uniform(0.4, 0.9)
    tilt = rng.uniform(0, 35)
    at = (x, y, half * float(np.cos(np.radians(tilt))))
    turn, colour = (tilt, 0, 0), rng.uniform(0.1, 0.8, 3)
    scene.geom('other', 'capsule', (radius, half), at, colour=colour, euler=turn)
    return 0.2


def _litter(scene: Scene, rng: np.random.Generator, x: float, y: float) -> float:
    """Add what is too low to be in the way: cables, mats, books."""
    size = (rng.uniform(0.08, 0.5), rng.uniform(0.02, 0.3), rng.uniform(0.005, 0.05))
    turn, colour = (0, 0, rng.uniform(0, 180)), rng.uniform(0.05, 0.8, 3)
    scene.geom('other', 'box', size, (x, y, size[2]), colour=colour, euler=turn)
    return 0.0


_THINGS: tuple[Callable[[Scene, np.random.Generator, float, float], float], ...] = (
    _stack, _chair, _table, _cabinet, _bin, _plant, _person, _pole, _litter,
)  # fmt: skip


def _clutter(scene: Scene, rng: np.random.Generator, half: float) -> None:
    """Add things, most of them along the walls."""
    for x in np.arange(-LENGTH / 2 + 0.8, LENGTH / 2 - 0.8, rng.uniform(0.5, 1.3)):
        if abs(x) < _CLEAR:
            continue  # the robot starts here
        side = rng.choice((-1, 1))
        off = half - 0.35 if rng.random() < 0.75 else rng.uniform(0, half - 0.35)
        y = side * float(off)
        thing = _THINGS[rng.integers(len(_THINGS))]
        along = float(x + rng.normal(0, 0.1))
        radius = thing(scene, rng, along, y)
        if radius:
            scene.obstacles.append((along, y, radius))


def build(seed: int) -> Scene:
    """Build the corridor of a seed."""
    rng = np.random.default_rng((seed, 13))
    half, high = rng.uniform(0.9, 1.8), rng.uniform(2.6, 3.4)
    lamps = rng.uniform(0.3, 0.7)  # their light comes down from above, and from the walls
    sun = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), -1.0)
    dark = tuple(rng.uniform(0.0, 0.7) * rng.uniform(0.85, 1.0, 3))  # of the far end
    scene = Scene(
        sky=(dark, dark),
        fog=(rng.uniform(6, 15), rng.uniform(30, 90)),
        light=Light(sun, lamps, rng.uniform(0.35, 0.75)),
        half=(LENGTH / 2 - 0.5, half - 0.3),
        heading=0.0 if rng.random() < 0.5 else np.pi,
    )
    tone = rng.uniform(0.2, 0.75) * rng.uniform(0.8, 1.1, 3)
    floor = paving(rng, tuple(tone)) if rng.random() < 0.5 else mottled(
        rng, tuple(tone), rng.uniform(0.02, 0.1), (8, 64, 128)
    )  # fmt: skip
    tiles = rng.uniform(0.3, 1.5)
    scene.material('floor', floor, repeat=(tiles * LENGTH / 2, tiles * half))
    wall = rng.uniform(0.45, 0.95) * rng.uniform(0.85, 1.05, 3)
    scene.material('plaster', mottled(rng, tuple(wall), rng.uniform(0.01, 0.06), (4, 32, 128)),
                   cube=True)  # fmt: skip
    above = tuple(rng.uniform(0.6, 0.95) * np.ones(3))
    scene.material('ceiling', paving(rng, above), repeat=(LENGTH / 2, half))
    for i in range(_LOOKS):
        wood = rng.uniform(0.25, 0.7) * np.array((1.0, rng.uniform(0.6, 1), rng.uniform(0.35, 1)))
        scene.material(f'board{i}', mottled(rng, tuple(wood), 0.08, (4, 64)), cube=True)
        card = rng.uniform(0.4, 0.75) * np.array((1.0, rng.uniform(0.75, 1), rng.uniform(0.5, 1)))
        scene.material(f'carton{i}', mottled(rng, tuple(card), 0.08, (4, 32)), cube=True)
    scene.material('leaves', mottled(rng, (0.15, 0.35, 0.12), 0.3, (16, 64)), cube=True)
    _hull(scene, rng, half, high)
    _clutter(scene, rng, half)
    return scene


PLACE = Place(
    build, Rig(0.6, 8.0), heights_m=(0.25, 1.4), pitches_deg=(0.0, 20.0), cruise=0.6, radius=0.25
)  # fmt: skip
