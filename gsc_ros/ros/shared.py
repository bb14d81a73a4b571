"""
What nodes of one process have in common, loaded once: networks, above all.

The first node that asks for a thing makes it, and the last that gives it back closes it.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

T = TypeVar('T')


@dataclass
class _Held:
    value: Any
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_held: dict[Hashable, _Held] = {}
_guard = threading.Lock()


class Lease(Generic[T]):
    """A use of a thing: its ``value``, and a ``lock`` for those that use it by turns."""

    def __init__(self, key: Hashable, held: _Held) -> None:
        self._key = key
        self.value, self.lock = cast('T', held.value), held.lock

    def release(self) -> None:
        """Give it back: the last one closes it, if it can be closed."""
        with _guard:
            held = _held[self._key]
            held.users -= 1
            if held.users:
                return
            del _held[self._key]
        close = getattr(held.value, 'close', None)
        if close is not None:
            close()


def share(key: Hashable, make: Callable[[], T]) -> Lease[T]:
    """
    Return a use of the thing that is known by a key; it is made if nobody has it.

    Raises what ``make`` raises.
    """
    with _guard:
        held = _held.get(key)
        if held is None:
            held = _held[key] = _Held(make())
        held.users += 1
        return Lease(key, held)
