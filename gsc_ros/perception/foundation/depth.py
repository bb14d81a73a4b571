"""
Metric depth by a model of transformers.

Depth Anything V2, metric (Yang et al., NeurIPS 2024), and others that give metres: ZoeDepth (Bhat
et al., 2023), GLPN (Kim et al., 2022).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from gsc_ros.perception.foundation.images import Normalisation, fitted
from gsc_ros.perception.foundation.loading import Loader, Options, Source, import_transformers

_METRIC = ('glpn', 'zoedepth')
_CHOICE = 'name a metric one, as depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf'


class DepthModel:
    """Depth in metres; every pixel has one, the sky too."""

    def __init__(self, model: Any, normalisation: Normalisation, side: int, multiple: int) -> None:
        self.model, self.normalisation = model, normalisation
        self.side, self.multiple = side, multiple

    @classmethod
    def load(cls, source: str, options: Options | None = None) -> 'DepthModel':
        """Load a folder or a model of the hub; raises ``ValueError`` with the remedy."""
        loader = Loader(Source.parse(source), options or Options())
        transformers, config = import_transformers(), loader.config()
        kind = config.model_type
        if kind == 'depth_anything':
            if config.depth_estimation_type != 'metric':
                raise ValueError(f'{source}: gives depth without a scale; {_CHOICE}')
        elif kind not in _METRIC:
            raise ValueError(f'{source}: is a {kind}, which gives no metres here; {_CHOICE}')
        wanted = loader.preprocessing()
        size = wanted.get('size') or {}
        side = min(size.get('height', 518), size.get('width', 518))
        multiple = config.patch_size if kind == 'depth_anything' else 32
        model = loader.model(transformers.AutoModelForDepthEstimation)
        return cls(model, Normalisation.of(wanted), side, multiple)

    @torch.inference_mode()
    def metres(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """
        Predict depth of an image uint8 (H, W, 3): float32 (h, w) of ``size``, in metres along z.

        NaN where the model gives no positive number.
        """
        like = next(self.model.parameters())
        x = self.normalisation.tensor(rgb, fitted(rgb, self.side, False, self.multiple), like)
        found = self.model(x).predicted_depth.float()[:, None]
        found = functional.interpolate(found, size, mode='bilinear', align_corners=False)
        metres: NDArray[np.float32] = found[0, 0].cpu().numpy()
        known = np.isfinite(metres) & (metres > 0)
        return np.where(known, metres, np.float32(np.nan))
