"""Rocks: convex shapes, strewn over terrain."""

import numpy as np
from numpy.typing import NDArray

from gsc_ros.sim.scene import Scene

_SHAPES = 6
_POINTS = 26


def shapes(scene: Scene, rng: np.random.Generator) -> None:
    """Add the shapes that rocks have."""
    for i in range(_SHAPES):
        scene.mesh(f'rock{i}', _rock(rng))


def _rock(rng: np.random.Generator) -> NDArray[np.float32]:
    points = rng.standard_normal((_POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points *= rng.uniform(0.75, 1.1, (_POINTS, 1)) * rng.uniform(0.6, 1.0, 3)
    points[:, 2] = np.maximum(points[:, 2], -0.3)
    return points.astype(np.float32)


def strew(
    scene: Scene,
    rng: np.random.Generator,
    places: NDArray[np.float64],
    sizes: NDArray[np.float64],
    looks: int,
    clear: float = 3.0,
) -> None:
    """
    Lay rocks at places (N, 2) of sizes (N) in m, of the materials ``stone0`` and on.

    None lies nearer than ``clear`` to the origin, where the robot starts.
    """
    for (x, y), size in zip(places, sizes, strict=True):
        if np.hypot(x, y) < clear + size:
            continue
        shape = f'rock{rng.integers(_SHAPES)}'
        z = scene.height(x, y)
        _lay(scene, rng, shape, size, (x, y, z + 0.15 * size), looks)
        if size > 0.25:
            scene.obstacles.append((x, y, size))


def _lay(
    scene: Scene,
    rng: np.random.Generator,
    shape: str,
    size: float,
    position: tuple[float, float, float],
    looks: int,
) -> None:
    """Add a rock; MuJoCo scales meshes and not geoms, so a size is a mesh of its own."""
    step = 0.02 if size < 0.3 else 0.1 if size < 1 else 1.0
    rounded = max(round(size / step) * step, 0.02)
    name = f'{shape}_{rounded:.2f}'.replace('.', '_')
    scene.scaled(name, shape, (rounded, rounded, 0.8 * rounded))
    scene.geom(
        'other',
        'mesh',
        (),
        position,
        material=f'stone{rng.integers(looks)}',
        mesh=name,
        euler=(rng.uniform(-15, 15), rng.uniform(-15, 15), rng.uniform(0, 360)),
    )
