"""Original, decoded image, depth, segmentation and trust side by side."""

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.labels import colourise

_NEAR_M, _FAR_M = 1.0, 100.0
_BAR = 22


def colour_depth(metres: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour depth (H, W) by its logarithm, near red to far blue; unknown black, sky grey."""
    known = np.isfinite(metres)
    code = np.log(np.clip(np.where(known, metres, _FAR_M), _NEAR_M, _FAR_M) / _NEAR_M)
    shade = (255 * (1 - code / np.log(_FAR_M / _NEAR_M))).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(shade, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    rgb[np.isnan(metres)] = 0
    rgb[np.isposinf(metres)] = 90
    return rgb


def captioned(rgb: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Put a line of text under an image."""
    bar = np.full((_BAR, rgb.shape[1], 3), 24, np.uint8)
    cv2.putText(
        bar, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.43, (235, 235, 235), 1, cv2.LINE_AA
    )
    return np.vstack([rgb, bar])


def side_by_side(
    original: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
    depth: NDArray[np.float32],
    segmentation: NDArray[np.uint8],
    trust: NDArray[np.uint8],
    size_bytes: int,
    caption: str,
) -> NDArray[np.uint8]:
    """
    Lay out one frame: uint8 (H', W', 3).

    All are of one size: images uint8 (H, W, 3), depth float32 (H, W), ids and trust uint8 (H,
    W).
    """
    grey = cv2.cvtColor(trust, cv2.COLOR_GRAY2RGB)
    note = np.zeros_like(decoded)
    lines = [
        f'{size_bytes} bytes on air',
        *caption.replace(': ', ':|').replace(', ', ',|').split('|'),
    ]
    for i, line in enumerate(lines):
        cv2.putText(note, line, (10, 30 + 24 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (235, 235, 235),
                    1, cv2.LINE_AA)  # fmt: skip
    top = [
        captioned(original, 'original, at the robot'),
        captioned(decoded, f'decoded from {size_bytes} bytes'),
        captioned(note, 'caption'),
    ]
    below = [captioned(colour_depth(depth), 'depth (1-100 m, red is near)'),
             captioned(colourise(segmentation), 'segmentation'),
             captioned(grey, 'trust: white certain, black not known')]  # fmt: skip
    return np.vstack([np.hstack(top), np.hstack(below)])
