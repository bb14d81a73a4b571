"""The encoder over real topics: what it publishes, and what it survives."""

import array
import time
from dataclasses import replace

import numpy as np
import pytest
from bench import image, info, stamped, warned
from diagnostic_msgs.msg import DiagnosticStatus
from gsc_ros.msg import LinkStatus, SemanticFrame
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Empty

from gsc_ros.codec import SemanticCodec, SequenceDecoder, bitstream
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.perception.kinds import SceneKind
from gsc_ros.ros import convert, topics
from gsc_ros.transforms import Transform


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', threads=1)


def test_a_frame_carries_stamp_frame_and_caption(encoding):
    bench, _, publisher = encoding
    message = image()
    bench.wait(lambda: publisher.publish(message) or bench.got[topics.CODED], 'a frame')
    frame = bench.got[topics.CODED][0]
    assert frame.header == message.header
    assert (frame.width, frame.height) == (96, 64)
    assert frame.caption
    header = bitstream.read_header(bytes(frame.data))
    assert header.fingerprint == frame.model_fingerprint
    assert len(frame.data) <= 300


class Indoors:
    def __init__(self, perception):
        self.perception = perception

    def predict(self, rgb, stride=8):
        return replace(self.perception.predict(rgb, stride), kind=SceneKind(3, 0.9))


def test_a_frame_names_its_scene(encoding):
    bench, node, publisher = encoding
    bench.wait(lambda: publisher.publish(image()) or bench.got[topics.CODED], 'a frame')
    before = bench.got[topics.CODED][0]
    assert before.scene == '' and np.isnan(before.scene_probability)
    analyser = node._encoder.encoder.networks.analyser
    analyser.perception, analyser.kinds = Indoors(analyser.perception), True

    def named():
        publisher.publish(stamped(bench))
        return bench.got[topics.CODED][-1].scene

    bench.wait(named, 'a scene')
    frame = bench.got[topics.CODED][-1]
    assert frame.scene == 'indoor' and frame.caption.startswith('indoor: ')
    assert frame.scene_probability == pytest.approx(0.9)


def test_hazards_are_looked_for_with_the_camera_s_own_calibration_and_height(encoding):
    bench, node, publisher = encoding

    def told(name, wanted):
        def done():
            publisher.publish(stamped(bench))
            return bench.report('encoder')[2].get(name) == wanted

        bench.wait(done, f'{name} {wanted}')

    told('camera', 'assumed')
    infos = bench.peer.create_publisher(CameraInfo, topics.CAMERA_INFO, 10)
    bench.wait(infos.get_subscription_count, 'the encoder subscribes')
    infos.publish(info())
    told('camera', 'camera_info')
    camera = node._encoder.encoder.networks.analyser.camera
    assert camera.fx == pytest.approx(info().k[0] / info().width)
    assert camera.height_m is None
    frame = image().header.frame_id
    node._poses._buffer.add_fixed('base_footprint', frame, Transform((0.1, 0.0, 1.25)))
    told('camera_height_m', '1.25')
    assert node._encoder.encoder.networks.analyser.camera.height_m == pytest.approx(1.25)


def test_bad_images_are_counted_and_the_encoder_lives(encoding):
    bench, _, publisher = encoding
    broken = image()
    broken.data = array.array('B', bytes(10))
    strange = image()
    strange.encoding = 'yuv999'
    nan = convert.to_image(np.full((64, 96, 3), np.nan, np.float32), '32FC3', image().header)
    tiny = image(size=(8, 8))
    for number, bad in enumerate((broken, strange, nan, tiny, Image()), start=1):
        bench.publish_until(
            lambda bad=bad: publisher.publish(bad),
            'encoder',
            lambda v, n=number: v['images_rejected'] >= n,
        )
    level, printed, _ = bench.report('encoder')
    assert level == DiagnosticStatus.WARN
    assert 'dropped' in printed
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
    bench.publish_until(
        lambda: publisher.publish(image()), 'encoder', lambda v: v['images_without_subscriber'] > 0
    )
    _, _, values = bench.report('encoder')
    assert values['frames_encoded'] == '0'


def test_every_third_frame_is_a_key_frame_and_the_others_refer_to_it(bench, codec):
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
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
    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
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
    bench.publish_until(
        lambda: wanted.publish(Empty()), 'encoder', lambda v: v['keyframes_requested'] > 0
    )
    frames(len(got) + 3)
    assert SemanticFrame.KEY in [frame.frame_type for frame in got[3:]]


# Nothing to see


@pytest.fixture
def moving(encoding):
    """
    An encoder whose images are of now.

    Returns what gives it others until it warns as ``condition`` says and has sent a frame that
    ``matches`` accepts, and returns that.
    """
    bench, node, publisher = encoding
    count = 0

    def wait(condition, why, matches=bool, **changes):
        def publish():
            nonlocal count
            count += 1
            publisher.publish(stamped(bench, **{'seed': count, **changes}))

        bench.wait_for_report('encoder', lambda *report: publish() or condition(*report), why)
        got = bench.got[topics.CODED]
        bench.wait(lambda: publish() or (got and matches(got[-1])), f'frame: {why}')
        return next(frame for frame in reversed(bench.got[topics.CODED]) if matches(frame))

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
def test_an_image_of_nothing_is_reported_in_bytes_and_warned_of(moving, codec, shown, text):
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
def test_images_that_are_not_of_now_are_reported_and_warned_of(moving, codec, ago, texts, caption):
    frame = moving(warned(*texts), 'old', lambda frame: caption in frame.caption, ago=ago)
    assert frame.caption.startswith('image not of now')
    assert (codec.decode(bytes(frame.data)).trust == 0).all()


def test_an_image_without_a_stamp_is_said_to_have_none(moving):
    text = 'the camera sets no stamp'
    frame = moving(warned(text), 'no stamp', lambda f: text in f.caption, stamp=(0, 0))
    assert 'stand' not in frame.caption


@pytest.mark.parametrize(
    ('wrong', 'text'),
    [
        ({'ago': 3600.0}, 's old'),
        ({'stamp': (0, 0)}, 'no stamp'),
        ({'pixels': np.zeros((64, 96, 3), np.uint8)}, 'no image: black'),
        ({'size': (8, 8)}, 'dropped'),
    ],
)
def test_a_warning_goes_soon_when_images_are_right_again(moving, encoding, wrong, text):
    told = bool
    moving(warned(text), text, told, **wrong)
    began = time.monotonic()
    moving(lambda lv, m, v: lv == DiagnosticStatus.OK, 'OK')
    assert time.monotonic() - began < 4.5  # 2 s, a period of diagnostics, and a busy machine


def test_stamps_may_be_trusted_all_the_same(moving, encoding, codec):
    _, node, _ = encoding
    node.set_parameters([Parameter('distrust_stamps', value=False)])
    frame = moving(warned('s old by their stamps'), 'a warning', ago=3600.0)
    assert codec.decode(bytes(frame.data)).trust.any()


def test_a_stamp_that_stands_still_is_warned_of(encoding):
    bench, _, publisher = encoding
    message = stamped(bench)

    def judged(level, printed, values):
        publisher.publish(message)
        return warned('stamps stand still')(level, printed, values)

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
    printed = 'no pixel has changed for'
    frame = moving(warned(printed), 'frozen', lambda frame: printed in frame.caption, seed=0)
    shown = codec.decode(bytes(frame.data))
    assert shown.trust.any()
    assert shown.notes.timing.frozen_s >= 1.4
