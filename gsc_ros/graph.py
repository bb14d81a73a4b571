"""
What runs: tables of arguments, nodes and their parameters, one for each launch file.

The launch files and the process runner (``python -m gsc_ros``) both start what stands here, so
that the two cannot differ. Plain data: no ROS is imported.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gsc_ros.codec.bitstream import PRESETS
from gsc_ros.link.transports import KINDS as TRANSPORTS
from gsc_ros.paths import config_dir, prefixes
from gsc_ros.sources import SOURCES

PACKAGE = 'gsc_ros'
_DDS_VARIABLES = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
TOPIC = 'topic'  # a source that is not ours: any camera or bag

Values = Mapping[str, str]


@dataclass(frozen=True)
class Argument:
    """A launch argument: its ``choices``, empty for any, and the ``kind`` of what it sets."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    kind: type[str] | type[int] = str


@dataclass(frozen=True)
class Node:
    """
    A process of the graph.

    ``parameters``: its parameters by the argument that sets each; ``when``: whether it runs, from
    the values of the arguments. ``package`` other than ours are started only by ``ros2 launch``.
    """

    executable: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Values], bool] = lambda values: True
    package: str = PACKAGE


SOURCE = (
    Argument('source', 'sim', 'Camera: simulator, folder of pictures, film, or a topic of yours',
             (*SOURCES, TOPIC)),
    Argument('path', '', 'Folder or film of source images and video'),
    Argument('image_topic', 'camera/image', "The camera's topic, for source topic"),
    Argument('camera_info_topic', 'camera/camera_info', 'Its camera_info'),
    Argument('scene', 'street', "The simulator's world", ('street', 'rover')),
)  # fmt: skip
LINK = (Argument('link', 'moon_dte_s_13m', 'Link profile, see `gsc link-budget --list`'),)
CODEC = (Argument('preset', 'gsc', 'Which streams a frame has', PRESETS),)
BUDGET = (Argument('budget_bytes', '300', 'Bytes of a frame on air, 40 to 2000', kind=int),)
TRANSPORT = (
    Argument('transport', 'udp', 'What brings datagrams to the other end', TRANSPORTS),
    Argument('local', ':7447', 'Address to listen on, host:port or :port (udp)'),
    Argument('remote', '', 'Address of the other end; empty: where it last called from (udp)'),
    Argument('device', '', 'Serial device, e.g. /dev/ttyUSB0 (serial)'),
    Argument('baud', '57600', 'Its baud rate (serial)', kind=int),
    Argument('key_file', '', 'Key of the link, the same at both ends, as `gsc key` makes it'),
)
RUN = (
    Argument('namespace', '', 'Namespace of all nodes'),
    Argument('params_file', '', 'Parameters of all nodes; empty for config/teleop_link.yaml'),
    Argument('log_level', 'info', 'Least severity that is logged',
             ('debug', 'info', 'warn', 'error', 'fatal')),
    Argument('use_sim_time', 'false', 'Take the time from /clock', ('true', 'false')),
)  # fmt: skip
CLOCK = (
    Argument(
        'clock_speed',
        '0',
        'Run on simulated time, so many times as fast as time passes; 0: do not',
        kind=int,
    ),
)
RVIZ = (Argument('rviz', 'false', 'Start RViz with config/teleop.rviz', ('true', 'false')),)

CAMERA_NODE = Node(
    'camera',
    {'source': 'source', 'path': 'path', 'scene': 'scene'},
    lambda values: values['source'] != TOPIC,
)
ENCODER_NODE = Node('encoder', {'preset': 'preset', 'budget_bytes': 'budget_bytes'})
GUARD_NODE = Node('guard')
DECODER_NODE = Node('decoder', {'preset': 'preset'})
CLOCK_NODE = Node('clock', {'speed': 'clock_speed'}, lambda values: values['clock_speed'] != '0')
_END = {'profile': 'link'} | {argument.name: argument.name for argument in TRANSPORT}

REMAPPINGS = (('camera/image', 'image_topic'), ('camera/camera_info', 'camera_info_topic'))


@dataclass(frozen=True)
class Graph:
    """What one launch file starts; ``title`` says it in a line."""

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
                names = ', '.join(self.defaults())
                raise ValueError(f'unknown argument {name!r}; there are: {names}')
            if argument.choices and value not in argument.choices:
                raise ValueError(f'{name}:={value}: give one of {", ".join(argument.choices)}')
            self.typed(name, value)
        values = self.defaults() | dict(given)
        if values.get('clock_speed', '0') != '0':
            values['use_sim_time'] = 'true'
        values['namespace'] = values['namespace'].strip('/')
        values['params_file'] = values['params_file'] or str(config_dir() / 'teleop_link.yaml')
        if not Path(values['params_file']).is_file():
            raise ValueError(f'params_file:={values["params_file"]}: there is no such file')
        if values.get('source') in ('images', 'video') and not values['path']:
            raise ValueError(f'source:={values["source"]} needs path:=<folder or film>')
        return values

    def running(self, values: Values) -> list[Node]:
        """Return the nodes that run under these values."""
        return [node for node in self.nodes if node.when(values)]

    def typed(self, name: str, value: str) -> str | int:
        """
        Turn an argument's text into what it sets: text stays text, also where it looks like a
        number.

        Raises ``ValueError`` for text of another kind.
        """
        argument = self._argument(name)
        kind = argument.kind if argument else str
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f'{name}:={value}: give a whole number') from None

    def node_parameters(self, node: Node, values: Values) -> dict[str, str | int | bool]:
        """Return the parameters that the arguments set on a node."""
        parameters: dict[str, str | int | bool] = {
            name: self.typed(argument, values[argument])
            for name, argument in node.parameters.items()
        }
        own_clock = node is CLOCK_NODE
        parameters['use_sim_time'] = not own_clock and values['use_sim_time'] == 'true'
        return parameters

    def remappings(self, values: Values) -> list[tuple[str, str]]:
        """Return the topics that are called otherwise."""
        pairs = [(name, values[a]) for name, a in REMAPPINGS if self._argument(a)]
        return [(name, target) for name, target in pairs if name != target]

    def _argument(self, name: str) -> Argument | None:
        return next((a for a in self.arguments if a.name == name), None)


GRAPHS = {
    'teleop_link': Graph(
        'robot, simulated link and ground on one machine',
        (*SOURCE, *LINK, *CODEC, *BUDGET, *RUN, *CLOCK, *RVIZ),
        (
            CAMERA_NODE,
            ENCODER_NODE,
            Node('link', {'profile': 'link'}),
            GUARD_NODE,
            DECODER_NODE,
            CLOCK_NODE,
        ),
    ),
    'robot': Graph(
        "the robot's end of a real link",
        (*SOURCE, *LINK, *TRANSPORT, *CODEC, *BUDGET, *RUN),
        (CAMERA_NODE, ENCODER_NODE, Node('link_robot', _END), GUARD_NODE),
    ),
    'ground': Graph(
        "the operator's end of a real link",
        (*LINK, *TRANSPORT, *CODEC, *RUN, *RVIZ),
        (Node('link_ground', _END), DECODER_NODE),
    ),
}


def dds_profile() -> tuple[str, str]:
    """Return the variable and the file that give Fast DDS room for whole images."""
    # Fast DDS 2 (up to Jazzy) knows the old name alone, Fast DDS 3 warns of it.
    is_old = any(any(prefix.glob('lib/libfastrtps.so*')) for prefix in prefixes())
    return _DDS_VARIABLES[not is_old], str(config_dir() / 'fastdds_shm.xml')


def dds_environment() -> dict[str, str]:
    """Return the variables the nodes need: :func:`dds_profile`, unless you say otherwise."""
    return {} if any(name in os.environ for name in _DDS_VARIABLES) else dict([dds_profile()])
