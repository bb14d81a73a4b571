"""The monitor: what it prints, and the images, bag and summary that it leaves."""

import json
import sys
import time

import cv2
import numpy as np
import pytest
from bench import image
from gsc_ros.msg import DecoderStatus, LinkStatus, SemanticFrame
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from gsc_ros.nodes import monitor
from gsc_ros.nodes.monitor import Monitor
from gsc_ros.ros import convert, topics

SIZE = (96, 64)
CAPTION = 'street: car ahead at 10 m, person left at 4 m'
CODED = bytes(range(200))


def stamped(stamp):
    header = Header(frame_id='camera_optical_frame')
    header.stamp.sec, header.stamp.nanosec = stamp
    return header


def shown_set(stamp):
    """All messages of one frame: decoded depth 10 % too far, a quarter of the classes wrong."""
    header = stamped(stamp)
    depth = np.full(SIZE[::-1], 10.0, np.float32)
    classes = np.zeros(SIZE[::-1], np.uint8)
    wrong = classes.copy()
    wrong[: SIZE[1] // 4] = 13
    trust = np.full(SIZE[::-1], 255, np.uint8)
    frame = SemanticFrame(header=header, sequence=3, preset='gsc', data=CODED)
    return {
        topics.IMAGE: image(1, SIZE, stamp=stamp),
        topics.DEPTH: convert.to_image(depth, '32FC1', header),
        topics.SEGMENTATION: convert.to_image(classes, 'mono8', header),
        topics.RECEIVED: frame,
        topics.DECODED: image(2, SIZE, stamp=stamp),
        topics.DECODED_DEPTH: convert.to_image(1.1 * depth, '32FC1', header),
        topics.DECODED_SEGMENTATION: convert.to_image(wrong, 'mono8', header),
        topics.TRUST: convert.to_image(trust, 'mono8', header),
    }


@pytest.fixture
def watched(bench, tmp_path):
    """A monitor that records, and the publishers of its topics."""
    publishers = {
        topic: bench.peer.create_publisher(
            type(message), topic, topics.NEWEST if topic == topics.RECEIVED else topics.IMAGES
        )
        for topic, message in shown_set((1, 0)).items()
    }
    publishers[topics.STATUS] = bench.peer.create_publisher(
        LinkStatus, topics.STATUS, topics.LATCHED
    )
    publishers[topics.CAPTION] = bench.peer.create_publisher(String, topics.CAPTION, topics.IMAGES)
    node = bench.add(Monitor, output=str(tmp_path / 'run'), image_interval_s=0.1)
    for topic, publisher in publishers.items():
        bench.wait(publisher.get_subscription_count, f'the monitor subscribes to {topic}')
    return bench, node, publishers, tmp_path / 'run'


ROBOT = (topics.IMAGE, topics.DEPTH, topics.SEGMENTATION)


def show(bench, node, publishers, folder, stamp):
    """Publish a frame as it happens: what the robot sees long before what the ground shows."""
    before = len(list(folder.glob('*.png')))
    bench.wait(lambda: time.monotonic() >= node._next_image)
    publishers[topics.CAPTION].publish(String(data=CAPTION))
    parts = shown_set(stamp)
    for topic in ROBOT:
        publishers[topic].publish(parts.pop(topic))
    bench.wait(lambda: node._caption and len(node._sets.get(stamp, {})) == len(ROBOT))
    for topic, message in parts.items():
        publishers[topic].publish(message)
    bench.wait(lambda: len(list(folder.glob('*.png'))) > before, 'an image is kept')


def test_a_run_leaves_images_summary_and_a_bag(watched):
    bench, node, publishers, folder = watched
    status = LinkStatus(profile='lab', rate_bps=8000.0, delay_s=0.5, loss=0.25)
    publishers[topics.STATUS].publish(status)
    bench.wait(lambda: topics.STATUS in node._statuses)
    show(bench, node, publishers, folder, (100, 5))
    show(bench, node, publishers, folder, (101, 5))
    bench.remove(node)

    mosaic = cv2.imread(str(folder / 'frame_0001.png'))
    assert mosaic.shape[1] == 3 * SIZE[0] and mosaic.shape[0] > 2 * SIZE[1]
    original = convert.to_rgb(image(1, SIZE))[..., ::-1]
    assert (mosaic[: SIZE[1], : SIZE[0]] == original).all()

    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['facts'] == {
        'profile': 'lab',
        'link rate bps': 8000.0,
        'link delay s': 0.5,
        'frames received': 2,
        'images': 2,
    }
    figures = summary['figures']
    assert figures['depth AbsRel']['mean'] == pytest.approx(0.1, abs=1e-4)
    assert figures['class agreement']['mean'] == pytest.approx(0.75)
    assert figures['bytes a frame'] == {'mean': 200, 'min': 200, 'max': 200, 'count': 2}
    assert '| depth AbsRel | 0.1 |' in (folder / 'summary.md').read_text()


def test_the_bag_holds_what_was_shown_and_can_be_read_without_us(watched):
    rosbags = pytest.importorskip('rosbags.highlevel', reason='no rosbags')
    bench, node, publishers, folder = watched
    show(bench, node, publishers, folder, (100, 5))
    bench.remove(node)
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    from gsc_ros.paths import message_dir

    types = get_typestore(Stores.ROS2_JAZZY)
    for file in message_dir().glob('*.msg'):
        types.register(get_types_from_msg(file.read_text(), f'gsc_ros/msg/{file.stem}'))
    with rosbags.AnyReader([folder / 'bag'], default_typestore=types) as reader:
        read = {
            connection.topic: reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages()
        }
    frame = read[f'{bench.namespace}/{topics.RECEIVED}']
    assert bytes(frame.data) == CODED
    assert (frame.header.stamp.sec, frame.header.stamp.nanosec) == (100, 5)
    depth = read[f'{bench.namespace}/{topics.DECODED_DEPTH}']
    assert np.frombuffer(depth.data, np.float32).max() == pytest.approx(11.0)
    assert read[f'{bench.namespace}/{topics.CAPTION}'].data == CAPTION


def test_the_line_says_age_rates_loss_bytes_and_time(watched, capfd):
    bench, node, publishers, folder = watched
    now = node.get_clock().now().nanoseconds
    publishers[topics.STATUS].publish(
        LinkStatus(profile='lab', rate_bps=8e3, offered_bps=9e3, used_bps=7e3, loss=0.25)
    )
    decoder = bench.peer.create_publisher(DecoderStatus, topics.DECODER_STATUS, topics.LATCHED)
    decoder.publish(DecoderStatus(decode_ms=321.0, unchanged_s=30.0))
    bench.wait(lambda: {topics.STATUS, topics.DECODER_STATUS} <= node._statuses.keys())
    show(bench, node, publishers, folder, divmod(now - 2_000_000_000, 1_000_000_000))
    capfd.readouterr()
    node._print_status()
    line = capfd.readouterr().out.splitlines()[-1]
    assert 'lab: 9.00 kbps offered, 7.00 used of 8.00' in line
    assert 'loss 25 %' in line and '200 B a frame' in line and 'decode 321 ms' in line
    age = float(line.split('frame age')[1].split()[0])
    assert 32.0 <= age < 90.0  # from the last change of a pixel
    for stop, text in (
        (LinkStatus.STOP_SENT, 'STOP on its way'),
        (LinkStatus.STOP_HELD, 'STOP held'),
    ):
        node._statuses[topics.STATUS].stop = stop
        node._print_status()
        assert capfd.readouterr().out.startswith(text)


def test_frames_of_a_preset_without_maps_are_shown_once_newer_ones_are(watched):
    bench, node, publishers, folder = watched
    for second in range(100, 104):
        parts = shown_set((second, 5))
        for topic in (topics.IMAGE, topics.RECEIVED, topics.DECODED):
            publishers[topic].publish(parts[topic])
            bench.wait(lambda n=second, topic=topic: topic in node._sets.get((n, 5), {}))
    bench.wait(lambda: node._shown == (101, 5))
    bench.wait(lambda: len(list(folder.glob('*.png'))) > 0, 'an image is saved')
    bench.remove(node)
    summary = json.loads((folder / 'summary.json').read_text())
    assert 'depth AbsRel' not in summary['figures']


def test_a_frame_without_truth_or_original_does_no_harm(watched):
    bench, node, publishers, folder = watched
    parts = shown_set((100, 5))
    for topic in ROBOT:
        del parts[topic]
    for topic, message in parts.items():
        publishers[topic].publish(message)
    bench.wait(lambda: node._frames == 1)
    show(bench, node, publishers, folder, (101, 5))
    bench.remove(node)
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['facts']['images'] == 1
    assert summary['figures']['depth AbsRel']['count'] == 1


def test_an_output_that_holds_a_bag_is_refused(bench, tmp_path, capfd):
    (tmp_path / 'bag').mkdir()
    node = bench.add(Monitor, output=str(tmp_path), autostart=False)
    bench.wait(lambda: node.trigger_configure() is not None)
    assert 'exists already' in capfd.readouterr().err
    assert node.diagnostics is None


def test_what_is_never_shown_is_forgotten(watched):
    _, node, _, _ = watched
    for second in range(300):
        node._on_part(topics.IMAGE, Image(header=stamped((second, 0))))
    assert len(node._sets) <= 256


def test_what_waits_to_be_shown_takes_bounded_memory(watched, monkeypatch):
    _, node, _, _ = watched
    monkeypatch.setattr(monitor, '_KEPT_BYTES', 1000)
    for second in range(10):
        node._on_part(topics.IMAGE, Image(header=stamped((second, 0)), data=bytes(300)))
    assert list(node._sets) == [(7, 0), (8, 0), (9, 0)]  # the newest
    node._on_part(topics.IMAGE, Image(header=stamped((10, 0)), data=bytes(2000)))
    assert list(node._sets) == [(10, 0)]  # one is kept, however large


def test_a_bag_without_rosbags_stops_configure_with_the_remedy(
    bench, tmp_path, capfd, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'rosbags.rosbag2', None)
    node = bench.add(Monitor, output=str(tmp_path / 'run'), autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "pip install 'gsc_ros[demo]'" in capfd.readouterr().err
