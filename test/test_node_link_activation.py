"""Link nodes that fail to start leave nothing, and work after the remedy; queries change none."""

import socket
import threading
import time
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.duration import Duration  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from gsc_ros.link.datagrams import key_file  # noqa: E402
from gsc_ros.nodes.link import LinkNode  # noqa: E402
from gsc_ros.nodes.link_ground import LinkGround  # noqa: E402
from gsc_ros.nodes.link_robot import LinkRobot  # noqa: E402

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
THREADS = {'link counts', 'datagrams', 'stop'}


@pytest.fixture
def make(ros):
    made = []

    def make(kind, **parameters):
        values = {'profile': 'ideal', 'autostart': False, **parameters}
        overrides = [Parameter(key, value=value) for key, value in values.items()]
        made.append(kind(context=ros, parameter_overrides=overrides))
        return made[-1]

    yield make
    for node in made:
        node.close()
        node.destroy_node()


def threads():
    return sorted(one.name for one in threading.enumerate() if one.name in THREADS)


def opened(node):
    """How many topics, timers and guard conditions a node has."""
    kinds = ('subscriptions', 'timers', 'guards', 'publishers', 'services', 'clients')
    return {kind: len(list(getattr(node, kind))) for kind in kinds}


def wait_for_threads(before):
    deadline = time.monotonic() + 5.0
    while threads() != before:
        assert time.monotonic() < deadline, f'{threads()} and not {before}'
        time.sleep(0.01)


def works(node):
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    node.wake()
    return node.active and node.status().rate_bps > 0


@pytest.mark.parametrize('kind', [LinkRobot, LinkGround])
def test_a_port_in_use_leaves_nothing_and_is_taken_when_it_is_free(make, tmp_path, kind):
    key_file.create(tmp_path / 'link.key')
    before = threads()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', 0))
        local = f'127.0.0.1:{other.getsockname()[1]}'
        node = make(kind, local=local, key_file=str(tmp_path / 'link.key'))
        fresh = opened(node)
        assert node.trigger_configure() == FAILURE
        assert opened(node) == fresh
        wait_for_threads(before)
    assert works(node)
    node.trigger_deactivate()
    node.trigger_cleanup()
    wait_for_threads(before)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', int(local.rpartition(':')[2])))  # given back


@pytest.mark.parametrize('kind', [LinkNode, LinkRobot, LinkGround])
def test_a_bad_key_leaves_nothing_and_a_good_one_works(make, tmp_path, kind):
    path, before = tmp_path / 'link.key', threads()
    more = {} if kind is LinkNode else {'local': '127.0.0.1:0'}
    node = make(kind, key_file=str(path), **more)
    fresh = opened(node)
    for spoil in (lambda: None, lambda: path.write_text('00\n'), lambda: path.chmod(0o644)):
        spoil()
        assert node.trigger_configure() == FAILURE
        assert opened(node) == fresh
        wait_for_threads(before)
    path.unlink()
    key_file.create(path)
    assert works(node)


@pytest.mark.parametrize('kind', [LinkNode, LinkRobot, LinkGround])
@pytest.mark.parametrize('opening', ['create_subscription', 'create_timer'])
def test_an_activation_that_fails_at_any_step_leaves_nothing_half_started(make, kind, opening):
    more = {} if kind is LinkNode else {'local': '127.0.0.1:0'}
    node = make(kind, security=False, **more)
    assert node.trigger_configure() == SUCCESS
    configured, before, create = opened(node), threads(), getattr(node, opening)
    failures = 0
    for step in range(20):
        calls = iter(range(20))

        def failing(*words, calls=calls, step=step, **more):
            if next(calls) == step:
                raise OSError('no more of them')
            return create(*words, **more)

        setattr(node, opening, failing)
        result = node.trigger_activate()
        setattr(node, opening, create)
        if result == SUCCESS:
            break
        failures += 1
        assert result == FAILURE and not node.active
        assert opened(node) == configured
        wait_for_threads(before)
    assert failures >= 3
    node.wake()
    assert node.active and node.status().rate_bps > 0


@pytest.mark.parametrize('kind', [LinkNode, LinkRobot, LinkGround])
def test_status_and_diagnostics_change_nothing(make, kind):
    more = {} if kind is LinkNode else {'local': '127.0.0.1:0'}
    node = make(kind, security=False, **more)
    assert works(node)
    clock = node.get_clock()
    node.get_clock = lambda: SimpleNamespace(
        now=lambda: clock.now() - Duration(seconds=3600), ros_time_is_active=False
    )
    before = node.session, node.time_ns, list(node._history)
    for _ in range(3):
        assert node.status().session == node.session
        node.diagnose()
    assert (node.session, node.time_ns, list(node._history)) == before
    node.wake()  # which sees that the clock was set back
    assert node.session != before[0]
