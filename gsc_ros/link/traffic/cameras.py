"""The cameras of one link: their names, and how much of the air each may have."""

import re
from dataclasses import dataclass

MAX_CAMERAS = 8
MAX_NAME = 31
_NAME = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')
_WEIGHTS = 0.01, 100.0


@dataclass(frozen=True)
class CameraStream:
    """
    A camera of a link. Its number on air is its place in the list.

    name: the namespace of its topics; empty where it is the only one. weight: its part of the air.
    """

    name: str = ''
    weight: float = 1.0

    def topic(self, name: str) -> str:
        """Return the name of one of its topics, relative to the link's namespace."""
        return f'{self.name}/{name}' if self.name else name


def parse_cameras(text: str) -> tuple[CameraStream, ...]:
    """
    Read a list of cameras as ``front:2, rear, arm``: names, and weights where they are not 1.

    An empty text is one camera without a name. Raises ValueError with the remedy for bad names,
    names that come twice, weights outside 0.01 to 100, and more cameras than a link has numbers
    for.
    """
    if not text.strip():
        return (CameraStream(),)
    cameras = tuple(_parse(part.strip()) for part in text.split(','))
    if len(cameras) > MAX_CAMERAS:
        raise ValueError(f'cameras: a link has up to {MAX_CAMERAS}, got {len(cameras)}')
    names = [camera.name for camera in cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'cameras: {", ".join(twice)} comes twice: give each another name')
    return cameras


def _parse(part: str) -> CameraStream:
    name, separator, number = (word.strip() for word in part.partition(':'))
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError(
            f'cameras: {name!r} is no name of a camera: give up to {MAX_NAME} small letters, '
            'digits and single underscores, with a letter first, as front,rear,arm_left'
        )
    try:
        weight = float(number) if separator else 1.0
    except ValueError:
        weight = 0.0
    if not _WEIGHTS[0] <= weight <= _WEIGHTS[1]:
        raise ValueError(
            f'cameras: the weight of {name} is a number from {_WEIGHTS[0]:g} to {_WEIGHTS[1]:g}, '
            f'got {number!r}'
        )
    return CameraStream(name, weight)
