"""
Messages <-> what the core works on: images and numpy, camera_info and cameras, velocities.

cv_bridge converts colours where a ROS install has it (images/bridge.py), encodings.py everything
else, with the same results.
"""

import array
import math
import sys

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from gsc_ros.link.datagrams.frames import Camera
from gsc_ros.region import WHOLE, Region
from gsc_ros.ros.images import bridge, encodings
from gsc_ros.ros.images.encodings import Levels, full_range


def to_array(message: Image) -> NDArray:
    """
    Return the pixels of a packed encoding as they are: (H, W) or (H, W, C) in its dtype.

    Padded rows and big-endian data are put right. Raises ``ValueError`` for encodings that are not
    known, empty images and data shorter than the sizes promise.
    """
    return encodings.unpack(*_form(message))


def to_rgb(message: Image, levels: Levels = full_range) -> NDArray[np.uint8]:
    """
    Return an image as uint8 (H, W, 3) RGB; ``levels``: black and white of more than 8 bits.

    Takes all of sensor_msgs/image_encodings.hpp that have a colour. Raises ``ValueError`` as
    :func:`to_array`, and for NaN or Inf.
    """
    found = bridge.to_rgb(message)
    return found if found is not None else encodings.to_rgb(*_form(message), levels)


def _form(message: Image) -> tuple[bytes, str, int, int, int, bool]:
    return (
        message.data,
        message.encoding,
        message.width,
        message.height,
        message.step,
        bool(message.is_bigendian),
    )


def compressed_to_rgb(message: CompressedImage, levels: Levels = full_range) -> NDArray[np.uint8]:
    """
    Decode a compressed image to uint8 (H, W, 3) RGB, or raise ``ValueError``.

    Takes what OpenCV or Pillow read, and Bayer patterns where the format names one.
    """
    pixels, encoding = encodings.decompress(bytes(message.data), message.format)
    return encodings.colours(pixels, encoding, levels)


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
    kind, channels = encodings.layout(encoding)
    found = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype != kind or found != channels:
        raise ValueError(f'{pixels.dtype} with {found} channels is not {encoding}')
    message = Image(header=header, encoding=encoding, is_bigendian=int(sys.byteorder == 'big'))
    message.height, message.width = pixels.shape[:2]
    message.step = message.width * channels * pixels.itemsize
    # An array.array is taken as it is; bytes or lists are checked element by element.
    message.data = array.array('B', np.ascontiguousarray(pixels).tobytes())
    return message


def seconds(stamp: Time) -> float:
    """Return a stamp in s, exact to less than a microsecond."""
    return stamp.sec + 1e-9 * stamp.nanosec


def to_region(message: RegionOfInterest, size: tuple[int, int]) -> Region:
    """
    Return a part of images of a size (W, H) in shares of it; without width or height the whole.

    Raises ValueError for what does not lie within.
    """
    if not message.width or not message.height:
        return WHOLE
    right, bottom = message.x_offset + message.width, message.y_offset + message.height
    if right > size[0] or bottom > size[1]:
        raise ValueError(f'{right}x{bottom} is outside of an image of {size[0]}x{size[1]}')
    left, top = message.x_offset / size[0], message.y_offset / size[1]
    return Region(left, top, right / size[0], bottom / size[1])


def to_roi(region: Region, size: tuple[int, int]) -> RegionOfInterest:
    """Return the pixels of a part of an image of a size (W, H), its edges rounded outwards."""
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
