"""The robots of one ground station: their names, and what of the arguments is of each."""

import re
from collections.abc import Mapping, Sequence

MAX_ROBOTS, MAX_NAME = 16, 31
ROBOT = '{robot}'  # stands for the name of a robot in paths, topics and devices
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*')
# Arguments that may list a value for each robot, with commas, and those of which each has its own.
_LISTED = 'link', 'transport', 'local', 'remote', 'serial_device', 'baud', 'key_file'
_OWN = 'local', 'remote', 'serial_device', 'key_file'
_TOPICS = 'image_topic', 'camera_info_topic', 'depth_topic'


def parse_robots(text: str) -> tuple[str, ...]:
    """
    Read a list of robots as ``rover1, rover2``: names, which are the namespaces of their topics.

    An empty text is one robot without a name. Raises ValueError with the remedy for bad names,
    names that come twice, and more than 16.
    """
    if not text.strip():
        return ('',)
    names = tuple(part.strip() for part in text.split(','))
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise ValueError(
                f'robots: {name!r} is no name of a robot: give up to {MAX_NAME} letters, digits '
                'and single underscores, with a letter first, as rover1,rover2'
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'robots: {", ".join(twice)} comes twice: give each another name')
    if len(names) > MAX_ROBOTS:
        raise ValueError(f'robots: a ground has up to {MAX_ROBOTS}, got {len(names)}')
    return names


def cameras_of(text: str, robots: Sequence[str]) -> tuple[str, ...]:
    """
    Return the list of cameras of each robot: ``front,rear; arm`` has one for each, in their order.

    A text without a semicolon is that of all. Raises ValueError where it has not one for each.
    """
    lists = tuple(part.strip() for part in text.split(';'))
    if len(lists) not in (1, len(robots)):
        raise ValueError(
            f'cameras:={text}: give one list, or one for each of {", ".join(robots) or "1 robot"} '
            'with semicolons'
        )
    return lists if len(lists) == len(robots) else len(robots) * lists


def values_of(values: Mapping[str, str], robot: str) -> dict[str, str]:
    """Return the arguments' values for one of the robots; '': the only one, as they are."""
    if not robot:
        return dict(values)
    robots = parse_robots(values['robots'])
    own = {name: value.replace(ROBOT, robot) for name, value in values.items()}
    for name in _LISTED:
        parts = own.get(name, '').split(',')
        if len(parts) > 1:
            own[name] = parts[robots.index(robot)].strip()
    own['cameras'] = cameras_of(own.get('cameras', ''), robots)[robots.index(robot)]
    own['namespace'] = '/'.join(part for part in (values['namespace'], robot) if part)
    return own


def check_robots(values: Mapping[str, str], params_file: bool) -> None:
    """
    Raise ``ValueError`` where two robots would have the same link, or the same camera.

    params_file: whether there is one of the user's own, which may state each link's address.
    """
    robots = parse_robots(values.get('robots', ''))
    if len(robots) < 2:
        return
    for name in _LISTED:
        parts = values.get(name, '').split(',')
        if len(parts) not in (1, len(robots)):
            raise ValueError(f'{name}:={values[name]}: give one, or {len(robots)} with commas')
    own = [values_of(values, robot) for robot in robots]
    for name in _OWN:
        check_differ(name, [one.get(name, '') for one in own], robots)
    udp = any(one.get('transport', 'none') in ('', 'udp') and not one['local'] for one in own)
    if 'transport' in values and udp and not params_file:
        raise ValueError(
            f'robots:={values["robots"]}: each has a link of its own: give local:= an address for '
            'each, as :7447,:7448'
        )
    if values.get('source') == 'topic':
        for name in _TOPICS:
            if values[name].startswith('/'):
                check_differ(name, [one[name] for one in own], robots)


def check_differ(name: str, of_each: Sequence[str], robots: Sequence[str]) -> None:
    """Raise ``ValueError`` where several robots have the same value of an argument, but for ''."""
    given = [value for value in of_each if value]
    if len(set(given)) < len(given):
        raise ValueError(
            f'{name}:={given[0]} is the same for several of {", ".join(robots)}: give one with '
            f'{ROBOT} in it, which stands for the name of each, or one for each with commas'
        )
