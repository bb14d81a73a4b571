"""
A node's process: it spins until it is asked to end, stops the robot, and closes.

rclpy's own signal handlers shut the context down first, so that nothing can be published any
more; here the context lives until the node is closed.
"""

import contextlib
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from gsc_ros import start
from gsc_ros.ros import shared_memory

# A main thread that does nothing for so long hangs: the robot is stopped from another thread.
_HANG_S = 0.5
_NAP_S = 0.01
# For closing; `ros2 launch` sends SIGTERM after 5 s and SIGKILL after 10.
_CLOSING_S = 6.0


class Runnable(Protocol):
    """What is run: an rclpy node with these."""

    exit_code: int
    active: bool  # there is something to close
    closing: bool  # it is being closed

    def halt(self) -> None:
        """Stop the robot if this node moves it; may be called in any thread, and twice."""

    def close(self) -> None:
        """End all work."""

    def destroy_node(self) -> None:
        """Take the node down."""


class Group:
    """Nodes that run as one; see :class:`Runnable`."""

    def __init__(self, nodes: Sequence[Runnable]) -> None:
        self.nodes = nodes

    @property
    def exit_code(self) -> int:
        """The greatest of the nodes' codes."""
        return max(node.exit_code for node in self.nodes)

    @property
    def active(self) -> bool:
        """Whether there is anything to close."""
        return any(node.active for node in self.nodes)

    @property
    def closing(self) -> bool:
        """Whether any is being closed."""
        return any(node.closing for node in self.nodes)

    def halt(self) -> None:
        """Stop the robot, if a node moves it."""
        self._each('halt')

    def close(self) -> None:
        """End all work."""
        self._each('close')

    def destroy_node(self) -> None:
        """Take the nodes down."""
        self._each('destroy_node')

    def _each(self, step: str) -> None:
        """Do a step at each node, also where one fails; raises what the first of those raises."""
        failures = []
        for node in self.nodes:
            try:
                getattr(node, step)()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]


class Ending:
    """
    Whether this process was asked to end: by a signal, or by the death of the process that
    started the graph.

    A thread waits for that, because the main thread may be in C code for as long as it likes, and
    sees to it that the end comes: a main thread that hangs is not waited for. Needs the main
    thread. A signal after the first changes nothing, at the end of the process included.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.begun = threading.Event()  # closing has
        self.failure = ''  # the traceback of what ended the node, if something did
        self.node: Runnable | Group | None = None
        self.executor: SingleThreadedExecutor | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in start.signals():
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # the parent is dead already
            select.select([self._read, *_parent()], [], [])
        self.asked.set()
        if self.executor is not None and not self.begun.is_set():
            # Work, as one that is merely woken waits again. No name of its own: this frame stays.
            self.executor.create_task(_nothing)
        if not self._begins():
            node = self.node
            if node is None or not (node.active or node.closing):
                os._exit(0)  # it loads
            with contextlib.suppress(Exception):  # the main thread may just come to close it
                node.halt()
        # This is a daemon thread: where all goes well the process ends under it.
        time.sleep(_CLOSING_S)
        _print(f'{self.failure}not closed after {_CLOSING_S:g} s: ended without')
        code = self.node.exit_code if self.node is not None else 0
        os._exit(os.EX_SOFTWARE if self.failure else code)

    def _begins(self) -> bool:
        """Return whether closing begins soon; on the monotonic clock, see `monotonic.py`."""
        until = time.monotonic() + _HANG_S
        while not self.begun.is_set() and time.monotonic() < until:
            time.sleep(_NAP_S)
        return self.begun.is_set()

    def close(self) -> None:
        """Take note that closing has begun, which must come to an end as well."""
        self.begun.set()
        with contextlib.suppress(BlockingIOError):  # signals have filled it
            os.write(self._write, b'.')


def _nothing() -> None:
    """Do nothing, as a task of an executor."""


def _print(text: str) -> None:
    """Write a line to stderr, unless that would block."""
    if select.select([], [2], [], 0)[1]:
        os.write(2, f'{text}\n'.encode())


def _parent() -> list[int]:
    """
    Return a descriptor that is readable once the process that started the graph is dead.

    Empty where none is named, or the system has no such descriptors (Linux before 5.3); raises
    ProcessLookupError where it is dead already.
    """
    named = os.environ.get(start.PARENT, '')
    if not named.isdecimal() or not hasattr(os, 'pidfd_open'):
        return []
    try:
        return [os.pidfd_open(int(named))]
    except ProcessLookupError:
        raise
    except OSError:
        return []


def run(make: Callable[[], Runnable | Group], args: list[str] | None = None) -> int:
    """Run a node, or a group, until the process is asked to end; returns the exit code."""
    ending = Ending()
    shared_memory.clean()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # rcl's: a params file or a name that it cannot read
        raise SystemExit(str(error)) from None
    node = None
    try:
        if ending.asked.is_set():
            return 0
        ending.node = node = make()
        ending.executor = executor = SingleThreadedExecutor()
        for one in node.nodes if isinstance(node, Group) else (node,):
            executor.add_node(one)  # type: ignore[arg-type]
        with contextlib.suppress(ExternalShutdownException):
            while not ending.asked.is_set() and rclpy.ok():
                executor.spin_once()
        return node.exit_code
    except Exception:
        ending.failure = traceback.format_exc()
        raise
    finally:
        ending.close()
        if node is not None:
            for step in (node.halt, node.close, node.destroy_node):
                try:
                    step()
                except Exception as error:  # it ends all the same, and the next step is done
                    _print(f'{step.__name__} at the end of the process: {error!r}')
        rclpy.try_shutdown()
        start.ignore_signals()
        signal.set_wakeup_fd(-1)
        # Whatever is still held in a thread keeps DDS from giving its shared memory back.
        ending.node = ending.executor = None
