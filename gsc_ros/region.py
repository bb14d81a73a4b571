"""A part of an image, which the ground asks for and the robot sends first."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Region:
    """
    A rectangle in shares of an image's width and height, 0..1.

    Raises ``ValueError`` unless it lies within the image and is not empty.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(
                f'region {tuple(self)}: give left < right and top < bottom, all within 0..1'
            )

    def __iter__(self) -> Iterator[float]:
        """Iterate over left, top, right and bottom."""
        return iter(astuple(self))


WHOLE = Region(0.0, 0.0, 1.0, 1.0)
