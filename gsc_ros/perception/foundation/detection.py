"""
Objects by a model of transformers: RT-DETR and its successors (Zhao et al., CVPR 2024).

They give boxes as centre and size in shares of the image, and for each class a probability of its
own, so that no box needs to be dropped for another.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.perception.foundation.images import Normalisation
from gsc_ros.perception.foundation.loading import Loader, Options, Source, import_transformers
from gsc_ros.perception.foundation.names import id_table
from gsc_ros.perception.objects import Detection

_KINDS = ('rt_detr', 'rt_detr_v2', 'd_fine')
_SIDE = 640  # of the input, whatever the aspect ratio
LEAST_SCORE = 0.5


class Detector:
    """Boxes of objects."""

    def __init__(
        self,
        model: Any,
        normalisation: Normalisation,
        size: tuple[int, int],
        table: NDArray[np.uint8],
        names: dict[int, str],
    ) -> None:
        self.model, self.normalisation, self.size = model, normalisation, size
        self.table, self.names = table, names

    @classmethod
    def load(cls, source: str, options: Options | None = None) -> 'Detector':
        """Load a folder or a model of the hub; raises ``ValueError`` with the remedy."""
        options = options or Options()
        loader = Loader(Source.parse(source), options)
        transformers, config = import_transformers(), loader.config()
        if config.model_type not in _KINDS:
            raise ValueError(
                f'{source}: is a {config.model_type}, which gives no boxes here; name a '
                f'{", ".join(_KINDS)}, as PekingU/rtdetr_r18vd_coco_o365'
            )
        table, names = id_table(config.id2label, source, options.report)
        wanted = loader.preprocessing()
        size = wanted.get('size') or {}
        model = loader.model(transformers.AutoModelForObjectDetection)
        return cls(
            model,
            Normalisation.of(wanted, default=False),
            (size.get('height', _SIDE), size.get('width', _SIDE)),
            table,
            names,
        )

    @torch.inference_mode()
    def detect(
        self, rgb: NDArray[np.uint8], least_score: float = LEAST_SCORE
    ) -> tuple[Detection, ...]:
        """Find objects in an image uint8 (H, W, 3), the most certain first."""
        like = next(self.model.parameters())
        out = self.model(self.normalisation.tensor(rgb, self.size, like))
        scores, kinds = out.logits[0].float().sigmoid().max(1)
        found = []
        for score, kind, (x, y, w, h) in zip(
            scores.tolist(), kinds.tolist(), out.pred_boxes[0].float().tolist(), strict=True
        ):
            if score >= least_score:
                left, right = (min(max(x + s * w / 2, 0.0), 1.0) for s in (-1, 1))
                top, bottom = (min(max(y + s * h / 2, 0.0), 1.0) for s in (-1, 1))
                found.append(
                    Detection(
                        self.names.get(kind, str(kind)),
                        int(self.table[kind]),
                        score,
                        (left, top, right, bottom),
                    )
                )
        return tuple(sorted(found, key=lambda item: -item.score))
