"""The numbers to compute with: half as long where the CPU is several times as fast with them."""

from functools import cache
from pathlib import Path

import torch


@cache
def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in tiles, as Linux says; False elsewhere."""
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return False
    return 'amx_bf16' in text.split()


def autocast(bfloat16: bool) -> torch.autocast:
    """Compute convolutions and products on the CPU in bfloat16, or all in single precision."""
    return torch.autocast('cpu', torch.bfloat16, enabled=bfloat16)
