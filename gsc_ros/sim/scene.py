"""A world under construction: MuJoCo geoms with a class each, and what blocks the robot's way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import GROUND, LABELS, UNLABELLED
from gsc_ros.sim.terrain import Terrain

SHADOW_M = 20.0  # round the robot, in which things cast shadows
_SHADOW_PIXELS = 1024  # a side of the map of what the sun sees
UNNAMED = ''  # the label of what no class applies to

Vector = Sequence[float] | NDArray[np.floating]
Colour = tuple[float, float, float]


def _text(values: Vector) -> str:
    return ' '.join(f'{v:.4g}' for v in values)


@dataclass(frozen=True)
class Light:
    """
    The light of a world.

    ``sun``: the way that its light goes, z up; ``strength``: of the sun, and ``ambient`` of the
    rest, 0..1; ``shadows``: whether the sun casts any.
    """

    sun: tuple[float, float, float]
    strength: float = 0.6
    ambient: float = 0.36
    shadows: bool = False


def daylight(seed: int, sun: tuple[float, float, float], brightness: float) -> Light:
    """Draw the light of a day by a seed: the sun with shadows, or an overcast sky."""
    rng = np.random.default_rng((seed, 1))
    if rng.random() < 0.4:
        strength, ambient, shadows = rng.uniform(0.35, 0.75), rng.uniform(0.45, 0.6), False
    else:
        strength, ambient, shadows = rng.uniform(0.7, 1.0), rng.uniform(0.22, 0.45), True
    return Light(sun, brightness * float(strength), brightness * float(ambient), shadows)


@dataclass
class Mover:
    """Something that goes from ``start`` to ``end`` (x, y) and back, at ``speed`` m/s."""

    name: str
    start: tuple[float, float]
    end: tuple[float, float]
    speed: float
    phase: float

    def at(self, time: float) -> tuple[float, float, float]:
        """Position and heading (x, y, yaw) at a time in seconds."""
        span = np.subtract(self.end, self.start)
        length = float(np.hypot(*span))
        along = (time * self.speed + self.phase) % (2 * length)
        yaw = float(np.arctan2(span[1], span[0]))
        back = along > length
        share = (2 * length - along if back else along) / length
        x, y = np.asarray(self.start) + share * span
        return float(x), float(y), yaw + (np.pi if back else 0.0)


@dataclass(frozen=True)
class Shape:
    """A geom: its MJCF, its class id, whether it is ground, and the number of its thing."""

    xml: str
    label: int
    ground: bool
    thing: int


@dataclass
class Scene:
    """
    Collects geoms and renders them as MJCF.

    ``sky``: colours at the top and the horizon; ``fog``: from, to, m; ``half``: how far the robot
    may go from the origin along x and y, m; ``obstacles``: discs (x, y, radius) that it does not
    enter; ``route``: way points (N, 2) of a round trip, None to roam; ``heading``: of the robot at
    the start, rad, None for any. The ground is ``terrain``, or else as high as ``levels`` says of
    places x and y, m; 0 without it.
    """

    sky: tuple[Colour, Colour]
    fog: tuple[float, float]
    light: Light
    half: tuple[float, float]
    obstacles: list[tuple[float, float, float]] = field(default_factory=list)
    movers: list[Mover] = field(default_factory=list)
    route: NDArray[np.float64] | None = None
    heading: float | None = None
    terrain: Terrain | None = None
    levels: Callable[[NDArray[np.floating]], NDArray[np.float64]] | None = None
    assets: dict[str, bytes] = field(default_factory=dict)
    _assets_xml: list[str] = field(default_factory=list)
    _meshes: dict[str, str] = field(default_factory=dict)  # vertices by name
    _still: list[Shape] = field(default_factory=list)
    _moving: dict[str, list[Shape]] = field(default_factory=dict)
    _things: int = 0

    def material(
        self, name: str, image: bytes, cube: bool = False, repeat: tuple[float, float] = (1, 1)
    ) -> None:
        """Add a textured material; ``cube`` wraps it around boxes, else it lies flat."""
        self.assets[f'{name}.png'] = image
        kind = 'cube' if cube else '2d'
        self._assets_xml.append(
            f'<texture name="{name}" type="{kind}" file="{name}.png"/>'
            f'<material name="{name}" texture="{name}" texrepeat="{_text(repeat)}" specular="0.1"'
            ' shininess="0.1"/>'
        )

    def mesh(self, name: str, vertices: NDArray[np.float32]) -> None:
        """Name the convex hull of (N, 3) points, for :meth:`scaled`."""
        self._meshes[name] = _text(vertices.ravel())

    def scaled(self, name: str, shape: str, scale: Vector) -> None:
        """Add a mesh of a shape, scaled along x, y, z, unless there is one of this name."""
        if f'{name}.' not in self._meshes:
            self._meshes[f'{name}.'] = shape
            self._assets_xml.append(
                f'<mesh name="{name}" vertex="{self._meshes[shape]}" scale="{_text(scale)}"/>'
            )

    def geom(
        self,
        label: str,
        kind: str,
        size: Vector,
        position: Vector,
        material: str | None = None,
        colour: Vector | None = None,
        euler: Vector = (0, 0, 0),
        mesh: str | None = None,
        mover: str | None = None,
        ground: bool | None = None,
        part: bool = False,
    ) -> None:
        """
        Add a shape of a class; sizes are half lengths as MuJoCo has them, angles in degrees.

        ``label``: ``UNNAMED`` where no class applies; ``ground``: whether it is what others stand
        on, None to tell by the class; ``part``: of the same thing as the shape before. All shapes
        of a ``mover`` are one thing.
        """
        look = f' material="{material}"' if material else ''
        if colour is not None:
            look += f' rgba="{_text(colour)} 1"'
        form = f'{kind}="{mesh}"' if mesh else f'size="{_text(size)}"'
        xml = (
            f'<geom type="{kind}" {form} pos="{_text(position)}" euler="{_text(euler)}"{look}'
            ' contype="0" conaffinity="0"/>'
        )
        index = LABELS.index(label) if label else UNLABELLED
        on = index in GROUND if ground is None else ground
        others = self._still if mover is None else self._moving.setdefault(mover, [])
        if not (others and (part or mover is not None)):
            self._things += 1
        thing = others[-1].thing if others and mover is not None else self._things
        others.append(Shape(xml, index, on, thing))

    def floor(self, label: str, material: str) -> None:
        """Lay the terrain's surface."""
        self.geom(label, 'hfield', (), (0, 0, 0), material, mesh='terrain')

    @property
    def shapes(self) -> list[Shape]:
        """All shapes, by MuJoCo's geom id: those that stand still come first."""
        return [*self._still, *(shape for name in self._moving for shape in self._moving[name])]

    def ground_at(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the height of the ground at places, m."""
        if self.terrain is not None:
            return self.terrain.at(x, y)
        return np.zeros(np.shape(x)) if self.levels is None else self.levels(y)

    def height(self, x: float, y: float) -> float:
        """Return the height of the ground at a place, m."""
        return float(self.ground_at(np.array(x), np.array(y)))

    def xml(self, width: int, height: int, fovy: float, far: float) -> str:
        """Render the MJCF; the camera ``optical`` sits on the mocap body ``robot``."""
        top, horizon = self.sky
        terrain = ''
        if self.terrain is not None:
            heights, half = self.terrain.heights, self.terrain.extent / 2
            rows, columns = heights.shape
            terrain = (
                f'<hfield name="terrain" nrow="{rows}" ncol="{columns}" '
                f'size="{half} {half} {np.ptp(heights):.6f} 1"/>'
            )
        moving = ''.join(
            f'<body name="{name}" mocap="true">{"".join(shape.xml for shape in shapes)}</body>'
            for name, shapes in self._moving.items()
        )
        light = self.light
        diffuse = _text(light.strength * np.array((1.0, 0.96, 0.88)))
        return f"""<mujoco>
  <compiler angle="degree"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality offsamples="0" shadowsize="{_SHADOW_PIXELS}"/>
    <map znear="0.1" zfar="{far}" fogstart="{self.fog[0]}" fogend="{self.fog[1]}"
      shadowclip="{SHADOW_M}"/>
    <rgba fog="{_text(horizon)} 1"/>
    <headlight ambient="{_text(light.ambient * np.array((1.0, 1.0, 1.07)))}"
      diffuse="0.08 0.08 0.08" specular="0 0 0"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="{_text(top)}"
      rgb2="{_text(horizon)}" width="256" height="256"/>
    {terrain}
    {''.join(self._assets_xml)}
  </asset>
  <worldbody>
    <light name="sun" directional="true" castshadow="{str(light.shadows).lower()}"
      dir="{_text(light.sun)}" diffuse="{diffuse}" specular="0.1 0.1 0.1"/>
    {''.join(shape.xml for shape in self._still)}
    {moving}
    <body name="robot" mocap="true">
      <camera name="optical" fovy="{fovy}" xyaxes="0 -1 0 0 0 1"/>
    </body>
  </worldbody>
</mujoco>"""
