"""The simulated world: robot, movers, and a camera with ground truth."""

import contextlib
import importlib.util
import os
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import SKY
from gsc_ros.sim import rover, street
from gsc_ros.transforms import OPTICAL, Transform, from_euler

SCENES = ('street', 'rover')
ROBOT_RADIUS = 0.5
CAMERA_HEIGHT = {'street': 1.45, 'rover': 1.1}
_CRUISE = {'street': 3.5, 'rover': 0.8}  # metres a second, when nobody commands
_PITCH = {'street': 4.0, 'rover': 12.0}  # degrees down
_FAR = 400.0

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


@dataclass(frozen=True)
class View:
    """
    The camera's image with its ground truth.

    ``rgb`` uint8 (H, W, 3); ``depth`` float32 (H, W), metres along the camera's Z, +inf for sky;
    ``segmentation`` uint8 (H, W) ids of ``perception.labels``.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]


class World:
    """
    A scene with a robot that is moved kinematically by velocity commands.

    Raises ``ValueError`` for an unknown scene or size and ``ImportError`` with the remedy when
    MuJoCo or a renderer for it is missing.
    """

    def __init__(
        self,
        scene: str = 'street',
        seed: int = 0,
        width: int = 480,
        height: int = 360,
        hfov_deg: float = 70.0,
    ) -> None:
        if scene not in SCENES:
            raise ValueError(f'scene {scene!r} is not one of {", ".join(SCENES)}')
        if not (16 <= width <= 1920 and 16 <= height <= 1920):
            raise ValueError(f'size {width}x{height} is outside 16..1920 pixels a side')
        if not 10 <= hfov_deg <= 150:
            raise ValueError(f'hfov_deg {hfov_deg} is outside 10..150 degrees')
        mujoco = _mujoco()
        self.scene, self.time = scene, 0.0
        self._built = (street if scene == 'street' else rover).build(seed)
        self._rng = np.random.default_rng(seed + 1)
        focal = width / 2 / np.tan(np.radians(hfov_deg) / 2)
        fovy = 2 * np.degrees(np.arctan(height / 2 / focal))
        # The centre of the image lies between pixels whose centres are whole numbers.
        self.k = np.array(
            [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], np.float64
        )
        model = mujoco.MjModel.from_xml_string(
            self._built.xml(width, height, fovy, _FAR), self._built.assets
        )
        self._obstacles = np.array(self._built.obstacles, np.float64).reshape(-1, 3).T
        ground = self._built.ground
        if ground is not None:
            span = max(float(np.ptp(ground)), 1e-6)
            model.hfield_data[:] = ((ground - ground.min()) / span).ravel()
        self._labels = np.append(self._built.all_labels(), np.uint8(SKY))
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
        self._route = street.route() if scene == 'street' else None
        if self._route is not None:
            start = int(self._rng.integers(10, 50))
            self.x, self.y = (float(v) for v in self._route[start])
        else:
            self.x = self.y = 0.0
        self.yaw = 0.0 if scene == 'street' else float(self._rng.uniform(-np.pi, np.pi))
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
        half = rover.EXTENT * 0.36 if self.scene == 'rover' else street.LENGTH / 2 + 20
        side = half if self.scene == 'rover' else street.LANE + street.PAVEMENT
        if abs(x) > half or abs(y) > side:
            return abs(x) + abs(y) > abs(self.x) + abs(self.y)
        ox, oy, radius = self._obstacles
        near = np.hypot(x - ox, y - oy)
        closer = near < np.hypot(self.x - ox, self.y - oy)
        return bool(np.any((near < radius + ROBOT_RADIUS) & closer))

    def drive(self) -> tuple[float, float]:
        """Steer by itself: along the street's lanes, or across the terrain around rocks."""
        cruise = _CRUISE[self.scene]
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
        return from_euler((self.x, self.y, self._height()), 0.0, 0.0, self.yaw)

    @property
    def mount(self) -> Transform:
        """Where the camera's optical frame (REP 103) is on the robot."""
        pitch = float(np.radians(_PITCH[self.scene]))
        return from_euler((0.0, 0.0, CAMERA_HEIGHT[self.scene]), 0.0, pitch, 0.0) @ OPTICAL

    @property
    def obstacles(self) -> NDArray[np.float64]:
        """What the robot does not enter: discs (N, 3) of x, y and radius, m."""
        return self._obstacles.T

    def _height(self) -> float:
        """Height of the ground below the robot, m."""
        ground = self._built.ground
        return 0.0 if ground is None else rover.height_at(ground, self.x, self.y)

    def _place(self) -> None:
        """Put the bodies where they are now."""
        data = self._data
        for mover in self._built.movers:
            x, y, yaw = mover.at(self.time) if mover.speed else (*mover.start, 0.0)
            index = self._mocap[mover.name]
            data.mocap_pos[index] = (x, y, 0)
            data.mocap_quat[index] = (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))
        index = self._mocap['robot']
        data.mocap_pos[index] = (self.x, self.y, self._height() + CAMERA_HEIGHT[self.scene])
        a, b = self.yaw / 2, np.radians(_PITCH[self.scene]) / 2
        # yaw about z, then pitch about y (nose down)
        data.mocap_quat[index] = (
            np.cos(a) * np.cos(b),
            -np.sin(a) * np.sin(b),
            np.cos(a) * np.sin(b),
            np.sin(a) * np.cos(b),
        )
        self._mujoco.mj_forward(self._model, data)

    def look(self, truth: bool = True) -> View:
        """Render the camera's view; without ``truth`` depth and segmentation are empty."""
        self._place()
        renderer = self._renderer
        renderer.update_scene(self._data, 'optical', self._options)
        flags = self._mujoco.mjtRndFlag
        renderer.scene.flags[flags.mjRND_FOG] = 1
        renderer.scene.flags[flags.mjRND_REFLECTION] = 0
        rgb = renderer.render().copy()
        if not truth:
            return View(rgb, np.empty((0, 0), np.float32), np.empty((0, 0), np.uint8))
        renderer.enable_segmentation_rendering()
        renderer.update_scene(self._data, 'optical', self._options)
        ids = renderer.render()[..., 0]
        renderer.disable_segmentation_rendering()
        segmentation = self._labels[np.where(ids < 0, len(self._labels) - 1, ids)]
        renderer.enable_depth_rendering()
        renderer.update_scene(self._data, 'optical', self._options)
        depth = renderer.render().astype(np.float32)
        renderer.disable_depth_rendering()
        depth[segmentation == SKY] = np.inf
        return View(rgb, depth, segmentation)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
