"""The kind of scene that a robot is in, by a small network."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from gsc_ros.models.layers import fold_batch_norms, to_tensor
from gsc_ros.models.scene import SceneNet
from gsc_ros.models.weights import FOLDER, restore
from gsc_ros.perception.kinds import SceneKind

WEIGHTS = 'scene.safetensors'


class SceneModel:
    """The kind of scene of an image."""

    def __init__(self, net: SceneNet) -> None:
        self.net = net

    @classmethod
    def load(
        cls, folder: Path = FOLDER, device: torch.device | None = None
    ) -> 'SceneModel | None':
        """Load trained weights; None for a folder without them, made before there were any."""
        path = folder / WEIGHTS
        if not path.is_file():
            return None
        net = fold_batch_norms(restore(SceneNet, path))
        return cls(net.to(device) if device else net)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.net.head.weight.device

    @torch.inference_mode()
    def predict(self, rgb: NDArray[np.uint8]) -> SceneKind:
        """
        Tell the kind of scene of an image uint8 (H, W, 3), its sides multiples of 64.

        The network sees it at half the size.
        """
        image = torch.from_numpy(np.ascontiguousarray(rgb))[None].to(self.device)
        logits = self.net(functional.avg_pool2d(to_tensor(image), 2))
        return SceneKind.of(logits[0].float().softmax(0).cpu().numpy())
