"""The decoder over real topics: what it publishes, and what it survives."""

import array
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from bench import coded, image, info, warned
from diagnostic_msgs.msg import DiagnosticStatus
from gsc_ros.msg import LinkStatus, SemanticFrame
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Empty, String

from gsc_ros.codec import FrameDecoder, FrameEncoder, SemanticCodec, SequenceDecoder, presets
from gsc_ros.codec.notes import Timing
from gsc_ros.nodes.decoder import Decoder
from gsc_ros.ros import convert, topics

DECODED = {
    topics.DECODED: ('rgb8', Image),
    topics.DECODED_DEPTH: ('32FC1', Image),
    topics.DECODED_SEGMENTATION: ('mono8', Image),
    topics.DECODED_COLOUR: ('rgb8', Image),
    topics.TRUST: ('mono8', Image),
    topics.DECODED_INFO: (None, CameraInfo),
    topics.DECODED_DEPTH_INFO: (None, CameraInfo),
}


@pytest.fixture(scope='module')
def codec():
    return SemanticCodec.load(weights='random', threads=1)


@pytest.fixture
def decoding(bench, codec):
    """A decoder with everything subscribed, and the publisher of its frames."""
    for topic, (_, kind) in DECODED.items():
        bench.subscribe(kind, topic)
    bench.subscribe(String, topics.CAPTION)
    bench.subscribe(String, topics.OBJECTS)
    bench.subscribe(String, topics.LABELS, topics.LATCHED)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    infos = bench.peer.create_publisher(CameraInfo, topics.RECEIVED_INFO, topics.NEWEST)
    node = bench.add(Decoder, weights='random', steps=1, stale_after_s=1.0)
    bench.wait(lambda: frames.get_subscription_count() and infos.get_subscription_count())
    for topic in DECODED:
        bench.wait(lambda topic=topic: bench.peer.count_publishers(f'{bench.namespace}/{topic}'))
    return bench, node, frames, infos


def test_one_frame_gives_all_maps_with_one_stamp(decoding, codec):
    bench, _, frames, infos = decoding
    frame = coded(codec)
    infos.publish(info())
    frames.publish(frame)
    for topic in (*DECODED, topics.CAPTION, topics.OBJECTS):
        bench.wait(lambda topic=topic: bench.got[topic], topic)
    for topic, (encoding, _) in DECODED.items():
        message = bench.got[topic][0]
        assert message.header == frame.header
        assert (message.width, message.height) == (96, 64)
        if encoding:
            assert message.encoding == encoding
    k = bench.got[topics.DECODED_DEPTH_INFO][0].k
    assert k[0] == 80.0
    labels = json.loads(bench.got[topics.LABELS][0].data)
    assert labels['0'] == 'road'
    assert labels['255'] == 'unlabelled'
    objects = json.loads(bench.got[topics.OBJECTS][0].data)
    assert objects['frame_id'] == frame.header.frame_id
    assert (objects['width'], objects['objects']) == (96, None)  # untrained: nothing is known
    depth = convert.to_array(bench.got[topics.DECODED_DEPTH][0])
    trust = convert.to_array(bench.got[topics.TRUST][0])
    assert np.isnan(depth[trust == 0]).all()


class WithoutMaps:
    """The decoder of a preset that has no maps."""

    def __init__(self, decoder):
        self._decoder = decoder
        self.fingerprint, self.read = decoder.fingerprint, decoder.read

    def render(self, frames, steps=None):
        none = dict.fromkeys(('depth', 'segmentation', 'trust'))
        return [replace(frame, **none) for frame in self._decoder.render(frames, steps)]


def test_only_maps_that_the_frame_has_are_published(decoding, codec):
    bench, node, frames, infos = decoding
    (sequence,) = node._decoders.values()
    sequence.decoder = WithoutMaps(sequence.decoder)
    infos.publish(info())
    frames.publish(coded(codec))
    bench.wait_for_report('decoder', lambda lv, m, v: v['frames_decoded'] == '1')
    for topic in (topics.DECODED, topics.DECODED_INFO, topics.CAPTION):
        bench.wait(lambda topic=topic: bench.got[topic], topic)
    assert not any(bench.got[t] for t in DECODED if t not in (topics.DECODED, topics.DECODED_INFO))
    assert bench.report('decoder')[2]['preset'] == 'gsc'


def test_malformed_frames_are_counted_and_the_decoder_lives(decoding, codec):
    bench, _, frames, infos = decoding
    infos.publish(info())
    good = coded(codec)
    damaged, foreign, other, cut = (coded(codec) for _ in range(4))
    damaged.data[40] ^= 1
    foreign.data = array.array('B', b'\x89PNG' + bytes(60))
    other = coded(FrameEncoder(replace(codec.networks.robot, fingerprint=0x4321)))
    cut.data = cut.data[:-5]
    empty = SemanticFrame()
    for number, bad in enumerate((damaged, foreign, other, cut, empty), start=1):
        bench.publish_until(
            lambda bad=bad: frames.publish(bad),
            'decoder',
            lambda v, n=number: v['frames_rejected'] >= n,
        )
    assert bench.report('decoder')[0] == DiagnosticStatus.WARN
    assert not bench.got[topics.DECODED]
    frames.publish(good)
    bench.wait(lambda: bench.got[topics.DECODED], 'a good frame after the bad ones')
    # A cut frame that says so is shown, and what is missing is marked.
    bench.got[topics.TRUST].clear()
    short = coded(codec, seed=4, size=(128, 128))
    short.data, short.truncated = short.data[:16], True
    frames.publish(short)
    bench.wait(lambda: bench.got[topics.TRUST], 'a truncated frame')
    assert (convert.to_array(bench.got[topics.TRUST][0]) == 0).all()


def test_a_decoder_says_that_a_key_frame_is_missing(bench, codec):
    bench.subscribe(Empty, topics.KEY_MISSED)
    bench.subscribe(Image, topics.DECODED)
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    bench.add(Decoder, weights='random')
    bench.wait(frames.get_subscription_count)
    delta = coded(codec, sequence=8)
    reference = codec.reference(bytes(coded(codec, sequence=7).data))
    rgb = convert.to_rgb(image(0))
    delta.data = codec.encode(rgb, 60, sequence=8, reference=reference).data
    delta.frame_type, delta.reference_sequence = SemanticFrame.DELTA, 7
    bench.wait(lambda: bench.got[topics.KEY_MISSED] or frames.publish(delta))


def test_delta_frames_find_a_key_frame_that_was_passed_over(bench, codec):
    frames = bench.peer.create_publisher(SemanticFrame, topics.RECEIVED, topics.NEWEST)
    node = bench.add(Decoder, weights='random')
    bench.wait(frames.get_subscription_count)
    key, delta = coded(codec, sequence=7), coded(codec, sequence=8)
    reference = codec.reference(bytes(key.data))
    rgb = convert.to_rgb(image(0))
    delta.data = codec.encode(rgb, 60, sequence=8, reference=reference).data
    delta.frame_type, delta.reference_sequence = SemanticFrame.DELTA, 7
    bench.publish_until(
        lambda: frames.publish(key), 'decoder', lambda v: v['frames_without_subscriber'] > 0
    )
    bench.subscribe(Image, topics.DECODED)
    bench.wait(node._output.images[topics.DECODED].get_subscription_count)
    bench.wait(lambda: frames.publish(delta) or bench.got[topics.DECODED], 'the delta frame')
    assert bench.report('decoder')[2]['frames_rejected'] == '0'


def test_a_delta_frame_whose_key_frame_never_came_is_counted(decoding, codec):
    bench, _, frames, _ = decoding
    bench.wait_for_report(
        'decoder',
        lambda level, message, values: (
            level == DiagnosticStatus.STALE and message == 'no frames have come yet'
        ),
    )
    delta = coded(codec, sequence=8)
    reference = codec.reference(bytes(coded(codec, sequence=7).data))
    delta.data = codec.encode(convert.to_rgb(image(0)), 60, sequence=8, reference=reference).data
    delta.frame_type, delta.reference_sequence = SemanticFrame.DELTA, 7
    bench.publish_until(
        lambda: frames.publish(delta), 'decoder', lambda v: v['frames_rejected'] > 0
    )
    assert 'refers to frame 7' in bench.report('decoder')[1]
    assert not bench.got[topics.DECODED]


@pytest.mark.parametrize(('session', 'sequence', 'refers_to'), [(2, 8, 7), (1, 4, 3)])
def test_no_frame_refers_to_one_of_another_session_or_of_an_encoder_that_has_ended(
    decoding, codec, session, sequence, refers_to
):
    bench, _, frames, _ = decoding
    bench.subscribe(Empty, topics.KEY_MISSED)
    for number in (3, 7):
        key = coded(codec, sequence=number)
        key.session = 1
        count = len(bench.got[topics.DECODED])
        frames.publish(key)
        bench.wait(lambda count=count: len(bench.got[topics.DECODED]) > count)
    delta = coded(codec, sequence=sequence)
    reference = codec.reference(bytes(coded(codec, sequence=refers_to).data))
    rgb = convert.to_rgb(image(0))
    delta.data = codec.encode(rgb, 60, sequence=sequence, reference=reference).data
    delta.frame_type, delta.reference_sequence = SemanticFrame.DELTA, refers_to
    delta.session = session
    frames.publish(delta)
    bench.wait(lambda: bench.got[topics.KEY_MISSED])
    assert len(bench.got[topics.DECODED]) == 2


def test_a_new_session_begins_anew_for_every_preset(decoding, codec, monkeypatch):
    bench, node, frames, _ = decoding
    monkeypatch.setattr(presets, 'PRESETS', {'gsc': presets.PRESETS['gsc']})
    presets.register(replace(presets.PRESETS['gsc'], name='other', code=3))
    networks = codec.networks
    robot = FrameEncoder(replace(networks.robot, fingerprint=0x4321), 'other')
    ground = FrameDecoder(replace(networks.ground, fingerprint=0x4321), 'other')
    node._decoders['other'] = SequenceDecoder(ground)
    shown = [(robot, 1, 3), (codec, 2, 4)]
    for count, (encoder, session, sequence) in enumerate(shown, start=1):
        frame = coded(encoder, sequence=sequence)
        frame.session = session
        frames.publish(frame)
        bench.wait(lambda count=count: len(bench.got[topics.DECODED]) == count)
        bench.wait_for_report(
            'decoder',
            lambda level, message, values, made=encoder.fingerprint: (
                values['model_fingerprint'] == str(made)
            ),
        )
    assert not node._decoders['other']._known
    assert node._decoders['gsc']._known


def test_sizes_may_change_and_camera_info_follows(decoding, codec):
    bench, _, frames, infos = decoding
    infos.publish(info((96, 64), stamp=(1, 0)))
    frames.publish(coded(codec, size=(96, 64)))
    bench.wait(lambda: bench.got[topics.DECODED_INFO])
    bench.got[topics.DECODED_INFO].clear()
    frames.publish(coded(codec, size=(192, 128)))
    bench.wait(lambda: bench.got[topics.DECODED_INFO])
    assert bench.got[topics.DECODED_INFO][0].k[0] == 160.0


def test_a_restarted_decoder_shows_the_next_frame(decoding, codec):
    bench, node, frames, _ = decoding
    frames.publish(coded(codec, sequence=1))
    bench.wait(lambda: bench.got[topics.DECODED])
    bench.remove(node)
    bench.wait(lambda: frames.get_subscription_count() == 0)
    bench.got[topics.DECODED].clear()
    bench.add(Decoder, weights='random', steps=0)
    bench.wait(frames.get_subscription_count)
    frame = coded(codec, sequence=2)
    bench.wait(lambda: frames.publish(frame) or bench.got[topics.DECODED], 'after the restart')


def test_a_link_that_falls_silent_is_stale_with_the_age_of_the_image(decoding, codec):
    bench, _, frames, infos = decoding
    now = bench.peer.get_clock().now().to_msg()
    stamp = (now.sec - 7, now.nanosec)
    infos.publish(info(stamp=stamp))
    frames.publish(coded(codec, stamp=stamp))
    bench.wait(lambda: bench.got[topics.DECODED])
    _, message, values = bench.wait_for_report(
        'decoder', lambda lv, m, v: lv == DiagnosticStatus.STALE, 'STALE'
    )
    assert 'old' in message
    assert float(values['frame_age_s']) >= 7


def test_transitions_can_be_made_by_a_manager(bench, codec):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = bench.add(Decoder, autostart=False, weights='random')
    success = TransitionCallbackReturn.SUCCESS
    for _ in range(2):
        assert node.trigger_configure() == success
        assert node.trigger_activate() == success
        assert node.trigger_deactivate() == success
        assert node.trigger_cleanup() == success


def noted(codec, bench, ago, rgb, **timing):
    """A frame of an image of so many seconds ago."""
    message = coded(codec)
    stamp = bench.peer.get_clock().now().nanoseconds - round(1e9 * ago)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.data = codec.encode(rgb, 200, timing=Timing(**timing)).data
    return message


def test_the_decoder_says_what_the_robot_notes(decoding, codec):
    bench, _, frames, infos = decoding
    rgb = convert.to_rgb(image())

    def matches(text, *arguments, **timing):
        def judged(level, message, values):
            infos.publish(info())
            frames.publish(noted(codec, bench, 0.5, *arguments, **timing))
            return level == DiagnosticStatus.WARN and text in message

        return bench.wait_for_report('decoder', judged, text)[2]

    matches('the robot reports: no image: black', np.zeros_like(rgb))
    assert np.isnan(convert.to_array(bench.got[topics.DECODED_DEPTH][-1])).all()
    assert not convert.to_array(bench.got[topics.TRUST][-1]).any()
    assert bench.got[topics.CAPTION][-1].data == 'no image: black'
    matches('image not of now: 60 s old', rgb, off_s=60.0)
    values = matches('no pixel has changed for 60 s', rgb, frozen_s=60.0)
    assert 55 < float(values['unchanged_s']) < 65
    assert 55 < float(values['frame_age_s']) < 70  # counts from the last change

    def right(level, message, values):
        infos.publish(info())
        frames.publish(noted(codec, bench, 0.5, rgb))
        return level == DiagnosticStatus.OK

    began = time.monotonic()
    bench.wait_for_report('decoder', right, 'OK')
    assert time.monotonic() - began < 9.0  # not 10


@pytest.mark.parametrize(
    ('ago', 'delay', 'warns'),
    [(0.5, 0.0, False), (3600.0, 0.0, True), (-5.0, 0.0, True), (760.0, 750.0, False)],
)
def test_the_age_of_an_image_is_judged_by_what_the_link_takes(decoding, codec, ago, delay, warns):
    bench, node, frames, infos = decoding
    rgb = convert.to_rgb(image())
    node._on_status(LinkStatus(rate_bps=200.0, delay_s=delay))  # 8 s for 200 bytes

    def judged(level, message, values):
        infos.publish(info())
        frames.publish(noted(codec, bench, ago, rgb))
        if int(values['frames_decoded']) < 2:
            return False
        if not warns:
            return level == DiagnosticStatus.OK
        return warned('the clocks of robot and ground differ, or the image is old')(
            level, message, values
        )

    bench.wait_for_report('decoder', judged, 'age')
