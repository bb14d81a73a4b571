"""Steps of a node's start that are undone when a later one fails."""

from collections.abc import Callable
from contextlib import ExitStack


def all_or_nothing(step: Callable[[ExitStack], None]) -> ExitStack:
    """
    Run a step that pushes on a stack what undoes it; return the stack, to be closed later.

    Where the step raises, what it did is undone at once.
    """
    with ExitStack() as undo:
        step(undo)
        return undo.pop_all()
