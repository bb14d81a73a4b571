"""Every encoding that a camera may publish, against formulas written out here."""

import io
import re

import cv2
import numpy as np
import PIL.Image
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from gsc_ros.paths import prefixes
from gsc_ros.ros import convert
from gsc_ros.ros.images import encodings
from gsc_ros.ros.images.encodings import ContrastStretch

BAYER = ['rggb', 'bggr', 'gbrg', 'grbg']


def chart(width=13, height=7):
    """A chart of smooth colours, uint8 RGB."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    shades = [60 + 150 * x, 200 - 150 * y, 40 + 80 * (x + y)]
    return np.stack(shades, -1).round().astype(np.uint8)


def message(rows, encoding, width, height, padding=0, big_endian=False):
    """An image message of rows of bytes, each followed by padding."""
    rows = [bytes(row) + b'\xa5' * padding for row in rows]
    image = Image(encoding=encoding, width=width, height=height, is_bigendian=int(big_endian))
    image.step = len(rows[0])
    image.data = b''.join(rows)
    return image


def yuv(rgb):
    """BT.601 with luma of 16 to 235, float."""
    r, g, b = (rgb[..., i].astype(float) / 255 for i in range(3))
    return (
        16 + 65.481 * r + 128.553 * g + 24.966 * b,
        128 - 37.797 * r - 74.203 * g + 112.0 * b,
        128 + 112.0 * r - 93.786 * g - 18.214 * b,
    )


def back(y, u, v):
    """The inverse of :func:`yuv`."""
    y, u, v = (np.asarray(plane, float) for plane in (y, u, v))
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    rgb = y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u
    return np.clip(np.stack(rgb, -1) * 255, 0, 255)


def near(found, expected, most=2.0):
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected).max() <= most


def planes(rgb, across, down):
    """Bytes of luma, and of chroma that so many pixels share, with the edge repeated."""
    height, width = rgb.shape[:2]
    edges = (0, -height % down), (0, -width % across)
    y, u, v = (np.pad(plane, edges, 'edge') for plane in yuv(rgb))
    rows, columns = y.shape

    def shared(plane):
        blocks = plane.reshape(rows // down, down, columns // across, across)
        return blocks.mean((1, 3)).round().astype(np.uint8)

    return y.round().astype(np.uint8), shared(u), shared(v)


SIZES = [(12, 8), (13, 7), (64, 48), (15, 16)]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', ['yuyv', 'yuv422_yuy2', 'uyvy', 'yuv422'])
def test_yuv_of_two_pixels(encoding, size, padding):
    width, height = size
    y, u, v = planes(chart(*size), 2, 1)
    rows = []
    for row in range(height):
        line = bytearray()
        for pair in range(u.shape[1]):
            first, second = y[row, 2 * pair : 2 * pair + 2]
            order = first, u[row, pair], second, v[row, pair]
            if encoding in ('uyvy', 'yuv422'):
                order = order[1], order[0], order[3], order[2]
            line += bytes(order)
        rows.append(line)
    expected = back(y, u.repeat(2, 1), v.repeat(2, 1))[:, :width]
    near(convert.to_rgb(message(rows, encoding, *size, padding)), expected)
    # A driver may leave out the second pixel of the last pair.
    short = [row[: 2 * width] for row in rows]
    near(convert.to_rgb(message(short, encoding, *size)), expected, 2 if width % 2 == 0 else 12)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('padding', [1, 8])
@pytest.mark.parametrize('encoding', ['nv12', 'nv21', 'nv24'])
def test_yuv_of_two_planes(encoding, size, padding):
    width, height = size
    share = 1 if encoding == 'nv24' else 2
    y, u, v = planes(chart(*size), share, share)
    pairs = (v, u) if encoding == 'nv21' else (u, v)
    chroma = np.stack(pairs, -1).reshape(u.shape[0], -1)
    step = width + padding
    luma = [bytes(row[:width]).ljust(step, b'\xa5') for row in y[:height]]
    below = [bytes(row).ljust(step * 2 // share, b'\xa5') for row in chroma]
    image = Image(encoding=encoding, width=width, height=height, step=step)
    image.data = b''.join(luma + below)
    grown = (plane.repeat(share, 0).repeat(share, 1) for plane in (u, v))
    expected = back(y, *grown)[:height, :width]
    near(convert.to_rgb(image), expected)


@pytest.mark.parametrize(('encoding', 'share'), [('nv12', 2), ('nv21', 2), ('nv24', 1)])
def test_planes_whose_step_counts_all_bytes(encoding, share):
    y, u, v = planes(chart(16, 8), share, share)
    chroma = np.stack((v, u) if encoding == 'nv21' else (u, v), -1)
    image = Image(encoding=encoding, width=16, height=8)
    image.data = y.tobytes() + chroma.tobytes()
    expected = back(y, *(plane.repeat(share, 0).repeat(share, 1) for plane in (u, v)))
    for step in (0, 16, len(image.data) // 8):
        image.step = step
        near(convert.to_rgb(image), expected)
    image.data = image.data[:-1]
    for step in (0, 16):
        image.step = step
        with pytest.raises(ValueError, match='need'):
            convert.to_rgb(image)


def channels(rgb, order, dtype):
    """Channels in an order, 16 bits by repeating the byte."""
    alpha = np.full(rgb.shape[:2], 77, np.uint8)
    planes = {'r': rgb[..., 0], 'g': rgb[..., 1], 'b': rgb[..., 2], 'a': alpha}
    pixels = np.stack([planes[c] for c in order], -1)
    return pixels if dtype == 'u1' else pixels.astype(np.uint16) * 257


@pytest.mark.parametrize('order', ['rgb', 'bgr', 'rgba', 'bgra'])
@pytest.mark.parametrize('dtype', ['u1', '<u2', '>u2'])
@pytest.mark.parametrize('padding', [0, 4])
def test_packed_colours(order, dtype, padding):
    rgb = chart()
    rows = [row.astype(dtype).tobytes() for row in channels(rgb, order, dtype)]
    bits = 8 if dtype == 'u1' else 16
    image = message(rows, f'{order}{bits}', 13, 7, padding, dtype == '>u2')
    np.testing.assert_array_equal(convert.to_rgb(image), rgb)
    if order.startswith('bgr'):
        image.encoding = f'{bits}UC{len(order)}'
        np.testing.assert_array_equal(convert.to_rgb(image), rgb)


@pytest.mark.parametrize(
    ('encoding', 'dtype', 'scale'),
    [
        ('mono8', 'u1', 1),
        ('8UC1', 'u1', 1),
        ('8UC', 'u1', 1),
        ('mono16', '<u2', 256),
        ('mono16', '>u2', 257),
        ('16UC1', '<u2', 257),
        ('32FC1', '<f4', 1 / 255),
        ('32FC1', '>f4', 1 / 255),
        ('64FC1', '<f8', 1 / 255),
    ],
)
def test_grey(encoding, dtype, scale):
    grey = chart()[..., 0]
    rows = [row.tobytes() for row in (grey.astype(float) * scale).astype(dtype)]
    image = message(rows, encoding, 13, 7, 8, dtype[0] == '>')
    np.testing.assert_array_equal(convert.to_rgb(image), grey[..., None].repeat(3, 2))


def mosaic(rgb, pattern):
    """The colour that a Bayer filter lets through at each pixel."""
    rows, columns = np.indices(rgb.shape[:2])
    which = np.array(['rgb'.index(c) for c in pattern]).reshape(2, 2)[rows % 2, columns % 2]
    return np.take_along_axis(rgb, which[..., None], 2)[..., 0]


@pytest.mark.parametrize('pattern', BAYER)
@pytest.mark.parametrize('dtype', ['u1', '<u2', '>u2'])
@pytest.mark.parametrize('size', [(24, 16), (25, 17)])
def test_bayer(pattern, dtype, size):
    rgb = chart(*size)
    raw = mosaic(rgb, pattern)
    if dtype != 'u1':
        raw = raw.astype(np.uint16) * 257
    rows = [row.tobytes() for row in raw.astype(dtype)]
    bits = 8 if dtype == 'u1' else 16
    image = message(rows, f'bayer_{pattern}{bits}', *size, 6, dtype == '>u2')
    found = convert.to_rgb(image)
    near(found[2:-2, 2:-2], rgb[2:-2, 2:-2], 3)
    near(found, rgb, 20)


def test_every_name_that_ros_has_is_taken_or_refused_by_name():
    found = [p / 'include/sensor_msgs/sensor_msgs/image_encodings.hpp' for p in prefixes()]
    header = next((path for path in found if path.is_file()), None)
    if header is None:
        pytest.skip('no headers of sensor_msgs here')
    names = re.findall(r'^const char \w+\[\] = "(\w+)"', header.read_text(), re.MULTILINE)
    assert len(names) > 50
    for name in names:
        image = Image(encoding=name, width=16, height=16, data=bytes(16 * 16 * 32))
        if name.endswith('C2'):
            with pytest.raises(ValueError, match='no colour'):
                convert.to_rgb(image)
        elif 'SC' in name:
            with pytest.raises(ValueError, match='black and white'):
                convert.to_rgb(image)
        else:
            assert convert.to_rgb(image).shape == (16, 16, 3)


@pytest.mark.parametrize('encoding', ['32FC1', '32FC3', '64FC1'])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(encoding, bad):
    dtype, count = encodings.layout(encoding)
    pixels = np.full((4, 4 * count), 0.5, dtype)
    pixels[2, 1] = bad
    image = message([row.tobytes() for row in pixels], encoding, 4, 4)
    for levels in (encodings.full_range, lambda p: ContrastStretch()(0.0, p)):
        with pytest.raises(ValueError, match='NaN or Inf'):
            convert.to_rgb(image, levels)


# Thermal and infrared


def thermal(low, high, dtype=np.uint16, shape=(60, 80)):
    """A scene of so many counts, without noise."""
    return np.linspace(low, high, shape[0] * shape[1]).reshape(shape).astype(dtype)


def shown(pixels, stretch, at, encoding='mono16'):
    image = convert.to_image(pixels, encoding, Header())
    return convert.to_rgb(image, lambda p: stretch(at, p))[..., 0]


@pytest.mark.parametrize(
    ('encoding', 'low', 'high'),
    [('mono16', 300, 1000), ('mono16', 7000, 8200), ('16UC1', 21000, 22000),
     ('16SC1', -300, 400), ('32FC1', 285.0, 310.0), ('mono16', 0, 65535)],
)  # fmt: skip
def test_deep_grey_fills_the_range(encoding, low, high):
    pixels = thermal(low, high, encodings.layout(encoding)[0])
    grey = shown(pixels, ContrastStretch(), 0.0, encoding)
    assert (grey.min(), grey.max()) == (0, 255)
    np.testing.assert_allclose(grey.mean(), 127.5, atol=2)
    np.testing.assert_allclose((grey == 255).mean(), 0.01, atol=0.006)
    assert (np.diff(grey.ravel().astype(int)) >= 0).all()


def test_the_range_is_held_and_follows():
    stretch = ContrastStretch(time_constant_s=2.0)
    first = shown(thermal(7000, 7600), stretch, 0.0)
    # A hot thing comes in: the rest keeps its brightness at first.
    hot = thermal(7000, 7600)
    hot[:20, :20] = 8200
    soon = shown(hot, stretch, 0.1)
    assert np.abs(soon[30:].astype(int) - first[30:]).max() < 25
    assert (soon[:20, :20] == 255).all()
    for step in range(2, 200):
        late = shown(hot, stretch, 0.1 * step)
    assert 115 < late[59, 79] < 140
    assert (late[:20, :20] == 255).all()
    # It goes on where stamps stand still or are set back.
    for _ in range(100):
        again = shown(thermal(7000, 7600), stretch, 0.0)
    assert np.abs(again.astype(int) - first).max() <= 3


def test_noise_is_not_made_contrast():
    rng = np.random.default_rng(0)
    noise = rng.normal(7000, 1, (60, 80)).astype(np.uint16)
    grey = shown(noise, ContrastStretch(), 0.0)
    assert grey.std() < 6
    assert 90 < grey.mean() < 165


def test_floats_from_zero_to_one_are_left():
    grey = chart()[..., 0]
    found = shown((grey / 255).astype(np.float32), ContrastStretch(), 0.0, '32FC1')
    np.testing.assert_array_equal(found, grey)


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_deep_colours_keep(bits):
    rgb = chart(32, 24)
    shift = bits - 8
    stretch = ContrastStretch()
    bright = np.full_like(rgb, 255)
    for pixels in (bright, rgb):
        deep = pixels.astype(np.uint16) << shift
        for encoding, form in (('rgb16', deep), ('bayer_grbg16', mosaic(deep, 'grbg'))):
            image = convert.to_image(form, encoding, Header())
            found = convert.to_rgb(image, lambda p: stretch(0.0, p))
            near(found[2:-2, 2:-2], pixels[2:-2, 2:-2], 3)


# Compressed


def file(pixels, suffix):
    """An image file of pixels in OpenCV's order."""
    return cv2.imencode(suffix, pixels)[1].tobytes()


def read(data, form, levels=encodings.full_range):
    return convert.compressed_to_rgb(CompressedImage(format=form, data=data), levels)


RGB = cv2.resize(chart(), (64, 48), interpolation=cv2.INTER_LINEAR)
BGR = np.ascontiguousarray(RGB[..., ::-1])
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize(
    ('form', 'data', 'most'),
    [
        ('jpeg', file(BGR, '.jpg'), 6),
        ('jpg', file(BGR, '.jpg'), 6),
        ('', file(BGR, '.jpg'), 6),
        ('bgr8; jpeg compressed bgr8', file(BGR, '.jpg'), 6),
        ('rgb8; jpeg compressed bgr8', file(BGR, '.jpg'), 6),
        ('yuv422_yuy2; jpeg compressed bgr8', file(BGR, '.jpg'), 6),
        ('bayer_rggb8; jpeg compressed bgr8', file(BGR, '.jpg'), 6),
        # What old image_transport did to rgb8: red was written as blue.
        ('rgb8; jpeg compressed rgb8', file(RGB, '.jpg'), 6),
        ('rgb8; tiff compressed ', file(RGB, '.tiff'), 0),
        ('bgr8; tiff compressed ', file(BGR, '.tiff'), 0),
        ('png', file(BGR, '.png'), 0),
        ('rgb8; png compressed bgr8', file(BGR, '.png'), 0),
        ('rgba8; png compressed bgr8', file(np.dstack([BGR, GREY]), '.png'), 0),
        ('rgb16; png compressed bgr16', file(BGR.astype(np.uint16) * 257, '.png'), 0),
        ('webp', file(BGR, '.webp'), 8),
        ('tiff', file(BGR, '.tiff'), 0),
        ('bmp', file(BGR, '.bmp'), 0),
    ],
)
def test_compressed_colours(form, data, most):
    near(read(data, form), RGB.astype(float), most)


@pytest.mark.parametrize('kind', ['AVIF', 'JPEG2000', 'GIF', 'PPM', 'TGA'])
def test_what_opencv_or_pillow_read(kind):
    out = io.BytesIO()
    try:
        PIL.Image.fromarray(RGB).save(out, kind)
    except (KeyError, OSError) as error:
        pytest.skip(f'Pillow cannot write {kind} here: {error}')
    near(read(out.getvalue(), kind.lower()), RGB.astype(float), 40)


def test_compressed_grey():
    expected = GREY[..., None].repeat(3, 2).astype(float)
    near(read(file(GREY, '.jpg'), 'mono8; jpeg compressed mono8'), expected, 6)
    near(read(file(GREY, '.png'), 'mono8; png compressed '), expected, 0)
    # image_transport interpolates a Bayer pattern to grey before it makes a JPEG of it.
    near(read(file(GREY, '.jpg'), 'bayer_rggb8; jpeg compressed mono8'), expected, 6)
    deep = thermal(7000, 7600)
    for form, data in (
        ('mono16; png compressed ', file(deep, '.png')),
        ('16UC1; tiff compressed ', file(deep, '.tiff')),
        ('32FC1; tiff compressed ', file(deep.astype(np.float32), '.tiff')),
    ):
        stretch = ContrastStretch()
        grey = read(data, form, lambda p, s=stretch: s(0.0, p))
        assert (grey.min(), grey.max()) == (0, 255)
        np.testing.assert_allclose(grey.mean(), 127.5, atol=2)


@pytest.mark.parametrize('pattern', BAYER)
@pytest.mark.parametrize(
    ('form', 'suffix', 'scale', 'most'),
    [
        ('bayer_{}8; png compressed ', '.png', 1, 3),
        ('bayer_{}8; tiff compressed ', '.tiff', 1, 3),
        ('bayer_{}8; jpeg compressed ', '.jpg', 1, 40),
        ('bayer_{0}8; jpeg compressed bayer_{0}8', '.jpg', 1, 40),
        ('bayer_{}16; png compressed ', '.png', 257, 3),
    ],
)
def test_compressed_bayer(pattern, form, suffix, scale, most):
    raw = mosaic(RGB, pattern)
    raw = raw if scale == 1 else raw.astype(np.uint16) * scale
    data = cv2.imencode(suffix, raw, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    found = read(data, form.format(pattern))
    near(found[2:-2, 2:-2], RGB[2:-2, 2:-2].astype(float), most)


def test_an_orientation_in_a_jpeg_is_not_followed():
    # camera_info goes by the sensor's rows and columns.
    out = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(RGB).save(out, 'JPEG', exif=exif, quality=95)
    assert read(out.getvalue(), 'jpeg').shape == RGB.shape


def cut_within(data, count=40):
    """Zeros for a piece of the middle."""
    middle = len(data) * 3 // 4
    return data[:middle] + bytes(count) + data[middle + count :]


def test_a_webcams_jpeg_without_end_or_tables_is_whole():
    data = file(BGR, '.jpg')
    near(read(data[:-2], 'jpeg'), RGB.astype(float), 6)
    near(read(data + bytes(300), 'jpeg'), RGB.astype(float), 6)
    short, at = data[:2], 2
    while data[at + 1] != 0xDA:  # start of scan
        size = 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
        short += b'' if data[at + 1] == 0xC4 else data[at : at + size]  # Huffman tables
        at += size
    near(read(short + data[at:], 'jpeg'), RGB.astype(float), 6)


@pytest.mark.parametrize(
    ('form', 'data', 'text'),
    [
        ('jpeg', b'', 'cannot be read'),
        ('jpeg', b'junk' * 100, 'cannot be read'),
        ('h264', b'\0\0\0\1\x67' + bytes(50), 'cannot be read'),
        ('jpeg', file(BGR, '.jpg')[:50], 'cannot be read'),
        ('jpeg', file(BGR, '.jpg')[:-300], 'damaged or cut off'),
        ('bgr8; jpeg compressed bgr8', cut_within(file(BGR, '.jpg')), 'damaged or cut off'),
        ('16UC1; compressedDepth png', bytes(12) + file(GREY, '.png'), 'is depth'),
        ('32FC1; compressedDepth', bytes(12) + file(GREY, '.png'), 'is depth'),
        ('32FC1; tiff compressed ', file(np.full((8, 8), np.nan, np.float32), '.tiff'), 'NaN'),
    ],
)
def test_what_cannot_be_read_is_refused(form, data, text):
    with pytest.raises(ValueError, match=text):
        read(data, form)
