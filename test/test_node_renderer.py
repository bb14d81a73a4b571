"""The renderer of the decoder node: named in its state, loaded meanwhile, and done without."""

import shutil

import pytest
from bench import coded
from diagnostic_msgs.msg import DiagnosticStatus
from gsc_ros.msg import SemanticFrame
from sensor_msgs.msg import Image

from gsc_ros.codec import SemanticCodec, fallback
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.ros import topics


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', threads=1)


@pytest.fixture
def decoding(bench):
    """Return a function that starts a decoder, and returns a publisher of its frames."""
    bench.subscribe(Image, topics.DECODED)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)

    def start(**parameters):
        node = bench.add(Decoder, weights='random', device='cpu', **parameters)
        bench.wait(frames.get_subscription_count)
        bench.wait(lambda: bench.peer.count_publishers(f'{bench.namespace}/{topics.DECODED}'))
        return node, frames

    return start


@pytest.mark.parametrize(
    ('parameters', 'name', 'steps'),
    [
        ({}, 'flow', 1),
        ({'steps': 0}, 'flow', 0),
        ({'steps': 2}, 'flow', 2),
        ({'renderer': 'deterministic'}, 'deterministic', 0),
        ({'renderer': 'flow'}, 'flow', 1),
    ],
)
def test_the_state_names_the_renderer(bench, decoding, codec, parameters, name, steps):
    _, frames = decoding(**parameters)
    frame = coded(codec)
    values = bench.publish_until(
        lambda: frames.publish(frame), 'decoder', lambda v: v['frames_decoded'] > 0
    )
    values = bench.report('decoder')[2]
    assert (values['renderer'], values['steps']) == (name, str(steps))


def test_steps_that_the_renderer_does_not_take_are_refused_at_the_start(bench):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = bench.add(Decoder, autostart=False, weights='random', renderer='deterministic', steps=2)
    assert node.trigger_configure() != TransitionCallbackReturn.SUCCESS


def test_steps_that_the_renderer_does_not_take_are_refused_at_run_time(bench):
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    node = bench.add(Decoder, autostart=False, weights='random', renderer='deterministic')
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    (refused,) = node.set_parameters([Parameter('steps', value=2)])
    assert not refused.successful and 'deterministic takes no steps' in refused.reason
    assert node.values.steps == -1
    (taken,) = node.set_parameters([Parameter('steps', value=0)])
    assert taken.successful and node.values.steps == 0


def test_a_model_that_is_missing_leaves_images_and_comes_back(
    bench, decoding, codec, tmp_path, monkeypatch
):
    tiny_pipelines = pytest.importorskip('tiny_pipelines')
    monkeypatch.setattr(fallback, 'RETRY_S', 0.0)
    source = tiny_pipelines.save('Z-Image', tmp_path / 'source')
    folder = tmp_path / 'model'
    _, frames = decoding(renderer=str(folder), renderer_offline=True)
    frame = coded(codec)

    def missing(level, message, values):
        frames.publish(frame)
        return level == DiagnosticStatus.WARN and 'there is no such folder' in message

    _, message, values = bench.wait_for_report('decoder', missing, 'missing')
    assert 'images are deterministic' in message and values['renderer'] == 'deterministic'
    bench.wait(lambda: frames.publish(frame) or bench.got[topics.DECODED])
    shutil.copytree(source, folder)

    def back(level, message, values):
        frames.publish(frame)
        return values['renderer'] == str(folder) and 'renderer' not in message

    bench.wait_for_report('decoder', back, 'back')
