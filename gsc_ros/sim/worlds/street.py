"""A street of two lanes with pavements, houses, trees, signs, cars and people."""

import numpy as np
from numpy.typing import NDArray

from gsc_ros.sim.place import Place, Rig
from gsc_ros.sim.scene import Mover, Scene, daylight
from gsc_ros.sim.textures import disc, facade, mottled, paving

LENGTH = 240.0  # metres along x, centred on the origin
LANE = 3.4
PAVEMENT = 3.0

_WALLS = (
    (0.62, 0.42, 0.34), (0.75, 0.70, 0.60), (0.55, 0.55, 0.57), (0.70, 0.60, 0.45),
    (0.48, 0.34, 0.30), (0.80, 0.78, 0.74),
)  # fmt: skip
_PAINTS = (
    (0.65, 0.08, 0.08), (0.10, 0.15, 0.40), (0.75, 0.75, 0.77), (0.12, 0.12, 0.13),
    (0.85, 0.85, 0.82), (0.15, 0.32, 0.20), (0.45, 0.47, 0.50),
)  # fmt: skip


def _car(scene: Scene, rng: np.random.Generator, name: str) -> None:
    """Add a car as a moving body, centred on its own origin, heading +x."""
    paint = _PAINTS[rng.integers(len(_PAINTS))]
    length, width, roof = rng.uniform(1.9, 2.3), rng.uniform(0.82, 0.92), rng.uniform(1.35, 1.6)
    glass = (0.08, 0.10, 0.12)

    def part(kind: str, size, position, colour, euler=(0, 0, 0)) -> None:  # type: ignore[no-untyped-def]
        scene.geom('car', kind, size, position, colour=colour, euler=euler, mover=name)

    part('box', (length, width, 0.28), (0, 0, 0.58), paint)
    part(
        'box',
        (length * 0.52, width * 0.86, (roof - 0.86) / 2),
        (-0.2, 0, (roof + 0.86) / 2),
        glass,
    )
    part('box', (length * 0.46, width * 0.84, 0.03), (-0.2, 0, roof), paint)
    for x in (-0.62, 0.62):
        for y in (-1, 1):
            part(
                'cylinder',
                (0.32, 0.1),
                (x * length, y * width * 0.9, 0.32),
                (0.05, 0.05, 0.05),
                (90, 0, 0),
            )
    for y in (-1, 1):
        part(
            'box', (0.02, 0.14, 0.07), (-length - 0.005, 0.6 * y * width, 0.68), (0.7, 0.05, 0.03)
        )
        part(
            'box', (0.02, 0.14, 0.07), (length + 0.005, 0.6 * y * width, 0.66), (0.95, 0.95, 0.85)
        )


def _person(scene: Scene, rng: np.random.Generator, name: str) -> None:
    """Add a walking person as a moving body."""
    coat, legs = rng.uniform(0.05, 0.7, 3), rng.uniform(0.05, 0.35, 3)
    tall = rng.uniform(0.92, 1.08)
    for y in (-0.1, 0.1):
        scene.geom(
            'person',
            'capsule',
            (0.09, 0.36 * tall),
            (0.08 * np.sign(y), y, 0.45 * tall),
            colour=legs,
            euler=(0, 12 * np.sign(y), 0),
            mover=name,
        )
    scene.geom(
        'person', 'capsule', (0.19, 0.26 * tall), (0, 0, 1.13 * tall), colour=coat, mover=name
    )
    scene.geom(
        'person', 'sphere', (0.13,), (0, 0, 1.62 * tall), colour=(0.75, 0.57, 0.46), mover=name
    )


def _tree(scene: Scene, rng: np.random.Generator, x: float, y: float) -> None:
    height = rng.uniform(2.2, 3.2)
    scene.geom(
        'vegetation', 'cylinder', (0.16, height / 2), (x, y, height / 2), colour=(0.25, 0.19, 0.14)
    )
    leaves = f'leaves{rng.integers(2)}'
    for _ in range(rng.integers(4, 7)):
        dx, dy, dz = rng.normal(0, 0.75, 3)
        radius = rng.uniform(0.9, 1.6)
        scene.geom(
            'vegetation',
            'ellipsoid',
            (radius, radius, radius * 0.85),
            (x + dx, y + dy, height + 1.1 + 0.6 * dz),
            material=leaves,
            euler=rng.uniform(0, 180, 3),
            part=True,
        )
    scene.obstacles.append((x, y, 0.4))


def _post(scene: Scene, rng: np.random.Generator, x: float, y: float) -> None:
    """Add a lamp, a traffic sign or a traffic light on its pole."""
    kind = rng.integers(3)
    high = (5.5, 2.6, 3.0)[kind]
    scene.geom('pole', 'cylinder', (0.06, high / 2), (x, y, high / 2), colour=(0.35, 0.36, 0.37))
    side = -np.sign(y)
    if kind == 0:
        scene.geom(
            'pole', 'box', (0.1, 0.9, 0.05), (x, y + 0.8 * side, high), colour=(0.35, 0.36, 0.37)
        )
    elif kind == 1:
        scene.geom(
            'traffic sign',
            'cylinder',
            (0.36, 0.02),
            (x, y, high),
            material=f'sign{rng.integers(2)}',
            euler=(0, 90, 0),
        )
    else:
        scene.geom(
            'traffic light', 'box', (0.13, 0.15, 0.42), (x, y, high), colour=(0.06, 0.06, 0.06)
        )
        lamp = rng.integers(3)
        colour = ((0.9, 0.1, 0.05), (0.9, 0.6, 0.05), (0.1, 0.85, 0.3))[lamp]
        for face in (-1, 1):
            scene.geom(
                'traffic light',
                'sphere',
                (0.1,),
                (x + 0.1 * face, y, high + 0.26 - 0.26 * lamp),
                colour=colour,
            )
    scene.obstacles.append((x, y, 0.25))


def _materials(scene: Scene, rng: np.random.Generator) -> int:
    """Add the materials; returns how many looks of houses there are."""
    grey = rng.uniform(0.24, 0.34)
    scene.material(
        'asphalt', mottled(rng, (grey, grey, grey * 1.03), 0.07, (8, 64, 128)), repeat=(60, 2)
    )
    light = rng.uniform(0.45, 0.6)
    scene.material('paving', paving(rng, (light, light * 0.97, light * 0.93)), repeat=(80, 1))
    green = rng.uniform(0.25, 0.36)
    scene.material(
        'grass',
        mottled(rng, (green * 0.8, green, green * 0.45), 0.16, (8, 64, 128)),
        repeat=(40, 40),
    )
    for i in range(2):
        tone = rng.uniform(0.2, 0.36)
        scene.material(
            f'leaves{i}',
            mottled(rng, (tone * rng.uniform(0.6, 1.0), tone, tone * 0.4), 0.3, (16, 64)),
            cube=True,
        )
    scene.material('sign0', disc((0.95, 0.95, 0.95), (0.8, 0.05, 0.05)))
    scene.material('sign1', disc((0.95, 0.95, 0.95), (0.05, 0.2, 0.65)))
    houses = 5
    for i in range(houses):
        wall = np.asarray(_WALLS[rng.integers(len(_WALLS))]) * rng.uniform(0.85, 1.1)
        scene.material(f'house{i}', facade(rng, tuple(wall)), cube=True)
    return houses


def _ground(scene: Scene, half: float) -> None:
    """Add the grass, the road and its middle line."""
    scene.geom('terrain', 'plane', (half + 100, half + 100, 1), (0, 0, -0.12), material='grass')
    scene.geom('road', 'box', (half, LANE, 0.05), (0, 0, -0.05), material='asphalt')
    for x in np.arange(-half, half, 8.0):
        scene.geom('road', 'box', (1.6, 0.07, 0.004), (x, 0, 0.003), colour=(0.86, 0.86, 0.84))


def _pavement(scene: Scene, half: float, side: int) -> None:
    """Add the line and the pavement at one side of the road."""
    line = side * (LANE - 0.25)
    scene.geom('road', 'box', (half, 0.06, 0.004), (0, line, 0.003), colour=(0.8, 0.8, 0.78))
    middle = side * (LANE + PAVEMENT / 2)
    scene.geom('sidewalk', 'box', (half, PAVEMENT / 2, 0.09), (0, middle, 0.0), material='paving')


def _houses(scene: Scene, rng: np.random.Generator, half: float, side: int, looks: int) -> None:
    """Add the houses at one side, of so many looks, with fences and walls between some."""
    x = -half
    while x < half:
        wide, deep, high = rng.uniform(5, 10), rng.uniform(4, 7), rng.uniform(2.5, 8.5)
        gap = rng.uniform(0.3, 9) if rng.random() < 0.45 else 0.0
        front = side * (LANE + PAVEMENT + rng.uniform(0.5, 4) + deep)
        scene.geom(
            'building',
            'box',
            (wide, deep, high),
            (x + wide, front, high),
            material=f'house{rng.integers(looks)}',
        )
        if gap > 2:
            where = side * (LANE + PAVEMENT + 0.6)
            kind = 'fence' if rng.random() < 0.5 else 'wall'
            tone = (0.35, 0.27, 0.2) if kind == 'fence' else (0.6, 0.58, 0.54)
            scene.geom(
                kind,
                'box',
                (gap / 2, 0.08, rng.uniform(0.5, 0.9)),
                (x + 2 * wide + gap / 2, where, 0.5),
                colour=tone,
            )
        x += 2 * wide + gap


def _parked_cars(scene: Scene, rng: np.random.Generator, half: float, side: int) -> None:
    """Add cars that stand half on the kerb and leave the lane free."""
    for i, x in enumerate(np.arange(-half + rng.uniform(0, 30), half, rng.uniform(16, 30))):
        if rng.random() < 0.6:
            name = f'parked{side}_{i}'
            _car(scene, rng, name)
            y = side * (LANE + 0.35)
            end = (x + side * -0.01, y)
            scene.movers.append(Mover(name, (x, y), end, 0.0, 0.0))
            scene.obstacles += [(x - 1.2, y, 1.0), (x, y, 1.0), (x + 1.2, y, 1.0)]


def _walkers(scene: Scene, rng: np.random.Generator, half: float, side: int) -> None:
    """Add people who walk along the pavement of one side."""
    for i in range(rng.integers(4, 9)):
        name = f'walker{side}_{i}'
        _person(scene, rng, name)
        y = side * (LANE + rng.uniform(0.8, PAVEMENT - 0.9))
        x = rng.uniform(-half * 0.8, half * 0.8)
        end, speed, start = (x + rng.uniform(8, 25), y), rng.uniform(0.8, 1.6), rng.uniform(0, 30)
        scene.movers.append(Mover(name, (x, y), end, speed, start))


def _side(scene: Scene, rng: np.random.Generator, half: float, side: int, looks: int) -> None:
    """Add all that stands and walks at one side of the road, -1 or 1."""
    _pavement(scene, half, side)
    _houses(scene, rng, half, side, looks)
    for x in np.arange(-half + rng.uniform(0, 10), half, rng.uniform(11, 17)):
        if rng.random() < 0.75:
            _tree(scene, rng, x + rng.uniform(-2, 2), side * (LANE + PAVEMENT - 0.4))
    for x in np.arange(-half + rng.uniform(0, 20), half, rng.uniform(18, 28)):
        _post(scene, rng, x, side * (LANE + 0.35))
    _parked_cars(scene, rng, half, side)
    _walkers(scene, rng, half, side)


def _traffic(scene: Scene, rng: np.random.Generator, half: float) -> None:
    """Add cars that come along the other lane, and people who cross."""
    for i in range(rng.integers(2, 5)):
        name = f'driven{i}'
        _car(scene, rng, name)
        y = LANE / 2
        scene.movers.append(
            Mover(name, (half * 0.9, y), (-half * 0.9, y), rng.uniform(5, 9), rng.uniform(0, 250))
        )
    for i in range(rng.integers(0, 3)):
        name = f'crossing{i}'
        _person(scene, rng, name)
        x = rng.uniform(-half * 0.7, half * 0.7)
        scene.movers.append(
            Mover(name, (x, -LANE - 1), (x, LANE + 1), rng.uniform(0.7, 1.3), rng.uniform(0, 9))
        )


def build(seed: int) -> Scene:
    """Build the street of a seed."""
    rng = np.random.default_rng(seed)
    blue = rng.uniform(0.35, 0.6)
    haze = (rng.uniform(0.72, 0.85), rng.uniform(0.76, 0.86), rng.uniform(0.80, 0.9))
    fog = (rng.uniform(60, 110), rng.uniform(220, 320))
    sun = (rng.uniform(-0.6, 0.6), rng.uniform(-0.7, 0.7), -1.0)
    scene = Scene(
        sky=((blue * 0.7, blue * 0.9, min(1.0, blue * 1.5)), haze),
        fog=fog,
        light=daylight(seed, sun, rng.uniform(0.75, 1.0)),
        half=(LENGTH / 2 + 20, LANE + PAVEMENT),
        route=_route(),
        heading=0.0,
        levels=_levels,
    )
    looks = _materials(scene, rng)
    half = LENGTH / 2 + 60
    _ground(scene, half)
    for side in (-1, 1):
        _side(scene, rng, half, side, looks)
    _traffic(scene, rng, half)
    return scene


def _levels(y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Height of the ground, m: road, kerb, grass."""
    off = np.abs(y)
    kerb = np.where(off < LANE + PAVEMENT, 0.09, -0.12)
    return np.asarray(np.where(off < LANE, 0.0, kerb), np.float64)


def _route() -> NDArray[np.float64]:
    """Way points (N, 2) in metres of a round trip: one lane there, the other back."""
    out = np.stack([np.arange(-LENGTH / 2, LENGTH / 2, 2.0)] * 2, 1)
    out[:, 1] = -LANE / 2
    back = out[::-1].copy()
    back[:, 1] = LANE / 2
    turn = np.linspace(-np.pi / 2, np.pi / 2, 7)[1:-1]
    arc = np.stack([LENGTH / 2 + LANE / 2 * np.cos(turn), LANE / 2 * np.sin(turn)], 1)
    return np.concatenate([out, arc, back, -arc])


PLACE = Place(build, Rig(1.45, 4.0), heights_m=(0.7, 1.9), pitches_deg=(0.0, 12.0), cruise=3.5)
