"""Link nodes whose key lies on a disk that fails."""

import json
import secrets
import time
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy')

from bench import Ends, frame  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from test_link_key_copies import copy  # noqa: E402
from test_link_keys import counts_of, removed, stalled, wait  # noqa: E402

from gsc_ros.link.datagrams import key_file, keys  # noqa: E402
from gsc_ros.link.datagrams.count_file import MARGIN, session_of  # noqa: E402
from gsc_ros.link.datagrams.framing import TrafficClass  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402
from gsc_ros.ros import topics  # noqa: E402
from gsc_ros.ros.diagnostics import ERROR, WARN  # noqa: E402


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, 'BLOCK', 50)
    monkeypatch.setattr(keys, '_STUCK_S', 0.2)
    key_file.create(tmp_path / 'link.key')
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
        out.offer(b'frame', node.now(), TrafficClass.FRAME)
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
        # Between 50 and 99 counts are in memory; more are asked for below 50.
        assert send(node, node.keys.left - 40) < 5.0  # and not for ever
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


@pytest.mark.parametrize('cause', ['clock', 'keys'])
@pytest.mark.parametrize('kind', [LinkNode, LinkRobot])
def test_a_reset_stops_a_robot_before_anything_else(ros, file, kind, cause):
    node = node_of(kind, ros, file)
    order = []

    def noting(name, function):
        def noted(*args, **options):
            order.append(name)
            return function(*args, **options)

        return noted

    gate = (node.robot if kind is LinkNode else node.side).commands.gate
    gate._ran_at, gate.moving = time.monotonic() + 100.0, True
    gate.halt = noting('stop', gate.halt)
    node.keys.next_session = noting('session', node.keys.next_session)
    node.seal = noting('seal', node.seal)
    log = noting('log', lambda *_, **__: None)
    node.get_logger = lambda: SimpleNamespace(warning=log, error=log, info=log)
    if cause == 'clock':
        node.time_ns += 10**12
        node.update_time()
    else:
        node.keys.notices.append('the counts were set back')
        node._publish_status()
    assert order[0] == 'stop' and not gate.moving
    assert [*dict.fromkeys(order)] == ['stop', 'session', 'seal', 'log']
    node.close()
    node.destroy_node()


@pytest.mark.parametrize(('kind', 'direction'), [(LinkNode, 'up'), (LinkRobot, 'down')])
def test_a_copy_of_the_other_end_s_files_is_reported(
    ros, file, tmp_path, monkeypatch, kind, direction
):
    monkeypatch.setattr(secrets, 'randbelow', lambda _: 30_000)
    ring = keys.KeyRing(file)
    received = f'{ring._names[0]} {direction} received'
    ring.close()
    counts_of(file).write_text(json.dumps({received: 700, 'session': 40}))
    node = node_of(kind, ros, copy(file, tmp_path / 'copy'))
    report = node.diagnose()
    assert report.level == WARN and "copy of the other end's" in report.message
    # The sessions of the file may be over for the other end.
    assert node.session > session_of(30_000)
    node.close()
    node.destroy_node()


class Restarted:
    """A robot and a ground; the robot begins again when its files were changed."""

    def __init__(self, tmp_path):
        key_file.create(tmp_path / 'link.key')
        self.files = [copy(tmp_path / 'link.key', tmp_path / end) for end in ('robot', 'ground')]
        self.pair = None

    def reset(self):
        robot, ground = ({'key_file': str(file), 'local': '127.0.0.1:0'} for file in self.files)
        self.pair = Ends.pair(robot | {'remote': 'ground'}, ground)
        self.received = self.pair.ground.got[topics.RECEIVED]

    @property
    def robot(self):
        return self.pair.robot.node

    def send(self, number):
        self.pair.robot.publishers[topics.CODED].publish(frame(number))

    def shown(self):
        """Send frames until one of this session is shown."""
        self.send(50)
        return self.received and self.received[-1].session == self.robot.session

    def end_robot(self):
        transport = self.robot._transport
        self._address = {'local': f'127.0.0.1:{transport.local[1]}', 'remote': transport.peer}
        self.pair.end('robot')

    def begin_robot(self):
        self.pair.start_robot(key_file=str(self.files[0]), **self._address)


@pytest.fixture
def restarted(tmp_path):
    made = Restarted(tmp_path)
    yield made
    if made.pair:
        made.pair.close()


def test_counts_that_were_set_back_are_found_out_over_the_link(restarted):
    """A robot's disk is restored from a backup, while the ground goes on."""
    backup = counts_of(restarted.files[0]).read_text()
    restarted.reset()
    pair = restarted.pair
    for _ in range(6000):  # which the ground does not receive
        next(restarted.robot.keys._counts['down'])
    pair.wait(restarted.shown)
    restarted.end_robot()
    counts_of(restarted.files[0]).write_text(backup)
    restarted.begin_robot()
    pair.wait(lambda: restarted.shown() and restarted.robot.keys_notice)
    assert 'set back' in restarted.robot.keys_notice
    # A robot that moves is stopped for that reason.
    assert 'counts were set back' in restarted.robot.reset_reason
    report = restarted.robot.diagnose()
    assert report.level == WARN and 'change the key' in report.message
    assert pair.ground.node.end.receiver.seal.newest_counts[0] > MARGIN


def test_a_key_is_changed_without_a_false_alarm(restarted):
    """The robot begins again with another first key, of which nothing was sent."""
    key = restarted.files[0].read_text()
    new = key_file.new_key()
    for file in restarted.files:
        file.write_text(f'{key}{new}\n')
    restarted.reset()
    pair = restarted.pair
    for _ in range(6000):
        next(restarted.robot.keys._counts['down'])
    pair.wait(restarted.shown)
    restarted.end_robot()
    restarted.files[0].write_text(f'{new}\n{key}')
    restarted.begin_robot()
    feedback = restarted.robot.side.cameras[0].feedback
    pair.wait(lambda: restarted.shown() and feedback.delivered)  # by a report
    assert not restarted.robot.keys_notice
    assert pair.ground.node.end.receiver.seal.newest_counts[1] < MARGIN
