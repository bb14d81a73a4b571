"""
How cameras share the air of one link: by weights, and the operator's choice first.

Start-time fair queueing (Goyal, Vin and Cheng 1997): each camera has a virtual time, which the air
that it takes moves on by seconds / weight; of the cameras with a frame waiting the one with the
least goes. A camera that had nothing to send does not save up: it begins where the others are.
So over any time in which two cameras always have a frame waiting, their air differs from their
weights by one frame of each at most.
"""

from collections.abc import Collection, Mapping, Sequence

# What a camera that the operator chose has of the air, where others send too.
CHOSEN_SHARE = 0.75
_DIGITS = 6  # of a virtual time: what differs by less is equal, and goes in turns


class FairShare:
    """
    Chooses whose frame goes next, by camera number. A camera without a weight has 1.

    ``choose`` and ``account`` are called as frames begin and leave, ``begin`` when a camera with
    nothing to send offers a frame.
    """

    def __init__(self) -> None:
        self._weights: dict[int, float] = {}
        self._used: dict[int, float] = {}
        self._turns: dict[int, int] = {}  # the number of the last one of each
        self._turn = 0
        self._now = 0.0

    def set_weights(self, weights: Mapping[int, float]) -> None:
        """Share by other weights from now on; raises ValueError for one that is not above 0."""
        if not all(0 < weight < float('inf') for weight in weights.values()):
            raise ValueError(f'a weight is above 0 and finite, got {list(weights.values())}')
        self._weights = dict(weights)

    def begin(self, camera: int) -> None:
        """Let a camera begin where the others are."""
        self._used[camera] = max(self._now, self._used.get(camera, 0.0))

    def choose(self, waiting: Collection[int]) -> int:
        """Return whose turn it is, of one camera or more."""
        chosen = min(waiting, key=self._order)
        self._turn += 1
        self._turns[chosen] = self._turn
        self._now = max(self._now, self._used.get(chosen, 0.0))
        return chosen

    def _order(self, camera: int) -> tuple[float, int, int]:
        used = round(self._used.get(camera, 0.0), _DIGITS)
        return used, self._turns.get(camera, 0), camera

    def account(self, camera: int, air_s: float) -> None:
        """Note that a camera had the air for so long, s."""
        weight = self._weights.get(camera, 1.0)
        self._used[camera] = self._used.get(camera, 0.0) + air_s / weight


def shares(weights: Sequence[float], active: Collection[int], first: int | None) -> list[float]:
    """
    Return the share of the air of each camera, 0..1: what it has where it sends all it may.

    active: numbers of the cameras that send. What they are given sums to 1; the share of another
    one is what it would have if it began. ``first``: the camera that the operator chose, None for
    none. It has `CHOSEN_SHARE`, and the others what is left, by their weights.
    """
    out = []
    for camera, weight in enumerate(weights):
        sending = {camera, *active}
        others = sum(weights[one] for one in sending - {first})
        if first not in sending:
            out.append(weight / others)
        elif len(sending) == 1:
            out.append(1.0)
        else:
            rest = (1 - CHOSEN_SHARE) * weight / others
            out.append(CHOSEN_SHARE if camera == first else rest)
    return out
