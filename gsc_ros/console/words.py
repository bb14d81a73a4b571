"""
What the page and the console say to each other over the WebSocket.

The page sends JSON objects of at most :data:`MOST_BYTES`; :func:`parse` accepts what is listed
here and nothing else. The console sends JSON texts, and binary messages: the length of a JSON head
(two bytes, big-endian), the head, and an image file.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from gsc_ros.region import Region

MOST_BYTES = 2048
Place = tuple[int, int]  # what a page shows: number of the robot, and of its camera
OVERLAYS = ('trust', 'classes', 'depth', 'hazards', 'objects')


class BadWord(ValueError):
    """A message of the page that is not one."""


@dataclass(frozen=True)
class View:
    """Which overlays the page shows, and whether the original image."""

    overlays: frozenset[str] = frozenset()
    original: bool = False


@dataclass(frozen=True)
class Watch:
    """Which camera of its robot the page shows: its number."""

    camera: int


@dataclass(frozen=True)
class Choose:
    """Which robot the page shows: its number. All else that it says is for that one."""

    robot: int


@dataclass(frozen=True)
class Stop:
    """
    The STOP for a robot, by its name; one that no robot has, as an empty one: for all.

    Not by a number, which is another robot's once a console begins with them in another order.
    """

    robot: str = ''


@dataclass(frozen=True)
class DriveInput:
    """What the driver holds: shares -1..1 ahead and to the left, when by the browser (s)."""

    ahead: float
    left: float
    sent_s: float


@dataclass(frozen=True)
class Beat:
    """A sign of life; ``sent_s`` comes back, so that the page knows its own way."""

    sent_s: float


@dataclass(frozen=True)
class Box:
    """The part of the image that is to be sent first."""

    region: Region


@dataclass(frozen=True)
class Confirm:
    """The second step of a release."""

    token: str


@dataclass(frozen=True)
class Record:
    """Begin or end a recording."""

    on: bool


@dataclass(frozen=True)
class Ask:
    """What frames shall be from now on: bytes, or frames a second at most; None: as before."""

    budget: int | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Go:
    """A click on the ground: shares of the image's width and height, and the image's stamp."""

    x: float
    y: float
    stamp: str


@dataclass(frozen=True)
class Plain:
    """A message of :data:`PLAIN`; ``robot``: name of whose goal it ends, empty: the one shown."""

    name: str
    robot: str = ''


PLAIN = ('take', 'leave', 'release', 'key', 'snapshot', 'cancel', 'still')
Word = View | Watch | Choose | Stop | DriveInput | Beat | Box | Confirm | Record | Ask | Go | Plain


def stops(word: Word) -> bool:
    """Whether a word only stops the robot: it is followed before any limit."""
    if isinstance(word, DriveInput):
        return not (word.ahead or word.left)
    return isinstance(word, Stop) or (isinstance(word, Plain) and word.name in ('leave', 'cancel'))


def parse(text: str | bytes, cameras: int = 1, robots: int = 1) -> Word:
    """
    Read a message of the page; raises :class:`BadWord`. ``cameras`` and ``robots``: how many there
    are, cameras of the robot that is shown. A STOP whose robot is no text is for all, an end of
    its goal for the one shown.
    """
    if isinstance(text, bytes) or len(text) > MOST_BYTES:
        raise BadWord('a message is a text of at most 2 kB')
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadWord('a message is JSON') from None
    if not isinstance(found, dict) or not isinstance(found.get('t'), str):
        raise BadWord('a message is an object with its name in "t"')
    name = found.pop('t')
    if name == 'stop' and found.keys() <= {'robot'}:
        return Stop(_name(found.get('robot')))
    if name == 'cancel' and found.keys() <= {'robot'}:
        return Plain(name, _name(found.get('robot')))
    if name == 'camera' and found.keys() == {'camera'}:
        return Watch(_count('a camera', found['camera'], cameras))
    if name == 'robot' and found.keys() == {'robot'}:
        return Choose(_count('a robot', found['robot'], robots))
    return _word(name, found)


def _word(name: str, body: dict[str, Any]) -> Word:
    if name in PLAIN and not body:
        return Plain(name)
    if name == 'drive' and body.keys() == {'a', 'l', 's'}:
        return DriveInput(_share(body['a']), _share(body['l']), _number(body['s']))
    if name == 'beat' and body.keys() == {'s'}:
        return Beat(_number(body['s']))
    if name == 'view' and body.keys() == {'overlays', 'original'}:
        wanted = body['overlays']
        if isinstance(wanted, list) and all(one in OVERLAYS for one in wanted):
            return View(frozenset(wanted), body['original'] is True)
    if name == 'box' and body.keys() == {'box'}:
        return Box(_region(body['box']))
    if name == 'budget' and body.keys() == {'bytes'}:
        return Ask(budget=round(_within(body['bytes'], 40, 2000)))
    if name == 'rate' and body.keys() == {'hz'}:
        return Ask(rate=_within(body['hz'], 0.01, 60))
    if name == 'go' and body.keys() == {'x', 'y', 'stamp'} and isinstance(body['stamp'], str):
        return Go(abs(_share(body['x'])), abs(_share(body['y'])), body['stamp'])
    if name == 'confirm' and body.keys() == {'token'} and isinstance(body['token'], str):
        return Confirm(body['token'])
    if name == 'record' and body.keys() == {'on'} and isinstance(body['on'], bool):
        return Record(body['on'])
    raise BadWord(f'unknown message {name[:20]!r}')


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ''


def _count(what: str, value: Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise BadWord(f'{what} has a number from 0 to {count - 1}')
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadWord('a number is missing')
    try:
        number = float(value)
    except OverflowError:
        raise BadWord('a number is too large') from None
    if not math.isfinite(number):
        raise BadWord('a number is not finite')
    return number


def _within(value: Any, low: float, high: float) -> float:
    number = _number(value)
    if not low <= number <= high:
        raise BadWord(f'give {low:g} to {high:g}')
    return number


def _share(value: Any) -> float:
    share = _number(value)
    if not -1 <= share <= 1:
        raise BadWord('a share is within -1..1')
    return share


def _region(value: Any) -> Region:
    if not isinstance(value, list) or len(value) != 4:
        raise BadWord('a box has four edges')
    try:
        return Region(*(_number(edge) for edge in value))
    except ValueError as error:
        raise BadWord(str(error)) from None


def dump(name: str, **body: Any) -> str:
    """Write a message to the page; numbers that are not finite become null or text."""
    return json.dumps({'t': name, **{key: _plain(value) for key, value in body.items()}})


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return round(value, 4)
        return None if math.isnan(value) else str(value)  # 'inf', '-inf'
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def pack(head: dict[str, Any], data: bytes) -> bytes:
    """Put an image file behind its head."""
    text = json.dumps(_plain(head)).encode()
    return len(text).to_bytes(2, 'big') + text + data
