"""Where what the console has comes from: a camera of a robot, as topics and page know it."""

from dataclasses import dataclass

from gsc_ros.console.words import Place
from gsc_ros.link.traffic.cameras import CameraStream


def of_robot(robot: str, topic: str) -> str:
    """Return the name of a robot's topic; ``robot``: its name, empty for the only one."""
    return f'{robot}/{topic}' if robot else topic


@dataclass(frozen=True)
class Spot:
    """
    A camera of a robot: ``place`` has their numbers, ``stream`` the camera's name.

    robot: name, the namespace of its topics; empty where it is the only one.
    """

    place: Place
    robot: str
    stream: CameraStream

    @property
    def name(self) -> str:
        """Both names, as of a file, joined by what no name has; empty for the only camera."""
        return '-'.join(name for name in (self.robot, self.stream.name) if name)

    @property
    def label(self) -> dict[str, int]:
        """What a message to the page says of where it is from."""
        robot, camera = self.place
        return {'camera': camera, 'robot': robot} if self.robot else {'camera': camera}

    def topic(self, name: str) -> str:
        """Return the name of one of the camera's topics, relative to the console's namespace."""
        return of_robot(self.robot, self.stream.topic(name))
