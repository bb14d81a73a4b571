"""The camera node over real topics: what it publishes of each source, and how it fails."""

import time
from fractions import Fraction
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image

from gsc_ros.labels import SKY
from gsc_ros.nodes.camera import Camera
from gsc_ros.ros import convert, topics
from gsc_ros.sources.images import Images
from gsc_ros.sources.source import guessed_k

WARN, ERROR, OK = DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.OK
simulated = pytest.mark.skipif(find_spec('mujoco') is None, reason='MuJoCo is not installed')


VIDEO_S = [0.0, 0.1, 0.2, 0.6, 0.7, 0.75, 0.8, 1.2, 1.3, 1.4]  # when its frames are shown


def save(path, shade, size=(40, 30)):
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), shade, np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Three images, each brighter; the second is larger."""
    for number, size in ((1, (40, 30)), (2, (64, 48)), (3, (40, 30))):
        save(tmp_path / f'{number}.png', 50 * number, size)
    return tmp_path


def write_video(path, times):
    """A video whose frames, each brighter, have these times (s)."""
    av = pytest.importorskip('av')
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, at in enumerate(times):
            image = np.full((48, 64, 3), 20 * i % 240, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, 'rgb24')
            frame.pts, frame.time_base = round(1000 * at), Fraction(1, 1000)
            container.mux(stream.encode(frame.reformat(format='yuv420p')))
        container.mux(stream.encode(None))


@pytest.fixture
def video(tmp_path):
    """Ten frames at times that are not even."""
    write_video(tmp_path / 'video.mkv', VIDEO_S)
    return tmp_path / 'video.mkv'


@pytest.fixture
def watching(bench):
    """A bench that subscribes to the camera."""
    bench.subscribe(Image, topics.IMAGE, topics.SENSOR)
    bench.subscribe(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
    return bench


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def pairs(bench):
    """Return images with the camera_info of their stamp."""
    infos = {stamp(m): m for m in list(bench.got[topics.CAMERA_INFO])}
    return [(m, infos[stamp(m)]) for m in list(bench.got[topics.IMAGE]) if stamp(m) in infos]


def check_pair(image, info, hfov, frame_id):
    """Check that image and camera_info are of one camera."""
    assert image.header == info.header
    assert image.header.frame_id == frame_id
    assert image.encoding == 'rgb8'
    assert (image.width, image.height) == (info.width, info.height)
    k = guessed_k(info.width, info.height, hfov)
    assert np.reshape(info.k, (3, 3)) == pytest.approx(k)
    assert np.reshape(info.p, (3, 4))[:, :3] == pytest.approx(k)
    assert not np.any(np.reshape(info.p, (3, 4))[:, 3])
    assert np.reshape(info.r, (3, 3)).tolist() == np.eye(3).tolist()
    assert (info.distortion_model, list(info.d)) == ('plumb_bob', [0.0] * 5)


def test_a_folder_is_published_with_matching_camera_infos(watching, folder):
    before = time.time()
    watching.add(
        Camera, source='images', path=str(folder), rate=30.0, hfov_deg=90.0, frame_id='eye'
    )
    watching.wait(lambda: len({p.width for p, _ in pairs(watching)}) == 2, 'both sizes')
    seen = pairs(watching)
    for image, info in seen:
        check_pair(image, info, 90.0, 'eye')
    times = [s + 1e-9 * ns for s, ns in (stamp(p) for p, _ in seen)]
    assert times == sorted(set(times))
    assert before <= times[0] <= times[-1] <= time.time()


def test_a_folder_that_ends_says_so_and_starts_again_when_activated(watching, folder):
    node = watching.add(Camera, source='images', path=str(folder), rate=30.0, loop=False)
    _, output_text, _ = watching.wait_for_report('camera', lambda lv, m, v: lv == WARN)
    assert 'ended' in output_text
    shades = [int(convert.to_rgb(p).mean()) for p in watching.got[topics.IMAGE]]
    assert shades == [s for s in (50, 100, 150) if s in shades]  # in order, none twice
    watching.got[topics.IMAGE].clear()
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    watching.wait(lambda: watching.got[topics.IMAGE], 'images again')


def test_images_that_cannot_be_read_are_counted(watching, folder):
    (folder / '4.png').write_bytes(b'no image')
    watching.add(Camera, source='images', path=str(folder), rate=30.0)
    _, output_text, values = watching.wait_for_report('camera', lambda lv, m, v: lv == WARN)
    assert 'could not be read' in output_text
    assert int(values['skipped']) > 0
    watching.wait(lambda: pairs(watching))


def test_a_video_is_published_with_its_own_times(watching, video):
    watching.add(Camera, source='video', path=str(video), rate=60.0, hfov_deg=60.0, loop=False)
    _, output_text, _ = watching.wait_for_report('camera', lambda lv, m, v: lv == WARN)
    assert 'ended' in output_text
    seen = {stamp(p): p for p, _ in pairs(watching)}
    assert len(seen) == len(pairs(watching))  # none twice
    for image, info in pairs(watching):
        check_pair(image, info, 60.0, 'camera_optical_frame')
    shown = [(s + 1e-9 * ns, round(convert.to_rgb(p).mean() / 20)) for (s, ns), p in seen.items()]
    assert len(shown) >= 5  # the subscription may match late
    begun, first = shown[0]
    for at, number in shown:
        assert at - begun == pytest.approx(VIDEO_S[number] - VIDEO_S[first], abs=0.006)


def test_as_many_frames_of_a_video_are_left_out_each_time(watching, tmp_path):
    write_video(tmp_path / 'video.mkv', [i / 20 for i in range(60)])
    watching.add(Camera, source='video', path=str(tmp_path / 'video.mkv'), rate=15.0, loop=False)
    watching.wait_for_report('camera', lambda lv, m, v: lv == WARN)
    times = sorted(s + 1e-9 * ns for s, ns in (stamp(p) for p, _ in pairs(watching)))
    assert len(times) >= 15
    assert np.median(np.diff(times)) == pytest.approx(0.1, abs=0.006)
    assert (np.diff(times) > 0.09).all()  # a machine that is busy may lose some


@simulated
def test_the_simulator_publishes_its_truth_of_the_same_moment(watching):
    watching.subscribe(Image, topics.DEPTH, topics.SENSOR)
    watching.subscribe(Image, topics.SEGMENTATION, topics.SENSOR)
    watching.add(Camera, source='sim', width=96, height=64, hfov_deg=80.0, rate=10.0)

    def whole():
        depths = {stamp(m): m for m in list(watching.got[topics.DEPTH])}
        classes = {stamp(m): m for m in list(watching.got[topics.SEGMENTATION])}
        return [
            (p, i, depths[stamp(p)], classes[stamp(p)])
            for p, i in pairs(watching)
            if stamp(p) in depths and stamp(p) in classes
        ]

    watching.wait(lambda: len(whole()) >= 2, 'images with truth')
    for image, info, depth, classes in whole():
        check_pair(image, info, 80.0, 'camera_optical_frame')
        assert (info.width, info.height) == (96, 64)
        assert image.header == depth.header == classes.header
        assert (depth.encoding, classes.encoding) == ('32FC1', 'mono8')
        metres, ids = convert.to_metres(depth), convert.to_array(classes)
        assert metres.shape == ids.shape == (64, 96)
        assert (np.isposinf(metres) == (ids == SKY)).all()


@simulated
def test_commands_move_the_simulated_robot_and_silence_stops_it(watching):
    settings = {'scene': 'rover', 'width': 64, 'height': 64, 'rate': 20.0}
    node = watching.add(
        Camera, source='sim', auto_drive=False, cmd_timeout_s=0.3, seed=2, **settings
    )
    publisher = watching.peer.create_publisher(Twist, topics.CMD_VEL, 1)
    watching.wait(publisher.get_subscription_count)

    def still():
        """Whether the last images are of one place: nothing else moves among the rocks."""
        last = watching.got[topics.IMAGE][-4:]
        return len(last) == 4 and all(m.data == last[0].data for m in last)

    watching.wait(still, 'a robot that waits')
    bad = Twist()
    bad.linear.x = float('nan')
    node._on_command(bad, None)
    assert node._command is None
    move = Twist()
    move.angular.z = 0.5
    watching.wait(lambda: publisher.publish(move) or not still(), 'a robot that turns')
    watching.got[topics.IMAGE].clear()
    watching.wait(still, 'a robot that stops when nobody commands')


@pytest.mark.parametrize(
    ('settings', 'output_text'),
    [
        ({'source': 'webcam'}, ('source', 'sim, images, video', 'params file')),
        ({'source': 'images'}, ('path', "'images'", 'path:=')),
        ({'source': 'video'}, ('path', "'video'", 'path:=')),
        ({'source': 'images', 'path': '/nowhere'}, ('path', '/nowhere', 'give')),
        ({'source': 'video', 'path': '/nowhere.mp4'}, ('path', '/nowhere.mp4', 'give')),
        ({'rate': 0.0}, ('rate', '0.01 to 60', 'default is 5')),
        ({'rate': 'fast'}, ('rate', '0.01 to 60', 'float')),
        ({'width': 7}, ('width', '64 to 1920', '-p width:=')),
        ({'hfov_deg': 200.0}, ('hfov_deg', '10 to 150', 'default is 70')),
    ],
)
def test_bad_parameters_stop_configure_with_their_name_range_and_remedy(
    bench, capfd, settings, output_text
):
    node = bench.add(Camera, autostart=False, **settings)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    printed = capfd.readouterr().err
    for words in ('not configured', *output_text):
        assert words in printed


def test_a_folder_without_images_stops_configure(bench, capfd, tmp_path):
    node = bench.add(Camera, autostart=False, source='images', path=str(tmp_path))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'holds no images: give a folder of .png' in capfd.readouterr().err
    # Put right, the same node configures.
    save(tmp_path / 'a.png', 9)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_a_source_that_breaks_is_reported_and_the_node_lives(watching, folder, monkeypatch):
    def broken(*args):
        raise RuntimeError('the lens fell off')

    monkeypatch.setattr(Images, 'frame', broken)
    node = watching.add(Camera, source='images', path=str(folder), rate=30.0)
    _, output_text, _ = watching.wait_for_report('camera', lambda lv, m, v: lv == ERROR)
    assert 'the lens fell off' in output_text
    monkeypatch.undo()
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    watching.wait(lambda: watching.got[topics.IMAGE], 'images after the repair')
    watching.wait_for_report('camera', lambda lv, m, v: lv == OK)
