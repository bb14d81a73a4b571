"""Which datagrams a radio loses: a seeded two-state burst model."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class GilbertElliottModel:
    """
    Two-state burst loss with the meaning of ``tc netem loss gemodel p r 1-h 1-k``.

    start: chance a packet to go from good to bad (p); end: from bad to good (r); loss_bad = 1-h
    and loss_good = 1-k: chance of loss in each state. All within 0..1.
    """

    start: float = 0.0
    end: float = 1.0
    loss_bad: float = 1.0
    loss_good: float = 0.0

    def __post_init__(self) -> None:
        for name in ('start', 'end', 'loss_bad', 'loss_good'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f'{name} must be 0 to 1, got {getattr(self, name)}')

    @classmethod
    def from_mean(cls, loss: float, burst: float | None = None) -> 'GilbertElliottModel':
        """
        Build the model that loses the share `loss` (0..1) of packets in bursts of mean length
        `burst`.

        Without `burst` every packet is lost or not on its own. Raises ValueError where there is
        no such model: bursts under one packet, or too short for that loss.
        """
        if not 0.0 <= loss <= 1.0:
            raise ValueError(f'loss must be 0 to 1, got {loss}')
        if burst is None:
            return cls(loss_good=loss)
        if not burst >= 1.0:
            raise ValueError(f'burst must be at least 1 packet, got {burst}')
        if loss == 1.0:
            return cls(start=1.0, end=0.0)
        start = loss / (burst * (1 - loss))
        if start > 1.0:
            raise ValueError(
                f'a loss of {loss:g} needs bursts of at least {loss / (1 - loss):.3g} packets, '
                f'got {burst:g}'
            )
        return cls(start=start, end=1 / burst)

    @property
    def share_bad(self) -> float:
        """Share of packets that meet the bad state, p / (p + r)."""
        return self.start / (self.start + self.end) if self.start else 0.0

    @property
    def mean_loss(self) -> float:
        """Share of packets lost in the long run."""
        return self.share_bad * self.loss_bad + (1 - self.share_bad) * self.loss_good

    @property
    def mean_burst(self) -> float:
        """Mean stay in the bad state, in packets."""
        return 1 / self.end if self.end else float('inf')


class GilbertElliott:
    """
    A seeded run of the model: the n-th packet's fate depends on seed and n alone.

    It starts in the long-run mixture of both states, so that short runs have the right mean too.
    """

    def __init__(self, model: GilbertElliottModel, seed: int) -> None:
        self.model = model
        self._random = random.Random(seed)
        self._bad = self._random.random() < model.share_bad

    def lost(self) -> bool:
        """Whether the next packet is lost. Always two draws, so that runs stay in step."""
        model = self.model
        fate, change = self._random.random(), self._random.random()
        lost = fate < (model.loss_bad if self._bad else model.loss_good)
        if change < (model.end if self._bad else model.start):
            self._bad = not self._bad
        return lost
