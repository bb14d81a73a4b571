"""The encoder over real topics: what it publishes, and what it survives."""

import array
import time

import numpy as np
import pytest
from bench import image, info, stamped, warned
from diagnostic_msgs.msg import DiagnosticStatus
from gsc_ros.msg import LinkStatus, SemanticFrame
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Empty

from gsc_ros.codec import SemanticCodec, SequenceDecoder, bitstream
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.ros import convert, topics
from gsc_ros.ros.images.camera_info import Rectifier

# For images whose stamps and pixels do not change.
ANY_TIME = {'image_max_age_s': 0.0, 'frozen_after_s': 0.0}


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', threads=1)


@pytest.fixture
def encoding(bench):
    """An encoder, its images' publisher, and somebody who listens."""
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
    node = bench.add(Encoder, weights='random', max_rate=60.0, stale_after_s=1.0)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(publisher.get_subscription_count, 'the encoder subscribes')
    bench.wait(lambda: bench.peer.count_publishers(f'{bench.namespace}/{topics.CODED}'))
    return bench, node, publisher


def test_a_frame_carries_stamp_frame_and_caption(encoding):
    bench, _, publisher = encoding
    message = image()
    bench.wait(lambda: publisher.publish(message) or bench.got[topics.CODED], 'a frame')
    frame = bench.got[topics.CODED][0]
    assert frame.header == message.header
    assert (frame.width, frame.height) == (96, 64)
    assert frame.caption
    header, _ = bitstream.unpack(bytes(frame.data))
    assert header.fingerprint == frame.model_fingerprint
    assert len(frame.data) <= 300


def test_bad_images_are_counted_and_the_encoder_lives(encoding):
    bench, _, publisher = encoding
    broken = image()
    broken.data = array.array('B', bytes(10))
    strange = image()
    strange.encoding = 'yuv999'
    nan = convert.to_image(np.full((64, 96, 3), np.nan, np.float32), '32FC3', image().header)
    tiny = image(size=(8, 8))
    for number, bad in enumerate((broken, strange, nan, tiny, Image()), start=1):
        bench.tell(
            lambda bad=bad: publisher.publish(bad),
            'encoder',
            lambda v, n=number: v['images_rejected'] >= n,
        )
    level, said, _ = bench.report('encoder')
    assert level == DiagnosticStatus.WARN
    assert 'dropped' in said
    # Sizes may change from one image to the next.
    for size in ((96, 64), (64, 96), (200, 64)):
        message = image(size=size)
        bench.wait(
            lambda message=message, size=size: (
                publisher.publish(message)
                or any((f.width, f.height) == size for f in bench.got[topics.CODED])
            ),
            'a frame of the new size',
        )


def test_a_camera_that_vanishes_is_stale(encoding):
    bench, _, publisher = encoding
    bench.wait(lambda: publisher.publish(image()) or bench.got[topics.CODED])
    bench.peer.destroy_publisher(publisher)
    bench.wait_for_report('encoder', lambda lv, m, v: lv == DiagnosticStatus.STALE, 'STALE')


def test_a_closed_link_holds_images_back(encoding):
    bench, _, publisher = encoding
    status = bench.peer.create_publisher(LinkStatus, topics.STATUS, topics.LATCHED)
    status.publish(LinkStatus(open=False, rate_bps=1000.0))

    def held(level, message, values):
        publisher.publish(image())
        return int(values['images_held']) > 0 and 'closed' in message

    bench.wait_for_report('encoder', held, 'images are held back')
    status.publish(LinkStatus(open=True, rate_bps=1e6))
    bench.got[topics.CODED].clear()
    bench.wait(lambda: publisher.publish(image()) or bench.got[topics.CODED], 'open again')


def test_the_pace_is_the_links(encoding):
    bench, node, publisher = encoding
    bench.wait(lambda: publisher.publish(image()) or len(bench.got[topics.CODED]) > 2)
    node._on_status(LinkStatus(open=True, rate_bps=4000.0, mtu=128, overhead=8))
    bench.got[topics.CODED].clear()
    bench.wait(lambda: publisher.publish(image()) or len(bench.got[topics.CODED]) > 1)
    begin, count = time.monotonic(), len(bench.got[topics.CODED])
    bench.wait(lambda: publisher.publish(image()) or len(bench.got[topics.CODED]) >= count + 4)
    # 300 B and their overheads take 0.68 s; how often `Pace` has its own tests.
    assert time.monotonic() - begin > 3 * 0.68
    assert all(len(frame.data) > 280 for frame in bench.got[topics.CODED])


def test_a_slow_link_has_smaller_frames(encoding):
    bench, node, publisher = encoding
    node._on_status(LinkStatus(open=True, rate_bps=100.0))
    bench.wait(lambda: publisher.publish(image()) or bench.got[topics.CODED])
    assert 100 <= len(bench.got[topics.CODED][-1].data) <= 116  # 10 s


def test_nobody_listening_costs_nothing(bench):
    bench.add(Encoder, weights='random')
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(publisher.get_subscription_count)
    bench.tell(
        lambda: publisher.publish(image()), 'encoder', lambda v: v['images_without_subscriber'] > 0
    )
    _, _, values = bench.report('encoder')
    assert values['frames_encoded'] == '0'


def test_compressed_images_are_taken(bench):
    import cv2

    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
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
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(Encoder, remap=remappings, weights='random', image_transport='compressed')
    publisher = bench.peer.create_publisher(CompressedImage, topic, 10)
    bench.wait(publisher.get_subscription_count, topic)
    bench.wait(lambda: publisher.publish(jpeg(image())) or bench.got[topics.CODED])


def test_lost_images_are_told_with_the_remedy(encoding):
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
    bench.tell(lambda: reliable.publish(image()), 'encoder', lambda v: v['images_received'] > 0)


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_the_other_form_of_the_images_is_found(bench, transport):
    bench.add(Encoder, weights='random', image_transport=transport, stale_after_s=0.5)
    bench.wait_for_report('encoder', lambda lv, m, v: 'nobody publishes' in m, 'no camera')
    if transport == 'raw':
        bench.peer.create_publisher(CompressedImage, f'{topics.IMAGE}/compressed', 10)
    else:
        bench.peer.create_publisher(Image, topics.IMAGE, 10)
    other = 'compressed' if transport == 'raw' else 'raw'
    said = f'set image_transport to {other}'
    bench.wait_for_report(
        'encoder', lambda lv, m, v: lv == DiagnosticStatus.STALE and said in m, said
    )


def test_thermal_images_are_stretched(bench):
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
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
    node.set_parameters([Parameter('stretch', value='off')])
    bench.wait(lambda: publisher.publish(message) or seen[-1].max() == 7600 >> 8, 'off')


# A depth sensor


def sensed(metres, size, stamp=(1700000000, 123456789)):
    header = image(stamp=stamp).header
    return convert.to_image(np.full(size[::-1], metres, np.float32), '32FC1', header)


def scale_of(frame):
    header, _ = bitstream.unpack(bytes(frame.data))
    return bitstream.depth_of_code(header.depth_code)


@pytest.fixture
def measuring(bench):
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
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


@pytest.mark.parametrize(
    ('depth', 'text'),
    [
        (None, 'no depth image has come'),
        (sensed(2.5, (96, 64), (1699999990, 0)), '10.1 s older than the image'),
        (sensed(2.5, (96, 64), (1700000060, 0)), '59.9 s newer than the image'),
        (sensed(np.nan, (96, 64)), 'holds no depth'),
    ],
)
def test_depth_that_is_not_used_is_told(measuring, depth, text):
    bench, images, depths = measuring

    def told(level, message, values):
        if depth is not None:
            depths.publish(depth)
        images.publish(image())
        return level == DiagnosticStatus.WARN and text in message

    bench.wait_for_report('encoder', told, text)
    assert scale_of(bench.got[topics.CODED][-1]) != pytest.approx(2.5, rel=0.05)


# Rectification


def test_images_are_rectified_and_their_camera_info_says_so(bench):
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.hear(CameraInfo, topics.CODED_INFO)
    node = bench.add(
        Encoder, weights='random', max_rate=60.0, rectify=True, stale_after_s=30.0, **ANY_TIME
    )
    images = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    infos = bench.peer.create_publisher(CameraInfo, topics.CAMERA_INFO, 10)
    bench.wait(lambda: images.get_subscription_count() and infos.get_subscription_count())
    seen = []
    encode = node._encoder.encode
    node._encoder.encode = lambda rgb, *rest: seen.append(rgb) or encode(rgb, *rest)

    def told(level, message, values):
        images.publish(image())
        return level == DiagnosticStatus.WARN and 'not rectified: no camera_info' in message

    bench.wait_for_report('encoder', told, 'no camera_info')
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
    assert any(bench.got[topics.CODED_INFO][-1].d)
    np.testing.assert_array_equal(seen[-1], convert.to_rgb(image()))


def test_every_third_frame_is_a_key_frame_and_the_others_lean_on_it(bench, codec):
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(Encoder, weights='random', max_rate=60.0, keyframe_interval=3)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(publisher.get_subscription_count)
    bench.wait(lambda: bench.peer.count_publishers(f'{bench.namespace}/{topics.CODED}'))
    got, ground = bench.got[topics.CODED], SequenceDecoder(codec)
    for number in range(5):
        bench.wait(
            lambda n=number: len(got) > n or publisher.publish(image(stamp=(n + 1, 0))), 'a frame'
        )
    for frame in got[:5]:
        place = frame.sequence % 3
        assert frame.frame_type == (SemanticFrame.DELTA if place else SemanticFrame.KEY)
        assert frame.reference_sequence == frame.sequence - place
        ground.decode(bytes(frame.data))  # refuses a delta frame whose key frame it has not seen


def test_a_key_frame_that_is_wanted_is_the_next(bench):
    bench.hear(SemanticFrame, topics.CODED, topics.NEWEST)
    bench.add(Encoder, weights='random', max_rate=60.0, keyframe_interval=0)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    wanted = bench.peer.create_publisher(Empty, topics.KEY_WANTED, topics.NEWEST)
    bench.wait(lambda: publisher.get_subscription_count() and wanted.get_subscription_count())
    bench.wait(lambda: bench.peer.count_publishers(f'{bench.namespace}/{topics.CODED}'))
    got = bench.got[topics.CODED]

    def frames(count):
        bench.wait(
            lambda: len(got) >= count or publisher.publish(image(stamp=(len(got) + 1, 0))),
            'frames',
        )

    frames(3)
    assert [frame.frame_type for frame in got[:3]] == [SemanticFrame.KEY] + 2 * [
        SemanticFrame.DELTA
    ]
    bench.tell(lambda: wanted.publish(Empty()), 'encoder', lambda v: v['keyframes_requested'] > 0)
    frames(len(got) + 3)
    assert SemanticFrame.KEY in [frame.frame_type for frame in got[3:]]


# Nothing to see


@pytest.fixture
def moving(encoding):
    """
    An encoder whose images are of now.

    Returns what gives it others until it warns as ``condition`` says and has sent a frame that
    ``told`` likes, and returns that.
    """
    bench, node, publisher = encoding
    count = 0

    def wait(condition, why, told=bool, **changes):
        def publish():
            nonlocal count
            count += 1
            publisher.publish(stamped(bench, **{'seed': count, **changes}))

        bench.wait_for_report('encoder', lambda *report: publish() or condition(*report), why)
        got = bench.got[topics.CODED]
        bench.wait(lambda: publish() or (got and told(got[-1])), f'frame: {why}')
        return next(frame for frame in reversed(bench.got[topics.CODED]) if told(frame))

    node.set_parameters([Parameter('max_rate', value=20.0)])
    wait(lambda lv, m, v: lv == DiagnosticStatus.OK, 'OK')
    return wait


@pytest.mark.parametrize(
    ('shown', 'text'),
    [
        (np.zeros((64, 96, 3), np.uint8), 'no image: black'),
        (np.full((64, 96, 3), 255, np.uint8), 'no image: white'),
        (np.tile(np.uint8([0, 135, 0]), (64, 96, 1)), 'no image: green'),
    ],
)
def test_an_image_of_nothing_is_told_in_bytes_and_warned_of(moving, codec, shown, text):
    frame = moving(warned(text), text, lambda frame: frame.caption == text, pixels=shown)
    assert len(frame.data) < 20
    assert np.isnan(codec.decode(bytes(frame.data)).depth).all()


@pytest.mark.parametrize(
    ('ago', 'texts', 'caption'),
    [
        (3600.0, ['3600', 's old', 'use_sim_time', '--clock'], 's old'),
        (-3600.0, ['in the future', 'use_sim_time'], 'in the future'),
    ],
)
def test_images_that_are_not_of_now_are_told_and_warned_of(moving, codec, ago, texts, caption):
    frame = moving(warned(*texts), 'old', lambda frame: caption in frame.caption, ago=ago)
    assert frame.caption.startswith('image not of now')
    assert (codec.decode(bytes(frame.data)).trust == 0).all()


def test_stamps_may_be_trusted_all_the_same(moving, encoding, codec):
    _, node, _ = encoding
    node.set_parameters([Parameter('distrust_stamps', value=False)])
    frame = moving(warned('s old by their stamps'), 'a warning', ago=3600.0)
    assert codec.decode(bytes(frame.data)).trust.any()


def test_a_stamp_that_stands_still_is_warned_of(encoding):
    bench, _, publisher = encoding
    message = stamped(bench)

    def judged(level, said, values):
        publisher.publish(message)
        return warned('stamps stand still')(level, said, values)

    bench.wait_for_report('encoder', judged, 'stands still')
    bench.wait(
        lambda: (
            publisher.publish(message) or 'stands still' in bench.got[topics.CODED][-1].caption
        ),
        'the caption',
    )


def test_pixels_that_do_not_change_are_warned_of_and_stay_trusted(moving, encoding, codec):
    _, node, _ = encoding
    node.set_parameters([Parameter('frozen_after_s', value=1.5)])
    said = 'no pixel has changed for'
    frame = moving(warned(said), 'frozen', lambda frame: said in frame.caption, seed=0)
    shown = codec.decode(bytes(frame.data))
    assert shown.trust.any()
    assert shown.notes.timing.frozen_s >= 1.4
