"""A world under construction: MuJoCo geoms with a class each, and what blocks the robot's way."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import LABELS

Vector = Sequence[float] | NDArray[np.floating]


def _text(values: Vector) -> str:
    return ' '.join(f'{v:.4g}' for v in values)


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


@dataclass
class Scene:
    """
    Collects geoms and renders them as MJCF.

    ``obstacles``: discs (x, y, radius) that the robot does not enter. ``ground``: heights of the
    terrain (rows along y, columns along x, metres) over ``extent`` metres a side, or None for
    flat.
    """

    sky: tuple[tuple[float, float, float], tuple[float, float, float]]
    fog: tuple[float, float]
    sun: tuple[float, float, float]
    brightness: float = 0.8
    obstacles: list[tuple[float, float, float]] = field(default_factory=list)
    movers: list[Mover] = field(default_factory=list)
    ground: NDArray[np.float32] | None = None
    extent: float = 0.0
    assets: dict[str, bytes] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)  # by geom, in the order they are added
    _assets_xml: list[str] = field(default_factory=list)
    _bodies: list[str] = field(default_factory=list)
    _moving: dict[str, list[str]] = field(default_factory=dict)
    _moving_labels: dict[str, list[int]] = field(default_factory=dict)

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
        """Add the convex hull of (N, 3) points as a mesh."""
        self._assets_xml.append(f'<mesh name="{name}" vertex="{_text(vertices.ravel())}"/>')

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
    ) -> None:
        """Add a shape of a class; sizes are half lengths as MuJoCo has them, angles in degrees."""
        look = f' material="{material}"' if material else ''
        if colour is not None:
            look += f' rgba="{_text(colour)} 1"'
        form = f'mesh="{mesh}"' if mesh else f'size="{_text(size)}"'
        xml = (
            f'<geom type="{kind}" {form} pos="{_text(position)}" euler="{_text(euler)}"{look}'
            ' contype="0" conaffinity="0"/>'
        )
        if mover is None:
            self._bodies.append(xml)
            self.labels.append(LABELS.index(label))
        else:
            self._moving.setdefault(mover, []).append(xml)
            self._moving_labels.setdefault(mover, []).append(LABELS.index(label))

    def all_labels(self) -> NDArray[np.uint8]:
        """Class of every geom by MuJoCo's geom id: the static ones come first."""
        moving = [label for name in self._moving for label in self._moving_labels[name]]
        return np.array([*self.labels, *moving], np.uint8)

    def xml(self, width: int, height: int, fovy: float, far: float) -> str:
        """Render the MJCF; the camera ``optical`` sits on the mocap body ``robot``."""
        top, horizon = self.sky
        ground = ''
        if self.ground is not None:
            rows, columns = self.ground.shape
            low, high = float(self.ground.min()), float(self.ground.max())
            half = self.extent / 2
            ground = (
                f'<hfield name="ground" nrow="{rows}" ncol="{columns}" '
                f'size="{half} {half} {high - low:.4f} 1"/>'
            )
        moving = ''.join(
            f'<body name="{name}" mocap="true">{"".join(geoms)}</body>'
            for name, geoms in self._moving.items()
        )
        b = self.brightness
        return f"""<mujoco>
  <compiler angle="degree"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality offsamples="0"/>
    <map znear="0.1" zfar="{far}" fogstart="{self.fog[0]}" fogend="{self.fog[1]}"/>
    <rgba fog="{_text(horizon)} 1"/>
    <headlight ambient="{0.45 * b} {0.45 * b} {0.48 * b}" diffuse="0.08 0.08 0.08" specular="0 0
    0"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="{_text(top)}"
    rgb2="{_text(horizon)}"
      width="256" height="256"/>
    {ground}
    {''.join(self._assets_xml)}
  </asset>
  <worldbody>
    <light name="sun" directional="true" castshadow="false"
      pos="0 0 60" dir="{_text(self.sun)}" diffuse="{0.75 * b} {0.72 * b} {0.66 * b}"
      specular="0.1 0.1 0.1"/>
    {''.join(self._bodies)}
    {moving}
    <body name="robot" mocap="true">
      <camera name="optical" fovy="{fovy}" xyaxes="0 -1 0 0 0 1"/>
    </body>
  </worldbody>
</mujoco>"""
