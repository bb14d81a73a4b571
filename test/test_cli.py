"""The command line: files in and out, and one line for every mistake."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from gsc_ros.cli import main
from gsc_ros.codec import FrameEncoder
from gsc_ros.codec.bitstream import Section
from gsc_ros.codec.pose import Accuracy, Pose
from gsc_ros.commands.images import read_depth, write_depth, write_exact
from gsc_ros.image_files import read_rgb
from gsc_ros.transforms import Transform

ROOT = Path(__file__).resolve().parent.parent
RANDOM = ['--weights', 'random']


@pytest.fixture
def png(tmp_path):
    path = tmp_path / 'in.png'
    ramp = np.linspace(0, 255, 160 * 120 * 3).reshape(120, 160, 3)
    ramp[40:60, 50:90] = 0  # without an edge it shows nothing
    cv2.imwrite(str(path), ramp.astype(np.uint8))
    return path


def test_an_image_goes_through(png, tmp_path, capsys):
    coded, out = tmp_path / 'out.gsc', tmp_path / 'out.png'
    assert main(['encode', str(png), '-o', str(coded), '--budget', '150', *RANDOM]) == 0
    assert coded.stat().st_size <= 150
    depth, classes, received = (tmp_path / f'{n}.png' for n in 'dsr')
    words = [
        'decode',
        str(coded),
        '-o',
        str(out),
        '--depth',
        str(depth),
        '--received',
        str(received),
        '--objects',
        str(tmp_path / 'o.json'),
    ]
    assert main([*words, '--segmentation', str(classes), '--steps', '1', *RANDOM]) == 0
    assert cv2.imread(str(out)).shape == (120, 160, 3)
    told = json.loads((tmp_path / 'o.json').read_text())
    assert told == {'width': 160, 'height': 120, 'objects': None, 'lost': 0}
    assert cv2.imread(str(depth), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert cv2.imread(str(classes), cv2.IMREAD_UNCHANGED).shape == (120, 160)
    assert set(np.unique(cv2.imread(str(received), cv2.IMREAD_UNCHANGED))) <= {0, 128, 255}
    capsys.readouterr()
    assert main(['info', str(coded), *RANDOM]) == 0
    said = capsys.readouterr().out
    assert '160x120' in said
    assert 'tokens' in said


def test_mistakes_end_in_a_line_and_code_two(png, tmp_path, capsys):
    broken = tmp_path / 'broken.gsc'
    broken.write_bytes(b'nothing of ours, but long enough')
    text = tmp_path / 'text.png'
    text.write_text('no image')
    out = ['-o', str(tmp_path / 'x')]
    for words, message in (
        (['encode', str(tmp_path / 'none.png'), *out], 'no such file'),
        (['encode', str(text), *out], 'not an image'),
        (['encode', str(png), *out, '--budget', '10'], '40'),
        (['decode', str(broken), *out], 'not a gsc frame'),
        (['info', str(tmp_path / 'none.gsc')], 'No such file'),
        (['encode', str(png), *out, '--preset', 'jpeg'], 'preset'),
    ):
        assert main([*words, *RANDOM]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.strip().splitlines()) == 1


def test_depth_files_come_back(tmp_path):
    metres = np.array([[1.5, np.nan], [np.inf, 80.0]], np.float32)
    write_depth(tmp_path / 'd.npy', metres)
    np.testing.assert_array_equal(read_depth(tmp_path / 'd.npy'), metres)
    write_depth(tmp_path / 'd.png', metres)
    back = read_depth(tmp_path / 'd.png')
    assert back[0, 0] == 1.5
    assert np.isnan(back[0, 1]) and np.isnan(back[1, 0])
    assert back[1, 1] == pytest.approx(65.535)


def test_an_image_that_claims_to_be_huge_is_refused(tmp_path):
    def chunk(kind, data):
        crc = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + crc

    size = struct.pack('>IIBBBBB', 200_000, 200_000, 8, 2, 0, 0, 0)
    path = tmp_path / 'huge.png'
    chunks = chunk(b'IHDR', size) + chunk(b'IDAT', zlib.compress(bytes(99))) + chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunks)
    with pytest.raises(ValueError, match=r'huge\.png'):
        read_rgb(path)


@pytest.mark.parametrize(
    'values',
    [
        np.zeros((4, 4, 2), np.float32),
        np.zeros((4, 4), np.complex64),
        np.array([['a']]),
        np.array([[None]]),
    ],
)
def test_depth_arrays_must_be_metres(tmp_path, values):
    path = tmp_path / 'd.npy'
    np.save(path, values)
    with pytest.raises(ValueError, match=r'd\.npy'):
        read_depth(path)


def test_broken_depth_arrays_are_refused(tmp_path):
    path = tmp_path / 'd.npy'
    np.save(path, np.ones((8, 8), np.float32))
    good = path.read_bytes()
    np.savez(tmp_path / 'archive.npz', a=1)
    broken = [b'', b'hello', good[:60], good[:-1], (tmp_path / 'archive.npz').read_bytes()]
    # An open bracket and a shape that fits in no memory.
    broken += [good.replace(b'}', b' '), good.replace(b'(8, 8)', b'(' + b'9' * 30 + b',)')]
    for data in broken:
        path.write_bytes(data)
        with pytest.raises(ValueError, match='not an array'):
            read_depth(path)


def test_maps_are_not_written_where_their_values_would_change(tmp_path):
    ids = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for name in ('s.jpg', 's.webp', 's'):
        with pytest.raises(ValueError, match=r'name it \.png'):
            write_exact(tmp_path / name, ids)
        with pytest.raises(ValueError, match=r'name it \.png'):
            write_depth(tmp_path / name, ids.astype(np.float32))
        assert not (tmp_path / name).exists()
    for name in ('s.png', 's.TIFF'):
        write_exact(tmp_path / name, ids)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED), ids)


def test_no_command_needs_the_libraries_of_another():
    code = (
        'import sys; from gsc_ros.cli import build_parser;'
        'build_parser().format_help(); import gsc_ros.link.datagrams.framing;'
        'print(*{name.partition(".")[0] for name in sys.modules})'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert 'gsc_ros' in loaded
    heavy = {'torch', 'reedsolo', 'spacepackets', 'cryptography', 'serial', 'cobs', 'rclpy'}
    assert not loaded & heavy


def test_a_command_runs_where_a_library_of_another_is_missing(tmp_path):
    for name in ('reedsolo', 'spacepackets', 'cryptography', 'serial', 'cobs'):
        (tmp_path / f'{name}.py').write_text('raise ImportError(__name__)')
    command = [sys.executable, '-m', 'gsc_ros.cli']
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    for words, code in ((['link-budget', 'ideal'], 0), (['train', '--help'], 0), (['key'], 2)):
        done = subprocess.run(
            [*command, *words], check=False, capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': paths},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert ('cryptography' in done.stderr) == (code == 2)


def test_info_tells_what_the_image_lacks(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'black.png'), np.zeros((96, 128, 3), np.uint8))
    frame = str(tmp_path / 'black.gsc')
    assert main(['encode', str(tmp_path / 'black.png'), '-o', frame, *RANDOM]) == 0
    assert 'no image: black' in capsys.readouterr().out
    assert main(['info', frame, *RANDOM]) == 0
    assert 'caption      no image: black' in capsys.readouterr().out


def test_info_tells_where_the_camera_was(tmp_path, capsys):
    rgb = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    codec = FrameEncoder.load(weights='random', device='cpu')
    pose = Pose(Transform((1.5, -2.0, 0.25)), Accuracy.FINE)
    for content, told in ((pose.pack(), '1.50, -2.00, 0.24 m'), (b'?', 'no pose')):
        file = tmp_path / 'frame.gsc'
        file.write_bytes(codec.encode(rgb, 200, sections={Section.POSE: content}).data)
        assert main(['info', str(file), *RANDOM]) == 0
        assert told in capsys.readouterr().out
