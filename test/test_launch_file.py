"""What `ros2 launch` starts: the launch file against the real launch, and what it refers to."""

import contextlib
import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from gsc_ros import __main__ as runner
from gsc_ros import paths
from gsc_ros.graph import GRAPHS

ROOT = Path(__file__).resolve().parent.parent
TELEOP = GRAPHS['teleop_link']
GIVEN = {
    'source': 'images',
    'path': '2024',  # text, though YAML would make a number of it
    'budget_bytes': '150',
    'link': 'ideal',
    'namespace': 'field/rover',
    'image_topic': '/front/image_raw',
    'max_rate': '2',
    'use_depth': 'true',
    'threads': '2',
    'log_level': 'warn',
    'use_sim_time': 'true',
}


@pytest.fixture
def launching():
    """How launch files start their graphs; needs the real launch and launch_ros."""
    pytest.importorskip('launch_ros', reason='ros2 launch is not installed')
    return importlib.import_module('gsc_ros.launching')


def load(name):
    """Return a launch file as a module."""
    path = paths.launch_dir() / f'{name}.launch.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(launching, given, graph=TELEOP):
    """Return package and arguments of the nodes that launch would start, by executable."""
    from launch.actions import LogInfo
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(graph.defaults() | given)
    nodes = {}
    for node in launching.start(context, graph):
        if isinstance(node, LogInfo) and set(given) - set(graph.defaults()):
            continue  # a warning of an old name
        assert isinstance(node, Node)
        node._perform_substitutions(context)
        namespace, _, name = node.node_name.rpartition('/')
        own = {'name': f'__node:={name}', 'ns': f'__ns:={namespace or "/"}'}
        context.extend_locals({'ros_specific_arguments': own})  # as its execute() does
        # Without the first word, the executable: it is found only where we are installed.
        words = [perform_substitutions(context, word) for word in node.cmd[1:]]
        nodes[node.node_executable] = (node.node_package, words)
    return nodes


@pytest.mark.parametrize('name', GRAPHS)
def test_launch_describes_every_argument(launching, name):
    from launch.actions import DeclareLaunchArgument

    from launch import LaunchContext

    graph = GRAPHS[name]
    description = load(name).generate_launch_description()
    declared = {a.name: a for a in description.entities if isinstance(a, DeclareLaunchArgument)}
    assert list(declared) == [argument.name for argument in graph.arguments]
    for argument in graph.arguments:
        found = declared[argument.name]
        default = ''.join(part.perform(LaunchContext()) for part in found.default_value)
        assert default == argument.default
        assert found.description == graph.describe(argument)


def received(context, arguments):
    """Return full name, parameters and a topic of a node that is started with these arguments."""
    import rclpy

    node = rclpy.create_node(
        'unnamed',
        context=context,
        cli_args=arguments,
        automatically_declare_parameters_from_overrides=True,
    )
    try:
        parameters = {k: p.value for k, p in node.get_parameters_by_prefix('').items()}
        topic = node.resolve_topic_name('camera/image')
        return node.get_fully_qualified_name(), parameters, topic
    finally:
        node.destroy_node()


@pytest.mark.parametrize(
    ('name', 'source'),
    [('teleop_link', 'images'), ('teleop_link', 'topic'), ('robot', 'images'), ('ground', None)],
)
def test_launch_and_runner_start_the_same(launching, ros, name, source):
    graph = GRAPHS[name]
    given = {k: v for k, v in {**GIVEN, 'source': source}.items() if k in graph.defaults()}
    values = graph.resolve(given)
    nodes = started(launching, given, graph)
    assert list(nodes) == [node.executable for node in graph.running(values)]
    for node in graph.running(values):
        package, launched = nodes[node.executable]
        assert package == 'gsc_ros'
        words = runner.command(graph, node, values)
        alone = received(ros, words[words.index('--ros-args') :])
        assert received(ros, launched) == alone
        name, parameters, topic = alone
        assert name == f'/field/rover/{node.executable}'
        assert parameters['use_sim_time'] is True
        assert parameters.get('path', '2024') == '2024'
        assert topic == ('/front/image_raw' if source else '/field/rover/camera/image')
        for line in (words, launched):
            assert line[line.index('--log-level') + 1] == 'warn'


def test_old_names_reach_the_nodes_under_their_new_ones(launching, ros):
    nodes = started(launching, {'key_every': '3'})
    _, parameters, _ = received(ros, nodes['encoder'][1])
    assert parameters['keyframe_interval'] == 3


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from launch import LaunchDescription, LaunchService
from launch.actions import ExecuteProcess
from gsc_ros.launching import Ended
from gsc_ros.respawn import Respawn

def process(name, code, wanted):
    ended = Ended(name, Respawn(wanted))
    return ExecuteProcess(cmd=[sys.executable, '-c', code], name=name, on_exit=ended)

service = LaunchService()
sleeper = process('sleeper', 'import time; time.sleep(600)', True)
other = process('other', {code!r}, {wanted})
service.include_launch_description(LaunchDescription([sleeper, other]))
sys.exit(service.run())
"""


@pytest.fixture
def launched(launching, tmp_path):
    """Run two processes by launch; the second runs some code, and is started again if wanted."""
    made = []

    def run(code, wanted):
        text = SCRIPT.format(root=str(ROOT), code=code, wanted=wanted)
        process = subprocess.Popen(
            [sys.executable, '-c', text], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        made.append(process)
        return process

    yield run
    for process in made:
        process.kill()


@pytest.mark.parametrize(
    ('code', 'wanted', 'printed'),
    [
        ('raise SystemExit(1)', True, 'other has ended with exit code 1: stopping the others'),
        ('raise SystemExit(3)', False, 'other has ended with exit code 3: stopping the others'),
    ],
)
def test_an_end_for_good_ends_all_of_launch_with_a_code(launched, code, wanted, printed):
    process = launched(code, wanted)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert printed in output
    assert 'sleeper' in output


def test_launch_starts_again_what_crashed_with_its_arguments(launched, tmp_path):
    crash = 'import os; open("runs", "a").write("x"); os.kill(os.getpid(), 9)'
    process = launched(crash, True)
    runs = tmp_path / 'runs'
    deadline = time.monotonic() + 60
    while not runs.is_file() or len(runs.read_text()) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, while it waits to start it again
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    for delay in (1, 2):
        assert f'other was ended by SIGKILL: started again in {delay} s' in output
    assert 'Caught exception' not in output


@pytest.fixture
def graph_of_launch(launching, tmp_path):
    """The whole graph, started by launch, with what it says; needs the installed nodes."""
    if not any((p / 'lib/gsc_ros/guard').is_file() for p in paths.prefixes()):
        pytest.skip('gsc_ros is not installed')
    params = tmp_path / 'params.yaml'
    text = (paths.config_dir() / 'teleop_link.yaml').read_text()
    params.write_text(text.replace('weights: ""', 'weights: random'))
    words = ['source:=images', f'path:={ROOT / "docs"}', 'link:=ideal', f'params_file:={params}']
    code = (
        f'import sys; sys.path.insert(0, {str(ROOT)!r}); from launch import LaunchService; '
        'from gsc_ros.launching import describe; service = LaunchService(); '
        'description = describe("teleop_link"); '
        f'service.context.launch_configurations.update(w.split(":=") for w in {words!r}); '
        'service.include_launch_description(description); sys.exit(service.run())'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, cwd=tmp_path,
    )  # fmt: skip
    lines = []
    thread = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    thread.start()

    def printed():
        return ''.join(lines)

    def wait(text, count=1):
        deadline = time.monotonic() + 60
        while printed().count(text) < count:
            assert time.monotonic() < deadline and process.poll() is None, printed()
            time.sleep(0.05)

    yield process, thread, printed, wait
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize('times', [1, 2])
def test_launch_starts_again_a_node_that_is_killed_and_ctrl_c_ends_all(graph_of_launch, times):
    process, thread, printed, wait = graph_of_launch
    wait('datagrams of')  # the link runs
    (pid,) = re.findall(r'\[link-\d+\]: process started with pid \[(\d+)\]', printed())
    os.kill(int(pid), signal.SIGKILL)
    wait('link was ended by SIGKILL: started again in 1 s')
    wait('datagrams of', 2)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
    assert process.wait(60) == 0, printed()
    thread.join(5)
    assert 'Traceback' not in printed() and 'failed to terminate' not in printed()
    assert printed().count('process has died') == 1  # the one that was killed


def test_launch_says_which_argument_is_misspelt(launching):
    from launch.actions import LogInfo

    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(TELEOP.defaults() | {'budget_byte': '5', 'robot_x': '1'})
    printed = [e for e in launching.start(context, TELEOP) if isinstance(e, LogInfo)]
    (text,) = (''.join(part.perform(context) for part in one.msg) for one in printed)
    assert 'budget_byte is unknown' in text and 'did you mean budget_bytes?' in text


def test_launch_starts_rviz_on_request(launching):
    assert 'rviz2' not in started(launching, {})
    package, words = started(launching, {'rviz': 'true', 'namespace': 'rover'})['rviz2']
    assert package == 'rviz2'
    assert words[words.index('-d') + 1] == str(paths.config_dir() / 'teleop.rviz')
    assert '/decoded/depth/camera_info:=decoded/depth/camera_info' in words
    assert '__ns:=/rover' in words


def test_bad_arguments_stop_launch(launching):
    with pytest.raises(ValueError, match='path:='):
        started(launching, {'source': 'video'})


def test_a_shutdown_reaches_the_nodes_at_once(launching):
    """At SIGINT launch itself leaves that to the terminal, for five seconds."""
    from launch.actions import EmitEvent, RegisterEventHandler
    from launch.event_handlers import OnShutdown
    from launch.events import Shutdown

    from launch import LaunchContext

    (handler,) = (
        entity.event_handler
        for entity in load('robot').generate_launch_description().entities
        if isinstance(entity, RegisterEventHandler)
    )
    assert isinstance(handler, OnShutdown)
    actions = handler.handle(Shutdown(due_to_sigint=True), LaunchContext())
    (event,) = (action.event for action in actions if isinstance(action, EmitEvent))
    assert event.signal_name == 'SIGTERM'
    assert event.process_matcher(None)


def test_there_is_a_launch_file_for_every_graph():
    files = {path.name.removesuffix('.launch.py'): path for path in paths.launch_dir().iterdir()}
    del files['navigation']  # starts nav2's nodes, and none of ours
    assert set(files) == set(GRAPHS)
    for path in files.values():
        names = compile(path.read_text(), str(path), 'exec').co_names
        assert {'describe', 'generate_launch_description'} <= set(names)


def test_rviz_shows_the_topics_of_navigation():
    topics = pytest.importorskip('gsc_ros.ros.topics')
    config = yaml.safe_load((paths.config_dir() / 'navigation.rviz').read_text())
    manager = config['Visualization Manager']
    costmap = yaml.safe_load((paths.config_dir() / 'nav2_costmap.yaml').read_text())
    parameters = costmap['local_costmap']['local_costmap']['ros__parameters']
    assert manager['Global Options']['Fixed Frame'] == parameters['global_frame']
    assert manager['Views']['Current']['Target Frame'] == parameters['robot_base_frame']
    shown = {d['Topic']['Value'] for d in manager['Displays'] if 'Topic' in d}
    assert shown == {
        topics.DECODED, topics.TRUST, topics.POINTS, topics.SCAN, topics.RECEIVED_ODOM,
        topics.HAZARD_POINTS, '/costmap/costmap', 'plan',
    }  # fmt: skip
    assert {d['Class'].split('/')[1] for d in manager['Displays']} >= {
        'Image', 'PointCloud2', 'LaserScan', 'Path', 'Map', 'TF',
    }  # fmt: skip


def test_rviz_shows_topics_that_are_published_in_the_frame_of_the_camera():
    topics = pytest.importorskip('gsc_ros.ros.topics')
    config = yaml.safe_load((paths.config_dir() / 'teleop.rviz').read_text())
    file = yaml.safe_load((paths.config_dir() / 'teleop_link.yaml').read_text())
    manager = config['Visualization Manager']
    frame = file['/**/camera']['ros__parameters']['frame_id']
    assert manager['Global Options']['Fixed Frame'] == frame
    displays = {}
    for display in manager['Displays']:
        displays.setdefault(display['Class'].split('/')[1], []).append(display)
    assert {display['Topic']['Value'] for display in displays['Image']} == {
        topics.IMAGE, topics.DECODED, topics.DECODED_COLOUR, topics.TRUST,
    }  # fmt: skip
    (cloud,) = displays['DepthCloud']
    assert cloud['Depth Map Topic'] == topics.DECODED_DEPTH
    assert cloud['Color Image Topic'] == topics.DECODED
    # Best effort publishers and reliable subscribers do not meet.
    (camera,) = (d for d in displays['Image'] if d['Topic']['Value'] == topics.IMAGE)
    assert camera['Topic']['Reliability Policy'] == 'Best Effort'
