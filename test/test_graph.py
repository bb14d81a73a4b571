"""The table of the graph: arguments, nodes, what they set, and how it reaches a process."""

import importlib
import io
import os
import shlex
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros import __main__ as runner
from gsc_ros import paths
from gsc_ros.dds import dds_environment
from gsc_ros.graph import CLOCK_NODE, GRAPHS, GUARD_NODE, TOPIC, Node

NASTY = ('2024', '1e3', '0x10', 'true', 'null', '', '~', '[1]', 'a: b', '# a', 'a "b" \'c\'',
         'C:\\d\\n', 'straße/ 写真', '%s $HOME', '- a', '😀')  # fmt: skip


TELEOP = GRAPHS['teleop_link']
every = pytest.mark.parametrize('graph', GRAPHS.values(), ids=GRAPHS)


def by_name(nodes):
    return {node.executable: node for node in nodes}


def parameter_words(words):
    """Return what a command line sets, still as YAML."""
    pairs = [words[i + 1].split(':=', 1) for i, word in enumerate(words) if word == '-p']
    return dict(pairs)


@every
def test_defaults_are_complete_and_good(graph):
    values = graph.resolve({})
    assert set(values) == {argument.name for argument in graph.arguments}
    assert values['params_file'] == str(paths.config_dir() / 'teleop_link.yaml')
    for argument in graph.arguments:
        assert argument.description
        assert not argument.choices or argument.default in ('', *argument.choices)


@pytest.mark.parametrize(
    'given_, expected',
    [
        ({'sorce': 'sim'}, ["'sorce'", 'did you mean source?', 'There are: ', 'link']),
        ({'xyz': 'sim'}, ["'xyz': There are: source"]),
        ({'source': 'webcam'}, ['source:=webcam', 'sim', 'topic']),
        ({'rviz': 'yes'}, ['rviz:=yes', 'true', 'false']),
        ({'budget_bytes': 'much'}, ['budget_bytes:=much', 'whole number']),
        ({'budget_bytes': '300.5'}, ['budget_bytes:=300.5', 'whole number']),
        ({'max_rate': 'fast'}, ['max_rate:=fast', 'give a number']),
        ({'use_depth': 'yes'}, ['use_depth:=yes', 'true', 'false']),
        ({'respawn': ''}, ['respawn:=:', 'true', 'false']),
        ({'image_transport': 'theora'}, ['image_transport:=theora', 'raw', 'compressed']),
        ({'params_file': '/no/such.yaml'}, ['params_file:=/no/such.yaml', 'no such file']),
        ({'source': 'images'}, ['source:=images', 'path:=']),
        ({'source': 'video'}, ['source:=video', 'path:=']),
    ],
)
def test_bad_arguments_are_refused_by_name(given_, expected):
    with pytest.raises(ValueError) as caught:
        TELEOP.resolve(given_)
    for part in expected:
        assert part in str(caught.value)


def test_a_camera_of_yours_takes_the_place_of_ours():
    ours = by_name(TELEOP.running(TELEOP.resolve({})))
    assert list(ours) == ['camera', 'encoder', 'link', 'guard', 'decoder']
    values = TELEOP.resolve({'source': 'topic', 'image_topic': '/front/image_raw'})
    assert list(by_name(TELEOP.running(values))) == ['encoder', 'link', 'guard', 'decoder']
    assert TELEOP.remappings(values) == [('camera/image', '/front/image_raw')]
    assert TELEOP.remappings(TELEOP.resolve({})) == []


@every
def test_arguments_set_parameters_that_the_nodes_have(graph):
    pytest.importorskip('rclpy')
    arguments = {argument.name: argument for argument in graph.arguments}
    for node in graph.nodes:
        module = importlib.import_module(f'gsc_ros.nodes.{node.executable}')
        known = next(
            kind.Parameters.__dataclass_fields__ for kind in vars(module).values()
            if getattr(kind, '__module__', '') == module.__name__ and hasattr(kind, 'Parameters')
        )  # fmt: skip
        for name, by in node.parameters.items():
            argument = arguments[by]
            assert argument.kind is type(known[name].default)
            choices = known[name].metadata['choices'] or ()
            if argument.kind is bool:
                choices = ('true', 'false')
            assert set(choices) == set(argument.choices) - {TOPIC}


@every
def test_what_is_not_given_is_left_to_the_params_file(graph):
    """The file that ships holds the nodes' own defaults; `clock_speed` says whether one runs."""
    values = graph.resolve({})
    file = yaml.safe_load((paths.config_dir() / 'teleop_link.yaml').read_text())
    for node in graph.nodes:
        stands = file[f'/**/{node.executable}']['ros__parameters']
        assert set(node.parameters) <= set(stands)
        if node is not CLOCK_NODE:
            assert graph.node_parameters(node, values) == {}
            assert '-p' not in runner.command(graph, node, values)
        for name, by in node.parameters.items():
            shown = str(stands[name]).lower() if isinstance(stands[name], bool) else stands[name]
            (argument,) = (a for a in graph.arguments if a.name == by)
            assert argument.default or f'{shown}' in graph.describe(argument)


def test_one_argument_sets_a_parameter_of_several_nodes():
    values = TELEOP.resolve({'threads': '3', 'use_depth': 'true', 'max_rate': '2'})
    found = {n.executable: TELEOP.node_parameters(n, values) for n in TELEOP.running(values)}
    assert found['encoder'] == {'threads': 3, 'use_depth': True, 'max_rate': 2.0}
    assert type(found['encoder']['max_rate']) is float
    assert found['decoder'] == {'threads': 3}


def test_respawn_is_on_unless_it_is_refused():
    for text, wanted in (('true', True), ('false', False)):
        values = TELEOP.resolve({'respawn': text})
        for node in TELEOP.nodes:
            assert TELEOP.respawned(node, values) == (wanted or node is GUARD_NODE)
    assert TELEOP.resolve({})['respawn'] == 'true'


# Controls and separators of lines are no part of any name of a file.
@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=('C', 'Zl', 'Zp'))))
def test_text_stays_text(text):
    values = TELEOP.resolve({'source': 'images', 'path': text or '.'})
    camera = by_name(TELEOP.nodes)['camera']
    set_ = {
        k: yaml.safe_load(v)
        for k, v in parameter_words(runner.command(TELEOP, camera, values)).items()
    }
    assert set_ == TELEOP.node_parameters(camera, values)
    assert set_['path'] == (text or '.')


@pytest.mark.parametrize('text', NASTY)
def test_ros_reads_what_the_runner_writes(ros, text):
    rclpy = pytest.importorskip('rclpy')
    words = runner.command(
        TELEOP,
        by_name(TELEOP.nodes)['camera'],
        {**TELEOP.resolve({'namespace': 'quoted'}), 'path': text},
    )
    node = rclpy.create_node(
        'other',
        context=ros,
        cli_args=words[words.index('--ros-args') :],
        automatically_declare_parameters_from_overrides=True,
    )
    try:
        assert node.get_fully_qualified_name() == '/quoted/camera'
        assert node.get_parameter('path').value == text
        assert node.get_parameter('use_sim_time').value is False
        assert node.get_parameter('hfov_deg').value == 70.0  # from the file
    finally:
        node.destroy_node()


def test_a_clock_speed_makes_all_but_the_clock_live_on_simulated_time():
    values = TELEOP.resolve({'clock_speed': '60'})
    running = TELEOP.running(values)
    simulated = {n.executable: TELEOP.node_parameters(n, values)['use_sim_time'] for n in running}
    assert simulated == {
        'camera': True, 'encoder': True, 'link': True, 'guard': True, 'decoder': True,
        'clock': False,
    }  # fmt: skip
    assert TELEOP.node_parameters(running[-1], values)['speed'] == 60
    assert 'clock' not in by_name(TELEOP.running(TELEOP.resolve({})))


def test_a_command_line_says_everything():
    values = TELEOP.resolve({
        'source': 'topic', 'image_topic': '/front/image', 'budget_bytes': '150',
        'namespace': '/a/b/', 'log_level': 'warn', 'use_sim_time': 'true',
    })  # fmt: skip
    line = shlex.join(runner.command(TELEOP, by_name(TELEOP.nodes)['encoder'], values))
    for part in (
        '-r __node:=encoder', '-r __ns:=/a/b ', '-r camera/image:=/front/image',
        '-p budget_bytes:=150', '-p use_sim_time:=true', '--log-level warn',
        f'--params-file {values["params_file"]}',
    ):  # fmt: skip
        assert part in line


def test_each_end_runs_its_own_half():
    robot, ground = GRAPHS['robot'], GRAPHS['ground']
    ends = [list(by_name(end.running(end.resolve({})))) for end in (robot, ground)]
    assert ends == [['camera', 'encoder', 'link_robot', 'guard'], ['link_ground', 'decoder']]
    values = robot.resolve({'remote': 'base:7447', 'baud': '9600', 'key_file': '/k'})
    parameters = robot.node_parameters(by_name(robot.nodes)['link_robot'], values)
    assert (parameters['remote'], parameters['baud']) == ('base:7447', 9600)
    with pytest.raises(ValueError, match="'source'"):
        ground.resolve({'source': 'sim'})


def test_fast_dds_gets_our_profile_unless_there_is_one(monkeypatch):
    names = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
    for name in names:
        monkeypatch.delenv(name, raising=False)
    ((name, file),) = dds_environment().items()
    assert name in names
    assert os.path.isfile(file)
    monkeypatch.setenv(names[1], '/my.xml')
    assert dds_environment() == {}
    assert runner.environment()[names[1]] == '/my.xml'


def test_nodes_of_one_name_in_two_namespaces_are_two_processes():
    cameras = [Node('camera', namespace=side) for side in ('front', 'rear')]
    values = TELEOP.resolve({'namespace': '/robot/'})
    keys = [node.key(values) for node in (*cameras, Node('encoder', name='eye'))]
    assert keys == [('robot/front', 'camera'), ('robot/rear', 'camera'), ('robot', 'eye')]
    for node, (namespace, name) in zip(cameras, keys, strict=False):
        line = shlex.join(runner.command(TELEOP, node, values))
        assert f'-r __node:={name} ' in line and f'-r __ns:=/{namespace}' in line
    commands = {key: [sys.executable, '-c', 'print("up")'] for key in keys}
    output = io.StringIO()
    processes = runner.Processes(commands, output)
    for child in processes.children.values():
        child.wait(30)
    processes.stop()
    assert set(output.getvalue().splitlines()) == {
        '[robot/front/camera] up', '[robot/rear/camera] up', '[eye] up',
    }  # fmt: skip


def test_old_names_of_arguments_work_with_a_warning():
    given_, warnings = TELEOP.current({'key_every': '3', 'link': 'ideal'})
    assert given_ == {'keyframe_interval': '3', 'link': 'ideal'}
    assert warnings == ['argument key_every is now called keyframe_interval: use the new name']
    assert TELEOP.current({'key_every': '3', 'keyframe_interval': '4'})[0] == {
        'keyframe_interval': '4'
    }
    assert TELEOP.current({'preset': 'gsc'}) == ({'preset': 'gsc'}, [])
    ground = GRAPHS['ground']
    given_, warnings = ground.current({'preset': 'gsc', 'device': '/dev/ttyUSB0'})
    assert given_ == {'serial_device': '/dev/ttyUSB0'}
    assert len(warnings) == 2 and 'preset is not used any more' in warnings[0]
    assert ground.current({'device': 'cuda:1'}) == ({'device': 'cuda:1'}, [])
    values = ground.resolve({'device': 'cuda:1', 'serial_device': '/dev/ttyUSB0'})
    found = {
        n.executable: ground.node_parameters(n, values)['device'] for n in ground.running(values)
    }
    assert found == {'link_ground': '/dev/ttyUSB0', 'decoder': 'cuda:1'}
