"""Figures of merit of a decoded image and of what networks see in it. Pure functions."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

PERIODS = (4, 8, 16)  # pixels of the working size: strides of feature networks and of ours
CROPS = (0, 3, 5, 6)  # each phase of 4 pixels once
MIN_DEPTH_M = 0.5
MAX_DEPTH_M = 80.0
HAZARD_M = 10.0
HAZARD_AREA = 0.002  # of the image

Box = tuple[float, float, float, float, float, int]  # x0, y0, x1, y1, score, class


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images of one shape; inf when equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float('inf') if error == 0 else 10 * float(np.log10(255**2 / error))


def over_crops(
    distance: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float],
    a: NDArray[np.uint8],
    b: NDArray[np.uint8],
) -> float:
    """
    Mean distance of two images cropped at the top left by 0, 3, 5 and 6 pixels.

    A codec may be fitted to the pixel grid of a strided network; an image that is alike for any
    other reason has the same distance at every crop.
    """
    return float(np.mean([distance(a[k:, k:], b[k:, k:]) for k in CROPS]))


def peak(rgb: NDArray[np.uint8], size: tuple[int, int], period: int) -> float:
    """
    Spectral energy of luma at a period, down, across and diagonally, over its surroundings.

    ``period``: in pixels of the working size ``size`` (W, H) that the image was drawn at, whatever
    its own size now is. NaN where the image has too few pixels for it, or nothing there at all.
    """
    height, width = rgb.shape[:2]
    x, y = size[0] // period, size[1] // period  # cycles in the image
    if min(x, y) < 4 or x > width // 2 - 4 or y > height // 2 - 4:
        return float('nan')
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
    energy = np.abs(np.fft.rfft2(grey - cv2.GaussianBlur(grey, (0, 0), 6))) ** 2
    around = float(np.median(energy[y - 3 : y + 4, x - 3 : x + 4]))
    at = float(np.mean([energy[y, x], energy[y, 0], energy[0, x]]))
    return at / around if around > 0 else float('nan')


def pattern(
    found: NDArray[np.uint8], original: NDArray[np.uint8], size: tuple[int, int]
) -> dict[str, float]:
    """
    Return ``pattern_4``, ``pattern_8``, ``pattern_16``: :func:`peak` over the original's own.

    ``size``: the codec's working size (W, H). About 1 where the codec adds no pattern; NaN where
    either has no peak to compare.
    """
    peaks = {p: (peak(found, size, p), peak(original, size, p)) for p in PERIODS}
    return {f'pattern_{p}': a / b if b > 0 else float('nan') for p, (a, b) in peaks.items()}


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Mean SSIM and its contrast-structure part, 11x11 Gaussian window of 1.5 pixels."""

    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    structure = (2 * cov + c2) / (va + vb + c2)
    light = (2 * ma * mb + c1) / (ma * ma + mb * mb + c1)
    return float(np.mean(structure * light)), float(np.mean(structure))


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """
    Multi-scale SSIM of luma, 5 scales (Wang et al., Asilomar 2003); sides of 176 pixels or more.

    Smaller images are compared on as many scales as fit, their weights rescaled to one.
    """
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    scales = min(5, (min(a.shape[:2]) // 11).bit_length())
    if scales < 1:
        raise ValueError('images of less than 11 pixels a side have no SSIM')
    x = cv2.cvtColor(a, cv2.COLOR_RGB2GRAY).astype(np.float64)
    y = cv2.cvtColor(b, cv2.COLOR_RGB2GRAY).astype(np.float64)
    result = 1.0
    for scale, weight in enumerate(weights[:scales] / weights[:scales].sum()):
        whole, structure = _ssim(x, y)
        result *= max(whole if scale == scales - 1 else structure, 0.0) ** weight
        x, y = (cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in (x, y))
    return float(result)


def agreement(found: NDArray[np.uint8], reference: NDArray[np.uint8], ignore: int = 255) -> float:
    """Share of pixels of one class in both maps, where the reference is not ``ignore``."""
    known = reference != ignore
    return float(np.mean(found[known] == reference[known])) if known.any() else float('nan')


def confusion(
    found: NDArray[np.uint8], reference: NDArray[np.uint8], ignore: int = 255
) -> NDArray[np.int64]:
    """Count pixels by (class in the reference, class found): int64 (256, 256)."""
    known = reference != ignore
    pairs = reference[known].astype(np.int64) * 256 + found[known]
    return np.bincount(pairs, minlength=256 * 256).reshape(256, 256)


def mean_iou(counts: NDArray[np.int64]) -> float:
    """
    Mean over the reference's classes of intersection over union.

    ``counts``: of :func:`confusion`, summed over the frames of a run (as Cityscapes does).
    """
    inside = np.diag(counts)
    reference = counts.sum(1)
    union = reference + counts.sum(0) - inside
    present = reference > 0
    return float(np.mean(inside[present] / union[present])) if present.any() else float('nan')


def depth_known(found: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Share of the pixels that ``depth_errors`` compares where the found depth is finite."""
    wanted = (reference >= MIN_DEPTH_M) & (reference <= MAX_DEPTH_M)
    return float(np.mean(np.isfinite(found[wanted]))) if wanted.any() else float('nan')


def depth_errors(
    found: NDArray[np.float32], reference: NDArray[np.float32], scaled: bool
) -> tuple[float, float]:
    """
    Return AbsRel and delta < 1.25 where both are finite and the reference is 0.5 to 80 m.

    ``scaled``: bring the found depth to the reference's median first (Eigen et al., 2014).
    """
    known = np.isfinite(found) & np.isfinite(reference) & (found > 0)
    known &= (reference >= MIN_DEPTH_M) & (reference <= MAX_DEPTH_M)
    if not known.any():
        return float('nan'), float('nan')
    a, b = found[known].astype(np.float64), reference[known].astype(np.float64)
    if scaled:
        a = a * (np.median(b) / np.median(a))
    ratio = np.maximum(a / b, b / a)
    return float(np.mean(np.abs(a - b) / b)), float(np.mean(ratio < 1.25))


def missed_hazards(
    found: NDArray[np.float32], reference: NDArray[np.float32], ground: NDArray[np.bool_]
) -> tuple[int, int]:
    """
    Count hazards missed and hazards there are: regions off the ground nearer than 10 m.

    ``ground``: pixels to drive on, which are no hazard. A region (of 0.2 % of the image or
    more) is missed when in under half of it the found depth is below 15 m; unknown depth is not a
    miss.
    """
    near = (reference < HAZARD_M) & ~ground
    count, regions, stats, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8))
    missed = total = 0
    for i in range(1, count):
        if stats[i, cv2.CC_STAT_AREA] < HAZARD_AREA * near.size:
            continue
        total += 1
        depth = found[regions == i]
        missed += bool(np.mean(~(depth >= 1.5 * HAZARD_M)) < 0.5)
    return missed, total


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    inside = wide * high
    areas = sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b))
    return inside / (areas - inside)


def detection(found: list[Box], reference: list[Box], iou: float = 0.5) -> dict[str, float]:
    """
    Match boxes of one class greedily by score.

    Returns ``matched``, ``lost`` (in the reference alone) and ``invented`` (in the found alone).
    """
    left = list(reference)
    matched = 0
    for box in sorted(found, key=lambda b: -b[4]):
        rivals = [(overlap(box, other), other) for other in left if other[5] == box[5]]
        best = max(rivals, default=(0.0, None), key=lambda pair: pair[0])
        if best[0] >= iou and best[1] is not None:
            left.remove(best[1])
            matched += 1
    return {'matched': matched, 'lost': len(left), 'invented': len(found) - matched}


def f1(matched: float, lost: float, invented: float) -> float:
    """F1 of counts summed over frames; NaN where there was nothing to find and nothing found."""
    total = 2 * matched + lost + invented
    return 2 * matched / total if total else float('nan')


def reliability(trust: NDArray[np.uint8], right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count pixels by trust (0..255) and whether they are right: int64 (256, 2)."""
    pairs = trust.astype(np.int64) * 2 + right
    return np.bincount(pairs.ravel(), minlength=512).reshape(256, 2)


def calibration_error(counts: NDArray[np.int64], bins: int = 16) -> float:
    """
    Return the expected calibration error of counts (256, 2) of :func:`reliability`.

    The mean over bins of equal width, weighted by pixels, of how far trust is off the share that
    is right (Guo et al., "On calibration of modern neural networks", ICML 2017).
    """
    levels = np.arange(256) / 255
    of_bin = np.minimum(np.arange(256) * bins // 256, bins - 1)
    total = counts.sum(1)
    if not total.sum():
        return float('nan')
    pixels = np.bincount(of_bin, total, bins)
    promised = np.bincount(of_bin, total * levels, bins)
    kept = np.bincount(of_bin, counts[:, 1], bins)
    return float(np.abs(promised - kept).sum() / pixels.sum())


def depth_by_trust(
    found: NDArray[np.float32], reference: NDArray[np.float32], trust: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """
    Sum depth by trust, float64 (256, 3): pixels, those with a depth, their relative errors.

    Pixels are those whose reference is 0.5 to 80 m; all arguments (H, W), depth in metres.
    """
    known = (reference >= MIN_DEPTH_M) & (reference <= MAX_DEPTH_M)
    true, stated = reference[known].astype(np.float64), found[known].astype(np.float64)
    told = np.isfinite(stated) & (stated > 0)
    error = np.zeros_like(true)
    error[told] = np.abs(stated - true)[told] / true[told]
    weights = (np.ones_like(true), told.astype(np.float64), error)
    return np.stack([np.bincount(trust[known], w, 256) for w in weights], 1)


def error_coverage(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return coverage and AbsRel for each least trust 0..255, of :func:`depth_by_trust`: (256, 2).

    Coverage is the share of all pixels that have so much trust and a depth.
    """
    pixels, told, errors = sums[::-1].cumsum(0)[::-1].T
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.stack([told / pixels[0], errors / told], 1)


def ranking(counts: NDArray[np.int64]) -> float:
    """
    Return the area under the ROC curve of trust against being right, of counts (256, 2).

    It is the probability that a right pixel has more trust than a wrong one, half for a tie; NaN
    where all are right or all are wrong.
    """
    wrong, right = counts[:, 0].astype(float), counts[:, 1].astype(float)
    if not wrong.sum() or not right.sum():
        return float('nan')
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2)).sum() / (right.sum() * wrong.sum()))


def risk_coverage(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """
    Return coverage and risk for each least trust 0..255: float64 (256, 2).

    Coverage is the share of the pixels with so much trust, risk the share of these that is wrong.
    """
    kept = counts[::-1].cumsum(0)[::-1].astype(float)
    total = kept.sum(1)
    coverage = total / max(total[0], 1)
    risk = np.divide(kept[:, 0], total, out=np.full(256, np.nan), where=total > 0)
    return np.stack([coverage, risk], 1)
