"""The coarse depth: one level of log depth for each 64x64 pixels of the working size."""

import torch
from torch import Tensor

from gsc_ros.labels import SKY
from gsc_ros.models.perception import depth_to_log
from gsc_ros.models.tokenizer import DEPTH_LEVELS

_CELL = 8  # cells of perception's 1/8 grid


def coarse_depth_of(metres: Tensor, classes: Tensor) -> Tensor:
    """
    Depth and class ids on the 1/8 grid (N, 8h, 8w) -> levels 0..23, uint8 (N, h, w).

    A cell's level is that of its median depth on a logarithmic scale from 0.5 to 200 m; the sky
    does not count, and a cell of nothing else is as far as can be.
    """
    n, height, width = metres.shape
    code = depth_to_log(metres.double()) * DEPTH_LEVELS
    # Infinity and NaN sort last: the median of what is left is its middle element.
    code = torch.where(classes == SKY, torch.inf, code)
    blocks = code.reshape(n, height // _CELL, _CELL, width // _CELL, _CELL)
    cells = blocks.transpose(2, 3).flatten(3).sort(-1).values
    known = cells.isfinite().sum(-1, keepdim=True)
    median = cells.gather(-1, (known - 1).clamp(min=0) // 2).nan_to_num(DEPTH_LEVELS)[..., 0]
    return median.clamp(0, DEPTH_LEVELS - 1).to(torch.uint8)
