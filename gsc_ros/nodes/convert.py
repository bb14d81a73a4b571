"""
Messages <-> what the core works on: images and numpy, camera_info and cameras, velocities.

Ours because cv_bridge is not at hand everywhere: it is a package of a ROS install, and its
namesake on PyPI reads 16UC1 back wrong.
"""

import array
import math
import sys

import cv2
import numpy as np
from geometry_msgs.msg import Twist
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from gsc_ros.link.payloads import WHOLE, Camera, Region

# Encoding -> (dtype, channels), sensor_msgs/image_encodings.hpp
_ENCODINGS: dict[str, tuple[type, int]] = {
    'rgb8': (np.uint8, 3),
    'bgr8': (np.uint8, 3),
    '8UC3': (np.uint8, 3),
    'rgba8': (np.uint8, 4),
    'bgra8': (np.uint8, 4),
    '8UC4': (np.uint8, 4),
    'mono8': (np.uint8, 1),
    '8UC1': (np.uint8, 1),
    'mono16': (np.uint16, 1),
    '16UC1': (np.uint16, 1),
    '32FC1': (np.float32, 1),
    '32FC3': (np.float32, 3),
    'bayer_rggb8': (np.uint8, 1),
    'bayer_bggr8': (np.uint8, 1),
    'bayer_gbrg8': (np.uint8, 1),
    'bayer_grbg8': (np.uint8, 1),
}
# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by the first row's.
_BAYER = {
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB,
    'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB,
    'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
}
MAX_SIDE = 16384


def to_array(message: Image) -> NDArray:
    """
    Return an image's pixels as they are: (H, W) or (H, W, C) in the encoding's dtype.

    Padded rows and big-endian data are put right. Raises ``ValueError`` for encodings that are not
    known, empty images and data shorter than the sizes promise.
    """
    if message.encoding not in _ENCODINGS:
        known = ', '.join(_ENCODINGS)
        raise ValueError(f'encoding {message.encoding!r} is not supported; publish one of {known}')
    kind, channels = _ENCODINGS[message.encoding]
    height, width = message.height, message.width
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f'image of {width}x{height} pixels')
    row = width * channels * np.dtype(kind).itemsize
    step = message.step or row
    if step < row:
        raise ValueError(f'step {step} is less than a row of {row} bytes')
    needed = step * (height - 1) + row
    if len(message.data) < needed:
        raise ValueError(
            f'{len(message.data)} bytes of data, {height} rows of {step} need {needed}'
        )
    data = np.frombuffer(message.data, np.uint8)
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1))
    pixels: NDArray = np.ascontiguousarray(rows).view(kind)
    if np.dtype(kind).itemsize > 1 and bool(message.is_bigendian) != (sys.byteorder == 'big'):
        pixels = pixels.byteswap()
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


def to_rgb(message: Image) -> NDArray[np.uint8]:
    """
    Return an image as uint8 (H, W, 3) RGB.

    Grey becomes grey RGB, 16 bits are scaled, alpha is dropped, Bayer is interpolated, floats are
    taken as 0..1. Raises ``ValueError`` as :func:`to_array`, and for NaN or Inf.
    """
    pixels = to_array(message)
    if message.encoding in _BAYER:
        return cv2.cvtColor(pixels, _BAYER[message.encoding])
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype == np.float32:
        if not np.isfinite(pixels).all():
            raise ValueError('picture holds NaN or Inf: repair it before it is published')
        pixels = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    swapped = message.encoding in ('bgr8', 'bgra8', '8UC3', '8UC4')  # OpenCV's order by habit
    pixels = pixels[..., :3]
    return np.ascontiguousarray(pixels[..., ::-1] if swapped else pixels)


def compressed_to_rgb(message: CompressedImage) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG message to uint8 (H, W, 3) RGB, or raise ``ValueError``."""
    data = np.frombuffer(message.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise ValueError(f'compressed image of format {message.format!r} cannot be read')
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def to_metres(message: Image) -> NDArray[np.float32]:
    """
    Return a depth image as float32 (H, W) in metres (REP-118): 32FC1, or 16UC1 in millimetres.

    Zero of 16UC1 becomes NaN. Raises ``ValueError`` for other encodings.
    """
    pixels = to_array(message)
    if message.encoding == '16UC1':
        metres = pixels.astype(np.float32) / np.float32(1000)
        metres[pixels == 0] = np.nan
        return metres
    if message.encoding != '32FC1':
        raise ValueError(
            f'depth of encoding {message.encoding!r}: publish 32FC1 or 16UC1 (REP-118)'
        )
    return pixels


def to_image(pixels: NDArray, encoding: str, header: Header) -> Image:
    """
    Make an image message of (H, W) or (H, W, C) pixels.

    Raises ``ValueError`` where the pixels do not fit the encoding.
    """
    if encoding not in _ENCODINGS:
        raise ValueError(f'encoding {encoding!r} is not supported')
    kind, channels = _ENCODINGS[encoding]
    found = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype != kind or found != channels:
        raise ValueError(f'{pixels.dtype} with {found} channels is not {encoding}')
    message = Image(header=header, encoding=encoding, is_bigendian=int(sys.byteorder == 'big'))
    message.height, message.width = pixels.shape[:2]
    message.step = message.width * channels * pixels.itemsize
    # An array.array is taken as it is; bytes or lists are checked element by element.
    message.data = array.array('B', np.ascontiguousarray(pixels).tobytes())
    return message


def to_region(message: RegionOfInterest, size: tuple[int, int]) -> Region:
    """
    Return a part of pictures of a size (W, H) in shares of it; without width or height the whole.

    Raises ValueError for what does not lie within.
    """
    if not message.width or not message.height:
        return WHOLE
    right, bottom = message.x_offset + message.width, message.y_offset + message.height
    if right > size[0] or bottom > size[1]:
        raise ValueError(f'{right}x{bottom} is outside of a picture of {size[0]}x{size[1]}')
    left, top = message.x_offset / size[0], message.y_offset / size[1]
    return left, top, right / size[0], bottom / size[1]


def to_roi(region: Region, size: tuple[int, int]) -> RegionOfInterest:
    """Return the pixels of a part of a picture of a size (W, H), its edges rounded outwards."""
    left, top, right, bottom = region
    x, y = math.floor(left * size[0]), math.floor(top * size[1])
    return RegionOfInterest(
        x_offset=x,
        y_offset=y,
        width=math.ceil(right * size[0]) - x,
        height=math.ceil(bottom * size[1]) - y,
    )


def to_camera(message: CameraInfo, frame_id: str) -> Camera:
    """Take a CameraInfo apart; raises ValueError for what cannot be sent."""
    roi = message.roi
    return Camera(
        frame_id,
        message.width,
        message.height,
        message.distortion_model,
        tuple(message.d),
        tuple(map(float, message.k)),
        tuple(map(float, message.r)),
        tuple(map(float, message.p)),
        (
            message.binning_x,
            message.binning_y,
            roi.x_offset,
            roi.y_offset,
            roi.height,
            roi.width,
            int(roi.do_rectify),
        ),
    )


def from_camera(camera: Camera, header: Header) -> CameraInfo:
    """Make the CameraInfo of a camera."""
    message = CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=list(camera.d),
        k=list(camera.k),
        r=list(camera.r),
        p=list(camera.p),
    )
    roi = message.roi
    message.binning_x, message.binning_y, roi.x_offset, roi.y_offset = camera.window[:4]
    roi.height, roi.width = camera.window[4:6]
    roi.do_rectify = bool(camera.window[6])
    return message


def to_velocity(twist: Twist) -> tuple[float, float, float, float, float, float]:
    """Return linear x, y, z (m/s) and angular x, y, z (rad/s)."""
    linear, angular = twist.linear, twist.angular
    return linear.x, linear.y, linear.z, angular.x, angular.y, angular.z


def to_twist(velocity: tuple[float, ...]) -> Twist:
    """Make the Twist of linear x, y, z (m/s) and angular x, y, z (rad/s)."""
    twist = Twist()
    twist.linear.x, twist.linear.y, twist.linear.z = velocity[:3]
    twist.angular.x, twist.angular.y, twist.angular.z = velocity[3:]
    return twist
