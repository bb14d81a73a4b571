"""Foundation models of perception at the nodes."""

import numpy as np
import pytest
import torch
from bench import coded, info
from gsc_ros.msg import SemanticFrame
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from gsc_ros.codec import SemanticCodec
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.perception.choice import Chosen
from gsc_ros.ros import convert, topics

pytest.importorskip('transformers')
tiny = pytest.importorskip('tiny_models')


@pytest.fixture(scope='module')
def depth_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp('depth')
    torch.manual_seed(0)
    tiny.depth_anything().save_pretrained(folder)
    (folder / 'preprocessor_config.json').write_text('{"size": {"height": 56, "width": 56}}')
    return folder


def test_the_decoder_publishes_the_depth_of_a_model(bench, depth_model):
    codec = SemanticCodec.load(weights='random', threads=1, device='cpu')
    bench.subscribe(Image, topics.DECODED_DEPTH)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    bench.add(Decoder, weights='random', device='cpu', perception=f'depth={depth_model}')
    bench.wait(frames.get_subscription_count)
    frame = coded(codec)
    bench.wait(lambda: bench.got[topics.DECODED_DEPTH] or frames.publish(frame))
    message = bench.got[topics.DECODED_DEPTH][0]
    assert message.header == frame.header
    seen = convert.to_array(message)
    plain = codec.decode(bytes(frame.data)).depth
    known = np.isfinite(seen) & np.isfinite(plain)
    assert known.any()
    assert not np.allclose(seen[known], plain[known])
    assert info().width == message.width


@pytest.mark.parametrize('kind', [Encoder, Decoder])
def test_a_model_that_is_not_there_stops_a_node_at_configure(bench, kind, capfd):
    node = bench.add(kind, autostart=False, weights='random', perception='depth=/no/such')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    text = capfd.readouterr().err
    assert 'not configured: /no/such: no such folder' in text


def test_the_encoder_sees_by_a_model(bench, depth_model):
    node = bench.add(Encoder, autostart=False, weights='random', perception=f'depth={depth_model}')
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    perception = node._encoder.encoder.networks.analyser.perception
    assert isinstance(perception, Chosen)
    assert perception.depth is not None and perception.classes is None
