"""
What runs: tables of arguments, nodes and their parameters, one for each launch file.

The launch files and the process runner (``python -m gsc_ros``) both start what stands here, so
that the two cannot differ. Plain data: no ROS is imported.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from gsc_ros.codec.backend import PRESETS
from gsc_ros.link.traffic.cameras import CameraStream, parse_cameras
from gsc_ros.link.traffic.transports import KINDS as TRANSPORTS
from gsc_ros.paths import config_dir
from gsc_ros.robots import check, parse_robots, values_of
from gsc_ros.sim import SCENES
from gsc_ros.sources import SOURCES

PACKAGE = 'gsc_ros'
TOPIC = 'topic'  # a source that is not ours: any camera or bag
FILES = 'images', 'video'  # sources that are of one camera each
CAMERA = '{camera}'  # stands for the name of a camera in paths and topics

Values = Mapping[str, str]
Key = tuple[str, str]  # namespace and name of a node: unique in a graph


@dataclass(frozen=True)
class Argument:
    """
    A launch argument: its ``choices``, empty for any, and the ``kind`` of what it sets.

    One that sets parameters of nodes and has no ``default`` leaves them to the params file.
    ``formerly``: its old name, which works with a warning.
    """

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    kind: type[str] | type[int] | type[float] | type[bool] = str
    formerly: str = ''


def _switch(name: str, default: str, description: str) -> Argument:
    return Argument(name, default, description, ('true', 'false'), bool)


@dataclass(frozen=True)
class Node:
    """
    A process of the graph.

    ``parameters``: its parameters by the argument that sets each; ``when``: whether it runs, from
    the values of the arguments. ``always``: it is started again when it ends, whatever the
    argument ``respawn``. ``name``: of the node, empty for that of its executable;
    ``namespace``: below that of the argument ``namespace``. ``each_camera``: the process has a
    node in the namespace of each camera, where there are several. ``shared``: there is one for all
    robots; others are of the ``robot``, empty where it is the only one.
    """

    executable: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Values], bool] = lambda values: True
    always: bool = False
    name: str = ''
    namespace: str = ''
    each_camera: bool = False
    shared: bool = False
    robot: str = ''

    def key(self, values: Values) -> Key:
        """Return its namespace, without a leading slash, and its name."""
        parts = values['namespace'], self.robot, self.namespace
        return '/'.join(part for part in parts if part), self.name or self.executable


SOURCE = (
    Argument('source', '', 'Source of the images: simulator, folder of images, video, or a topic',
             (*SOURCES, TOPIC)),
    Argument('path', '', 'Folder or file of the sources images and video'),
    Argument('image_topic', 'camera/image', "Topic of the camera's images, for source topic"),
    Argument('camera_info_topic', 'camera/camera_info', 'Topic of its camera_info, for source '
             'topic'),
    Argument('depth_topic', 'camera/depth/image', "Topic of a depth sensor's images, for "
             'use_depth'),
    Argument('scene', '', 'World of the simulator', SCENES),
    Argument('image_transport', '', 'Transport of the images', ('raw', 'compressed')),
    Argument('image_qos', '', 'Quality of service of the images; reliable where the camera offers '
             'it and images are lost', ('best_effort', 'reliable')),
    _switch('rectify', '', 'Remove lens distortion from the images'),
    _switch('use_depth', '', 'Take the scale of the depth from depth_topic'),
    Argument('max_rate', '', 'Frames a second at most', kind=float),
    Argument('keyframe_interval', '', 'Frames from one key frame to the next at most; 1: key '
             'frames only, 0: as few as the scenes need', kind=int, formerly='key_every'),
)  # fmt: skip
CAMERAS = (
    Argument('cameras', '', 'Cameras that share the link, the same at both ends: names and, where '
             'not 1, weights, as front:2,rear,arm; empty: one without a name'),
)  # fmt: skip
ROBOTS = (
    Argument('robots', '', 'Robots of this ground, as rover1,rover2: each has nodes in the '
             'namespace of its name, the console is one for all, and {robot} stands for the name '
             'in arguments; empty: one without a name'),
)  # fmt: skip
LINK = (Argument('link', '', 'Link profile, see `gsc link-budget --list`'),)
PRESET = (
    Argument('preset', '', 'Kind of frame', tuple(PRESETS)),
    Argument('captioner', '', 'Folder or owner/name@revision of the hub of a model that captions '
             'images (preset foundation)'),
)  # fmt: skip
DEVICE = 'device'
NETWORKS = (
    Argument('threads', '', 'CPU threads of the networks, of encoder and decoder each', kind=int),
    Argument(DEVICE, '', 'Device of the networks: auto (a GPU if there is one), cpu, cuda or, of '
             'several GPUs, cuda:1'),
    Argument('foundation', '', 'Folder of preset foundation, the same at both ends'),
)  # fmt: skip
RENDERER = (
    Argument('renderer', '', 'What draws the image: deterministic, flow, or the folder or hub id '
             'of a diffusers pipeline'),
    Argument('steps', '', 'Steps of the renderer; 0: the deterministic image', kind=int),
)  # fmt: skip
BUDGET = (Argument('budget_bytes', '', 'Bytes of a frame on air, 40 to 2000', kind=int),)
COMMANDS = (
    Argument('command_timeout_s', '', 'Time without a command after which the robot stops, s',
             kind=float),
)  # fmt: skip
STAMPED = (_switch('stamped', '', 'Velocity commands are TwistStamped'),)
TRANSPORT = (
    Argument('transport', '', 'Transport of datagrams to the other end', TRANSPORTS),
    Argument('local', '', 'Address to listen on, host:port or :port (udp)'),
    Argument('remote', '', 'Address of the other end; empty: where it last called from (udp)'),
    Argument('serial_device', '', 'Serial device, e.g. /dev/ttyUSB0 (serial)'),
    Argument('baud', '', 'Its baud rate (serial)', kind=int),
    Argument('key_file', '', 'Key of the link, the same at both ends, as `gsc key` makes it'),
)
RUN = (
    Argument('namespace', '', 'Namespace of all nodes'),
    Argument('params_file', '', 'Parameters of all nodes; empty for config/teleop_link.yaml'),
    Argument('log_level', 'info', 'Lowest severity that is logged',
             ('debug', 'info', 'warn', 'error', 'fatal')),
    _switch('use_sim_time', '', 'Take the time from /clock'),
    _switch('respawn', 'true', 'Restart a node that ends; false: end all others with it'),
)  # fmt: skip
CLOCK = (
    Argument(
        'clock_speed',
        '0',
        'Simulated time, so many times as fast as real time; 0: real time',
        kind=int,
    ),
)
CONSOLE = (
    _switch('console', 'false', "Serve the operator's web page (extra console)"),
    Argument('console_host', '', "Address of the operator's page; another than loopback needs "
             'password_file'),
    Argument('console_port', '', "Port of the operator's page", kind=int),
    Argument('password_file', '', "File with the password of the operator's page"),
)  # fmt: skip
RVIZ = (_switch('rviz', 'false', 'Start RViz with config/teleop.rviz'),)

CAMERA_NODE = Node(
    'camera',
    {'source': 'source', 'path': 'path', 'scene': 'scene', 'cameras': 'cameras'},
    lambda values: values['source'] != TOPIC,
)
ENCODER_NODE = Node(
    'encoder',
    {
        name: name
        for name in (
            'preset',
            'captioner',
            'foundation',
            'budget_bytes',
            'image_transport',
            'image_qos',
            'rectify',
            'use_depth',
            'max_rate',
            'keyframe_interval',
            'threads',
            DEVICE,
        )
    },
    each_camera=True,
)
# Without it nothing moves, and it stops the robot at its start.
GUARD_NODE = Node('guard', {'stamped': 'stamped'}, always=True)
DECODER_NODE = Node(
    'decoder',
    {name: name for name in ('renderer', 'steps', 'foundation', 'threads', DEVICE)},
    each_camera=True,
)
CONSOLE_NODE = Node(
    'console',
    {
        'host': 'console_host',
        'port': 'console_port',
        'password_file': 'password_file',
        'stamped': 'stamped',
        'cameras': 'cameras',
        'robots': 'robots',
    },
    lambda values: values['console'] == 'true',
    shared=True,
)
CLOCK_NODE = Node(
    'clock',
    {'speed': 'clock_speed'},
    lambda values: values['clock_speed'] != '0',
    shared=True,
)
_ROBOT = {'command_timeout_s': 'command_timeout_s', 'stamped': 'stamped'}
_END = {'profile': 'link', 'cameras': 'cameras'} | {
    argument.name.removeprefix('serial_'): argument.name for argument in TRANSPORT
}

REMAPPINGS = (
    ('camera/image', 'image_topic'),
    ('camera/camera_info', 'camera_info_topic'),
    ('camera/depth/image', 'depth_topic'),
)


def _named(topic: str, base: str, camera: CameraStream) -> str:
    """Return a topic of a camera in full: a relative one is in its namespace."""
    topic = topic.replace(CAMERA, camera.name)
    return topic if topic.startswith('/') else f'{base}/{camera.topic(topic)}'


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
        values['cameras'] = values['cameras'].strip()
        if 'robots' in values:
            values['robots'] = values['robots'].strip()
        values['params_file'] = values['params_file'] or str(config_dir() / 'teleop_link.yaml')
        if not Path(values['params_file']).is_file():
            raise ValueError(f'params_file:={values["params_file"]}: there is no such file')
        # One of your own may name the path.
        own = given.get('params_file')
        if values.get('source') in ('images', 'video') and not values['path'] and not own:
            raise ValueError(f'source:={values["source"]} needs path:=<folder or file>')
        self._check_cameras(values)
        check(values, bool(own))
        return values

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
            named = node is CAMERA_NODE and values['source'] in FILES and values['cameras']
            # The simulator has all cameras; of files each is a process of its own.
            cameras = parse_cameras(values['cameras']) if named else ()
            own = {name: by for name, by in node.parameters.items() if name != 'cameras'}
            of_robot = [replace(node, namespace=one.name, parameters=own) for one in cameras]
            robots = ('',) if node.shared else parse_robots(values.get('robots', ''))
            running += [
                replace(one, robot=robot) if robot else one
                for robot in robots
                for one in of_robot or [node]
            ]
        return running

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
        if CAMERA in str(parameters.get('path', '')):
            parameters['path'] = values['path'].replace(CAMERA, node.namespace)
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
        given = [(name, values[a]) for name, a in REMAPPINGS if self._argument(a)]
        pairs = [(name, target) for name, target in given if name != target]
        if not values['cameras'] and not values.get('robots'):
            return pairs
        base = f'/{values["namespace"]}' if values['namespace'] else ''
        return [
            # In full, as the nodes of a process are in different namespaces.
            (f'{base}/{one.topic(name)}', _named(target, base, one))
            for one in parse_cameras(values['cameras'])
            for name, target in pairs
        ]

    def options(self, node: Node, values: Values) -> list[str]:
        """Return the words of a node's command line that are not of ROS."""
        several = node.each_camera and values['cameras']
        return ['--cameras', values['cameras']] if several else []

    def _check_cameras(self, values: Values) -> None:
        """Raise ``ValueError`` for cameras that cannot be, or would all be the same one."""
        cameras = parse_cameras(values['cameras'])
        if 'source' not in values:
            return
        if not values['cameras']:
            for argument in ('path', *(argument for _, argument in REMAPPINGS)):
                if CAMERA in values[argument]:
                    raise ValueError(
                        f'{argument}:={values[argument]}: {CAMERA} stands for the name of each of '
                        'several cameras: give their names, as cameras:=front,rear'
                    )
            return
        names = ','.join(camera.name for camera in cameras)
        if values['source'] in FILES and CAMERA not in values['path']:
            raise ValueError(
                f'path:={values["path"]}: with cameras:={names} give one with {CAMERA} in it, '
                'which stands for the name of each'
            )
        for _, argument in REMAPPINGS:
            topic = values[argument]
            if topic.startswith('/') and CAMERA not in topic and len(cameras) > 1:
                raise ValueError(
                    f'{argument}:={topic} is the same topic for all of {names}: give one with '
                    f'{CAMERA} in it, which stands for the name of each'
                )

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
            Node('link', {'profile': 'link', 'cameras': 'cameras', **_ROBOT}),
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
        (CAMERA_NODE, ENCODER_NODE, Node('link_robot', {**_END, **_ROBOT}), GUARD_NODE),
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
        (Node('link_ground', {**_END, 'stamped': 'stamped'}), DECODER_NODE, CONSOLE_NODE),
    ),
}
