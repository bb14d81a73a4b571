"""The simulated world: robot, movers, and a camera with ground truth."""

import contextlib
import importlib.util
import os
from dataclasses import replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import SKY
from gsc_ros.sim.lens import Lens
from gsc_ros.sim.place import Rig
from gsc_ros.sim.scene import SHADOW_M
from gsc_ros.sim.view import View
from gsc_ros.sim.worlds import place_of
from gsc_ros.transforms import OPTICAL, Transform, from_euler

_FAR = 400.0
_SKY = -1  # the id of a geom where there is none

NO_RENDERER = (
    'MuJoCo found no way to draw without a screen. On Debian or Ubuntu: '
    'apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri; or set MUJOCO_GL (egl, osmesa, glfw).'
)


def _mujoco() -> ModuleType:
    """
    Import MuJoCo with a headless renderer unless the user chose one.

    Triton, which comes with CUDA builds of torch, is loaded before Mesa: each has its own LLVM,
    Mesa exports the symbols of its copy to all later libraries, and Triton crashes with them.
    """
    if importlib.util.find_spec('triton'):
        with contextlib.suppress(ImportError):
            importlib.import_module('triton._C.libtriton')
    os.environ.setdefault('MUJOCO_GL', 'egl')
    try:
        import mujoco
    except ImportError as error:
        if 'mujoco' in str(error) and getattr(error, 'name', '') == 'mujoco':
            raise ImportError("source 'sim' needs MuJoCo: pip install 'gsc_ros[sim]'") from error
        raise ImportError(f'{NO_RENDERER} ({error})') from error
    except (AttributeError, RuntimeError) as error:
        raise ImportError(f'{NO_RENDERER} ({error})') from error
    return mujoco


class World:
    """
    A scene with a robot that is moved kinematically by velocity commands.

    ``rig``: the camera, None for the usual one of the scene with ``hfov_deg``. Raises
    ``ValueError`` for an unknown scene or size and ``ImportError`` with the remedy when MuJoCo or
    a renderer for it is missing.
    """

    def __init__(
        self,
        scene: str = 'street',
        seed: int = 0,
        width: int = 480,
        height: int = 360,
        hfov_deg: float = 70.0,
        rig: Rig | None = None,
    ) -> None:
        self.place = place_of(scene)
        self.rig = rig or replace(self.place.rig, hfov_deg=hfov_deg)
        if not (16 <= width <= 1920 and 16 <= height <= 1920):
            raise ValueError(f'size {width}x{height} is outside 16..1920 pixels a side')
        if not 10 <= self.rig.hfov_deg <= 150:
            raise ValueError(f'hfov_deg {self.rig.hfov_deg} is outside 10..150 degrees')
        mujoco = _mujoco()
        self.scene, self.time = scene, 0.0
        self._built = self.place.build(seed)
        rng = np.random.default_rng(seed + 1)
        focal = width * self.rig.focal
        # The centre of the image lies between pixels whose centres are whole numbers.
        self.k = np.array(
            [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], np.float64
        )
        self._lens = Lens(self.k, self.rig.k1, width, height)
        width, height = self._lens.source
        fovy = 2 * np.degrees(np.arctan(height / 2 / focal))
        model = mujoco.MjModel.from_xml_string(
            self._built.xml(width, height, fovy, _FAR), self._built.assets
        )
        self._obstacles = np.array(self._built.obstacles, np.float64).reshape(-1, 3).T
        if self._built.terrain is not None:
            ground = self._built.terrain.heights
            span = max(float(np.ptp(ground)), 1e-6)
            model.hfield_data[:] = ((ground - ground.min()) / span).ravel()
        shapes = self._built.shapes
        # Of each geom, and of the sky at the end, which is what the id -1 finds.
        self._labels = np.array([*(shape.label for shape in shapes), SKY], np.uint8)
        self._ground = np.array([*(shape.ground for shape in shapes), False])
        self._things = np.array([*(shape.thing for shape in shapes), _SKY], np.int32)
        self._model, self._data = model, mujoco.MjData(model)
        self._mujoco = mujoco
        self._mocap = {
            name: model.body(name).mocapid[0]
            for name in ('robot', *(m.name for m in self._built.movers))
        }
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:
            raise ImportError(f'{NO_RENDERER} ({error})') from error
        self._options = mujoco.MjvOption()
        self._route = self._built.route
        self.x = self.y = 0.0
        if self._route is not None:
            self.x, self.y = (float(v) for v in self._route[int(rng.integers(10, 50))])
        heading = self._built.heading
        self.yaw = float(rng.uniform(-np.pi, np.pi)) if heading is None else heading
        self.bumped = False

    def step(self, seconds: float, command: tuple[float, float] | None = None) -> None:
        """
        Move on by ``seconds``, the robot by ``command`` (m/s ahead, rad/s to the left).

        Without a command the robot finds its own way. It does not enter obstacles.
        """
        self.time += seconds
        linear, angular = self.drive() if command is None else command
        self.yaw = (self.yaw + angular * seconds + np.pi) % (2 * np.pi) - np.pi
        x = self.x + linear * seconds * np.cos(self.yaw)
        y = self.y + linear * seconds * np.sin(self.yaw)
        self.bumped = self._blocked(x, y)
        if not self.bumped:
            self.x, self.y = x, y

    def _blocked(self, x: float, y: float) -> bool:
        """Whether a place is in an obstacle or off the world, and no way out of one."""
        long, wide = self._built.half
        if abs(x) > long or abs(y) > wide:
            return abs(x) + abs(y) > abs(self.x) + abs(self.y)
        ox, oy, radius = self._obstacles
        near = np.hypot(x - ox, y - oy)
        closer = near < np.hypot(self.x - ox, self.y - oy)
        return bool(np.any((near < radius + self.place.radius) & closer))

    def jump(self, rng: np.random.Generator) -> None:
        """Put the robot at a random free place, at a random time, looking any way it may go."""
        self.time = float(rng.uniform(0, 60))
        heading, half = self._built.heading, self._built.half
        for _ in range(200):
            self.x, self.y = (float(v) for v in rng.uniform(-1, 1, 2) * half)
            gap = np.hypot(self.x - self._obstacles[0], self.y - self._obstacles[1])
            if (gap > self._obstacles[2] + self.place.radius).all():
                break
        self.yaw = float(rng.uniform(-np.pi, np.pi))
        if heading is not None:
            self.yaw = float(rng.choice((0, np.pi)) + rng.normal(0, 0.4))

    def drive(self) -> tuple[float, float]:
        """Steer by itself: along the street's lanes, or across the terrain around rocks."""
        cruise = self.place.cruise
        if self._route is not None:
            nearest = int(np.argmin(np.hypot(*(self._route - (self.x, self.y)).T)))
            x, y = self._route[(nearest + 3) % len(self._route)]
            error = (np.arctan2(y - self.y, x - self.x) - self.yaw + np.pi) % (2 * np.pi) - np.pi
            return cruise * max(0.25, np.cos(error)), float(np.clip(1.5 * error, -1, 1))
        best, turn = -np.inf, 0.0
        for delta in np.radians((0, 25, -25, 50, -50, 90, -90, 150)):
            heading = self.yaw + delta
            free = self._free(heading) - 1.2 * abs(delta)
            if free > best:
                best, turn = free, float(delta)
        return cruise * max(0.15, np.cos(turn)), float(np.clip(turn, -0.7, 0.7))

    def _free(self, heading: float, reach: float = 6.0) -> float:
        """Metres of free way in a direction, up to ``reach``."""
        for distance in np.arange(0.5, reach, 0.5):
            if self._blocked(
                self.x + distance * np.cos(heading), self.y + distance * np.sin(heading)
            ):
                return float(distance)
        return reach

    @property
    def base(self) -> Transform:
        """Where the robot is in the world: on the ground, x ahead, z up."""
        position = (self.x, self.y, self._built.height(self.x, self.y))
        return from_euler(position, 0.0, 0.0, self.yaw)

    @property
    def mount(self) -> Transform:
        """Where the camera's optical frame (REP 103) is on the robot."""
        return self.rig.mount

    @property
    def obstacles(self) -> NDArray[np.float64]:
        """What the robot does not enter: discs (N, 3) of x, y and radius, m."""
        return self._obstacles.T

    @property
    def rays(self) -> NDArray[np.float32]:
        """What each pixel sees: x and y over z in the optical frame, float32 (H, W, 2)."""
        return self._lens.rays

    def _place(self, mount: Transform) -> None:
        """Put the bodies where they are now, and the camera where it is on the robot."""
        data = self._data
        for mover in self._built.movers:
            x, y, yaw = mover.at(self.time) if mover.speed else (*mover.start, 0.0)
            index = self._mocap[mover.name]
            data.mocap_pos[index] = (x, y, 0)
            data.mocap_quat[index] = (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))
        body = self.base @ mount @ OPTICAL.inverse
        index = self._mocap['robot']
        data.mocap_pos[index] = body.position
        x, y, z, w = body.orientation
        data.mocap_quat[index] = (w, x, y, z)
        # The sun's shadows are drawn round a point on its way to the robot.
        sun = np.array(self._built.light.sun)
        self._model.light_pos[0] = body.position - SHADOW_M * sun / np.linalg.norm(sun)
        self._mujoco.mj_forward(self._model, data)

    def look(self, truth: bool = True, mount: Transform | None = None) -> View:
        """
        Render the camera's view; without ``truth`` the maps of it are empty.

        ``mount``: where another camera of the same kind is on the robot.
        """
        mount = self.mount if mount is None else mount
        self._place(mount)
        rgb = self._lens.image(self._render(drawn=True))
        if not truth:
            return View.untold(rgb)
        renderer = self._renderer
        renderer.enable_segmentation_rendering()
        geoms = self._render()[..., 0]
        renderer.disable_segmentation_rendering()
        renderer.enable_depth_rendering()
        metres = self._render().astype(np.float32)
        renderer.disable_depth_rendering()
        metres[geoms == _SKY] = np.inf
        depth, geoms = self._lens.depth(metres, geoms), self._lens.ids(geoms)
        heights = self._heights(depth, geoms, mount)
        return View(rgb, depth, self._labels[geoms], heights, self._things[geoms])

    def _render(self, drawn: bool = False) -> NDArray:
        """Render what the renderer is set to; the ``drawn`` image alone has fog and shadows."""
        renderer, flags = self._renderer, self._mujoco.mjtRndFlag
        renderer.update_scene(self._data, 'optical', self._options)
        renderer.scene.flags[flags.mjRND_FOG] = drawn
        renderer.scene.flags[flags.mjRND_SHADOW] = drawn
        renderer.scene.flags[flags.mjRND_REFLECTION] = 0
        return np.asarray(renderer.render()).copy()

    def _heights(
        self, depth: NDArray[np.float32], geoms: NDArray[np.int32], mount: Transform
    ) -> NDArray[np.float32]:
        """Return the heights over the ground right below, m: 0 on it, NaN for sky."""
        seen = np.isfinite(depth)
        rays = self._lens.rays[seen]
        points = np.concatenate([rays, np.ones((len(rays), 1))], 1) * depth[seen][:, None]
        x, y, z = (self.base @ mount).apply(points).T
        heights = np.full(depth.shape, np.nan, np.float32)
        heights[seen] = np.where(self._ground[geoms[seen]], 0, z - self._built.ground_at(x, y))
        return heights

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
