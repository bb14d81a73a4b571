"""
Training in several processes, as ``torchrun`` starts them: each draws images, all step alike.

Gradients are averaged once a step. On a CPU that other work shares, threads that wait for each
other in every layer lose much more.
"""

import atexit
from collections.abc import Sequence

import torch
from torch import distributed, nn


def join() -> int:
    """Meet the other processes where torchrun started this one; returns its rank, or 0."""
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return 0
    if not distributed.is_initialized():
        distributed.init_process_group('gloo')
        # Its threads must end before the interpreter does, or the process is aborted.
        atexit.register(distributed.destroy_process_group)
    return distributed.get_rank()


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def first() -> bool:
    """Whether this process writes the files: the only one, or that of rank 0."""
    return not _several() or distributed.get_rank() == 0


def start_alike(model: nn.Module) -> None:
    """Give parameters and buffers of the first process to all."""
    if _several():
        for value in model.state_dict().values():
            distributed.broadcast(value, 0)


def mean(value: float) -> float:
    """Mean of the processes' values, the same for all."""
    if not _several():
        return value
    total = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(total)
    return float(total) / distributed.get_world_size()


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """
    Average gradients in place over the processes.

    A parameter that took no part in any process keeps None, one that did in some counts as zero in
    the others.
    """
    if not _several():
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    took_part = torch.tensor([float(p.grad is not None) for p in parameters])
    flat = torch.cat(
        [took_part.to(gradients[0].device), *(gradient.flatten() for gradient in gradients)]
    )
    distributed.all_reduce(flat)
    counts, *parts = flat.split([len(took_part), *(gradient.numel() for gradient in gradients)])
    world = distributed.get_world_size()
    for parameter, gradient, count, part in zip(
        parameters, gradients, counts.tolist(), parts, strict=True
    ):
        if count:
            parameter.grad = gradient.copy_(part.view(gradient.shape) / world)
