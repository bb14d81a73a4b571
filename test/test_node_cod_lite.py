"""Preset cod_lite at the nodes: a frame names its preset, and each end has its checkpoint."""

import numpy as np
import pytest
from bench import coded, image, info
from gsc_ros.msg import SemanticFrame
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import String
from test_cod_lite import save

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.trust import UNPROVEN
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.ros import convert, topics


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return str(save(tmp_path_factory.mktemp('cod_lite')))


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', threads=1, device='cpu')


def message_of(path):
    """Make a frame of preset cod_lite."""
    lite = SemanticCodec.load('cod_lite', path, device='cpu')
    message = SemanticFrame(sequence=1, preset='cod_lite', model_fingerprint=lite.fingerprint)
    message.header.frame_id = 'camera_optical_frame'
    message.header.stamp.sec = 1_700_000_000
    message.width, message.height = 96, 64
    message.data = lite.encode(convert.to_rgb(image(0)), 60).data
    return message


def test_the_decoder_takes_the_preset_from_the_frame(bench, codec, checkpoint):
    for topic in (topics.DECODED, topics.DECODED_DEPTH, topics.TRUST):
        bench.subscribe(Image, topic)
    bench.subscribe(String, topics.CAPTION)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    node = bench.add(Decoder, weights='random', device='cpu', cod_lite=checkpoint)
    bench.wait(frames.get_subscription_count)
    frame = message_of(checkpoint)
    bench.wait(lambda: bench.got[topics.DECODED_DEPTH] or frames.publish(frame))
    # All came, and nothing is proven of such images.
    assert set(convert.to_array(bench.got[topics.TRUST][0]).flat) == {round(255 * UNPROVEN)}
    assert bench.got[topics.DECODED_DEPTH][0].header == frame.header
    assert bench.got[topics.CAPTION][0].data.startswith('seen on the ground: ')
    assert bench.wait_for_report('decoder', lambda lv, m, v: v['preset'] == 'cod_lite')
    # And the next frame may be of another one.
    bench.publish_until(lambda: frames.publish(coded(codec)), 'decoder', lambda v: True)
    bench.wait_for_report('decoder', lambda lv, m, v: v['preset'] == 'gsc')
    assert not bench.got[topics.CAPTION][-1].data.startswith('seen')
    assert set(node._decoders) == {'gsc', 'cod_lite'}


def test_a_decoder_without_the_weights_says_so_and_lives(bench, codec, checkpoint):
    bench.subscribe(Image, topics.DECODED)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    bench.add(Decoder, weights='random', device='cpu')
    bench.wait(frames.get_subscription_count)
    frame = message_of(checkpoint)
    bench.publish_until(
        lambda: frames.publish(frame), 'decoder', lambda v: v['frames_rejected'] > 0
    )
    assert 'preset cod_lite has no weights in the package' in bench.report('decoder')[1]
    assert not bench.got[topics.DECODED]
    bench.wait(lambda: bench.got[topics.DECODED] or frames.publish(coded(codec)))


def test_the_encoder_sends_frames_of_the_preset(bench, checkpoint):
    bench.subscribe(SemanticFrame, topics.CODED)
    images = bench.peer.create_publisher(Image, topics.IMAGE, topics.IMAGES)
    bench.add(
        Encoder, preset='cod_lite', cod_lite=checkpoint, device='cpu', image_max_age_s=0.0,
        max_rate=60.0, budget_bytes=60,
    )  # fmt: skip
    bench.wait(images.get_subscription_count)
    bench.wait(lambda: bench.got[topics.CODED] or images.publish(image(0)))
    frame = bench.got[topics.CODED][0]
    assert (frame.preset, frame.frame_type, frame.divisible) == ('cod_lite', frame.KEY, True)
    assert len(frame.data) <= 60
    decoded = SemanticCodec.load('cod_lite', checkpoint, device='cpu').decode(bytes(frame.data))
    assert decoded.rgb.shape == (64, 96, 3)
    assert np.isin(decoded.trust, (0, round(255 * UNPROVEN))).all()
    assert info().width == 96


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [
        ({}, 'preset cod_lite has no weights in the package'),
        ({'cod_lite': '/no/such.pt'}, '/no/such.pt: no such file or folder'),
    ],
)
def test_an_encoder_without_the_weights_is_not_configured(bench, capfd, parameters, text):
    node = bench.add(Encoder, autostart=False, preset='cod_lite', **parameters)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert f'not configured: {text}' in capfd.readouterr().err
