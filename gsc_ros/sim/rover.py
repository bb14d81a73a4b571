"""A rover's terrain: dust, rocks and far hills under a hazy sky, varied by its seed."""

import cv2
import numpy as np

from gsc_ros.sim.scene import Scene
from gsc_ros.sim.textures import mottled, noise

EXTENT = 160.0  # metres a side
_CELLS = 257
_ROCK_SHAPES = 6


def heights(rng: np.random.Generator) -> np.ndarray:
    """Terrain heights float32 (257, 257), m: gentle where the rover drives, hills around."""
    field = 0.35 * noise(rng, 256, (4, 8, 16, 64), 0.45)
    field = np.asarray(cv2.copyMakeBorder(field, 0, 1, 0, 1, cv2.BORDER_REPLICATE))
    axis = np.linspace(-1, 1, _CELLS)
    radius = np.hypot(*np.meshgrid(axis, axis))
    hills = 1 + 0.6 * cv2.resize(noise(rng, 256, (4, 8)), (_CELLS, _CELLS))
    field += np.clip(radius - 0.62, 0, None) ** 1.5 * 26 * np.clip(hills, 0.2, None)
    return (field - field.min()).astype(np.float32)


def _rock(rng: np.random.Generator) -> np.ndarray:
    points = rng.standard_normal((26, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points *= rng.uniform(0.75, 1.1, (26, 1)) * rng.uniform(0.6, 1.0, 3)
    points[:, 2] = np.maximum(points[:, 2], -0.3)
    return points.astype(np.float32)


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
    scene = Scene(
        sky=sky,
        fog=fog,
        sun=(np.cos(angle), np.sin(angle), -rng.uniform(0.6, 1.2)),
        brightness=rng.uniform(0.85, 1.05),
    )
    ground = heights(rng)
    scene.ground, scene.extent = ground, EXTENT
    scene.material('dust', mottled(rng, tuple(dust), 0.12, (4, 16, 64, 128)), repeat=(30, 30))
    for i in range(2):
        tone = tuple(dust * rng.uniform(0.5, 0.85))
        scene.material(f'stone{i}', mottled(rng, tone, 0.2, (8, 32, 64)), cube=True)
    for i in range(_ROCK_SHAPES):
        scene.mesh(f'rock{i}', _rock(rng))
    scene.geom('terrain', 'hfield', (0,), (0, 0, 0), material='dust')
    scene._bodies[-1] = scene._bodies[-1].replace('size="0"', 'hfield="ground"')
    count = int(rng.integers(220, 420))
    where = rng.uniform(-EXTENT * 0.36, EXTENT * 0.36, (count, 2))
    for x, y in where:
        if np.hypot(x, y) < 3:
            continue  # the rover starts here
        size = 0.18 * rng.pareto(1.8) + 0.14
        size = min(size, 1.6)
        z = height_at(ground, x, y)
        shape = f'rock{rng.integers(_ROCK_SHAPES)}'
        _scaled_rock(scene, rng, shape, size, (x, y, z + 0.15 * size))
        if size > 0.25:
            scene.obstacles.append((x, y, size))
    return scene


def _scaled_rock(
    scene: Scene,
    rng: np.random.Generator,
    shape: str,
    size: float,
    position: tuple[float, float, float],
) -> None:
    """Add a rock; MuJoCo scales meshes and not geoms, so a size is a mesh of its own."""
    rounded = round(size, 1 if size < 1 else 0) or 0.1
    name = f'{shape}_{rounded:g}'.replace('.', '_')
    if not any(f'name="{name}"' in xml for xml in scene._assets_xml):
        source = next(xml for xml in scene._assets_xml if f'name="{shape}"' in xml)
        scale = f' scale="{rounded} {rounded} {rounded * 0.8:.3f}"/>'
        scene._assets_xml.append(source.replace(f'"{shape}"', f'"{name}"').replace('/>', scale))
    scene.geom(
        'other',
        'mesh',
        (),
        position,
        material=f'stone{rng.integers(2)}',
        mesh=name,
        euler=(rng.uniform(-15, 15), rng.uniform(-15, 15), rng.uniform(0, 360)),
    )


def height_at(ground: np.ndarray, x: float, y: float) -> float:
    """Bilinear height in metres of a point (x, y) on terrain centred on the origin."""
    last = ground.shape[0] - 1
    u = np.clip((x / EXTENT + 0.5) * last, 0, last - 1e-6)
    v = np.clip((y / EXTENT + 0.5) * last, 0, last - 1e-6)
    i, j = int(v), int(u)
    a, b = v - i, u - j
    top = ground[i, j] * (1 - b) + ground[i, j + 1] * b
    return float(top * (1 - a) + (ground[i + 1, j] * (1 - b) + ground[i + 1, j + 1] * b) * a)
