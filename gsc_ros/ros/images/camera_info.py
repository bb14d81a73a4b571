"""
camera_info of the image at hand: the one of its stamp, in its own pixels, and rectification.

K of a sensor_msgs/CameraInfo is that of the calibrated resolution; binning and ROI give the part
of it that an image shows. The results here describe the same rays in the image's own pixels, with
binning and ROI cleared, so that an image of any other size can be scaled.
"""

import copy
import threading
from collections import OrderedDict

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from gsc_ros.perception.camera import Camera

_KEPT = 512  # 8 s of a camera of 60 images a second
_FISHEYE = 'equidistant'
# Of each model of distortion, how many numbers OpenCV takes of it.
_COEFFICIENTS = {
    'plumb_bob': (4, 5, 8, 12, 14),
    'rational_polynomial': (4, 5, 8, 12, 14),
    _FISHEYE: (4,),
}


class CameraInfos:
    """The last camera_infos, found by the stamp of an image; old ones are dropped; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._infos: OrderedDict[tuple[int, int], CameraInfo] = OrderedDict()
        self.newest: CameraInfo | None = None
        self.unmatched = 0
        """How often another one had to stand in for the one of an image's stamp."""

    def add(self, info: CameraInfo) -> None:
        """Add one."""
        stamp = _key(info.header.stamp)
        with self._lock:
            self._infos[stamp] = self.newest = info
            self._infos.move_to_end(stamp)
            while len(self._infos) > _KEPT:
                self._infos.popitem(last=False)

    def of(self, header: Header) -> CameraInfo | None:
        """
        Return the one of an image's stamp; where it did not come, the newest one that is older.

        Of an image older than all, the oldest; none of another camera (frame_id); None before the
        first.
        """
        key = _key(header.stamp)
        with self._lock:
            found = self._infos.get(key)
            if found is not None:
                return found
            known = dict(self._infos)
        same = [
            other for other, info in known.items() if info.header.frame_id in ('', header.frame_id)
        ]
        if not same:
            return None
        self.unmatched += 1
        older = [other for other in same if other < key]
        return known[max(older) if older else min(same)]


def _key(stamp: Time) -> tuple[int, int]:
    return stamp.sec, stamp.nanosec


def calibrated(info: CameraInfo) -> bool:
    """Whether a camera_info has a K."""
    return bool(info.k[0])


def scaled_info(info: CameraInfo, width: int, height: int) -> CameraInfo:
    """
    Return the camera_info in the pixels of its image of a size, which may be any.

    A pixel's ray is the one that image_geometry gives for it: K and P less the ROI's offset, over
    the binning. Where ROI and binning do not make the image's size, it is a resized image of the
    same part; one of the calibrated size is that of the whole, whatever ROI and binning are.
    """
    out = copy.deepcopy(info)
    out.width, out.height = width, height
    out.binning_x = out.binning_y = 0
    out.roi = RegionOfInterest()
    if (width, height) == (info.width, info.height):
        return out
    roi = info.roi
    k, p = _matrices(info)
    for row, full, part, offset, binning, size in (
        (0, info.width, roi.width, roi.x_offset, info.binning_x, width),
        (1, info.height, roi.height, roi.y_offset, info.binning_y, height),
    ):
        bins = max(1, binning)
        expected = (part or full - offset) / bins
        # Drivers round half a super-pixel up or down.
        fits = abs(size - expected) < 1 or expected <= 0
        for matrix in (k, p):
            matrix[row] = (matrix[row] - offset * matrix[2]) / bins
            if not fits:
                matrix[row] *= size / expected
    out.k, out.p = k.ravel(), p.ravel()
    return out


def camera_of(info: CameraInfo, width: int, height: int) -> Camera | None:
    """Return the pinhole camera of an image of a size; None without a K of one."""
    if not calibrated(info):
        return None
    k = _matrices(scaled_info(info, width, height))[0]
    try:
        return Camera(k[0, 0] / width, k[1, 1] / height, k[0, 2] / width, k[1, 2] / height)
    except ValueError:  # such as NaN
        return None


def rays_of(info: CameraInfo) -> NDArray[np.float32]:
    """
    Return where the pixels of an image look: float32 (H, W, 2), x and y of the optical frame
    over z.

    ``info``: in the pixels of its image (:func:`scaled_info`); the lens' distortion is taken out.
    Raises ``ValueError`` for models of distortion that are not known.
    """
    k, d = _matrices(info)[0], np.asarray(info.d, float)
    u, v = np.meshgrid(np.arange(info.width), np.arange(info.height))
    if not d.any():
        x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
        return np.dstack([x, y]).astype(np.float32)
    _check_distortion(info.distortion_model, d)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2).astype(np.float64)
    undistort = (
        cv2.fisheye.undistortPoints if info.distortion_model == _FISHEYE else cv2.undistortPoints
    )
    rays = np.asarray(undistort(pixels, k, d), np.float32)
    return rays.reshape(info.height, info.width, 2)


def _check_distortion(model: str, d: NDArray[np.float64]) -> None:
    """Raise ``ValueError`` for a model of distortion that OpenCV does not have."""
    if d.any() and d.size not in _COEFFICIENTS.get(model, ()):
        known = ', '.join(_COEFFICIENTS)
        raise ValueError(
            f'distortion model {model!r} with {d.size} numbers is not known: there are {known}'
        )


def _matrices(info: CameraInfo) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return copies of K (3, 3) and P (3, 4)."""
    return np.array(info.k).reshape(3, 3), np.array(info.p).reshape(3, 4)


class Rectifier:
    """
    Takes the lens' distortion out of images.

    Keeps the maps of the last camera_info, which seldom changes.
    """

    def __init__(self) -> None:
        self._of: tuple | None = None
        self._maps: tuple[NDArray, NDArray] | None = None

    def rectify(
        self, rgb: NDArray[np.uint8], info: CameraInfo
    ) -> tuple[NDArray[np.uint8], CameraInfo]:
        """
        Return an image (H, W, 3) without distortion, and its camera_info.

        That has D zero, R one and K as in P. Pixels that the lens did not see are black. Raises
        ``ValueError`` for cameras without calibration and for models of distortion that are not
        known.
        """
        height, width = rgb.shape[:2]
        own = scaled_info(info, width, height)
        k, p = _matrices(own)
        if not calibrated(own):
            raise ValueError('the camera is not calibrated (K is zero)')
        if not p[0, 0]:
            p[:, :3] = k  # as of one camera alone
        r = np.reshape(own.r, (3, 3))
        if not r.any():
            r = np.eye(3)
        d = np.asarray(own.d, float)
        key = (
            width,
            height,
            own.distortion_model,
            *map(tuple, (d, k.ravel(), r.ravel())),
            *p.flat,
        )
        if key != self._of:
            self._maps = _maps(own.distortion_model, k, d, r, p[:, :3], (width, height))
            self._of = key
        if self._maps is not None:
            rgb = cv2.remap(rgb, *self._maps, cv2.INTER_LINEAR)
        own.distortion_model, own.d = 'plumb_bob', [0.0] * 5
        own.k, own.r, own.p = p[:, :3].ravel(), np.eye(3).ravel(), p.ravel()
        return rgb, own


def _maps(
    model: str,
    k: NDArray[np.float64],
    d: NDArray[np.float64],
    r: NDArray[np.float64],
    new: NDArray[np.float64],
    size: tuple[int, int],
) -> tuple[NDArray, NDArray] | None:
    """Return where the pixels of the rectified image are in the raw one; None: where they are."""
    if not d.any() and np.array_equal(r, np.eye(3)) and np.array_equal(k, new):
        return None
    _check_distortion(model, d)
    make = (
        cv2.fisheye.initUndistortRectifyMap if model == _FISHEYE else cv2.initUndistortRectifyMap
    )
    return make(k, d, r, new, size, cv2.CV_16SC2)
