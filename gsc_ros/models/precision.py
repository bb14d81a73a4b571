"""The numbers to compute with: bfloat16 where a CPU is faster with them."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import torch


@cache
def fast_bfloat16() -> bool:
    """
    Whether this CPU computes our networks faster in bfloat16, as Linux describes it.

    With AMX's tiles or AMD's vectors they take about half the time of single precision; with
    Intel's vectors alone (AMX left out by ``ONEDNN_MAX_CPU_ISA``) they take longer.
    """
    try:
        words = set(Path('/proc/cpuinfo').read_text().split())
    except OSError:
        return False
    return 'amx_bf16' in words or {'avx512_bf16', 'AuthenticAMD'} <= words


def autocast(bfloat16: bool, device: torch.device | None = None) -> AbstractContextManager[object]:
    """
    Compute convolutions and products in bfloat16, or all in single precision.

    ``device``: of the networks, None for the CPU.
    """
    if not bfloat16:
        return nullcontext()
    return torch.autocast('cpu' if device is None else device.type, torch.bfloat16)


def autocasting() -> bool:
    """Return whether the CPU computes in bfloat16 here."""
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:  # before torch 2.4
        return torch.is_autocast_cpu_enabled()
