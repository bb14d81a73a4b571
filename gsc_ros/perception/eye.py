"""The robot's own view of a picture: what is where, and how far."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.models.layers import folded, to_tensor
from gsc_ros.models.perception import PerceptionNet, log_to_depth
from gsc_ros.models.weights import FOLDER, frozen, load
from gsc_ros.perception.labels import NUM_CLASSES, SKY

WEIGHTS = 'perception.safetensors'


class Eye:
    """Segmentation and metric depth of a picture by the small network."""

    def __init__(self, net: PerceptionNet) -> None:
        self.net = net

    @classmethod
    def load(cls, folder: Path = FOLDER) -> 'Eye':
        """Load trained weights; raises ``FileNotFoundError`` when there are none."""
        state, config = load(folder / WEIGHTS)
        net = PerceptionNet(**config)
        net.load_state_dict(state)
        return cls(folded(frozen(net)))

    @classmethod
    def random(cls) -> 'Eye':
        """Make an untrained eye of the real architecture, for tests."""
        return cls(folded(frozen(PerceptionNet(NUM_CLASSES))))

    @torch.inference_mode()
    def look(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """
        Segment and range.

        ``rgb``: uint8 (H, W, 3), sides multiples of 32. Returns class ids uint8 (H/8, W/8) and
        depth float32 (H/8, W/8) in metres, +inf where the class is sky.
        """
        logits, code = self.net(to_tensor(torch.from_numpy(np.ascontiguousarray(rgb))[None]))
        classes = logits[0].argmax(0).numpy().astype(np.uint8)
        depth = log_to_depth(code.float())[0, 0].numpy()
        return classes, np.where(classes == SKY, np.float32(np.inf), depth)


def enlarge(
    array: NDArray, size: tuple[int, int], interpolation: int = cv2.INTER_NEAREST
) -> NDArray:
    """Resize a map to (width, height); labels and depth edges are never mixed by default."""
    return cv2.resize(array, size, interpolation=interpolation)
