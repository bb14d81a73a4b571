"""Encoder and decoder nodes with preset ``foundation``: its folder, and what they say without."""

import numpy as np
import pytest
from bench import image
from gsc_ros.msg import SemanticFrame
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import String
from tiny_vae import make, scene

from gsc_ros.codec.backend import load_encoder
from gsc_ros.codec.trust import UNPROVEN
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.ros import convert, topics


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return str(make(tmp_path_factory.mktemp('foundation')))


def frame_of(folder):
    """A coded frame, as the robot's link hands it on."""
    encoder = load_encoder('foundation', folder, device='cpu')
    made = encoder.pack(encoder.analyse(scene(1), text='A red car.'), 200)
    return SemanticFrame(
        header=image().header,
        frame_type=made.header.frame_type,
        preset='foundation',
        model_fingerprint=encoder.fingerprint,
        width=96,
        height=64,
        data=made.data,
        divisible=made.divisible,
    )


def test_the_encoder_codes_with_a_folder(bench, folder):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(Encoder, preset='foundation', foundation=folder, max_rate=60.0, device='cpu')
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(publisher.get_subscription_count, 'the encoder subscribes')
    message = convert.to_image(scene(2), 'rgb8', image().header)
    bench.wait(lambda: publisher.publish(message) or bench.got[topics.CODED], 'a frame')
    frame = bench.got[topics.CODED][0]
    assert (frame.preset, frame.divisible) == ('foundation', True)
    assert 200 < len(frame.data) <= 300


def test_the_decoder_draws_such_frames_and_says_what_is_missing(bench, folder):
    bench.subscribe(Image, topics.DECODED)
    bench.subscribe(Image, topics.TRUST)
    bench.subscribe(String, topics.CAPTION)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    node = bench.add(Decoder, weights='random', device='cpu')
    bench.wait(frames.get_subscription_count)
    for topic in (topics.DECODED, topics.TRUST):
        bench.wait(lambda topic=topic: bench.peer.count_publishers(f'{bench.namespace}/{topic}'))
    frame = frame_of(folder)
    bench.publish_until(
        lambda: frames.publish(frame), 'decoder', lambda v: v['frames_rejected'] >= 1
    )
    assert 'parameter `foundation`' in bench.report('decoder')[1]
    assert not bench.got[topics.DECODED]
    bench.remove(node)
    bench.add(Decoder, weights='random', foundation=folder, device='cpu')
    bench.wait(lambda: frames.publish(frame) or bench.got[topics.DECODED], 'an image')
    shown = convert.to_rgb(bench.got[topics.DECODED][0])
    assert shown.shape == (64, 96, 3)
    assert bench.got[topics.CAPTION][-1].data.startswith('A red car.')
    bench.wait(lambda: bench.got[topics.TRUST], 'trust')
    trust = np.frombuffer(bench.got[topics.TRUST][0].data, np.uint8)
    assert trust.max() == round(255 * UNPROVEN)  # of what came; nothing is proven of such images


def test_an_encoder_without_the_folder_names_the_parameter(bench, capfd):
    node = bench.add(Encoder, preset='foundation', device='cpu', autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    bench.wait(lambda: 'set the parameter `foundation`' in capfd.readouterr().err, 'the reason')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE  # it lives
