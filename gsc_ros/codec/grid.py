"""The size at which an image is coded, and the token grids over it."""

from math import log

CELL = 64
MAX_CELLS = 52
MIN_SIDE = 16
MAX_SIDE = 4096


def coding_size(width: int, height: int) -> tuple[int, int]:
    """
    Return the working size (W, H) of an image: multiples of 64, at most 52 cells of 64x64.

    The aspect ratio is kept as near as the grid allows and no side gets more cells than the
    image fills. Raises ``ValueError`` for sides outside 16..4096.
    """
    for name, side in (('width', width), ('height', height)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise ValueError(
                f'{name} {side} is outside {MIN_SIDE}..{MAX_SIDE} pixels: scale the image'
            )
    most_x, most_y = -(-width // CELL), -(-height // CELL)
    best: tuple[float, int, int] | None = None
    for cells_x in range(1, min(most_x, MAX_CELLS) + 1):
        for cells_y in range(1, min(most_y, MAX_CELLS // cells_x) + 1):
            bent = abs(log((cells_x * height) / (cells_y * width)))
            # A little distortion is better than many fewer cells.
            cost = 2 * bent - 0.5 * log(cells_x * cells_y)
            if best is None or cost < best[0]:
                best = (cost, cells_x, cells_y)
    assert best is not None
    return best[1] * CELL, best[2] * CELL
