"""Diagnostics: one face, whoever publishes them, and typed messages with the same content."""

import sys
import threading
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from gsc_ros.msg import DecoderStatus, EncoderStatus
from rclpy.lifecycle import TransitionCallbackReturn

from gsc_ros.nodes.clock import ClockNode
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.paths import config_dir
from gsc_ros.ros import diagnostics, topics

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.node_topics import NODES


@pytest.fixture(params=[False, True], ids=['our publisher', 'diagnostic_updater'])
def publisher(request, monkeypatch):
    if request.param:
        pytest.importorskip('diagnostic_updater')
    else:
        monkeypatch.setattr(diagnostics, 'diagnostic_updater', None)


def test_names_levels_and_values_are_the_same_whoever_publishes(publisher, bench):
    node = bench.add(ClockNode, speed=2, start_s=5)
    name = f'{bench.namespace.strip("/")}/clock: gsc_ros'

    def status():
        found = [s for a in bench.got['/diagnostics'] for s in a.status if s.name == name]
        return next((s for s in reversed(found) if s.values), None)

    bench.wait(status, name)
    found = status()
    assert (found.level, found.message, found.hardware_id) == (
        DiagnosticStatus.OK,
        'ok',
        'gsc_ros',
    )
    assert [value.key for value in found.values] == ['speed', 'simulated s']
    assert found.values[0].value == '2'
    # All can be done again.
    success = TransitionCallbackReturn.SUCCESS
    assert node.trigger_deactivate() == success
    assert node.trigger_cleanup() == success
    bench.got['/diagnostics'].clear()
    assert node.trigger_configure() == success
    bench.wait(status, name)
    assert node.count_publishers('/diagnostics') == 1


def test_one_thread_may_add_to_a_rate_while_another_reads_it():
    """Without a lock reading fails: the events change while they are summed up."""
    rate, added, stop = diagnostics.Rate(window=1000.0), 0, threading.Event()

    def add():
        nonlocal added
        while not stop.is_set():
            rate.add(float(added))
            added += 1

    thread, before = threading.Thread(target=add), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while added < 20_000:
            assert rate.per_second(0.0) >= 0
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ('kind', 'message', 'topic', 'reason'),
    [
        (Encoder, EncoderStatus, topics.ENCODER_STATUS, 'no images'),
        (Decoder, DecoderStatus, topics.DECODER_STATUS, 'no frames'),
    ],
)
def test_the_state_is_published_as_a_message_of_the_same_fields(
    bench, kind, message, topic, reason
):
    node = bench.add(kind, weights='random')
    bench.wait_for_report(node.get_name(), lambda lv, m, v: reason in m)
    # Latched: whoever comes later has the last one at once.
    bench.subscribe(message, topic, topics.LATCHED)
    bench.wait(lambda: bench.got[topic], topic)
    status = bench.got[topic][-1]
    assert status.level == message.STALE
    assert reason in status.message
    assert status.device == 'cpu'
    _, _, values = bench.report(node.get_name())
    fields = set(message.get_fields_and_field_types()) - {'header', 'level', 'message'}
    assert set(values) == fields


def test_each_node_is_in_one_group_of_the_aggregator():
    """As GenericAnalyzer of diagnostic_aggregator matches names: any of `contains` is in it."""
    file = yaml.safe_load((config_dir() / 'diagnostics.yaml').read_text())
    analysers = {
        name: one
        for name, one in file['analyzers']['ros__parameters'].items()
        if isinstance(one, dict)
    }
    reporting = {n for n, i in NODES.items() if any(t.name == '/diagnostics' for t in i.publishes)}
    found = {}
    for node in reporting:
        for prefix in ('', 'field/rover/'):
            name = f'{prefix}{node}: {diagnostics.NAME}'
            groups = [g for g, a in analysers.items() if any(c in name for c in a['contains'])]
            assert len(groups) == 1, name
            found[node] = groups[0]
    assert set(found.values()) == set(analysers)
    assert found['encoder'] == found['link_robot'] == 'robot'
    assert found['decoder'] == found['link_ground'] == 'ground'
    assert all(a['type'].startswith('diagnostic_aggregator/') for a in analysers.values())
