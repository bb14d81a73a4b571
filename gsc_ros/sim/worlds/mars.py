"""A boulder field on Mars: rust and ochre dust under a sky of dust."""

import numpy as np

from gsc_ros.sim.boulders import Ground, field
from gsc_ros.sim.place import Place, Rig
from gsc_ros.sim.scene import Scene, daylight


def build(seed: int) -> Scene:
    """Build the field of a seed."""
    rng = np.random.default_rng((seed, 12))
    dust = np.array((rng.uniform(0.5, 0.72), rng.uniform(0.32, 0.46), rng.uniform(0.18, 0.33)))
    grey = rng.uniform(0, 0.7)  # of the rocks: dusty, or dark basalt
    rock = (1 - grey) * dust * rng.uniform(0.6, 1.0) + grey * np.full(3, rng.uniform(0.22, 0.4))
    haze = dust * 0.4 + np.array((0.5, 0.44, 0.38)) * rng.uniform(0.8, 1.05)
    angle = rng.uniform(0, 2 * np.pi)
    sun = (float(np.cos(angle)), float(np.sin(angle)), -float(rng.uniform(0.3, 1.4)))
    ground = Ground(tuple(dust), tuple(rock), rng.uniform(0.06, 0.2), rng.uniform(0.1, 0.3))
    return field(
        rng,
        (tuple(haze * rng.uniform(0.7, 0.95)), tuple(np.minimum(haze, 1.0))),
        (rng.uniform(15, 60), rng.uniform(80, 220)),
        daylight(seed, sun, rng.uniform(0.8, 1.1)),
        ground,
    )


PLACE = Place(build, Rig(1.1, 14.0), heights_m=(0.4, 1.8), pitches_deg=(5.0, 28.0), cruise=0.6)
