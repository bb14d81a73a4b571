"""A lens with mild distortion, by which a pinhole's image is drawn again."""

import cv2
import numpy as np
from numpy.typing import NDArray

_MARGIN = 2  # pixels round what is seen


class Lens:
    """
    A camera of ``k`` (3, 3) and radial distortion ``k1``, seen through a wider pinhole.

    ``source``: width, height of the pinhole's image, which has the same focal length and its
    principal point in the middle. Raises ``ValueError`` for a distortion that is too strong for
    the field of view.
    """

    def __init__(self, k: NDArray[np.float64], k1: float, width: int, height: int) -> None:
        focal = float(k[0, 0])
        u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height))
        seen = np.stack([(u - k[0, 2]) / focal, (v - k[1, 2]) / focal], -1)
        out = seen
        for _ in range(30):  # x_seen = x (1 + k1 r^2), solved for x
            out = seen / (1 + k1 * (out**2).sum(-1, keepdims=True))
        far = 1 + k1 * (out**2).sum(-1, keepdims=True)
        if np.abs(out * far - seen).max() > 1e-6 or (1 + 3 * k1 * (out**2).sum(-1)).min() <= 0:
            raise ValueError(f'k1 {k1} is too strong for this field of view')
        half = np.ceil(np.abs(out).max((0, 1)) * focal).astype(int) + _MARGIN
        self.source = (2 * int(half[0]), 2 * int(half[1]))
        self.rays = out.astype(np.float32)  # x and y over z (H, W, 2) of each pixel
        self._at = (out * focal + (half - 0.5)).astype(np.float32)

    def image(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw the image again: uint8 (h, w, 3) of the pinhole -> (H, W, 3)."""
        return np.asarray(cv2.remap(rgb, self._at, None, cv2.INTER_LINEAR), np.uint8)

    def ids(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Draw a map of ids again: of each pixel the nearest."""
        drawn = cv2.remap(ids.astype(np.float32), self._at, None, cv2.INTER_NEAREST)
        return np.asarray(drawn, np.int32)

    def depth(self, metres: NDArray[np.float32], ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """
        Draw depth again: (h, w) -> (H, W), metres along the camera's Z.

        The inverse of depth is linear over the image of a plane: it is interpolated within a
        thing, and taken of the nearest pixel at an edge of two.
        """
        inverse = 1 / metres
        nearest = cv2.remap(inverse, self._at, None, cv2.INTER_NEAREST)
        between = cv2.remap(inverse, self._at, None, cv2.INTER_LINEAR)
        kernel = np.ones((3, 3), np.uint8)
        edge = cv2.erode(ids.astype(np.float32), kernel) != cv2.dilate(
            ids.astype(np.float32), kernel
        )
        at_edge = cv2.remap(edge.astype(np.uint8), self._at, None, cv2.INTER_NEAREST) > 0
        with np.errstate(divide='ignore'):  # the sky is at infinity
            return np.asarray(1 / np.where(at_edge, nearest, between), np.float32)
