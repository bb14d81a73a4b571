"""A graph for each launch file, put together from the tables of arguments and nodes."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from gsc_ros.graph import cameras, params_file
from gsc_ros.graph.arguments import (
    BUDGET,
    CAMERAS,
    CLOCK,
    COMMANDS,
    CONSOLE,
    DEVICE,
    LINK,
    NETWORKS,
    PRESET,
    RENDERER,
    ROBOTS,
    RUN,
    RVIZ,
    SOURCE,
    STAMPED,
    TRANSPORT,
    Argument,
)
from gsc_ros.graph.nodes import (
    CAMERA_NODE,
    CLOCK_NODE,
    CONSOLE_NODE,
    DECODER_NODE,
    ENCODER_NODE,
    END,
    GUARD_NODE,
    ROBOT_END,
    Node,
    Values,
)
from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.paths import config_dir
from gsc_ros.robots import cameras_of, check_differ, check_robots, parse_robots, values_of


@dataclass(frozen=True)
class Graph:
    """What one launch file starts; ``title`` describes it in a line."""

    title: str
    arguments: tuple[Argument, ...]
    nodes: tuple[Node, ...]

    def defaults(self) -> dict[str, str]:
        """Return every argument's default."""
        return {argument.name: argument.default for argument in self.arguments}

    def resolve(self, given: Values) -> dict[str, str]:
        """
        Complete and check the arguments' values.

        Raises ``ValueError`` that lists what there is, for an unknown argument or a value that
        cannot be used.
        """
        for name, value in given.items():
            argument = self._argument(name)
            if argument is None:
                near = self.nearest(name)
                hint = f'did you mean {near}? ' if near else ''
                names = ', '.join(self.defaults())
                raise ValueError(f'unknown argument {name!r}: {hint}There are: {names}')
            if argument.choices and value not in (*argument.choices, argument.default):
                raise ValueError(f'{name}:={value}: give one of {", ".join(argument.choices)}')
            if value != argument.default:
                self.typed(name, value)
        values = self.defaults() | dict(given)
        if values.get('clock_speed', '0') != '0':
            values['use_sim_time'] = 'true'
        values['namespace'] = values['namespace'].strip('/')
        values['params_file'] = values['params_file'] or str(config_dir() / 'teleop_link.yaml')
        if not Path(values['params_file']).is_file():
            raise ValueError(f'params_file:={values["params_file"]}: there is no such file')
        if 'robots' in values:
            values['robots'] = values['robots'].strip() or self._stated_robots(values)
        # One of your own may name the path.
        own = given.get('params_file')
        if values.get('source') in ('images', 'video') and not values['path'] and not own:
            raise ValueError(f'source:={values["source"]} needs path:=<folder or file>')
        values['cameras'] = values['cameras'].strip() or self._stated_cameras(values)
        for robot in parse_robots(values.get('robots', '')):
            cameras.check(values_of(values, robot))
        check_robots(values, bool(own))
        self._check_devices(values)
        return values

    def _stated_robots(self, values: Values) -> str:
        """Return the robots that the params file states for the console; else empty."""
        console = CONSOLE_NODE.full_name(values)
        file = Path(values['params_file'])
        return params_file.stated(file, [console], 'robots').get(console, '')

    def _check_devices(self, values: Values) -> None:
        """Raise ``ValueError`` where robots share a serial device, also one of the params file."""
        robots = parse_robots(values.get('robots', ''))
        for link in (node for node in self.nodes if 'transport' in node.parameters):
            nodes = [replace(link, robot=robot) for robot in robots]
            kinds = self._used(nodes, 'transport', values)
            devices = self._used(nodes, 'device', values)
            serial = [one for kind, one in zip(kinds, devices, strict=True) if kind == 'serial']
            check_differ('serial_device', serial, robots)

    def _used(self, nodes: Sequence[Node], parameter: str, values: Values) -> list[str]:
        """Return a parameter of nodes: of an argument, or else the params file; '' for none."""
        names = [node.full_name(values) for node in nodes]
        stated = params_file.stated(Path(values['params_file']), names, parameter)
        return [
            values_of(values, node.robot)[node.parameters[parameter]] or stated.get(name, '')
            for node, name in zip(nodes, names, strict=True)
        ]

    def _stated_cameras(self, values: Values) -> str:
        """Return the cameras that the params file states for the nodes of a link; else empty."""
        nodes = [node for node in self.nodes if 'cameras' in node.parameters]
        nodes.sort(key=lambda node: 'link' not in node.executable)  # its weights are those used
        robots = parse_robots(values.get('robots', ''))
        lists = [
            cameras.stated_in(
                Path(values['params_file']),
                [replace(n, robot='' if n.shared else robot).full_name(values) for n in nodes],
                lambda text, number=number: cameras_of(text, robots)[number],  # type: ignore[misc]
            )
            for number, robot in enumerate(robots)
        ]
        return lists[0] if len(set(lists)) == 1 else ';'.join(lists)

    def current(self, given: Values) -> tuple[dict[str, str], list[str]]:
        """Return the arguments under their names of today, and a warning for each old one."""
        today = {a.formerly: a.name for a in self.arguments if a.formerly}
        out, warnings = {}, []
        for name, value in given.items():
            new = today.get(name, name)
            if name == DEVICE and self._argument('serial_device') and value.startswith('/'):
                new = 'serial_device'  # before there were devices of the networks
            elif name == 'preset' and not self._argument('preset'):
                warnings.append('argument preset is not used any more: frames carry their preset')
                continue
            if new != name:
                warnings.append(f'argument {name} is now called {new}: use the new name')
                if new in given:
                    continue
            out[new] = value
        return out, warnings

    def old_names(self) -> set[str]:
        """Return the names of arguments that :meth:`current` replaces."""
        names = {a.formerly for a in self.arguments if a.formerly}
        return names if self._argument('preset') else names | {'preset'}

    def nearest(self, name: str) -> str | None:
        """Return the argument whose name is most like another name, or None for none like it."""
        return next(iter(difflib.get_close_matches(name, self.defaults(), 1, 0.75)), None)

    def running(self, values: Values) -> list[Node]:
        """Return the nodes that run under these values."""
        running = []
        for node in self.nodes:
            if not node.when(values):
                continue
            for robot in ('',) if node.shared else parse_robots(values.get('robots', '')):
                of_robot = replace(node, robot=robot) if robot else node
                running += self._of_cameras(of_robot, values_of(values, robot))
        return running

    def _of_cameras(self, node: Node, values: Values) -> list[Node]:
        """Return a node of a robot, or one for each of its cameras where each has a process."""
        # The simulator has all cameras; of files each is a process of its own.
        files = node.executable == CAMERA_NODE.executable and values['source'] in cameras.FILES
        if not (files and values['cameras']):
            return [node]
        own = {name: by for name, by in node.parameters.items() if name != 'cameras'}
        each = parse_cameras(values['cameras'])
        return [replace(node, namespace=one.name, parameters=own) for one in each]

    def typed(self, name: str, value: str) -> str | int | float | bool:
        """
        Convert an argument's text to the type that it sets: text stays text, also where it could
        be a number.

        Raises ``ValueError`` for text of another kind.
        """
        argument = self._argument(name)
        kind = argument.kind if argument else str
        if kind is bool:
            return value == 'true'
        try:
            return kind(value)
        except ValueError:
            raise ValueError(
                f'{name}:={value}: give a {"whole " if kind is int else ""}number'
            ) from None

    def node_parameters(self, node: Node, values: Values) -> dict[str, str | int | float | bool]:
        """
        Return the parameters that the arguments set on a node.

        What was not given is left to the params file.
        """
        values = values_of(values, node.robot)
        parameters = {
            name: self.typed(argument, values[argument])
            for name, argument in node.parameters.items()
            if values[argument]
        }
        if cameras.CAMERA in str(parameters.get('path', '')):
            parameters['path'] = values['path'].replace(cameras.CAMERA, node.namespace)
        if node is CLOCK_NODE:
            parameters['use_sim_time'] = False
        elif values['use_sim_time']:
            parameters['use_sim_time'] = values['use_sim_time'] == 'true'
        return parameters

    def respawned(self, node: Node, values: Values) -> bool:
        """Return whether a node is started again when it ends."""
        return node.always or values['respawn'] == 'true'

    def describe(self, argument: Argument) -> str:
        """Describe an argument: what it does, its choices, and what holds without it."""
        choices = f' ({", ".join(argument.choices)})' if argument.choices else ''
        shipped = '' if argument.default else self._shipped(argument.name)
        default = f'. Default: as in params_file; shipped with {shipped}' if shipped else ''
        return f'{argument.description}{choices}{default}'

    def _shipped(self, argument: str) -> str:
        """Return the value in the shipped params file that an argument sets; empty for none."""
        file = yaml.safe_load((config_dir() / 'teleop_link.yaml').read_text())
        for node in self.nodes:
            for name, by in node.parameters.items():
                if by == argument:
                    value = file[f'/**/{node.executable}']['ros__parameters'][name]
                    return str(value).lower() if isinstance(value, bool) else str(value)
        return ''

    def remappings(self, values: Values, robot: str = '') -> list[tuple[str, str]]:
        """
        Return the topics that get another name, and that name; of several cameras, of each.

        robot: the one of several that they are of; empty: of all.
        """
        robots = (robot,) if robot else parse_robots(values.get('robots', ''))
        return [pair for one in robots for pair in self._remappings_of(values_of(values, one))]

    def _remappings_of(self, values: Values) -> list[tuple[str, str]]:
        given = [(name, values[a]) for name, a in cameras.REMAPPINGS if self._argument(a)]
        pairs = [(name, target) for name, target in given if name != target]
        if not values['cameras'] and not values.get('robots'):
            return pairs
        return cameras.remapped(pairs, values['namespace'], values['cameras'])

    def options(self, node: Node, values: Values) -> list[str]:
        """Return the words of a node's command line that are not of ROS."""
        own = values_of(values, node.robot)['cameras'] if node.each_camera else ''
        return ['--cameras', own] if own else []

    def _argument(self, name: str) -> Argument | None:
        return next((a for a in self.arguments if a.name == name), None)


GRAPHS = {
    'teleop_link': Graph(
        'robot, simulated link and ground on one machine',
        (
            *SOURCE,
            *CAMERAS,
            *ROBOTS,
            *LINK,
            *PRESET,
            *NETWORKS,
            *RENDERER,
            *BUDGET,
            *COMMANDS,
            *STAMPED,
            *CONSOLE,
            *RUN,
            *CLOCK,
            *RVIZ,
        ),
        (
            CAMERA_NODE,
            ENCODER_NODE,
            Node('link', {'profile': 'link', 'cameras': 'cameras', **ROBOT_END}),
            GUARD_NODE,
            DECODER_NODE,
            CONSOLE_NODE,
            CLOCK_NODE,
        ),
    ),
    'robot': Graph(
        "the robot's end of a real link",
        (
            *SOURCE,
            *CAMERAS,
            *LINK,
            *TRANSPORT,
            *PRESET,
            *NETWORKS,
            *BUDGET,
            *COMMANDS,
            *STAMPED,
            *RUN,
        ),
        (CAMERA_NODE, ENCODER_NODE, Node('link_robot', {**END, **ROBOT_END}), GUARD_NODE),
    ),
    'ground': Graph(
        "the operator's end of a real link",
        (
            *CAMERAS,
            *ROBOTS,
            *LINK,
            *TRANSPORT,
            *NETWORKS,
            *RENDERER,
            *STAMPED,
            *CONSOLE,
            *RUN,
            *RVIZ,
        ),
        (Node('link_ground', {**END, 'stamped': 'stamped'}), DECODER_NODE, CONSOLE_NODE),
    ),
}
