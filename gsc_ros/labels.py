"""
Semantic classes: the 19 Cityscapes train ids and one for everything else; kinds of scene.

Source of ids, names and colours: Cityscapes (Cordts et al., CVPR 2016), as its train ids are
commonly listed. Id 19 stands for any thing outside those classes (a rock, furniture, the robot's
own bonnet).
"""

import numpy as np
from numpy.typing import NDArray

LABELS: tuple[str, ...] = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
    'motorcycle', 'bicycle', 'other',
)  # fmt: skip
NUM_CLASSES = len(LABELS)
SKY = LABELS.index('sky')
GROUND = tuple(LABELS.index(name) for name in ('road', 'sidewalk', 'terrain'))
OTHER = LABELS.index('other')
UNLABELLED = 255

COLOURS: NDArray[np.uint8] = np.array(
    [(128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
     (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
     (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
     (0, 80, 100), (0, 0, 230), (119, 11, 32), (110, 90, 70)],
    np.uint8,
)  # fmt: skip

# Ids of CamVid's eleven classes as SegNet numbers them (0 sky .. 10 bicyclist); more: unlabelled.
CAMVID11: NDArray[np.uint8] = np.full(256, UNLABELLED, np.uint8)
CAMVID11[:11] = (10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 12)

# Kinds of scene. Never reorder: frames name them by number.
KINDS: tuple[str, ...] = (
    'street', 'off-road', 'planetary', 'indoor', 'aerial', 'water', 'other',
)  # fmt: skip
STREET = KINDS.index('street')
# Classes that mean something there; elsewhere the network was never shown what is there.
_APPLICABLE: dict[str, tuple[str, ...]] = {
    'street': LABELS,
    'off-road': ('vegetation', 'terrain', 'sky', 'other'),
    'planetary': ('terrain', 'sky', 'other'),
}


def applicable(kind: int) -> NDArray[np.bool_]:
    """Return which classes apply in a kind of scene: bool (NUM_CLASSES)."""
    return np.isin(LABELS, _APPLICABLE.get(KINDS[kind], ()))


def colourise(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a class map: uint8 (H, W) ids -> uint8 (H, W, 3) RGB; unlabelled pixels are black."""
    table = np.zeros((256, 3), np.uint8)
    table[:NUM_CLASSES] = COLOURS
    return table[ids]
