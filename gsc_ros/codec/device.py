"""The device that networks run on, by name."""

import torch

NAMES = "'auto', 'cpu', 'cuda' or 'cuda:N'"


def resolve(name: str = 'auto') -> torch.device:
    """
    Return the device of a name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``.

    Raises ``ValueError`` naming what there is for any other name and for a device that is not
    there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == 'auto':
        name = 'cuda' if count else 'cpu'
    there = ['cpu', *(f'cuda:{index}' for index in range(count))]
    known = 'cuda:0' if name == 'cuda' else name
    if known not in there:
        raise ValueError(
            f'device {name!r}: give {NAMES}; this machine has {", ".join(there)}'
            + ('' if count else ' (torch finds no GPU)')
        )
    return torch.device(known)
