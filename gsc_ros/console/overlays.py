"""
Images for the page: the decoded one as JPEG, maps as PNG with transparency, laid over it.

Colours are told apart by colour-blind people, too: trust is a hatching, not a colour; depth runs
through cividis (Nunez, Anderton and Renslow, PLoS ONE 13(7), 2018), from light near to dark far.
"""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from gsc_ros.labels import UNLABELLED, colourise

NEAR_M, FAR_M = 1.0, 100.0
_QUALITY = 90
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_STRIPE = 8  # pixels from one line of a hatching to the next
_HAZARD = 255
_VERMILION = 213, 94, 0  # of Okabe and Ito
_SURE, _LIKELY = 191, 128  # probabilities of 0.75 and 0.5


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """Encode an image, uint8 (H, W, 3) RGB."""
    image = np.ascontiguousarray(rgb)
    return bytes(simplejpeg.encode_jpeg(image, quality=_QUALITY, colorspace='RGB'))


def png(rgba: NDArray[np.uint8]) -> bytes:
    """Encode an image with transparency, uint8 (H, W, 4)."""
    done, data = cv2.imencode('.png', cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), _PNG)
    if not done:
        raise ValueError('OpenCV cannot write PNG')
    return data.tobytes()


def trust(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """
    Hatch what may be wrong: uint8 (H, W) of trust -> RGBA uint8 (H, W, 4).

    Likely pixels are hatched thinly, doubtful ones darkened and hatched both ways.
    """
    height, width = values.shape
    y, x = np.mgrid[:height, :width]
    rising, falling = (x + y) % _STRIPE == 0, (x - y) % _STRIPE == 0
    out = np.zeros((height, width, 4), np.uint8)
    predicted = (values >= _LIKELY) & (values < _SURE)
    doubtful = values < _LIKELY
    out[predicted & rising & (y % 2 == 0)] = (255, 255, 255, 110)
    out[doubtful] = (0, 0, 0, 120)
    out[doubtful & (rising | falling)] = (255, 255, 255, 150)
    return out


def classes(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour classes, uint8 (H, W) -> RGBA uint8 (H, W, 4); their borders are drawn dark."""
    alpha = np.full(ids.shape, 115, np.uint8)
    alpha[ids == UNLABELLED] = 0
    rgb = colourise(ids)
    border = np.zeros(ids.shape, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    rgb[border], alpha[border] = 0, 200
    return np.dstack([rgb, alpha])


def depth(metres: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour depth by its logarithm, float32 (H, W) m -> RGBA; unknown and sky stay clear."""
    known = np.isfinite(metres)
    clipped = np.clip(np.where(known, metres, FAR_M), NEAR_M, FAR_M)
    code = 1 - np.log(clipped / NEAR_M) / np.log(FAR_M / NEAR_M)
    bgr = cv2.applyColorMap((255 * code).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    alpha = np.where(known, 170, 0).astype(np.uint8)
    return np.dstack([cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), alpha])


def hazards(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """
    Mark what is in the way: uint8 (H, W), 255 in the way, 0 nothing found, else not known.

    Returns RGBA uint8 (H, W, 4): vermilion with dark stripes and a white edge; what is not known
    is dotted.
    """
    height, width = values.shape
    y, x = np.mgrid[:height, :width]
    out = np.zeros((height, width, 4), np.uint8)
    found = values == _HAZARD
    out[found] = (*_VERMILION, 150)
    out[found & ((x + y) % _STRIPE < _STRIPE // 2)] = (0, 0, 0, 150)
    inner = cv2.erode(found.astype(np.uint8), np.ones((3, 3), np.uint8))
    out[found & (inner == 0)] = (255, 255, 255, 255)
    unknown = ~found & (values != 0)
    out[unknown & (x % _STRIPE == 0) & (y % _STRIPE == 0)] = (255, 255, 255, 170)
    return out
