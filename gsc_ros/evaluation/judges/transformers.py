"""
A judge on models of the Hugging Face hub, through transformers.

Classes: SegFormer-B0 on Cityscapes (Xie et al., NeurIPS 2021; NVIDIA's licence: research only).
Depth: Depth Anything V2 Small, metric outdoor (Yang et al., NeurIPS 2024; Apache-2.0). Boxes:
RT-DETR R18 (Zhao et al., CVPR 2024; Apache-2.0). The distance ``segformer`` is between the
encoder's features, each of unit length, in the manner of LPIPS (Zhang et al., CVPR 2018),
uncalibrated.

Other models of these kinds, or folders of them, are named by the environment variables
``GSC_JUDGE_CLASSES`` (a SegFormer of Cityscapes' 19 classes), ``GSC_JUDGE_DEPTH`` and
``GSC_JUDGE_BOXES`` (COCO's 80 classes, a sigmoid each, images of 640 x 640 in [0, 1]).
``name@revision`` pins a model of the hub to a revision.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gsc_ros.evaluation.metrics import Box
from gsc_ros.labels import LABELS

try:
    import transformers
except ImportError as error:
    raise ValueError('this judge needs transformers: pip install "gsc_ros[judge]"') from error

SKY = LABELS.index('sky')
GROUND = tuple(LABELS.index(name) for name in ('road', 'sidewalk', 'terrain'))

DEFAULTS = {
    'GSC_JUDGE_CLASSES': 'nvidia/segformer-b0-finetuned-cityscapes-1024-1024',
    'GSC_JUDGE_DEPTH': 'depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf',
    'GSC_JUDGE_BOXES': 'PekingU/rtdetr_r18vd_coco_o365',
}
SCORE = 0.35
_LONG_SIDE = 1024  # of SegFormer's input
_DEPTH_SIDE, _PATCH = 518, 14
_BOX_SIDE = 640
_MEAN, _STD = (
    torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


@lru_cache(maxsize=3)
def _model(variable: str) -> Any:
    name = os.environ.get(variable, DEFAULTS[variable])
    kinds: dict[str, Callable[..., Any]] = {
        'GSC_JUDGE_CLASSES': transformers.AutoModelForSemanticSegmentation.from_pretrained,
        'GSC_JUDGE_DEPTH': transformers.AutoModelForDepthEstimation.from_pretrained,
        'GSC_JUDGE_BOXES': transformers.AutoModelForObjectDetection.from_pretrained,
    }
    source, _, revision = (name, '', '') if Path(name).is_dir() else name.partition('@')
    try:
        model = kinds[variable](source, revision=revision or 'main')
    except (OSError, ValueError) as error:  # the latter: of another kind
        raise ValueError(
            f'{name}: cannot be loaded; download it where there is internet, and name its folder '
            f'in {variable} ({error})'
        ) from error
    if variable == 'GSC_JUDGE_CLASSES' and model.config.model_type != 'segformer':
        raise ValueError(f'{variable}: {name} is a {model.config.model_type}; name a SegFormer')
    return model.eval().requires_grad_(False)


def _expect(variable: str, found: int, wanted: int, dataset: str) -> None:
    """Refuse a model of other classes, whose ids would be taken for those of the dataset."""
    if found != wanted:
        raise ValueError(
            f'{variable}: the model has {found} classes; name one of the {wanted} of {dataset}'
        )


def _tensor(rgb: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Scale uint8 (H, W, 3) to float (1, 3, h, w) in [0, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
    if tuple(x.shape[2:]) == size:
        return x
    return functional.interpolate(x, size, mode='bilinear', antialias=True, align_corners=False)


def _like(x: Tensor, rgb: NDArray[np.uint8]) -> Tensor:
    return functional.interpolate(x, rgb.shape[:2], mode='bilinear', align_corners=False)


def _for_classes(rgb: NDArray[np.uint8]) -> Tensor:
    height, width = rgb.shape[:2]
    scale = _LONG_SIDE / max(height, width)
    size = (max(32, round(height * scale)), max(32, round(width * scale)))
    return (_tensor(rgb, size) - _MEAN) / _STD


@torch.inference_mode()
def segment(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cityscapes train ids."""
    logits = _model('GSC_JUDGE_CLASSES')(_for_classes(rgb)).logits
    _expect('GSC_JUDGE_CLASSES', logits.shape[1], 19, 'Cityscapes')
    return _like(logits, rgb).argmax(1)[0].numpy().astype(np.uint8)


@torch.inference_mode()
def depth(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Metres."""
    height, width = rgb.shape[:2]
    scale = _DEPTH_SIDE / min(height, width)
    size = tuple(max(1, round(side * scale / _PATCH)) * _PATCH for side in (height, width))
    x = (_tensor(rgb, (size[0], size[1])) - _MEAN) / _STD
    found = _model('GSC_JUDGE_DEPTH')(x).predicted_depth
    return _like(found[:, None], rgb)[0, 0].numpy()


@torch.inference_mode()
def detect(rgb: NDArray[np.uint8]) -> list[Box]:
    """COCO boxes, ids 0..79."""
    out = _model('GSC_JUDGE_BOXES')(_tensor(rgb, (_BOX_SIDE, _BOX_SIDE)))
    _expect('GSC_JUDGE_BOXES', out.logits.shape[2], 80, 'COCO')
    scores, kinds = out.logits[0].sigmoid().max(1)
    height, width = rgb.shape[:2]
    boxes: list[Box] = []
    for score, kind, (x, y, w, h) in zip(
        scores.tolist(), kinds.tolist(), out.pred_boxes[0].tolist(), strict=True
    ):
        if score >= SCORE:
            left, right = (max(0.0, min(1.0, x + s * w / 2)) * width for s in (-1, 1))
            top, bottom = (max(0.0, min(1.0, y + s * h / 2)) * height for s in (-1, 1))
            boxes.append((left, top, right, bottom, score, kind))
    return sorted(boxes, key=lambda box: -box[4])


@torch.inference_mode()
def distances(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> dict[str, float]:
    """Distance of two images."""
    encoder = _model('GSC_JUDGE_CLASSES').segformer
    features = [encoder(_for_classes(p), output_hidden_states=True).hidden_states for p in (a, b)]
    found = [
        (functional.normalize(p) - functional.normalize(q)).square().sum(1).mean()
        for p, q in zip(*features, strict=True)
    ]
    return {'segformer': float(torch.stack(found).mean())}
