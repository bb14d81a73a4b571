"""The arguments of launches, in tables that the graphs are put together from."""

from dataclasses import dataclass

from gsc_ros.codec.backend import PRESETS
from gsc_ros.link.traffic.transports import KINDS as TRANSPORTS
from gsc_ros.sim import SCENES
from gsc_ros.sources import SOURCES

TOPIC = 'topic'  # a source that is not ours: any camera or bag


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
             'not 1, weights, as front:2,rear,arm; of several robots one list for all, or one for '
             'each with semicolons; empty: one without a name'),
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
