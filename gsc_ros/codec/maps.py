"""Maps of yes and no, for where in an image something holds."""

import numpy as np
from numpy.typing import NDArray

from gsc_ros.codec.rangecoder import Decoder, Encoder


def code_map(
    coder: Encoder | Decoder, given: NDArray[np.bool_] | None, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """
    Code a map bool (rows, columns), or read one (None).

    The odds are counts that learn, by the cells to the left and above.
    """
    found = np.zeros(shape, bool)
    seen = [[1, 1] for _ in range(3)]
    for y, x in np.ndindex(*shape):
        near = int(y > 0 and found[y - 1, x]) + int(x > 0 and found[y, x - 1])
        no, yes = seen[near]
        bit = coder.code(None if given is None else int(given[y, x]), (0, no, no + yes))  # type: ignore[arg-type]
        seen[near][bit] += 2
        found[y, x] = bit
    return found
