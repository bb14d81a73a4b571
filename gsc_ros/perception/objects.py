"""Objects that a detector finds; needs no network."""

from dataclasses import dataclass

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """
    An object in an image.

    ``name``: the detector's own name of its class; ``class_id``: that of ``gsc_ros.labels``, 255
    where there is none; ``score``: 0..1; ``box``: left, top, right, bottom in shares 0..1 of the
    image.
    """

    name: str
    class_id: int
    score: float
    box: Box

    @property
    def area(self) -> float:
        """Share of the image that the box covers."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)
