"""Videos as they come: containers, time stamps, turned phones, damage, and the loop of each."""

import gc
import os
import struct
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from gsc_ros.sources import video
from gsc_ros.sources.video import Video

av = pytest.importorskip('av')

# Kinds of videos: suffix, encoder, and whether the file keeps the time stamps of its frames.
KINDS = [
    ('.mp4', 'libx264', True),
    ('.mp4', 'libx265', True),
    ('.mov', 'mjpeg', True),
    ('.mkv', 'libx264', True),
    ('.webm', 'libvpx', True),
    ('.ts', 'libx264', True),
    ('.flv', 'libx264', True),
    ('.avi', 'mjpeg', True),
    ('.avi', 'mpeg4', True),
    ('.h264', 'libx264', False),
    ('.hevc', 'libx265', False),
    ('.mjpeg', 'mjpeg', False),
]
every_kind = pytest.mark.parametrize(
    ('suffix', 'codec', 'timed'), KINDS, ids=[f'{codec}{suffix}' for suffix, codec, _ in KINDS]
)
SHADE = 20  # red of frame i is SHADE * i
TIMES = [0.0, 0.1, 0.2, 1.2, 1.25, 1.3, 2.3, 2.4, 2.5, 2.6]  # s, of a variable rate


def shaded(i, size):
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    rgb[..., 0] = SHADE * i
    return rgb


def write(path, codec, times, images=None, size=(64, 48), ticks=10):
    """Write a video whose frame i has the time times[i] (s), in so many ticks a second."""
    options = {'x265-params': 'log-level=none:info=0'} if codec == 'libx265' else {}
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream.codec_context.gop_size = 4
        stream.codec_context.time_base = Fraction(1, ticks)
        for i, at in enumerate(times):
            rgb = shaded(i, size) if images is None else images[i]
            frame = av.VideoFrame.from_ndarray(rgb, 'rgb24').reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = round(ticks * at), Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def number(frame):
    return None if frame is None else round(float(frame.rgb[..., 0].mean()) / SHADE)


def looks(source, calls, seconds):
    return [number(source.frame(seconds, None, False)) for _ in range(calls)]


def detailed(count, size=(160, 120)):
    """A view that moves: frames that take some bytes."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (size[1] // 4, size[0] // 4 + count, 3), np.uint8)
    wide = np.kron(wide, np.ones((4, 4, 1), np.uint8))
    return [np.ascontiguousarray(wide[:, 4 * i : 4 * i + size[0]]) for i in range(count)]


# Time


@every_kind
def test_frames_come_at_the_times_of_the_video(tmp_path, suffix, codec, timed):
    path = tmp_path / f'drive{suffix}'
    if timed:
        times = TIMES
        write(path, codec, times, ticks=1000)
    else:  # a rate is all that such a video states, if that; else it has 25 frames a second
        times = [i / (25 if suffix == '.mjpeg' else 10) for i in range(10)]
        write(path, codec, [i / 10 for i in range(10)])
    source = Video(path, loop=False)
    at, seen = 0.0, []
    while (frame := source.frame(0.01 if seen else 0.0, None, False)) is not None:
        expected = max(i for i, t in enumerate(times) if t <= at + 0.0051)
        assert number(frame) == expected, at
        assert frame.age_s == pytest.approx(max(0.0, at - times[expected]), abs=0.002)
        assert frame.fresh == (not seen or seen[-1] != expected)
        if expected < 9:
            assert frame.next_s == pytest.approx(times[expected + 1] - at, abs=0.002)
        seen.append(expected)
        at += 0.01
    assert sorted(set(seen)) == list(range(10))
    assert 0.02 < at - times[-1] < 1.0  # the last one is shown for some time too


@every_kind
@pytest.mark.parametrize('seconds', [0.1, 0.33])
def test_videos_of_every_kind_begin_anew(tmp_path, suffix, codec, timed, seconds):
    path = write(tmp_path / f'drive{suffix}', codec, [i / 10 for i in range(10)])
    shown = [n for n in looks(Video(path), 30, seconds) if n is not None]
    assert len(shown) == 30
    assert sum(b < a for a, b in pairwise(shown)) >= 1  # it began again
    source = Video(path, loop=False)
    assert looks(source, 40, seconds)[-1] is None


def test_a_video_that_begins_anew_leaves_nothing_behind(tmp_path):
    path = write(tmp_path / 'drive.mkv', 'libx264', [i / 10 for i in range(10)])
    source = Video(path)
    for _ in range(3):
        source.frame(1.0, None, False)
    gc.disable()
    try:
        before = len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd'))
        for _ in range(60):
            source.frame(0.35, None, False)
        after = len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd'))
    finally:
        gc.enable()
    assert after[0] <= before[0] + 2 and after[1] <= before[1] + 2  # threads and files


def test_a_long_wait_costs_no_more_than_the_video(tmp_path):
    path = write(tmp_path / 'drive.mkv', 'libx264', [i / 10 for i in range(10)])
    source = Video(path)
    assert looks(source, 1, 0.0) == [0]
    assert looks(source, 1, 86400.0 + 0.31) == [3]
    assert looks(source, 1, 0.1) == [4]


def test_a_stream_whose_stamps_break_goes_on(tmp_path):
    """Recordings that were put together, or that begin anywhere in the clock of a receiver."""
    first = write(tmp_path / 'a.ts', 'libx264', [40_000 + i / 10 for i in range(5)])
    images = [shaded(i, (64, 48)) for i in range(5, 10)]
    second = write(tmp_path / 'b.ts', 'libx264', [i / 10 for i in range(5)], images)
    both = tmp_path / 'both.ts'
    both.write_bytes(first.read_bytes() + second.read_bytes())
    source = Video(both)
    shown = looks(source, 1, 0.0) + looks(source, 24, 0.05)
    assert [n for i, n in enumerate(shown) if i == 0 or n != shown[i - 1]][:11] == [*range(10), 0]


def test_a_video_too_heavy_to_decode_in_time_runs_slower(tmp_path, monkeypatch):
    path = write(tmp_path / 'drive.mkv', 'libx264', [i / 10 for i in range(10)])
    monkeypatch.setattr(video, '_PATIENCE_S', 0.0)
    messages = []
    source = Video(path, log=messages.append)
    assert looks(source, 4, 0.5) == [0, 1, 2, 3]
    assert len(messages) == 1 and 'slower' in messages[0]


# Turned and mirrored videos


def turned(path, matrix):
    """Write the display matrix (a, b, c, d) of an MP4's track."""
    data = bytearray(path.read_bytes())
    header = data.index(b'tkhd')
    at = header + 4 + 4 + (32 if data[header + 4] else 20) + 16
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ('matrix', 'turn'),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),  # a phone upright: clockwise
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),  # a front camera
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    ],
)
def test_videos_of_turned_phones_are_upright(tmp_path, matrix, turn):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :, 0] = 250
    image[:, :16, 1] = 250
    path = write(tmp_path / 'phone.mp4', 'libx264', [0.0, 0.1], [image, image])
    turned(path, matrix)
    frame = Video(path, hfov_deg=60.0).frame(0.0, None, False)
    expected = turn(image)
    assert frame.rgb.shape == expected.shape and frame.rgb.flags.c_contiguous
    assert np.abs(frame.rgb.astype(int) - expected).mean() < 12
    assert frame.k[0, 2] == (expected.shape[1] - 1) / 2


@pytest.mark.parametrize('matrix', [1, 5])  # BT.709 of HD, BT.601
def test_colours_are_those_that_the_video_states(tmp_path, matrix):
    rgb = np.full((48, 64, 3), (200, 60, 30), np.uint8)
    with av.open(str(tmp_path / 'hd.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=10, options={'crf': '1'})
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.codec_context.colorspace = matrix
        frame = av.VideoFrame.from_ndarray(rgb, 'rgb24')
        container.mux(stream.encode(frame.reformat(format='yuv420p', dst_colorspace=matrix)))
        container.mux(stream.encode(None))
    shown = Video(tmp_path / 'hd.mp4').frame(0.0, None, False).rgb
    assert np.abs(shown.astype(int) - rgb).max() <= 4


# Damage


def zeros(data):
    at = len(data) // 2
    return data[:at] + bytes(1500) + data[at + 1500 :]


def hole(data):
    at = len(data) // 2
    return data[:at] + data[at + 1500 :]


def cut(data):
    return data[: 2 * len(data) // 3]


@pytest.mark.parametrize('harm', [zeros, hole, cut])
@every_kind
def test_damage_is_counted_and_the_video_goes_on(tmp_path, suffix, codec, timed, harm):
    count = 40
    path = write(
        tmp_path / f'rover{suffix}',
        codec,
        [i / 10 for i in range(count)],
        detailed(count),
        size=(160, 120),
    )
    whole = Video(path, loop=False)
    shown = sum(whole.frame(0.02, None, False) is not None for _ in range(400))
    assert whole.skipped == 0
    path.write_bytes(harm(path.read_bytes()))
    if suffix in ('.mp4', '.mov') and harm is not zeros:  # its index is at the end
        with pytest.raises(ValueError, match=r'rover\.mo?.*no video'):
            Video(path)
        return
    messages = []
    source = Video(path, loop=False, log=messages.append)
    seen = [source.frame(0.02, None, False) for _ in range(400)]
    assert seen[-1] is None and all(f.rgb.shape == (120, 160, 3) for f in seen if f is not None)
    fresh = sum(f is not None and f.fresh for f in seen)
    assert count / 3 < fresh <= count
    assert sum(f is not None for f in seen) <= shown + 60
    if harm is zeros:
        assert fresh > count / 2  # the end is seen too
    silent = codec in ('libvpx', 'libx265') or suffix == '.flv'  # of some versions of FFmpeg
    if harm is not cut and not silent:
        assert source.skipped > 0
    assert len(messages) == (1 if source.skipped else 0)
    assert all(f'rover{suffix}' in text for text in messages)
    again = Video(path)
    assert all(again.frame(0.1, None, False) is not None for _ in range(2 * count))


def test_a_jpeg_of_a_video_that_is_damaged_inside_is_left_out(tmp_path):
    images = detailed(10)
    path = write(
        tmp_path / 'rover.avi', 'mjpeg', [i / 10 for i in range(10)], images, size=(160, 120)
    )
    data = path.read_bytes()
    at = [i for i in range(len(data)) if data[i : i + 2] == b'\xff\xda'][4] + 600
    path.write_bytes(data[:at] + bytes(300) + data[at + 300 :])
    source = Video(path, loop=False)
    seen = [source.frame(0.1 if i else 0.0, None, False) for i in range(10)]
    assert [f.fresh for f in seen] == [i != 4 for i in range(10)]
    assert source.skipped == 1
    errors = [np.abs(f.rgb.astype(int) - images[i]).mean() for i, f in enumerate(seen) if i != 4]
    assert max(errors) < 40


# What is no video


def test_a_video_without_pyav_names_the_remedy(tmp_path, monkeypatch):
    path = write(tmp_path / 'drive.mkv', 'libx264', [0.0, 0.1])
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(ValueError, match=r'gsc_ros\[video\]'):
        Video(path)


def test_a_video_without_images_is_refused(tmp_path):
    path = tmp_path / 'sound.wav'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), 's16', 'mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r'sound\.wav.*no video'):
        Video(path)
