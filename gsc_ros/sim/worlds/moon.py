"""A boulder field on the Moon: grey dust, a black sky, a low sun and hard shadows."""

import numpy as np

from gsc_ros.sim.boulders import Ground, field
from gsc_ros.sim.place import Place, Rig
from gsc_ros.sim.scene import Light, Scene


def build(seed: int) -> Scene:
    """Build the field of a seed."""
    rng = np.random.default_rng((seed, 11))
    grey = rng.uniform(0.3, 0.62) * np.array((1.0, rng.uniform(0.97, 1.0), rng.uniform(0.92, 1.0)))
    rock = grey * rng.uniform(0.85, 1.3)
    angle, low = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0)
    sun = (float(np.cos(angle)), float(np.sin(angle)), -float(low))
    exposed = np.hypot(1, low) / (low + 0.35)  # the camera takes in more where the sun is low
    light = Light(sun, rng.uniform(0.8, 1.2) * exposed, rng.uniform(0.1, 0.25), shadows=True)
    ground = Ground(tuple(grey), tuple(rock), rng.uniform(0.05, 0.16), rng.uniform(0.1, 0.3))
    black = (0.01, 0.01, 0.012)
    return field(rng, (black, black), (500.0, 1000.0), light, ground)


PLACE = Place(build, Rig(1.1, 14.0), heights_m=(0.4, 1.8), pitches_deg=(5.0, 28.0), cruise=0.6)
