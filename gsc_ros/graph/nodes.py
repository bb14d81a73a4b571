"""The nodes of graphs: their parameters by the argument that sets each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gsc_ros.graph.arguments import DEVICE, TOPIC, TRANSPORT

Values = Mapping[str, str]  # of arguments
Key = tuple[str, str]  # namespace and name of a node: unique in a graph


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

    def full_name(self, values: Values) -> str:
        """Return its namespace and name, as ``/rover/link``."""
        return '/' + '/'.join(part for part in self.key(values) if part)


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
# Of the ends of a link, simulated or not.
ROBOT_END = {'command_timeout_s': 'command_timeout_s', 'stamped': 'stamped'}
END = {'profile': 'link', 'cameras': 'cameras'} | {
    argument.name.removeprefix('serial_'): argument.name for argument in TRANSPORT
}
