"""The lifecycle: what fails half-way leaves nothing behind, and parameters change as a whole."""

import threading
import weakref
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bench import image
from gsc_ros.msg import SemanticFrame
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from gsc_ros.nodes.camera import Camera
from gsc_ros.nodes.clock import ClockNode
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.nodes.monitor import Monitor
from gsc_ros.ros import topics
from gsc_ros.ros.lifecycle import Opened

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
OPENERS = 'create_publisher', 'create_subscription', 'create_timer'
MOST = 40  # things that a node opens in a transition


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images/0.png'), np.zeros((64, 64, 3), np.uint8))
    return tmp_path


@pytest.fixture
def node_of(ros, folder):
    """Make a node that waits for its transitions."""
    parameters = {
        Camera: {'source': 'images', 'path': str(folder / 'images')},
        Encoder: {'weights': 'random', 'rectify': True, 'use_depth': True},
        Decoder: {'weights': 'random'},
        Monitor: {'output': str(folder / 'run'), 'bag': False},
        ClockNode: {},
    }
    made = []

    def make(kind, **more):
        values = {'autostart': False, **parameters[kind], **more}
        overrides = [Parameter(key, value=value) for key, value in values.items()]
        made.append(kind(context=ros, parameter_overrides=overrides))
        return made[-1]

    yield make
    for node in made:
        node.close()
        node.destroy_node()


def test_what_was_open_before_is_told_apart_by_itself():
    node = SimpleNamespace(subscriptions=[], timers=[], guards=[], services=[])
    closed, before = [], Broken()
    node.publishers, node.clients, node.destroy_publisher = [before], [], closed.append
    opened, gone = Opened(node), weakref.ref(before)
    node.publishers.clear()
    del before
    assert gone()  # else its id may be that of a newer publisher
    node.publishers.append(newer := Broken())
    opened.close()
    assert closed == [newer] and not gone()


class Broken(Exception):
    """Of no kind that anybody expects."""


class Failing:
    """Lets the n-th thing fail that is opened: a publisher, subscription, timer or thread."""

    def __init__(self, monkeypatch):
        self.left = MOST
        for name in OPENERS:
            self._wrap(monkeypatch, Node, name)
        self._wrap(monkeypatch, threading.Thread, 'start')

    def _wrap(self, monkeypatch, owner, name):
        real = getattr(owner, name)

        def opening(*args, **options):
            self.left -= 1
            if self.left == 0:
                raise Broken(f'{name} fails')
            return real(*args, **options)

        monkeypatch.setattr(owner, name, opening)


def opened(node):
    """Return all that a node has open, and the threads of the process."""
    entities = [*node.publishers, *node.subscriptions, *node.timers, *node.guards]
    return [id(one) for one in entities], sorted(map(id, threading.enumerate()))


kinds = pytest.mark.parametrize('kind', [Camera, Encoder, Decoder, Monitor, ClockNode])


@kinds
def test_an_activation_that_fails_anywhere_leaves_nothing_and_a_later_one_works(
    node_of, kind, monkeypatch, capfd
):
    node = node_of(kind)
    assert node.trigger_configure() == SUCCESS
    failing, failures = Failing(monkeypatch), 0
    before = opened(node)
    for n in range(1, MOST):
        failing.left = n
        if node.trigger_activate() == SUCCESS:
            break
        failures += 1
        assert not node.active
        assert opened(node) == before
        assert 'not activated: ' in capfd.readouterr().err
    assert failures and node.active
    failing.left = MOST
    assert node.trigger_deactivate() == SUCCESS
    assert opened(node) == before
    assert node.trigger_activate() == SUCCESS
    assert node.trigger_deactivate() == SUCCESS
    assert opened(node) == before


@kinds
def test_a_configuration_that_fails_anywhere_leaves_nothing_and_a_later_one_works(
    node_of, kind, monkeypatch, capfd
):
    node = node_of(kind)
    # Loading networks starts threads of torch, once in a process.
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_cleanup() == SUCCESS
    failing, failures = Failing(monkeypatch), 0
    before = opened(node)
    for n in range(1, MOST):
        failing.left = n
        if node.trigger_configure() == SUCCESS:
            break
        failures += 1
        assert node.diagnostics is None
        assert opened(node) == before
        assert 'not configured: ' in capfd.readouterr().err
    assert failures and node.diagnostics is not None
    failing.left = MOST
    assert node.trigger_cleanup() == SUCCESS
    assert opened(node) == before


# Restart


class Slow:
    """Lets an encoder code until it is released."""

    def __init__(self, node):
        self.begun, self.release = threading.Event(), threading.Event()
        real = node._encoder.encode

        def encode(*args):
            frame = real(*args)
            self.begun.set()
            assert self.release.wait(30)
            return frame

        node._encoder.encode = encode


@pytest.mark.parametrize('cleanup', [False, True])
def test_an_encoder_may_be_restarted_while_it_encodes(bench, cleanup):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    node = bench.add(Encoder, weights='random', max_rate=60.0, keyframe_interval=0)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    got = bench.got[topics.CODED]
    bench.wait(publisher.get_subscription_count)
    bench.wait(lambda: publisher.publish(image()) or len(got) > 1)
    assert got[-1].frame_type == SemanticFrame.DELTA
    slow = Slow(node)
    bench.wait(lambda: publisher.publish(image()) or slow.begun.is_set(), 'it encodes')
    threading.Timer(0.3, slow.release.set).start()
    assert node.trigger_deactivate() == SUCCESS
    assert slow.release.is_set()  # the frame at work was finished
    count = len(got)
    if cleanup:
        assert node.trigger_cleanup() == SUCCESS
        assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    number = node._sequence
    bench.wait(
        lambda: publisher.publish(image()) or any(f.sequence >= number for f in got[count:])
    )
    first = next(frame for frame in got[count:] if frame.sequence >= number)
    assert first.frame_type == SemanticFrame.KEY


def test_a_decoder_may_be_restarted_while_it_decodes(bench):
    from bench import coded

    from gsc_ros.codec import SemanticCodec

    bench.subscribe(Image, topics.DECODED)
    node = bench.add(Decoder, weights='random')
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    bench.wait(frames.get_subscription_count)
    bench.wait(node._output.images[topics.DECODED].get_subscription_count)
    codec = SemanticCodec.load(weights='random', threads=1)
    begun, release = threading.Event(), threading.Event()
    (sequence,) = node._decoders.values()
    real = sequence.decode

    def decode(*args):
        begun.set()
        assert release.wait(30)
        return real(*args)

    sequence.decode = decode
    frame = coded(codec)
    bench.wait(lambda: frames.publish(frame) or begun.is_set(), 'it decodes')
    threading.Timer(0.3, release.set).start()
    assert node.trigger_deactivate() == SUCCESS
    assert release.is_set()  # the frame at work was finished
    assert node.trigger_cleanup() == SUCCESS
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    bench.got[topics.DECODED].clear()
    bench.wait(lambda: frames.publish(frame) or bench.got[topics.DECODED], 'an image again')


# Parameters


@pytest.mark.parametrize('post_set', [True, False], ids=['from Iron on', 'Humble'])
def test_parameters_are_applied_once_they_are_set(node_of, monkeypatch, post_set):
    if not post_set:
        monkeypatch.delattr(Node, 'add_post_set_parameters_callback')
    node = node_of(Encoder)
    assert node.trigger_configure() == SUCCESS
    seen = []
    monkeypatch.setattr(
        node,
        'parameters_changed',
        lambda: seen.append((node.values.budget_bytes, node.get_parameter('budget_bytes').value)),
    )
    assert node.set_parameters([Parameter('budget_bytes', value=100)])[0].successful
    assert seen == [(100, 100)]
    before = node.values
    result = node.set_parameters_atomically(
        [Parameter('budget_bytes', value=200), Parameter('max_rate', value=-1.0)]
    )
    assert not result.successful
    assert node.values is before
    assert node.set_parameters_atomically(
        [Parameter('budget_bytes', value=200), Parameter('max_rate', value=2.0)]
    ).successful
    assert (node.values.budget_bytes, node.values.max_rate) == (200, 2.0)
    assert before.budget_bytes == 100  # who has it keeps it whole


def test_a_change_that_another_callback_refuses_is_not_applied(node_of):
    from rcl_interfaces.msg import SetParametersResult

    node = node_of(Encoder)
    assert node.trigger_configure() == SUCCESS
    node.add_on_set_parameters_callback(
        lambda _: SetParametersResult(successful=False, reason='not today')
    )
    node._on_set_parameters_callbacks.sort(key=lambda callback: callback != node._validate)
    assert not node.set_parameters([Parameter('budget_bytes', value=100)])[0].successful
    assert node.values.budget_bytes == 300


def test_an_old_name_of_a_parameter_works_with_a_warning(node_of, capfd):
    node = node_of(Encoder, key_every=7)
    assert node.trigger_configure() == SUCCESS
    assert node.values.keyframe_interval == 7
    text = capfd.readouterr().err
    assert 'parameter key_every is now called keyframe_interval' in text
    assert 'unknown' not in text
    both = node_of(Encoder, key_every=7, keyframe_interval=8)
    assert both.trigger_configure() == SUCCESS
    assert both.values.keyframe_interval == 8


def test_a_parameter_of_no_effect_is_warned_of(node_of, capfd):
    node = node_of(Decoder, preset='gsc')
    assert node.trigger_configure() == SUCCESS
    assert 'parameter preset is not used any more' in capfd.readouterr().err
