"""A still through camera, encoder and link: asked for, encoded, sent in parts, put together."""

import io
import time

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import features
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty, Float32, Header, String

from gsc_ros.nodes.encoder import Encoder
from gsc_ros.nodes.link import LinkNode
from gsc_ros.ros import convert, topics
from gsc_ros.stills import encode_within


def scene(width=320, height=240):
    v, u = np.mgrid[:height, :width]
    noise = np.random.default_rng(3).integers(0, 60, (height, width))
    return np.dstack([u % 256, v % 256, (u + v + noise) % 256]).astype(np.uint8)


@pytest.mark.parametrize('form', ['auto', 'webp'])
@pytest.mark.parametrize('most', [16384, 4000, 700])
def test_an_image_becomes_as_good_a_file_as_fits(form, most):
    rgb = scene()
    data, found = encode_within(rgb, most, form)
    best = 'avif' if features.check('avif') else 'webp'
    assert len(data) <= most and found == (best if form == 'auto' else form)
    with PillowImage.open(io.BytesIO(data)) as image:
        assert image.format == found.upper()
        assert image.width * 3 == image.height * 4
        read = np.asarray(image.convert('RGB').resize((320, 240)))
    error = np.abs(read.astype(int) - rgb).mean()
    assert error < (25 if most == 16384 else 60)


def test_an_image_that_is_small_already_is_kept():
    data, _ = encode_within(scene(64, 24), 4000)
    with PillowImage.open(io.BytesIO(data)) as image:
        assert image.size == (64, 24)


def test_what_fits_nowhere_is_said():
    with pytest.raises(ValueError, match='no image of 320x240 fits into 20 bytes'):
        encode_within(scene(), 20)


@pytest.fixture
def stills(bench):
    for kind, topic in (
        (CompressedImage, topics.DECODED_STILL),
        (String, topics.STILL_STATE),
        (Float32, topics.STILL_PROGRESS),
    ):
        bench.subscribe(kind, topic, topics.LATCHED)
    bench.images = bench.peer.create_publisher(Image, topics.IMAGE, topics.SENSOR)
    bench.asks = bench.peer.create_publisher(Empty, topics.STILL, topics.NEWEST)
    bench.encoder = bench.add(Encoder, weights='random', still_bytes=2000)
    bench.link = bench.add(LinkNode, profile='ideal', security=False)
    bench.wait(bench.images.get_subscription_count)
    bench.wait(bench.asks.get_subscription_count)
    bench.wait(lambda: bench.link.count_subscribers(f'{bench.namespace}/{topics.STILL_WANTED}'))
    bench.wait(lambda: bench.encoder.count_subscribers(f'{bench.namespace}/{topics.STILL_CODED}'))
    bench.wait(lambda: bench.link.down.receiver.session, 'the ground knows the robot')
    return bench


def _last(bench, topic):
    return bench.got[topic][-1].data if bench.got[topic] else None


def show(bench, second):
    header = Header(frame_id='camera_optical_frame')
    header.stamp.sec, header.stamp.nanosec = second, 123_456_789
    bench.images.publish(convert.to_image(scene(), 'rgb8', header))


def test_a_still_comes_with_the_robots_stamp_and_its_progress(stills):
    for second in (1_700_000_000, 1_700_000_100):
        came = len(stills.got[topics.DECODED_STILL])
        for _ in range(10):  # those of before are through
            show(stills, second)
            time.sleep(0.1)
        stills.asks.publish(Empty())

        def comes(came=came, second=second):
            show(stills, second)
            time.sleep(0.05)
            return len(stills.got[topics.DECODED_STILL]) > came

        stills.wait(comes, 'the still comes')
        still = stills.got[topics.DECODED_STILL][-1]
        assert (still.header.stamp.sec, still.header.stamp.nanosec) == (second, 123_456_789)
        assert still.format in ('avif', 'webp') and len(still.data) <= 2000
        with PillowImage.open(io.BytesIO(bytes(still.data))) as image:
            assert image.format == still.format.upper()
        for topic, last in ((topics.STILL_STATE, 'complete'), (topics.STILL_PROGRESS, 1.0)):
            stills.wait(lambda topic=topic, last=last: _last(stills, topic) == last)
    assert stills.link.ground._stills.receiver.dropped == 0
    assert not stills.link.refused


def test_a_robot_without_a_camera_is_said_and_others_stills_are_refused(stills):
    stills.asks.publish(Empty())
    stills.wait(lambda: 'asked' in [one.data for one in stills.got[topics.STILL_STATE]])
    coded = stills.peer.create_publisher(CompressedImage, topics.STILL_CODED, topics.NEWEST)
    stills.wait(coded.get_subscription_count)
    coded.publish(CompressedImage(format='avif', data=b'\0\0\0\x20ftypavif' + bytes(20_000)))
    stills.wait(lambda: stills.link.refused, 'too large')
    coded.publish(CompressedImage(format='png', data=b'\x89PNG and more'))
    stills.wait(lambda: stills.link.refused == 2, 'neither AVIF nor WebP')
    assert not stills.got[topics.DECODED_STILL]
    assert _last(stills, topics.STILL_STATE) != 'complete'
