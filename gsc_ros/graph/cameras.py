"""Several cameras in a graph: their list, their topics, and what cannot be."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gsc_ros.graph import params_file
from gsc_ros.graph.nodes import Values
from gsc_ros.link.traffic.cameras import CameraStream, parse_cameras

FILES = 'images', 'video'  # sources that are of one camera each
CAMERA = '{camera}'  # stands for the name of a camera in paths and topics
REMAPPINGS = (
    ('camera/image', 'image_topic'),
    ('camera/camera_info', 'camera_info_topic'),
    ('camera/depth/image', 'depth_topic'),
)


def stated_in(file: Path, nodes: Sequence[str], own: Callable[[str], str] = str) -> str:
    """
    Return the list of cameras that a file of parameters states for nodes; empty for none.

    ``nodes``: namespaces and names, as ``/rover/link``. ``own`` returns what of a text is of their
    robot. Of lists that differ in weights that of the first node is returned. Raises
    ``ValueError`` for lists that differ in names, and a file that is not of parameters.
    """
    stated = {node: own(text) for node, text in params_file.stated(file, nodes, 'cameras').items()}
    names = {tuple(one.name for one in parse_cameras(text)) for text in stated.values()}
    if len(names) > 1:
        told = ', '.join(f'{node} {text}' for node, text in stated.items())
        raise ValueError(f'params_file:={file} has other cameras for each node: {told}')
    return next(iter(stated.values()), '')


def remapped(
    pairs: Iterable[tuple[str, str]], namespace: str, cameras: str
) -> list[tuple[str, str]]:
    """Return the topics of each camera that get another name, and that name."""
    base = f'/{namespace}' if namespace else ''
    return [
        # In full, as the nodes of a process are in different namespaces.
        (f'{base}/{one.topic(name)}', _named(target, base, one))
        for one in parse_cameras(cameras)
        for name, target in pairs
    ]


def _named(topic: str, base: str, camera: CameraStream) -> str:
    """Return a topic of a camera in full: a relative one is in its namespace."""
    topic = topic.replace(CAMERA, camera.name)
    return topic if topic.startswith('/') else f'{base}/{camera.topic(topic)}'


def check(values: Values) -> None:
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
