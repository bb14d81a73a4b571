"""What takes the steps: AdamW, or Muon for the kernels of convolutions and AdamW for the rest."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

SLOW = 0.1  # of the learning rate, for what was trained before


class Optimiser:
    """
    AdamW on ``parameters``; with ``muon`` only on those that are no kernels.

    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) takes a
    kernel (O, I, h, w) as a matrix (O, I h w) and steps along the nearest orthogonal one, as long
    as AdamW's steps are: one learning rate serves both. ``slow``: those of the parameters that
    take ``SLOW`` of the rate, because they were trained before. Raises ``ValueError`` where torch
    has no Muon.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        weight_decay: float,
        muon: bool = False,
        slow: Collection[nn.Parameter] = (),
    ) -> None:
        if muon and not hasattr(torch.optim, 'Muon'):
            raise ValueError(f'torch {torch.__version__} has no Muon: it needs 2.9, or no --muon')
        held = {id(p) for p in slow}
        self._kernels = [p for p in parameters if muon and p.ndim == 4 and id(p) not in held]
        # torch's Muon takes matrices only: these are views, so that its steps move the kernels.
        self._matrices = [_in_order(p.detach(), p).view(len(p), -1) for p in self._kernels]
        others = [p for p in parameters if (not muon or p.ndim != 4) and id(p) not in held]
        later = [p for p in parameters if id(p) in held]
        groups = [{'params': p, 'share': s} for p, s in ((others, 1.0), (later, SLOW)) if p]
        self._each: list[torch.optim.Optimizer] = []
        if groups:
            self._each.append(
                torch.optim.AdamW(groups, weight_decay=weight_decay, betas=(0.9, 0.98))
            )
        if self._matrices:
            self._each.append(
                torch.optim.Muon(
                    self._matrices, weight_decay=weight_decay, adjust_lr_fn='match_rms_adamw'
                )
            )

    def step(self, rate: float) -> None:
        """Take a step at a learning rate, along the parameters' gradients."""
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            # None as well: what took no part in a step must not move by the gradient of the last.
            gradient = kernel.grad
            matrix.grad = (
                None if gradient is None else _in_order(gradient, kernel).reshape(matrix.shape)
            )
        for optimiser in self._each:
            for group in optimiser.param_groups:
                group['lr'] = rate * group.get('share', 1.0)
            optimiser.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """All that a run resumes with."""
        return [optimiser.state_dict() for optimiser in self._each]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Resume; raises ``ValueError`` for another optimiser's state."""
        if len(states) != len(self._each):
            raise ValueError(
                'the checkpoint is of another optimiser: resume with or without --muon as it '
                'began, or name another output folder'
            )
        for optimiser, state in zip(self._each, states, strict=True):
            optimiser.load_state_dict(state)


def _in_order(x: Tensor, kernel: Tensor) -> Tensor:
    """Order the axes of ``x`` (O, I, h, w) as the kernel lies in memory."""
    return x if kernel.is_contiguous() else x.permute(0, 2, 3, 1)
