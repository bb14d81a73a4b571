"""One reader for all image files: upright, whole or refused, the same wherever they are read."""

import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from gsc_ros.cli import main
from gsc_ros.evaluation.datasets.frame import Frame, read_ids
from gsc_ros.image_files import BACKGROUND, SUFFIXES, check_jpeg, read_map, read_rgb
from gsc_ros.sources.images import Images
from gsc_ros.training import corpus

ROOT = Path(__file__).parent.parent
ORIENTATION = 0x0112


def scene(width=160, height=96):
    """Smooth colours that differ in all corners, with some texture."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    planes = (255 * x / width + noise, 255 * y / height + noise, 128 + 100 * np.sin(x / 9))
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def refuse(text):
    raise AssertionError(f'no doubt was expected: {text}')


def jpeg(pixels=None, **options):
    stream = io.BytesIO()
    Image.fromarray(scene() if pixels is None else pixels).save(stream, 'JPEG', **options)
    return stream.getvalue()


# Orientation


def oriented(path, orientation):
    image = Image.fromarray(scene())
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(path, exif=exif, quality=95)


def upright(pixels, orientation):
    """Turn pixels as EXIF (CIPA DC-008, 4.6.4) says of what row 0 and column 0 show."""
    turns = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],  # top, right
        3: lambda p: p[::-1, ::-1],  # bottom, right
        4: lambda p: p[::-1],  # bottom, left
        5: lambda p: p.swapaxes(0, 1),  # left, top
        6: lambda p: p.swapaxes(0, 1)[:, ::-1],  # right, top
        7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: lambda p: p.swapaxes(0, 1)[::-1],  # left, bottom
    }
    return turns[orientation](pixels)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_images_are_upright_wherever_they_are_read(tmp_path, suffix, orientation):
    path = tmp_path / f'a{suffix}'
    oriented(path, orientation)
    rgb = read_rgb(path, refuse)
    expected = upright(scene(), orientation)
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).mean() < 6
    assert (Images(tmp_path).frame(0, None, False).rgb == rgb).all()
    assert (Frame('a', path).rgb() == rgb).all()
    sample = corpus.load(tmp_path)[0].rgb
    assert (sample.shape[0] > sample.shape[1]) == (orientation > 4)


def test_encode_sees_an_image_upright(tmp_path):
    oriented(tmp_path / 'a.jpg', 6)
    coded, out = tmp_path / 'a.gsc', tmp_path / 'a.png'
    assert main(['encode', str(tmp_path / 'a.jpg'), '-o', str(coded), '--weights', 'random']) == 0
    assert main(['decode', str(coded), '-o', str(out), '--weights', 'random']) == 0
    assert read_rgb(out).shape == (160, 96, 3)


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's own, of every bad tag
@pytest.mark.parametrize('seed', range(20))
def test_exif_that_is_damaged_harms_no_sound_image(tmp_path, seed):
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, 'a camera'
    data = bytearray(exif.tobytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(6, len(data), 5):
        data[at] = rng.integers(256)
    path = tmp_path / 'a.jpg'
    path.write_bytes(jpeg(exif=bytes(data)))
    assert read_rgb(path, lambda text: None).shape in ((96, 160, 3), (160, 96, 3))


def test_an_orientation_counts_beside_tags_that_are_damaged(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x011A] = 6, 72.0
    data = exif.tobytes()
    at = data.index(b'\x01\x1a', 6)  # its type becomes text, which is no resolution
    path = tmp_path / 'a.jpg'
    path.write_bytes(jpeg(exif=data[: at + 2] + b'\0\x02' + data[at + 4 :]))
    assert read_rgb(path, refuse).shape == (160, 96, 3)


# Damage


def middle(data):
    """Some way into the coded pixels; of a progressive JPEG where a harm is seen."""
    start = data.index(b'\xff\xda')
    return start + (len(data) - start) // 8


def zeros(data):
    at = middle(data)
    return data[:at] + bytes(400) + data[at + 400 :]


def garbage(data):
    at = middle(data)
    return data[:at] + np.random.default_rng(1).bytes(400) + data[at + 400 :]


def hole(data):
    at = middle(data)
    return data[:at] + data[at + 400 :]


def cut(data):
    return data[: middle(data)]


def closed(data):
    return cut(data) + b'\xff\xd9'


@pytest.mark.parametrize('harm', [zeros, garbage, hole, cut, closed])
@pytest.mark.parametrize(
    'options',
    [{}, {'progressive': True}, {'restart_marker_rows': 1}, {'subsampling': 0, 'quality': 85}],
)
@pytest.mark.parametrize('colours', ['rgb', 'grey'])
def test_a_jpeg_that_is_damaged_inside_is_refused_by_name(tmp_path, harm, options, colours):
    pixels = scene(480, 360) if colours == 'rgb' else scene(480, 360)[..., 0]
    path = tmp_path / 'rock.jpg'
    path.write_bytes(jpeg(pixels, **options))
    read_rgb(path, refuse)
    path.write_bytes(harm(jpeg(pixels, **options)))
    with pytest.raises(ValueError, match=r'rock\.jpg: cannot be read, damaged'):
        read_rgb(path, refuse)


def overwritten(data, length, noise, seed):
    rng = np.random.default_rng(seed)
    at = int(rng.integers(data.index(b'\xff\xda') + 14, len(data) - length - 10))
    return data[:at] + (rng.bytes(length) if noise else bytes(length)) + data[at + length :]


@pytest.mark.parametrize(('noise', 'most'), [(False, 0), (True, 2)])
@pytest.mark.parametrize('length', [100, 300, 400, 1000])
def test_most_damage_that_a_decoder_accepts_is_found(noise, most, length):
    """Ends of images apart, where little is left to be wrong; 27 % of 400 zeros were accepted."""
    data = jpeg(scene(640, 480), quality=80)
    passed = 0
    for seed in range(40):
        try:
            check_jpeg(overwritten(data, length, noise, seed))
            passed += 1
        except ValueError:
            pass
    assert passed <= (most if length >= 300 else 3 * most)


def plain_images():
    y, x = np.mgrid[:240, :320].astype(np.float32)
    rng = np.random.default_rng(0)
    shades = [np.full((240, 320), level) for level in (0, 128, 255)]
    shades += [x * 255 / 320, x / 40, 21 * np.hypot(x / 320 - 0.5, y / 240 - 0.5)]
    shades += [rng.integers(0, 256, (240, 320)), 255 * rng.integers(0, 2, (240, 320))]
    shades += [255 * ((x + y) % 2), 255 * ((x // 8 + y // 8) % 2), 255 * (x % 2)]
    return [np.repeat(shade[..., None], 3, 2).astype(np.uint8) for shade in shades]


@pytest.mark.parametrize('quality', [1, 5, 20, 50, 80, 95, 100])
@pytest.mark.parametrize(
    'options', [{}, {'subsampling': 0}, {'optimize': True}, {'progressive': 1}]
)
def test_smooth_plain_and_hard_images_are_sound(quality, options, monkeypatch):
    monkeypatch.setattr(ImageFile, 'MAXBLOCK', 1 << 22)
    for pixels in [*plain_images(), scene(320, 240)]:
        assert check_jpeg(jpeg(pixels, quality=quality, **options)) == ''
        assert check_jpeg(jpeg(pixels[..., 0], quality=quality, **options)) == ''
        assert check_jpeg(jpeg(pixels, quality=quality, keep_rgb=True, **options)) == ''


@pytest.mark.parametrize('padding', [bytes(5000), b'\xff\xd9' + bytes(5000)])
def test_zeros_behind_an_image_are_padding(padding):
    assert check_jpeg(jpeg(scene(320, 240)) + padding) == ''


def test_surplus_bytes_of_webcams_leave_a_doubt_and_the_image(tmp_path):
    sound = jpeg(scene(480, 360), restart_marker_rows=1)
    at = sound.index(b'\xff\xd0', sound.index(b'\xff\xda'))
    path = tmp_path / 'c270.jpg'
    path.write_bytes(sound[:at] + b'\x55\x55' + sound[at:])
    messages = []
    assert np.abs(read_rgb(path, messages.append).astype(int) - scene(480, 360)).mean() < 6
    assert len(messages) == 1 and 'c270.jpg' in messages[0]
    source = Images(tmp_path, log=messages.append)
    assert all(source.frame(0.1, None, False) for _ in range(5))
    assert source.skipped == 0 and len(messages) == 2


def test_kinds_of_jpeg_that_cannot_be_checked_are_read(tmp_path):
    """Such as samples that libjpeg-turbo's API has no name for: here four of red to one grey."""
    data = bytearray(jpeg(subsampling=2))
    frame = data.index(b'\xff\xc0')
    assert data[frame + 11] == 0x22  # of the first component, across and down
    data[frame + 14], data[frame + 17] = 0x21, 0x12
    (tmp_path / 'odd.jpg').write_bytes(data)
    try:
        expected = np.array(Image.open(tmp_path / 'odd.jpg').convert('RGB'))
    except OSError:
        pytest.skip('Pillow cannot read it either')
    assert (read_rgb(tmp_path / 'odd.jpg', refuse) == expected).all()


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('suffix', ['.png', '.webp', '.gif', '.bmp', '.tif', '.ppm', '.jp2'])
def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f'rock{suffix}'
    Image.fromarray(scene()).save(path)
    data = path.read_bytes()
    for kept in (10, len(data) // 2, 9 * len(data) // 10):
        path.write_bytes(data[:kept])
        with pytest.raises(ValueError, match=r'rock\.\w+: cannot be read'):
            read_rgb(path, refuse)


def test_every_byte_of_a_png_counts(tmp_path):  # but for the end mark
    path = tmp_path / 'rock.png'
    Image.fromarray(scene(40, 30)).save(path)
    data = path.read_bytes()
    for at in range(20, len(data) - 12, 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ValueError, match=r'rock\.png'):
            read_rgb(path, refuse)


@pytest.mark.parametrize('loop', [True, False])
def test_a_damaged_image_of_a_sequence_is_dropped_counted_and_named_once(tmp_path, loop):
    for name in ('1', '2', '3'):
        (tmp_path / f'{name}.jpg').write_bytes(jpeg())
    (tmp_path / '2.jpg').write_bytes(closed(jpeg()))
    messages = []
    source = Images(tmp_path, loop=loop, log=messages.append)
    frames = [source.frame(0.1, None, False) for _ in range(6)]
    assert sum(f is not None for f in frames) == (6 if loop else 2)
    assert source.skipped == (3 if loop else 1)
    assert len(messages) == 1 and '2.jpg' in messages[0]


def test_damaged_images_are_left_out_of_a_corpus_and_named(tmp_path):
    (tmp_path / '1.jpg').write_bytes(jpeg())
    (tmp_path / '2.jpg').write_bytes(closed(jpeg()))
    with pytest.warns(UserWarning, match=r'left out of the corpus: .*2\.jpg'):
        assert len(corpus.load(tmp_path)) == 1


def test_datasets_refuse_damage_in_images_and_maps(tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(closed(jpeg()))
    for read in (Frame('a', path).rgb, Frame('a', tmp_path / 'none.jpg').rgb):
        with pytest.raises(ValueError, match='fetch the file again'):
            read()
    with pytest.raises(ValueError, match='fetch the file again'):
        read_ids(path, np.arange(256, dtype=np.uint8))


# Pixels of all kinds


def test_the_background_shows_through_transparent_areas(tmp_path):
    rgba = np.full((20, 30, 4), (200, 100, 50, 255), np.uint8)
    rgba[:, 10:20, 3] = 0
    rgba[:, 20:, 3] = 128
    for name in ('a.png', 'a.webp', 'a.tif'):
        options = {'lossless': True} if name == 'a.webp' else {}
        Image.fromarray(rgba).save(tmp_path / name, **options)
        rgb = read_rgb(tmp_path / name, refuse).astype(int)
        assert rgb[0, 5].tolist() == [200, 100, 50]
        assert rgb[0, 15].tolist() == list(BACKGROUND)
        half = (np.array([200, 100, 50]) * 128 + np.array(BACKGROUND) * 127) / 255
        assert rgb[0, 25] == pytest.approx(half, abs=1.0)
    Image.fromarray(rgba).convert('LA').save(tmp_path / 'grey.png')
    assert read_rgb(tmp_path / 'grey.png', refuse)[0, 15].tolist() == list(BACKGROUND)
    indexed = Image.new('P', (20, 10), 1)
    indexed.putpalette([9, 9, 9, 250, 0, 0])
    for name in ('p.png', 'p.gif'):
        indexed.save(tmp_path / name, transparency=1)
        assert (read_rgb(tmp_path / name, refuse) == BACKGROUND).all()
        indexed.save(tmp_path / name)
        assert read_rgb(tmp_path / name, refuse)[0, 0].tolist() == [250, 0, 0]


def test_sixteen_bits_are_divided_by_256(tmp_path):
    colours = scene().astype(np.uint16) * 256 + 77
    for name in ('a.png', 'a.tif'):
        cv2.imwrite(str(tmp_path / name), colours[..., ::-1])
        assert (read_rgb(tmp_path / name, refuse) == scene()).all()
        cv2.imwrite(str(tmp_path / name), colours[..., 0])
        assert (read_rgb(tmp_path / name, refuse) == scene()[..., :1]).all()
    grey = Image.fromarray(colours[..., 0])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    grey.save(tmp_path / 'a.png', exif=exif)
    assert (read_rgb(tmp_path / 'a.png', refuse) == upright(scene()[..., :1], 6)).all()


@pytest.mark.parametrize(
    ('mode', 'suffix'),
    [('CMYK', '.jpg'), ('CMYK', '.tif'), ('YCbCr', '.tif'), ('LAB', '.tif'), ('P', '.png')],
)
def test_other_colours_become_rgb(tmp_path, mode, suffix):
    path = tmp_path / f'a{suffix}'
    Image.fromarray(scene()).convert(mode).save(path)
    assert np.abs(read_rgb(path, refuse).astype(int) - scene()).mean() < 20


@pytest.mark.parametrize('suffix', ['.gif', '.png', '.webp', '.tif'])
def test_an_animation_is_its_first_image(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    images = [Image.new('RGB', (40, 30), (v, v, v)) for v in (30, 120, 210)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    assert read_rgb(path, refuse)[0, 0] == pytest.approx([30, 30, 30], abs=2)
    assert suffix in SUFFIXES


def test_floats_must_be_finite(tmp_path):
    path = tmp_path / 'a.tiff'
    for shape in ((20, 20, 3), (20, 20)):
        cv2.imwrite(str(path), np.full(shape, 0.5, np.float32))
        assert (read_rgb(path, refuse) == np.full((20, 20, 3), 128)).all()
        cv2.imwrite(str(path), np.full(shape, np.nan, np.float32))
        with pytest.raises(ValueError, match='NaN'):
            read_rgb(path, refuse)


def test_maps_keep_their_values(tmp_path):
    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    for mode in ('L', 'P'):
        image = Image.fromarray(ids)
        if mode == 'P':
            image.putpalette(np.random.default_rng(0).bytes(768))
        image.save(tmp_path / 'a.png')
        assert (read_map(tmp_path / 'a.png') == ids).all()
    deep = np.arange(0, 65536, 256, np.uint16).reshape(8, 32) + 3
    cv2.imwrite(str(tmp_path / 'a.png'), deep)
    assert read_map(tmp_path / 'a.png').dtype == np.uint16
    assert (read_map(tmp_path / 'a.png') == deep).all()
    Image.fromarray(scene()).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r'a\.png: a map'):
        read_map(tmp_path / 'a.png')


@pytest.mark.parametrize('content', [b'', b'no image', b'II*\0no image', b'\xff\xd8\xff\xe0'])
def test_what_is_no_image_is_refused_by_name(tmp_path, content):
    path = tmp_path / 'rock.jpg'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'rock\.jpg: cannot be read'):
        read_rgb(path, refuse)


def test_nothing_else_reads_image_files():
    """What reads files by itself forgets orientation, transparency or damage sooner or later."""
    readers = re.compile(r'cv2\.imread|Image\.open\(')
    found = {p.name for p in (ROOT / 'gsc_ros').rglob('*.py') if readers.search(p.read_text())}
    assert found == {'image_files.py', 'encodings.py'}  # the latter reads messages
