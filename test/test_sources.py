"""Where images come from: order, ends, and files that are none."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from gsc_ros.sources.images import Images, natural
from gsc_ros.sources.source import guessed_k
from gsc_ros.sources.video import Video


def save(path, shade, size=(40, 30)):
    """Write a plain image whose red is ``shade``."""
    bgr = np.zeros((size[1], size[0], 3), np.uint8)
    bgr[..., 2] = shade
    assert cv2.imwrite(str(path), bgr)


def shades(source, calls, seconds=0.1):
    """Red of the next images, None for each that does not come."""
    frames = [source.frame(seconds, None, False) for _ in range(calls)]
    return [None if f is None else int(f.rgb[..., 0].mean().round()) for f in frames]


@pytest.fixture
def folder(tmp_path):
    """Images frame1, frame2, frame10 of red 10, 20, 100."""
    for number in (10, 1, 2):
        save(tmp_path / f'frame{number}.png', 10 * number)
    return tmp_path


# Folders


def test_images_come_in_natural_order_and_again(folder):
    assert shades(Images(folder), 5) == [10, 20, 100, 10, 20]


def test_a_folder_ends_where_it_is_not_to_loop(folder):
    assert shades(Images(folder, loop=False), 5) == [10, 20, 100, None, None]


def test_names_sort_as_people_count(tmp_path):
    names = ['b.png', 'A2.png', 'a10.png', 'a1.png', '7.png', '10.png']
    ordered = sorted((tmp_path / n for n in names), key=natural)
    assert [p.name for p in ordered] == ['7.png', '10.png', 'a1.png', 'A2.png', 'a10.png', 'b.png']


def test_what_cannot_be_read_is_skipped_counted_and_logged(folder):
    (folder / 'frame3.png').write_bytes(b'no image')
    (folder / 'frame4.jpg').write_bytes(b'')
    (folder / 'notes.txt').write_text('not looked at')
    messages = []
    source = Images(folder, loop=False, log=messages.append)
    assert shades(source, 4) == [10, 20, 100, None]
    assert source.skipped == len(messages) == 2
    assert 'frame3.png' in messages[0]


@pytest.mark.parametrize('loop', [True, False])
def test_a_folder_of_nothing_readable_ends(tmp_path, loop):
    for name in 'ab':
        (tmp_path / f'{name}.png').write_bytes(b'no image')
    source = Images(tmp_path, loop=loop)
    assert shades(source, 1) == [None]
    assert source.skipped == 2


def test_an_image_that_vanishes_is_skipped(folder):
    source = Images(folder)
    (folder / 'frame2.png').unlink()
    assert shades(source, 3) == [10, 100, 10]


def test_every_image_brings_the_matrix_of_its_size(folder):
    save(folder / 'frame3.png', 30, size=(64, 20))
    source = Images(folder, hfov_deg=90.0)
    for width, height in ((40, 30), (40, 30), (64, 20)):
        frame = source.frame(0.1, None, True)
        assert frame.rgb.shape == (height, width, 3)
        assert frame.k == pytest.approx(guessed_k(width, height, 90.0))
        assert frame.depth is None
        assert frame.segmentation is None


def test_red_stays_red_and_grey_becomes_three_channels(tmp_path):
    save(tmp_path / 'a.png', 200)
    cv2.imwrite(str(tmp_path / 'b.png'), np.full((30, 40), 77, np.uint8))
    cv2.imwrite(str(tmp_path / 'c.png'), np.full((30, 40, 4), (88, 88, 88, 255), np.uint8))
    source = Images(tmp_path)
    assert source.frame(0, None, False).rgb[0, 0].tolist() == [200, 0, 0]
    assert source.frame(0, None, False).rgb[0, 0].tolist() == [77, 77, 77]
    assert source.frame(0, None, False).rgb[0, 0].tolist() == [88, 88, 88]


def test_a_kitti_drive_is_recognised_with_its_calibration(tmp_path):
    images = tmp_path / 'day' / 'drive' / 'image_02' / 'data'
    images.mkdir(parents=True)
    cv2.imwrite(str(images / '0000000000.png'), np.zeros((375, 1242, 3), np.uint8))
    (tmp_path / 'day' / 'calib_cam_to_cam.txt').write_text(
        'calib_time: 09-Jan-2012 13:57:47\nS_rect_02: 1.242e+03 3.75e+02\n'
        'P_rect_02: 721.5 0 609.6 44.86 0 721.5 172.9 0.2 0 0 1 0.003\n'
    )
    for path in (tmp_path / 'day' / 'drive', images):
        frame = Images(path).frame(0, None, False)
        assert frame.k.tolist() == [[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1]]
    # Images that were resized have the same rays.
    cv2.imwrite(str(images / '0000000000.png'), np.zeros((125, 621, 3), np.uint8))
    k = Images(images).frame(0, None, False).k
    np.testing.assert_allclose(k, [[360.75, 0, 304.8], [0, 240.5, 57.6333], [0, 0, 1]], rtol=1e-5)


@pytest.mark.parametrize('content', [None, 'empty', 'text', 'file'])
def test_a_folder_without_images_is_refused_by_name(tmp_path, content):
    path = tmp_path / 'images'
    if content == 'file':
        path.write_text('not a folder')
    elif content:
        path.mkdir()
        if content == 'text':
            (path / 'a.txt').write_text('not an image')
    with pytest.raises(ValueError, match=r'path .*images.*: give'):
        Images(path)


# Videos


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """A video of 12 frames at 10 a second; frame i has a red of 20 i."""
    path = tmp_path_factory.mktemp('video') / 'drive.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10.0, (64, 48))
    assert writer.isOpened()
    for i in range(12):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = 20 * i
        writer.write(frame)
    writer.release()
    return path


def numbers(source, calls, seconds):
    return [None if s is None else round(s / 20) for s in shades(source, calls, seconds)]


def test_a_video_plays_at_its_own_speed(video):
    source = Video(video)
    assert numbers(source, 1, 0.0) == [0]
    assert numbers(source, 11, 0.1) == list(range(1, 12))
    source = Video(video)
    assert numbers(source, 1, 0.0) == [0]
    assert numbers(source, 5, 0.2) == [2, 4, 6, 8, 10]  # slower looks pass frames over
    source = Video(video)
    assert numbers(source, 1, 0.0) == [0]
    assert numbers(source, 8, 0.04) == [0, 0, 1, 1, 2, 2, 2, 3]  # faster ones see some again


def test_looks_that_jitter_neither_skip_nor_repeat(video):
    source = Video(video)
    assert numbers(source, 1, 0.0) == [0]
    waits = [0.098, 0.104, 0.097, 0.101, 0.1, 0.099, 0.103]
    assert [numbers(source, 1, wait)[0] for wait in waits] == [1, 2, 3, 4, 5, 6, 7]


def test_a_video_loops_or_ends(video):
    assert numbers(Video(video), 14, 0.1)[-4:] == [11, 0, 1, 2]
    assert numbers(Video(video, loop=False), 12, 0.1) == [*range(1, 12), None]
    # A pause far longer than the video.
    assert numbers(Video(video, loop=False), 1, 1000.0) == [None]
    assert numbers(Video(video), 1, 24.1) == [1]


def test_a_videos_frames_have_the_matrix_of_their_size(video):
    source = Video(video, hfov_deg=60.0)
    frame = source.frame(0.0, None, True)
    source.close()
    assert frame.rgb.shape == (48, 64, 3)
    assert frame.k == pytest.approx(guessed_k(64, 48, 60.0))
    assert frame.depth is None


@pytest.mark.parametrize('content', [None, b'', b'no video' * 100, 'cut', 'folder'])
def test_what_is_no_video_is_refused_by_name(tmp_path, video, content):
    path = tmp_path / 'drive.avi'
    if content == 'folder':
        path.mkdir()
    elif content is not None:
        path.write_bytes(video.read_bytes()[:300] if content == 'cut' else content)
    with pytest.raises(ValueError, match=r'path .*drive\.avi.*: give'):
        Video(path)


# The guess of a camera, and the simulator


@pytest.mark.parametrize(('width', 'height', 'hfov'), [(640, 480, 90.0), (100, 300, 10.0)])
def test_the_guessed_camera_sees_the_angle(width, height, hfov):
    k = guessed_k(width, height, hfov)
    edges = np.array([[-0.5, width - 0.5], [0, 0], [1, 1]])  # of the outermost pixels
    x = (np.linalg.inv(k) @ edges)[0]
    assert np.degrees(np.arctan(x)) == pytest.approx([-hfov / 2, hfov / 2])
    assert k[1, 2] == (height - 1) / 2


@pytest.mark.parametrize('hfov', [5.0, 180.0, float('nan')])
def test_an_impossible_angle_is_refused(hfov):
    with pytest.raises(ValueError, match=r'10\.\.170'):
        guessed_k(64, 48, hfov)


@pytest.mark.skipif(find_spec('mujoco') is None, reason='MuJoCo is not installed')
def test_the_simulator_is_a_camera_with_truth_on_request():
    from gsc_ros.sources.sim import Sim

    source = Sim('street', 0, 64, 48, 70.0)
    bare = source.frame(0.0, (0.0, 0.0), False)
    assert bare.depth is None
    assert bare.segmentation is None
    with_truth = source.frame(0.0, (0.0, 0.0), True)
    assert (with_truth.rgb == bare.rgb).all()
    assert with_truth.depth.shape == with_truth.segmentation.shape == (48, 64)
    assert with_truth.k == pytest.approx(guessed_k(64, 48, 70.0))
    x, y = source.world.x, source.world.y
    source.frame(1.0, (2.0, 0.0), False)
    assert np.hypot(source.world.x - x, source.world.y - y) == pytest.approx(2.0)
    assert source.world.time == pytest.approx(1.0)
    source.frame(3600.0, None, False)  # after a long pause the world does not leap
    assert source.world.time == pytest.approx(6.0)
    source.close()
