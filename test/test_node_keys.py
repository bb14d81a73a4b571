"""Link nodes whose key lies on a disk that fails."""

import json
import secrets
import time

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.parameter import Parameter  # noqa: E402
from test_link_keys import copy, counts_of, removed, stalled, wait  # noqa: E402

from gsc_ros.link import keys  # noqa: E402
from gsc_ros.link.count_file import session_of  # noqa: E402
from gsc_ros.link.framing import Class  # noqa: E402
from gsc_ros.nodes.diagnostics import ERROR, WARN  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, 'BLOCK', 50)
    monkeypatch.setattr(keys, '_STUCK_S', 0.2)
    keys.create(tmp_path / 'link.key')
    return tmp_path / 'link.key'


def node_of(kind, context, file):
    values = {'profile': 'ideal', 'autostart': False, 'key_file': str(file)}
    if kind is LinkRobot:
        values |= {'local': '127.0.0.1:0', 'remote': '127.0.0.1:9'}
    overrides = [Parameter(key, value=value) for key, value in values.items()]
    node = kind(context=context, parameter_overrides=overrides)
    node.trigger_configure()
    node.trigger_activate()
    return node


def send(node, count):
    """Let a node send; returns the longest time (s) that one payload took it."""
    out = node.down if isinstance(node, LinkNode) else node.end
    slowest = 0.0
    for _ in range(count):
        began = time.monotonic()
        out.offer(b'frame', node.now(), Class.FRAME)
        node.wake()
        node._publish_status()
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(1e-3)
    return slowest


@pytest.mark.parametrize('kind', [LinkNode, LinkRobot])
@pytest.mark.parametrize(
    ('disk', 'message'), [(stalled, 'has not answered'), (removed, 'make a new one')]
)
def test_a_link_goes_on_without_its_disk(ros, file, kind, disk, message):
    node = node_of(kind, ros, file)
    assert node.active
    wait(lambda: node.keys.left >= 50)
    with disk(file):
        assert send(node, 20) < 5.0  # and not for ever
        wait(lambda: node.keys.trouble)
        report = node.diagnose()
        assert report.level == WARN and message in report.message
        assert f'{node.keys.left} datagrams can be sent' in report.message
        assert send(node, 200) < 5.0
        report = node.diagnose()
        assert report.level == ERROR and message in report.message
        assert report.values['not sealed'] > 0
    wait(lambda: node.keys.left >= 50)
    sender = node.downlink
    before = sender.unsealed
    send(node, 20)
    assert sender.unsealed == before and not node.keys.trouble
    assert message not in node.diagnose().message
    node.close()
    node.destroy_node()


@pytest.mark.parametrize('kind', [LinkNode, LinkRobot])
def test_a_link_ends_without_its_disk(ros, file, kind):
    node = node_of(kind, ros, file)
    with stalled(file):
        send(node, 20)
        began = time.monotonic()
        node.close()
        assert time.monotonic() - began < 0.5 + 4.0
        node.destroy_node()


@pytest.mark.parametrize(('kind', 'direction'), [(LinkNode, 'up'), (LinkRobot, 'down')])
def test_a_copy_of_the_other_end_s_files_is_told(
    ros, file, tmp_path, monkeypatch, kind, direction
):
    monkeypatch.setattr(secrets, 'randbelow', lambda _: 30_000)
    ring = keys.KeyRing(file)
    received = f'{ring._names[0]} {direction} heard'
    ring.close()
    counts_of(file).write_text(json.dumps({received: 700, 'session': 40}))
    node = node_of(kind, ros, copy(file, tmp_path / 'copy'))
    report = node.diagnose()
    assert report.level == WARN and "copy of the other end's" in report.message
    # The sessions of the file may be over for the other end.
    assert node.session > session_of(30_000)
    node.close()
    node.destroy_node()
