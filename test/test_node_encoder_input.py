"""What the encoder takes of a camera: forms of images, lost ones, depth, rectification."""

import numpy as np
import pytest
from bench import image, info
from diagnostic_msgs.msg import DiagnosticStatus
from gsc_ros.msg import SemanticFrame
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from gsc_ros.codec import bitstream
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.ros import convert, topics
from gsc_ros.ros.images.camera_info import Rectifier

# For images whose stamps and pixels do not change.
ANY_TIME = {'image_max_age_s': 0.0, 'frozen_after_s': 0.0}


def test_compressed_images_are_taken(bench):
    import cv2

    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(Encoder, weights='random', image_transport='compressed')
    publisher = bench.peer.create_publisher(CompressedImage, f'{topics.IMAGE}/compressed', 10)
    bench.wait(publisher.get_subscription_count)
    data = cv2.imencode('.jpg', convert.to_rgb(image()))[1].tobytes()
    message = CompressedImage(header=image().header, format='jpeg', data=data)
    bench.wait(lambda: publisher.publish(message) or bench.got[topics.CODED])
    assert bench.got[topics.CODED][0].header == message.header


def jpeg(message):
    import cv2

    bgr = np.ascontiguousarray(convert.to_rgb(message)[..., ::-1])
    data = cv2.imencode('.jpg', bgr)[1].tobytes()
    return CompressedImage(header=message.header, format='jpeg', data=data)


@pytest.mark.parametrize(
    ('remappings', 'topic'),
    [
        (['camera/image:=/front/image_raw'], '/front/image_raw/compressed'),
        (['camera/image:=front/image_raw'], 'front/image_raw/compressed'),
        (['camera/image:=/front/image_raw/compressed'], '/front/image_raw/compressed'),
        (['camera/image/compressed:=/front/jpegs'], '/front/jpegs'),
        (['camera/image:=/no', 'camera/image/compressed:=/front/jpegs'], '/front/jpegs'),
    ],
)
def test_a_remapped_topic_has_its_compressed_one(bench, remappings, topic):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(Encoder, remap=remappings, weights='random', image_transport='compressed')
    publisher = bench.peer.create_publisher(CompressedImage, topic, 10)
    bench.wait(publisher.get_subscription_count, topic)
    bench.wait(lambda: publisher.publish(jpeg(image())) or bench.got[topics.CODED])


def test_lost_images_are_reported_with_the_remedy(encoding):
    bench, _, publisher = encoding
    number = 0

    def three_of_four_lost(level, message, values):
        nonlocal number
        if number % 4 == 0 or number % 7 == 1:
            publisher.publish(image(stamp=(1000 + number // 10, number % 10 * 10**8)))
        number += 1
        return (
            level == DiagnosticStatus.WARN
            and 'images are lost between camera and encoder' in message
            and 'fastdds_shm.xml' in message
            and int(values['images_lost']) > 5
        )

    bench.wait_for_report('encoder', three_of_four_lost, 'lost images')


def test_a_reliable_subscriber_takes_reliable_cameras(bench):
    bench.add(Encoder, weights='random', image_qos='reliable', stale_after_s=0.5)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, topics.SENSOR)
    bench.wait_for_report('encoder', lambda lv, m, v: 'is best effort' in m, 'best effort')
    bench.peer.destroy_publisher(publisher)
    reliable = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(reliable.get_subscription_count)
    bench.publish_until(
        lambda: reliable.publish(image()), 'encoder', lambda v: v['images_received'] > 0
    )


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_the_other_form_of_the_images_is_found(bench, transport):
    bench.add(Encoder, weights='random', image_transport=transport, stale_after_s=0.5)
    bench.wait_for_report('encoder', lambda lv, m, v: 'nobody publishes' in m, 'no camera')
    if transport == 'raw':
        bench.peer.create_publisher(CompressedImage, f'{topics.IMAGE}/compressed', 10)
    else:
        bench.peer.create_publisher(Image, topics.IMAGE, 10)
    other = 'compressed' if transport == 'raw' else 'raw'
    printed = f'set image_transport to {other}'
    bench.wait_for_report(
        'encoder', lambda lv, m, v: lv == DiagnosticStatus.STALE and printed in m, printed
    )


def test_thermal_images_are_stretched(bench):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    node = bench.add(Encoder, weights='random', max_rate=60.0)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(publisher.get_subscription_count)
    seen = []
    encode = node._encoder.encode
    node._encoder.encode = lambda rgb, *rest: seen.append(rgb) or encode(rgb, *rest)
    counts = np.linspace(7000, 7600, 64 * 96).reshape(64, 96).astype(np.uint16)
    message = convert.to_image(counts, 'mono16', image().header)
    bench.wait(lambda: publisher.publish(message) or seen, 'an image')
    assert (seen[-1].min(), seen[-1].max()) == (0, 255)
    # Another camera's counts have nothing to do with it.
    other = convert.to_image(counts - np.uint16(6500), '16UC1', image().header)
    seen.clear()
    bench.wait(lambda: publisher.publish(other) or len(seen) > 2, 'another')
    assert (seen[-1].min(), seen[-1].max()) == (0, 255)
    node.set_parameters([Parameter('contrast_stretch', value='off')])
    bench.wait(lambda: publisher.publish(message) or seen[-1].max() == 7600 >> 8, 'off')


# A depth sensor


def sensed(metres, size, stamp=(1700000000, 123456789)):
    header = image(stamp=stamp).header
    return convert.to_image(np.full(size[::-1], metres, np.float32), '32FC1', header)


def scale_of(frame):
    header = bitstream.read_header(bytes(frame.data))
    return bitstream.depth_of_code(header.depth_code)


@pytest.fixture
def measuring(bench):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(
        Encoder, weights='random', max_rate=60.0, use_depth=True, stale_after_s=30.0, **ANY_TIME
    )
    images = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    depths = bench.peer.create_publisher(Image, topics.DEPTH, 10)
    bench.wait(lambda: images.get_subscription_count() and depths.get_subscription_count())
    return bench, images, depths


@pytest.mark.parametrize('size', [(96, 64), (640, 480), (33, 17), (1280, 720)])
def test_a_depth_sensor_of_any_size_sets_the_scale(measuring, size):
    bench, images, depths = measuring

    def measured():
        depths.publish(sensed(2.5, size))
        images.publish(image())
        frames = bench.got[topics.CODED]
        return frames and scale_of(frames[-1]) == pytest.approx(2.5, rel=0.05)

    bench.wait(measured, 'the scale of the sensor')
    bench.wait_for_report('encoder', lambda lv, m, v: lv == DiagnosticStatus.OK, 'OK')


def test_a_sensor_that_sees_what_the_camera_sees_gives_its_map(bench):
    node = bench.add(
        Encoder, weights='random', max_rate=60.0, use_depth=True, stale_after_s=30.0, **ANY_TIME
    )
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    images = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    depths = bench.peer.create_publisher(Image, topics.DEPTH, 10)
    bench.wait(lambda: images.get_subscription_count() and depths.get_subscription_count())
    seen = []
    encode = node._encoder.encode
    node._encoder.encode = lambda rgb, budget, depth, *rest: (
        seen.append(depth) or encode(rgb, budget, depth, *rest)
    )

    def given(depth, metres):
        depths.publish(depth)
        images.publish(image())
        return seen and seen[-1] is not None and (seen[-1] == metres).all()

    bench.wait(lambda: given(sensed(3.0, (640, 480), (1700000000, 423456789)), 3.0), 'a median')
    assert seen[-1].shape == (1, 1)  # of another time
    elsewhere = sensed(4.0, (640, 480))
    elsewhere.header.frame_id = 'depth_optical_frame'
    bench.wait(lambda: given(elsewhere, 4.0), 'a median')
    assert seen[-1].shape == (1, 1)
    bench.wait(lambda: given(sensed(2.5, (640, 480)), 2.5), 'a map')
    assert seen[-1].shape == (120, 160)


@pytest.mark.parametrize(
    ('depth', 'text'),
    [
        (None, 'no depth image has come'),
        (sensed(2.5, (96, 64), (1699999990, 0)), '10.1 s older than the image'),
        (sensed(2.5, (96, 64), (1700000060, 0)), '59.9 s newer than the image'),
        (sensed(np.nan, (96, 64)), 'holds no depth'),
    ],
)
def test_depth_that_is_not_used_is_reported(measuring, depth, text):
    bench, images, depths = measuring

    def matches(level, message, values):
        if depth is not None:
            depths.publish(depth)
        images.publish(image())
        # The report may come before the first frame.
        return level == DiagnosticStatus.WARN and text in message and bench.got[topics.CODED]

    bench.wait_for_report('encoder', matches, text)
    assert scale_of(bench.got[topics.CODED][-1]) != pytest.approx(2.5, rel=0.05)


def test_topics_that_are_silent_are_named_as_they_were_remapped(bench):
    remap = ('camera/depth/image:=/front/depth', 'camera/camera_info:=/front/camera_info')
    parameters = {'use_depth': True, 'rectify': True, 'stale_after_s': 30.0, **ANY_TIME}
    bench.add(Encoder, remap, weights='random', **parameters)
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    images = bench.peer.create_publisher(Image, topics.IMAGE, 10)

    def told(level, message, values):
        images.publish(image())
        return 'on /front/depth:' in message and 'on /front/camera_info' in message

    bench.wait_for_report('encoder', told, 'the topics')


# Rectification


def test_images_are_rectified_and_their_camera_info_says_so(bench):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.subscribe(CameraInfo, topics.CODED_INFO)
    node = bench.add(
        Encoder, weights='random', max_rate=60.0, rectify=True, stale_after_s=30.0, **ANY_TIME
    )
    images = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    infos = bench.peer.create_publisher(CameraInfo, topics.CAMERA_INFO, 10)
    bench.wait(lambda: images.get_subscription_count() and infos.get_subscription_count())
    seen = []
    encode = node._encoder.encode
    node._encoder.encode = lambda rgb, *rest: seen.append(rgb) or encode(rgb, *rest)

    def matches(level, message, values):
        images.publish(image())
        return level == DiagnosticStatus.WARN and 'not rectified: no camera_info' in message

    bench.wait_for_report('encoder', matches, 'no camera_info')
    np.testing.assert_array_equal(seen[-1], convert.to_rgb(image()))
    assert not bench.got[topics.CODED_INFO]

    lens = info(stamp=(1700000000, 123456789))
    lens.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    bench.wait(
        lambda: infos.publish(lens) or images.publish(image()) or bench.got[topics.CODED_INFO]
    )
    out = bench.got[topics.CODED_INFO][-1]
    assert out.header == image().header
    assert not any(out.d)
    assert out.k[0] == lens.p[0]
    expected, _ = Rectifier().rectify(convert.to_rgb(image()), lens)
    np.testing.assert_array_equal(seen[-1], expected)
    assert (seen[-1] != convert.to_rgb(image())).any()
    bench.wait_for_report('encoder', lambda lv, m, v: lv == DiagnosticStatus.OK, 'OK')

    # A model that is not known: the image goes as it is, with the camera's word for it.
    lens.distortion_model = 'unheard_of'
    bench.wait_for_report(
        'encoder',
        lambda lv, m, v: infos.publish(lens) or images.publish(image()) or 'unheard_of' in m,
    )
    # The report may come before the frame.
    bench.wait(lambda: any(bench.got[topics.CODED_INFO][-1].d), 'its camera_info')
    np.testing.assert_array_equal(seen[-1], convert.to_rgb(image()))
