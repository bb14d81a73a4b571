"""sensor_msgs images <-> numpy, in every form that cameras publish."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from gsc_ros.ros.convert import (
    compressed_to_rgb,
    to_array,
    to_image,
    to_metres,
    to_rgb,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 10, 3), np.uint8)


def message(pixels, encoding):
    return to_image(np.ascontiguousarray(pixels), encoding, Header(frame_id='camera'))


def test_header_and_pixels_come_back():
    image = message(RGB, 'rgb8')
    assert (image.height, image.width, image.step) == (6, 10, 30)
    assert image.header.frame_id == 'camera'
    np.testing.assert_array_equal(to_rgb(image), RGB)


@pytest.mark.parametrize(
    ('encoding', 'pixels'),
    [
        ('bgr8', RGB[..., ::-1]),
        ('8UC3', RGB[..., ::-1]),
        ('rgba8', np.dstack([RGB, RGB[..., :1]])),
        ('bgra8', np.dstack([RGB[..., ::-1], RGB[..., :1]])),
    ],
)
def test_colour_orders(encoding, pixels):
    np.testing.assert_array_equal(to_rgb(message(pixels, encoding)), RGB)


def test_grey_and_sixteen_bits():
    grey = RGB[..., 0]
    for image in (message(grey, 'mono8'), message(grey.astype(np.uint16) << 8, 'mono16')):
        np.testing.assert_array_equal(to_rgb(image), np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_give_the_colour_back(pattern):
    colour = dict(zip('rgb', (200, 120, 40), strict=True))
    tile = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    rgb = to_rgb(message(np.tile(tile, (8, 8)), f'bayer_{pattern}8'))
    np.testing.assert_array_equal(rgb[4:-4, 4:-4], np.full((8, 8, 3), (200, 120, 40)))


def test_padded_rows_and_big_endian_data():
    depth = RNG.random((4, 5)).astype(np.float32)
    image = message(depth, '32FC1')
    rows = np.frombuffer(image.data, np.uint8).reshape(4, 20)
    image.data = np.pad(rows, ((0, 0), (0, 12))).tobytes()
    image.step = 32
    np.testing.assert_array_equal(to_array(image), depth)
    # The last row may end with its pixels.
    image.data = bytes(image.data)[:-12]
    np.testing.assert_array_equal(to_array(image), depth)
    swapped = message(depth.byteswap().view(np.float32), '32FC1')
    swapped.is_bigendian = 1
    np.testing.assert_array_equal(to_metres(swapped), depth)


def test_depth_in_millimetres():
    metres = to_metres(message(np.array([[1500, 0]], np.uint16), '16UC1'))
    assert metres.dtype == np.float32
    assert metres[0, 0] == 1.5
    assert np.isnan(metres[0, 1])
    with pytest.raises(ValueError, match='REP-118'):
        to_metres(message(RGB, 'rgb8'))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_compressed_images(suffix):
    flat = np.full((16, 16, 3), (10, 100, 200), np.uint8)
    data = cv2.imencode(suffix, flat[..., ::-1])[1].tobytes()
    rgb = compressed_to_rgb(CompressedImage(format=suffix[1:], data=data))
    assert np.abs(rgb.astype(int) - flat).max() <= 3
    for bad in (b'', b'junk'):
        with pytest.raises(ValueError, match='cannot be read'):
            compressed_to_rgb(CompressedImage(format='jpeg', data=bad))


def test_bad_messages_are_refused():
    good = message(RGB, 'rgb8')
    for field, value, text in (
        ('encoding', 'yuv999', 'not supported'),
        ('step', 5, 'step'),
        ('height', 0, 'pixels'),
        ('height', 7, 'need'),
        ('width', 100000, 'pixels'),
        ('data', b'', 'need'),
    ):
        image = message(RGB, 'rgb8')
        setattr(image, field, value)
        with pytest.raises(ValueError, match=text):
            to_rgb(image)
    assert to_rgb(good).shape == RGB.shape
    with pytest.raises(ValueError, match=r'need|pixels'):
        to_array(Image(encoding='mono8', height=2, width=2))
    nan = message(np.full((2, 2), np.nan, np.float32), '32FC1')
    with pytest.raises(ValueError, match='NaN'):
        to_rgb(nan)
    with pytest.raises(ValueError, match='is not'):
        to_image(RGB, 'mono8', Header())
