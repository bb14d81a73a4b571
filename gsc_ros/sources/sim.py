"""The simulator as a camera."""

from gsc_ros.sim.world import World
from gsc_ros.sim.worlds import place_of
from gsc_ros.sources.source import CameraFrame

_STEP_S = 0.1  # step of the robot's own steering


class Sim:
    """A robot's camera in a simulated world; it knows the truth and takes commands."""

    def __init__(
        self,
        scene: str,
        seed: int,
        width: int,
        height: int,
        hfov_deg: float,
        vary_camera: bool = False,
    ) -> None:
        rig = place_of(scene).drawn(seed) if vary_camera else None
        self.world = World(scene, seed, width, height, hfov_deg, rig)
        self.skipped = 0

    def frame(
        self, seconds: float, command: tuple[float, float] | None, truth: bool
    ) -> CameraFrame | None:
        """Advance the world and render."""
        left = min(seconds, 5.0)  # after a long pause the world does not leap
        while left > 0:
            self.world.step(min(_STEP_S, left), command)
            left -= _STEP_S
        world = self.world
        view = world.look(truth)
        depth, segmentation = (view.depth, view.segmentation) if truth else (None, None)
        return CameraFrame(
            view.rgb,
            world.k,
            depth,
            segmentation,
            base=world.base,
            mount=world.mount,
            k1=world.rig.k1,
        )

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()
