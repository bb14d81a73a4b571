"""
The first thing in every node's process: signals are handled before anything slow is imported.

Until a node has begun (:mod:`gsc_ros.ros.process` takes over then) a signal ends the process at
once, with code 0: there is nothing to close yet. Only the standard library is imported here.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module

NODES = ('camera', 'encoder', 'link', 'link_robot', 'link_ground', 'guard', 'decoder', 'monitor',
         'clock', 'console')  # fmt: skip
# The process that starts the graph puts its id here: nodes end when it dies, even by SIGKILL.
PARENT = 'GSC_ROS_PARENT'
# Exit code of a node that cannot be configured, or not even imported.
NOT_BEGUN = 1


def signals() -> list[signal.Signals]:
    """Return the signals that ask a process to end; under nohup a hang-up is none of them."""
    asking = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        asking.append(signal.SIGHUP)
    return asking


def end_on_signals() -> None:
    """End the process with code 0 on a signal, as long as nothing has begun."""
    for number in signals():
        signal.signal(number, lambda *_: os._exit(0))
    # Who starts us may have held signals back until now (see WRAPPER in setup.py).
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals())


def ignore_signals() -> None:
    """Take no notice of signals any more: Python, when it ends, gives them their defaults back."""
    for number in signals():
        signal.signal(number, signal.SIG_IGN)


def run(name: str, args: list[str] | None = None) -> int:
    """
    Run a node of :data:`NODES`; returns the exit code of the process.

    1 is that of a node that cannot begin (:data:`NOT_BEGUN`): one that fails later has another.
    """
    end_on_signals()
    main = import_module(f'gsc_ros.nodes.{name}').main
    try:
        code: int = main(args)
    except Exception:
        traceback.print_exc()
        code = os.EX_SOFTWARE
    return code


def __getattr__(name: str) -> Callable[[], int]:
    """Return a node's entry point, for console scripts (``gsc_ros.start:link``)."""
    if name not in NODES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return partial(run, name)


if __name__ == '__main__':
    sys.exit(run(sys.argv.pop(1)))
