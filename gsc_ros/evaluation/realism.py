"""
How far decoded images are from the set of the originals, whatever each of them shows.

The kernel distance KID (Binkowski et al., "Demystifying MMD GANs", ICLR 2018) of features of
patches: the squared maximum mean discrepancy under the kernel (x y / d + 1)^3, without bias. It
is 0 where patches of both sets look alike as sets; blur, grain and patterns raise it.
"""

import numpy as np
from numpy.typing import NDArray

_BLOCK = 100  # patches of a block, about
_FEWEST_BLOCKS = 5  # for a standard error


def kernel_distance(
    found: NDArray[np.floating], original: NDArray[np.floating]
) -> tuple[float, float]:
    """
    Estimate the kernel distance of two sets of features (N, D), and its standard error.

    Row i of both is of the same place. Such pairs are not independent, and are left out (the
    U-statistic of Gretton et al., JMLR 2012, lemma 6): equal sets have the distance 0, and sets of
    one distribution are below 0 about as often as above. Rows are brought to a root mean square of
    1, so that the kernel is between 1 and 8 for features of one sign, whatever the network's unit.

    The estimate is the mean over blocks of every B-th row, so that each has rows of all images;
    its error is theirs over the root of B. It tells how sure the figure is of these images, not
    what other images would give. NaN for fewer than four rows.
    """
    if found.shape != original.shape:
        raise ValueError(f'features of shapes {found.shape} and {original.shape}: pair the places')
    count = len(original)
    blocks = min(count // 2, max(_FEWEST_BLOCKS, count // _BLOCK))
    if blocks < 2:
        return float('nan'), float('nan')
    x, y = _directions(found), _directions(original)
    each = [_unbiased(x[i::blocks], y[i::blocks]) for i in range(blocks)]
    return float(np.mean(each)), float(np.std(each, ddof=1) / np.sqrt(blocks))


def _directions(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale rows to unit length, by which the kernel's division by d is done; 0 stays 0."""
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, np.finfo(np.float32).tiny)


def _unbiased(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the squared discrepancy of rows (n, D), of which n is 2 or more."""
    within_x, within_y, across = ((a @ b.T + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    differs = within_x + within_y - across - across.T
    np.fill_diagonal(differs, 0)
    return float(differs.sum() / (len(x) * (len(x) - 1)))
