"""What a world is to the robot in it: how it is built, how the camera sees, how fast to go."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gsc_ros.sim.scene import Scene
from gsc_ros.transforms import OPTICAL, Transform, from_euler

_HFOV_DEG = (50.0, 95.0)
_ROLL_DEG = 1.5  # standard deviation
_BENT = (-0.08, 0.03)  # of the distance from the middle, at the left and right edge

# Where further cameras of a robot look, in degrees to the left of its usual one, and down from it.
VIEWS = {
    'front': (0.0, 0.0),
    'rear': (180.0, 0.0),
    'left': (90.0, 0.0),
    'right': (-90.0, 0.0),
    'arm': (0.0, 30.0),
}


@dataclass(frozen=True)
class Rig:
    """
    A camera on the robot.

    ``height_m``: over the ground; ``pitch_deg``: down; ``roll_deg``: to the right; ``k1``: radial
    distortion as in camera_info (plumb_bob), negative for a barrel; ``yaw_deg``: to the left.
    """

    height_m: float
    pitch_deg: float
    hfov_deg: float = 70.0
    roll_deg: float = 0.0
    k1: float = 0.0
    yaw_deg: float = 0.0

    def turned(self, view: str) -> 'Rig':
        """Return the camera of this kind that looks where one of `VIEWS` does."""
        left, down = VIEWS[view]
        return replace(self, yaw_deg=self.yaw_deg + left, pitch_deg=self.pitch_deg + down)

    @property
    def focal(self) -> float:
        """The focal length in widths of the image."""
        return float(0.5 / np.tan(np.radians(self.hfov_deg) / 2))

    @property
    def mount(self) -> Transform:
        """Where the optical frame (REP 103) is on the robot."""
        angles = np.radians((self.roll_deg, self.pitch_deg, self.yaw_deg)).tolist()
        return from_euler((0.0, 0.0, self.height_m), *angles) @ OPTICAL


@dataclass(frozen=True)
class Place:
    """
    A world by its name.

    ``build``: the scene of a seed; ``rig``: the usual camera; ``heights_m``, ``pitches_deg``:
    from, to, where robots have theirs; ``cruise``: m/s when nobody commands; ``radius``: of the
    robot, m.
    """

    build: Callable[[int], Scene]
    rig: Rig
    heights_m: tuple[float, float]
    pitches_deg: tuple[float, float]
    cruise: float
    radius: float = 0.5

    def drawn(self, seed: int) -> Rig:
        """Draw a camera of this world by a seed: height, pitch, roll, lens."""
        rng = np.random.default_rng((seed, 2))
        hfov_deg = float(rng.uniform(*_HFOV_DEG))
        edge = np.tan(np.radians(hfov_deg) / 2)
        return Rig(
            float(rng.uniform(*self.heights_m)),
            float(rng.uniform(*self.pitches_deg)),
            hfov_deg,
            float(rng.normal(0, _ROLL_DEG)),
            float(rng.uniform(*_BENT) / edge**2) if rng.random() < 0.5 else 0.0,
        )
