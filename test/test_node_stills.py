"""A still through camera, encoder and link: asked for, encoded, sent in parts, put together."""

import io
import time

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import features
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, Empty, Float32, Header, String

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
    assert stills.link.ground._stills[0].receiver.dropped == 0
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


class Camera:
    """A camera and its encoder beside a link of several: an image, and what comes of it."""

    def __init__(self, bench, name, size):
        self.name, self.bench, self.size = name, bench, size
        for kind, topic in (
            (CompressedImage, topics.DECODED_STILL),
            (String, topics.STILL_STATE),
            (Empty, topics.STILL_WANTED),
        ):
            quality = topics.NEWEST if kind is Empty else topics.LATCHED
            bench.subscribe(kind, f'{name}/{topic}', quality)
        make = bench.peer.create_publisher
        self.images = make(Image, f'{name}/{topics.IMAGE}', topics.SENSOR)
        self.asks = make(Empty, f'{name}/{topics.STILL}', topics.NEWEST)

    def got(self, topic):
        return self.bench.got[f'{self.name}/{topic}']

    def show(self):
        header = Header(frame_id=f'{self.name}_optical')
        header.stamp.sec = 1_700_000_000
        self.images.publish(convert.to_image(scene(*self.size), 'rgb8', header))


@pytest.fixture
def two(bench):
    cameras = Camera(bench, 'front', (320, 240)), Camera(bench, 'rear', (96, 64))
    for camera in cameras:
        rule = f'__ns:={bench.namespace}/{camera.name}'
        bench.add(Encoder, [rule], weights='random', still_bytes=2000)
    bench.link = bench.add(LinkNode, profile='ideal', security=False, cameras='front,rear')
    for camera in cameras:
        bench.wait(lambda c=camera: c.images.get_subscription_count())
        bench.wait(lambda c=camera: c.asks.get_subscription_count())
        for topic in (topics.STILL_WANTED, topics.STILL_CODED):
            name = f'{bench.namespace}/{camera.name}/{topic}'
            bench.wait(lambda name=name: bench.link.count_subscribers(name))
    bench.wait(lambda: bench.link.down.receiver.session, 'the ground knows the robot')
    return bench, cameras


def test_a_still_is_of_the_camera_that_is_asked(two):
    bench, (front, rear) = two

    def comes(camera):
        for one in (front, rear):
            one.show()
        time.sleep(0.05)
        return camera.got(topics.DECODED_STILL)

    bench.wait(lambda: rear.show() or front.show() or bench.link.ground.cameras[1].delivered)
    rear.asks.publish(Empty())
    bench.wait(lambda: comes(rear), 'the still of the rear')
    assert not front.got(topics.DECODED_STILL) and not front.got(topics.STILL_WANTED)
    (still,) = rear.got(topics.DECODED_STILL)
    assert still.header.frame_id == 'rear_optical'
    with PillowImage.open(io.BytesIO(bytes(still.data))) as image:
        assert image.size == (96, 64)
    bench.wait(lambda: rear.got(topics.STILL_STATE)[-1].data == 'complete')
    assert front.got(topics.STILL_STATE)[-1].data == 'none'
    for one in (front, rear):
        one.asks.publish(Empty())
    bench.wait(lambda: comes(front) and len(rear.got(topics.DECODED_STILL)) == 2, 'both at once')
    with PillowImage.open(io.BytesIO(bytes(front.got(topics.DECODED_STILL)[0].data))) as image:
        assert image.width * 3 == image.height * 4
    assert bench.link.refused == 0
    assert sum(one.receiver.dropped for one in bench.link.ground._stills) == 0


def test_a_camera_that_stops_holds_up_neither_the_other_still_nor_a_stop(two):
    """The rear is asked for a still that never comes; the front's comes, and STOP at once."""
    bench, (front, rear) = two
    stop = bench.peer.create_publisher(Bool, topics.STOP, topics.NEWEST)
    bench.wait(stop.get_subscription_count)
    rear.asks.publish(Empty())
    bench.wait(lambda: rear.got(topics.STILL_WANTED), 'its encoder is asked')
    front.asks.publish(Empty())
    bench.wait(lambda: front.show() or front.got(topics.DECODED_STILL), 'the still of the front')
    stop.publish(Bool(data=True))
    bench.wait(lambda: bench.link.robot.commands.gate.held, 'STOP')
    assert rear.got(topics.STILL_STATE)[-1].data == 'asked'
    assert not rear.got(topics.DECODED_STILL)
