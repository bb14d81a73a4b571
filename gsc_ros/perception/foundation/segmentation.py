"""
Classes by a model of transformers.

SegFormer (Xie et al., NeurIPS 2021), Mask2Former (Cheng et al., CVPR 2022), MaskFormer and UperNet
(Xiao et al., ECCV 2018), with classes of Cityscapes or others that map by name.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.labels import NUM_CLASSES, UNLABELLED
from gsc_ros.perception.foundation.images import Normalisation, fitted
from gsc_ros.perception.foundation.loading import Loader, Options, Source, import_transformers
from gsc_ros.perception.foundation.names import id_table

_PIXELS = ('segformer', 'upernet')
_MASKS = ('mask2former', 'maskformer')
_LONG_SIDE, _MULTIPLE = 1024, 32  # of the input, as these models are evaluated on Cityscapes


class SegmentationModel:
    """Probabilities of our classes."""

    def __init__(
        self, model: Any, normalisation: Normalisation, table: NDArray[np.uint8], masks: bool
    ) -> None:
        self.model, self.normalisation, self.masks = model, normalisation, masks
        # A column for each of the model's classes; one more of ours takes the unlabelled.
        ours = np.where(table == UNLABELLED, NUM_CLASSES, table)
        matrix = torch.zeros(NUM_CLASSES + 1, len(ours))
        matrix[torch.from_numpy(ours.astype(np.int64)), torch.arange(len(ours))] = 1
        self._matrix = matrix.to(next(model.parameters()).device)

    @classmethod
    def load(cls, source: str, options: Options | None = None) -> 'SegmentationModel':
        """Load a folder or a model of the hub; raises ``ValueError`` with the remedy."""
        options = options or Options()
        loader = Loader(Source.parse(source), options)
        transformers, config = import_transformers(), loader.config()
        kind = config.model_type
        if kind not in (*_PIXELS, *_MASKS):
            raise ValueError(
                f'{source}: is a {kind}, which gives no classes here; name a '
                f'{", ".join((*_PIXELS, *_MASKS))} that was trained for them'
            )
        table, _ = id_table(config.id2label, source, options.report)
        masks = kind in _MASKS
        model = loader.model(
            transformers.AutoModelForUniversalSegmentation
            if kind == 'mask2former'
            else transformers.MaskFormerForInstanceSegmentation
            if masks
            else transformers.AutoModelForSemanticSegmentation
        )
        return cls(model, Normalisation.of(loader.preprocessing()), table, masks)

    @torch.inference_mode()
    def probabilities(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        """
        Predict an image uint8 (H, W, 3): float32 (NUM_CLASSES + 1, h, w) of ``size``.

        The last is the probability of all that has no class here.
        """
        like = next(self.model.parameters())
        x = self.normalisation.tensor(rgb, fitted(rgb, _LONG_SIDE, True, _MULTIPLE), like)
        out = self.model(x)
        scores = _of_masks(out) if self.masks else out.logits.float()
        scores = functional.interpolate(scores, size, mode='bilinear', align_corners=False)
        found = scores / scores.sum(1, keepdim=True) if self.masks else scores.softmax(1)
        return torch.einsum('oc,chw->ohw', self._matrix, found[0])


def _of_masks(out: Any) -> Tensor:
    """Put masks and their classes together, (1, classes, h, w): each query votes where it is."""
    kinds = out.class_queries_logits.float().softmax(-1)[..., :-1]  # without "no object"
    masks = out.masks_queries_logits.float().sigmoid()
    return torch.einsum('bqc,bqhw->bchw', kinds, masks).clamp(min=1e-12)
