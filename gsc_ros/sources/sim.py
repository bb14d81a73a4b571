"""The simulator as a camera."""

from collections.abc import Sequence
from dataclasses import replace

from gsc_ros.sim.place import VIEWS
from gsc_ros.sim.world import World
from gsc_ros.sim.worlds import place_of
from gsc_ros.sources.source import CameraFrame
from gsc_ros.transforms import Transform

_STEP_S = 0.1  # step of the robot's own steering


class Sim:
    """
    A robot's cameras in a simulated world; it knows the truth and takes commands.

    ``views``: of the cameras. Raises ``ValueError`` for one that there is not.
    """

    def __init__(
        self,
        scene: str,
        seed: int,
        width: int,
        height: int,
        hfov_deg: float,
        vary_camera: bool = False,
        views: Sequence[str] = ('front',),
    ) -> None:
        unknown = [view for view in views if view not in VIEWS]
        if unknown:
            raise ValueError(
                f'the simulator has no camera {unknown[0]!r}: give some of {", ".join(VIEWS)}'
            )
        rig = place_of(scene).drawn(seed) if vary_camera else None
        self.world = World(scene, seed, width, height, hfov_deg, rig)
        self._mounts = tuple(self.world.rig.turned(view).mount for view in views)
        self.skipped = 0

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """Advance the world and render."""
        left = min(seconds, 5.0)  # after a long pause the world does not leap
        while left > 0:
            self.world.step(min(_STEP_S, left), command)
            left -= _STEP_S
        first, *others = (self._look(mount, truth) for mount in self._mounts)
        return replace(first, others=tuple(others))

    def _look(self, mount: Transform, truth: bool) -> CameraFrame:
        world, view = self.world, self.world.look(truth, mount)
        depth, segmentation = (view.depth, view.segmentation) if truth else (None, None)
        return CameraFrame(
            view.rgb,
            world.k,
            depth,
            segmentation,
            base=world.base,
            mount=mount,
            k1=world.rig.k1,
        )

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()
