"""What is started for several cameras: names, namespaces, topics and processes."""

import pytest

from gsc_ros import __main__ as runner
from gsc_ros.graph import GRAPHS

TELEOP, ROBOT, GROUND = (GRAPHS[name] for name in ('teleop_link', 'robot', 'ground'))


def started(graph, **given):
    """Return the command lines by key."""
    values = graph.resolve(given)
    return {
        node.key(values): runner.command(graph, node, values) for node in graph.running(values)
    }


def parameters(words):
    return dict(words[i + 1].split(':=', 1) for i, word in enumerate(words) if word == '-p')


@pytest.mark.parametrize('graph', GRAPHS.values(), ids=GRAPHS)
def test_without_cameras_nothing_is_other_than_it_was(graph):
    for words in started(graph).values():
        assert '--cameras' not in words and 'cameras' not in parameters(words)


def test_encoders_and_decoders_share_a_process_each():
    lines = started(TELEOP, cameras='front:2,rear')
    assert [name for _, name in lines] == ['camera', 'encoder', 'link', 'guard', 'decoder']
    for name in ('encoder', 'decoder'):
        words = lines['', name]
        at = words.index('--cameras')
        assert words[at + 1] == 'front:2,rear' and at < words.index('--ros-args')
    for name in ('camera', 'link'):
        assert parameters(lines['', name])['cameras'] == '"front:2,rear"'


def test_both_ends_of_a_real_link_are_told():
    robot = started(ROBOT, cameras='front,rear', namespace='rover')
    ground = started(GROUND, cameras='front,rear')
    assert parameters(robot['rover', 'link_robot'])['cameras'] == '"front,rear"'
    assert parameters(ground['', 'link_ground'])['cameras'] == '"front,rear"'
    assert '--cameras' in robot['rover', 'encoder'] and '--cameras' in ground['', 'decoder']


def test_topics_of_yours_are_named_for_each_camera():
    values = TELEOP.resolve(
        {
            'source': 'topic',
            'cameras': 'front,rear',
            'namespace': 'rover',
            'image_topic': '/{camera}/image_raw',
            'camera_info_topic': 'camera_info',
        }
    )
    assert set(TELEOP.remappings(values)) == {
        ('/rover/front/camera/image', '/front/image_raw'),
        ('/rover/rear/camera/image', '/rear/image_raw'),
        ('/rover/front/camera/camera_info', '/rover/front/camera_info'),
        ('/rover/rear/camera/camera_info', '/rover/rear/camera_info'),
    }


def test_of_files_each_camera_is_a_process():
    lines = started(TELEOP, source='images', path='/drive/{camera}', cameras='front,rear')
    for name in ('front', 'rear'):
        words = lines[name, 'camera']
        assert parameters(words)['path'] == f'"/drive/{name}"'
        assert 'cameras' not in parameters(words)
        assert f'__ns:=/{name}' in words
    assert ('', 'camera') not in lines


def test_the_console_is_told_in_all_graphs_that_have_one():
    for graph in (TELEOP, GROUND):
        words = started(graph, cameras='front:2,rear', console='true')['', 'console']
        assert parameters(words)['cameras'] == '"front:2,rear"'


def test_the_console_takes_the_topics_of_yours():
    topics = {'source': 'topic', 'cameras': 'front,rear', 'image_topic': '/{camera}/image_raw'}
    words = started(TELEOP, console='true', **topics)['', 'console']
    assert '/front/camera/image:=/front/image_raw' in words
    assert '/rear/camera/image:=/rear/image_raw' in words


STATED = """
/**/camera: {ros__parameters: {cameras: "front,rear", seed: 3}}
/**/link: {ros__parameters: {cameras: "front:2, rear"}}
/**/console: {ros__parameters: {cameras: ""}}
"""


def test_cameras_of_a_file_of_parameters_are_those_of_all_processes(tmp_path):
    file = tmp_path / 'own.yaml'
    file.write_text(STATED)
    lines = started(TELEOP, params_file=str(file), console='true')
    for name in ('encoder', 'decoder'):
        assert lines['', name][lines['', name].index('--cameras') + 1] == 'front:2, rear'
    assert parameters(lines['', 'console'])['cameras'] == '"front:2, rear"'
    other = started(TELEOP, params_file=str(file), cameras='arm')
    assert '"arm"' in parameters(other['', 'link'])['cameras'], 'what is given holds'
    assert other['', 'encoder'][other['', 'encoder'].index('--cameras') + 1] == 'arm'


@pytest.mark.parametrize(
    ('text', 'cameras'),
    [
        ('/rover/link_robot: {ros__parameters: {cameras: front}}', 'front'),
        ('rover: {link_robot: {ros__parameters: {cameras: front}}}', 'front'),
        ('/*/link_robot: {ros__parameters: {cameras: front}}', 'front'),
        ('/**: {ros__parameters: {cameras: front}}', 'front'),
        ('/**: {link_robot: {ros__parameters: {cameras: front}}}', 'front'),
        ('/other/link_robot: {ros__parameters: {cameras: front}}', ''),
        ('link_robot: {ros__parameters: {cameras: front}}', ''),
        ('/**: {ros__parameters: {cameras: a}}\n/rover/**: {ros__parameters: {cameras: b}}', 'b'),
        ('/**: {ros__parameters: {cameras: a}}\n/rover/*: {ros__parameters: {cameras: ""}}', ''),
        ('', ''),
    ],
)
def test_a_file_states_cameras_for_the_nodes_that_it_names(tmp_path, text, cameras):
    file = tmp_path / 'own.yaml'
    file.write_text(text)
    assert ROBOT.resolve({'params_file': str(file), 'namespace': 'rover'})['cameras'] == cameras


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        (STATED.replace('front,rear', 'rear,front'), 'other cameras for each node'),
        (STATED.replace('front:2', 'Front'), 'is no name'),
        ('[1, 2]', 'no file of parameters'),
        ('a: [', 'no file of parameters'),
        ('/**/link: {ros__parameters: 3}', 'no file of parameters'),
    ],
)
def test_a_file_that_states_no_cameras_that_can_be_is_refused(tmp_path, text, why):
    file = tmp_path / 'own.yaml'
    file.write_text(text)
    with pytest.raises(ValueError, match=why):
        TELEOP.resolve({'params_file': str(file)})


def test_a_list_of_spaces_is_none():
    assert started(TELEOP, cameras=' ') == started(TELEOP)


@pytest.mark.parametrize(
    ('given', 'why'),
    [
        ({'source': 'topic', 'image_topic': '/{camera}/image_raw'}, 'cameras:=front,rear'),
        ({'source': 'images', 'path': '/drive/{camera}'}, 'cameras:=front,rear'),
        ({'cameras': 'front,front'}, 'comes twice'),
        ({'cameras': 'Front'}, 'is no name'),
        ({'cameras': ','.join(f'c{i}' for i in range(9))}, 'up to 8'),
        ({'source': 'images', 'path': '/drive', 'cameras': 'front,rear'}, '{camera} in it'),
        (
            {'source': 'topic', 'image_topic': '/image_raw', 'cameras': 'front,rear'},
            'same topic for all of front,rear',
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(given, why):
    with pytest.raises(ValueError) as caught:
        TELEOP.resolve(given)
    assert why in str(caught.value)
