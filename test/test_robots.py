"""Several robots at one ground: names, arguments, namespaces and processes."""

import pytest
from test_graph_cameras import parameters, started

from gsc_ros.graph import GRAPHS
from gsc_ros.robots import parse_robots

TELEOP, GROUND = GRAPHS['teleop_link'], GRAPHS['ground']
TWO = {'robots': 'rover1, rover2', 'console': 'true'}


def test_names_are_read():
    assert parse_robots(' ') == ('',)
    assert parse_robots('rover1, Rover_2') == ('rover1', 'Rover_2')


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('one,one', 'twice'), ('one,', 'no name'), ('1st', 'no name'), ('a/b', 'no name'),
        ('a__b', 'no name'), ('x' * 32, 'up to 31'),
        (','.join(f'r{i}' for i in range(17)), 'up to 16'),
    ],
)  # fmt: skip
def test_names_that_cannot_be_are_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parse_robots(text)


def test_each_robot_has_its_nodes_and_the_console_is_one_for_all():
    lines = started(TELEOP, **TWO, namespace='base', clock_speed='2')
    one = ['camera', 'encoder', 'link', 'guard', 'decoder']
    for robot in ('rover1', 'rover2'):
        assert [name for space, name in lines if space == f'base/{robot}'] == one
        assert f'__ns:=/base/{robot}' in lines[f'base/{robot}', 'link']
        assert 'robots' not in parameters(lines[f'base/{robot}', 'link'])
    assert {key for key in lines if key[0] == 'base'} == {('base', 'console'), ('base', 'clock')}
    assert parameters(lines['base', 'console'])['robots'] == '"rover1, rover2"'


def test_without_robots_nothing_is_other_than_it_was():
    for graph in (TELEOP, GROUND):
        lines = started(graph, console='true')
        assert all(space == '' for space, _ in lines)
        assert not any('robots' in parameters(words) for words in lines.values())


def test_each_link_has_its_address_key_and_device():
    lines = started(
        GROUND, **TWO, local=':7447,:7448', key_file='{robot}.key', link='lora_915_fhss'
    )
    found = [parameters(lines[robot, 'link_ground']) for robot in ('rover1', 'rover2')]
    assert [one['local'] for one in found] == ['":7447"', '":7448"']
    assert [one['key_file'] for one in found] == ['"rover1.key"', '"rover2.key"']
    assert all(one['profile'] == '"lora_915_fhss"' for one in found)
    lines = started(
        GROUND, **TWO, transport='serial', serial_device='/dev/{robot}', link='one,other'
    )
    found = [parameters(lines[robot, 'link_ground']) for robot in ('rover1', 'rover2')]
    assert [one['device'] for one in found] == ['"/dev/rover1"', '"/dev/rover2"']
    assert [one['profile'] for one in found] == ['"one"', '"other"']


@pytest.mark.parametrize(
    ('given', 'why'),
    [
        ({}, 'give local:= an address for each'),
        ({'local': ':7447'}, r'local:=:7447 is the same for several.*\{robot\}'),
        ({'local': ':1,:2,:3'}, 'give one, or 2'),
        ({'local': ':1,:2', 'key_file': 'link.key'}, 'key_file:=link.key is the same'),
        ({'transport': 'serial', 'serial_device': '/dev/ttyUSB0'}, 'serial_device'),
    ],
)
def test_robots_that_would_share_a_link_are_refused(given, why):
    with pytest.raises(ValueError, match=why):
        GROUND.resolve({**TWO, **given})


def test_a_params_file_of_ones_own_may_state_the_addresses(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('{}')
    assert GROUND.resolve({**TWO, 'params_file': str(file)})


def test_robots_of_a_params_file_are_those_of_all_nodes(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/base/console: {ros__parameters: {robots: "rover1, rover2"}}')
    given = {'params_file': str(file), 'namespace': 'base', 'console': 'true'}
    assert started(TELEOP, **given) == started(TELEOP, **given, robots='rover1, rover2')
    assert ('base/one', 'link') in started(TELEOP, **given, robots='one,two'), 'the argument first'
    file.write_text('/**/console: {ros__parameters: {robots: "a,a"}}')
    with pytest.raises(ValueError, match='a comes twice'):
        TELEOP.resolve(given)


@pytest.mark.parametrize(
    ('stated', 'given', 'refused'),
    [
        ('{transport: serial, device: /dev/ttyUSB0}', {}, True),
        ('{device: /dev/ttyUSB0}', {'transport': 'serial'}, True),
        ('{device: /dev/ttyUSB0}', {'transport': 'udp', 'local': ':1,:2'}, False),
        ('{transport: serial, device: /dev/x}', {'serial_device': '/dev/{robot}'}, False),
    ],
)
def test_a_serial_device_of_a_params_file_is_of_one_robot(tmp_path, stated, given, refused):
    file = tmp_path / 'mine.yaml'
    file.write_text(f'/**/link_ground: {{ros__parameters: {stated}}}')
    values = {**TWO, 'params_file': str(file), **given}
    if refused:
        with pytest.raises(ValueError, match=r'serial_device:=/dev/ttyUSB0 is the same.*rover2'):
            GROUND.resolve(values)
    else:
        assert GROUND.resolve(values)['robots'] == TWO['robots']


def test_each_robot_may_have_cameras_of_its_own(tmp_path):
    given = {**TWO, 'cameras': 'front,rear:2; arm', 'console': 'true', 'namespace': 'base'}
    lines = started(TELEOP, **given)
    for robot, wanted in (('rover1', 'front,rear:2'), ('rover2', 'arm')):
        assert parameters(lines[f'base/{robot}', 'link'])['cameras'] == f'"{wanted}"'
        assert wanted in lines[f'base/{robot}', 'encoder']
    assert parameters(lines['base', 'console'])['cameras'] == '"front,rear:2; arm"'
    file = {'source': 'video', 'path': '{robot}/{camera}.mp4'}
    lines = started(TELEOP, **{**given, 'cameras': 'front,rear;side', **file})
    found = {key: parameters(words)['path'] for key, words in lines.items() if key[1] == 'camera'}
    assert found == {
        ('base/rover1/front', 'camera'): '"rover1/front.mp4"',
        ('base/rover1/rear', 'camera'): '"rover1/rear.mp4"',
        ('base/rover2/side', 'camera'): '"rover2/side.mp4"',
    }
    with pytest.raises(ValueError, match='one for each of rover1, rover2 with semicolons'):
        TELEOP.resolve({**given, 'cameras': 'a;b;c'})
    with pytest.raises(ValueError, match='no name of a camera'):
        TELEOP.resolve({**given, 'cameras': 'front;1'})


def test_cameras_of_a_params_file_are_those_of_their_robot(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text(
        '/rover1/link: {ros__parameters: {cameras: "front,rear"}}\n'
        '/rover2/link: {ros__parameters: {cameras: arm}}\n'
        '/console: {ros__parameters: {cameras: "front,rear;arm"}}'
    )
    given = {**TWO, 'params_file': str(file)}
    assert TELEOP.resolve(given)['cameras'] == 'front,rear;arm'
    file.write_text('/**/link: {ros__parameters: {cameras: "front,rear"}}')
    assert TELEOP.resolve(given)['cameras'] == 'front,rear'
    file.write_text('/console: {ros__parameters: {cameras: "front;arm"}}')
    assert TELEOP.resolve(given)['cameras'] == 'front;arm'
    file.write_text(
        '/rover1/link: {ros__parameters: {cameras: rear}}\n'
        '/console: {ros__parameters: {cameras: "front;arm"}}'
    )
    with pytest.raises(ValueError, match='has other cameras for each node'):
        TELEOP.resolve(given)


def test_robots_that_would_share_a_camera_are_refused():
    given = {'robots': 'a,b', 'source': 'topic', 'image_topic': '/image'}
    with pytest.raises(ValueError, match='image_topic:=/image is the same for several of a, b'):
        TELEOP.resolve(given)
    values = TELEOP.resolve(given | {'image_topic': '/{robot}/image'})
    assert TELEOP.remappings(values, 'a') == [('/a/camera/image', '/a/image')]


def test_topics_of_yours_are_named_for_each_robot_and_the_console_has_all():
    given = {**TWO, 'source': 'topic', 'image_topic': 'image_raw', 'namespace': 'base'}
    lines = started(TELEOP, **given)
    of_one = '/base/rover1/camera/image:=/base/rover1/image_raw'
    of_other = of_one.replace('rover1', 'rover2')
    assert of_one in lines['base/rover1', 'encoder']
    assert of_other not in lines['base/rover1', 'encoder']
    assert of_one in lines['base', 'console'] and of_other in lines['base', 'console']
    cameras = started(TELEOP, **given, cameras='front,rear')['base', 'console']
    assert '/base/rover2/rear/camera/image:=/base/rover2/rear/image_raw' in cameras
