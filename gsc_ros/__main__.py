"""
Start a graph without the launch package: ``python -m gsc_ros source:=sim link:=moon_dte_s_13m``.

A first word names another one than the whole link: ``robot`` or ``ground``, one end of it.

Nodes run as processes whose lines are prefixed with their names. One that ends is started again,
unless it cannot begin or ``respawn:=false`` (see ``respawn.py``). All end together: on Ctrl-C, on
SIGTERM, when the terminal is closed, or when one of them ends for good.
"""

if __name__ == '__main__':  # first, so that a signal finds its handler before slow imports
    from gsc_ros import start

    start.end_on_signals()

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

from gsc_ros import start
from gsc_ros.dds import dds_environment
from gsc_ros.graph import GRAPHS, Graph, Key, Node, Values
from gsc_ros.paths import config_dir, prefixes
from gsc_ros.respawn import Respawn, cause

_GRACE_S = 8.0
_WHOLE = 'teleop_link'


def usage(graph: Graph) -> str:
    """Describe the arguments."""
    lines = [f'usage: python -m gsc_ros [{"|".join(GRAPHS)}] [name:=value ...]', '']
    lines += [f'  {name}: {other.title}' for name, other in GRAPHS.items()]
    lines.append('')
    for argument in graph.arguments:
        lines.append(f'  {argument.name}:={argument.default}')
        lines.append(f'      {graph.describe(argument)}')
    return '\n'.join(lines)


def parse(words: Sequence[str]) -> dict[str, str]:
    """Read ``name:=value`` words; raises ``ValueError`` for anything else."""
    given = {}
    for word in words:
        name, separator, value = word.partition(':=')
        if not separator:
            raise ValueError(f'{word!r} is not of the form name:=value')
        given[name] = value
    return given


def command(graph: Graph, node: Node, values: Values) -> list[str]:
    """Return the command line of a node."""
    words = [sys.executable, '-m', start.__name__, node.executable, *graph.options(node, values)]
    namespace, name = node.key(values)
    words += ['--ros-args', '-r', f'__node:={name}']
    words += ['--log-level', values['log_level'], '--params-file', values['params_file']]
    if namespace:
        words += ['-r', f'__ns:=/{namespace}']
    for name, target in graph.remappings(values, node.robot):
        words += ['-r', f'{name}:={target}']
    for name, value in graph.node_parameters(node, values).items():
        # JSON is YAML whose text stays text: a path 2024 does not become a number.
        words += ['-p', f'{name}:={json.dumps(value, ensure_ascii=False)}']
    return words


def environment() -> dict[str, str]:
    """Return the nodes' environment: this interpreter's prefix is where ament looks."""
    own = {
        'AMENT_PREFIX_PATH': os.pathsep.join(map(str, prefixes())),
        'PYTHONUNBUFFERED': '1',
        start.PARENT: str(os.getpid()),
    }
    return dict(os.environ) | dds_environment() | own


def _labels(keys: Iterable[Key]) -> dict[Key, str]:
    """Return what the lines of each process begin with: the name, where no other has it."""
    names = [name for _, name in keys]
    return {
        (namespace, name): name if names.count(name) == 1 else f'{namespace}/{name}'
        for namespace, name in keys
    }


class Processes:
    """
    The graph's processes, by namespace and name: started together, ended together.

    ``respawns``: what is done when one of them ends by itself; one without ends for good.
    """

    def __init__(
        self,
        commands: Mapping[Key, list[str]],
        output: IO[str],
        respawns: Mapping[Key, Respawn] | None = None,
    ) -> None:
        self._output = output
        self._labels = _labels(commands)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._commands, self._respawns = commands, respawns or {}
        self._started: dict[Key, float] = {}
        self._due: dict[Key, float] = {}  # when one is started again
        self.children: dict[Key, subprocess.Popen[str]] = {}
        try:
            for key in commands:
                self._start(key)
        except BaseException:
            self.stop()  # those that did start
            raise

    def _start(self, key: Key) -> None:
        child = subprocess.Popen(
            self._commands[key],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors='replace',
            env=environment(),
            start_new_session=True,  # Ctrl-C reaches them through us, once
        )
        self.children[key] = child
        self._started[key] = time.monotonic()
        thread = threading.Thread(target=self._relay, args=(self._labels[key], child), daemon=True)
        thread.start()
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]

    def _relay(self, name: str, child: 'subprocess.Popen[str]') -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self.print_line(name, line.rstrip('\n'))

    def print_line(self, name: str, line: str) -> None:
        """Print a line of a process; without a reader it is lost."""
        with self._lock, contextlib.suppress(OSError):
            self._output.write(f'[{name}] {line}\n')
            self._output.flush()

    def ended(self) -> tuple[str, int] | None:
        """
        Return label and exit code of a process that has ended for good, or None.

        One that is to be started again is, once its delay is over.
        """
        now = time.monotonic()
        for key, child in self.children.items():
            if key not in self._due:
                code = child.poll()
                if code is not None and not self._again(key, code, cause(code)):
                    return self._labels[key], code
            elif now >= self._due[key]:
                del self._due[key]
                try:
                    self._start(key)
                except OSError as error:  # no memory, or too many processes
                    self._again(key, os.EX_OSERR, f'cannot be started: {error}')
        return None

    def _again(self, key: Key, code: int, why: str) -> bool:
        """Have a process that ended started again later; returns False for not at all."""
        now = time.monotonic()
        respawn = self._respawns.get(key)
        delay_s = respawn.after(code, now - self._started[key]) if respawn else None
        if delay_s is None:
            return False
        self._due[key] = now + delay_s
        self.print_line('gsc_ros', f'{self._labels[key]} {why}: started again in {delay_s:g} s')
        return True

    def stop(self) -> None:
        """End all processes: asked first, killed after a grace."""
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()  # unlike SIGINT no traceback, however early it comes
        deadline = time.monotonic() + _GRACE_S
        for key, child in self.children.items():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.print_line(self._labels[key], 'does not stop and is killed')
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        for thread in self._threads:
            thread.join(1.0)


class StopEvent:
    """
    An event that asks this process to end and that a signal handler may set.

    One of `threading` may not be set there: the thread that handles the signal may hold its lock,
    and would then wait for itself for ever.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def set(self) -> None:
        """Ask the process to end."""
        with contextlib.suppress(BlockingIOError):  # often enough before
            os.write(self._write, b'.')

    def is_set(self) -> bool:
        """Return whether it was asked."""
        return self.wait(0.0)

    def wait(self, timeout: float) -> bool:
        """Wait so long (s) at most; returns whether it was asked."""
        return bool(select.select([self._read], [], [], timeout)[0])

    def close(self) -> None:
        """Close the descriptors; it may not be set any more."""
        os.close(self._read)
        os.close(self._write)


def supervise(processes: Processes, stopping: threading.Event | StopEvent) -> int:
    """Wait for the end of one process or of our time; returns the exit code."""
    try:
        while not stopping.wait(0.2):
            end = processes.ended()
            if end is not None:
                name, code = end
                processes.print_line('gsc_ros', f'{name} {cause(code)}: stopping the others')
                return 128 - code if code < 0 else code or 1
    finally:
        processes.stop()
    return 0


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopEvent]:
    """Yield an event that signals set; needs the main thread."""
    stopping = StopEvent()
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]  # nohup
    for number in before:
        signal.signal(number, lambda *_: stopping.set())
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stopping.close()


def main(words: Sequence[str] | None = None) -> int:
    """Run the graph until it ends or a signal comes; returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    graph = GRAPHS[words.pop(0) if words and words[0] in GRAPHS else _WHOLE]
    if '-h' in words or '--help' in words:
        print(usage(graph))
        return 0
    try:
        given, warnings = graph.current(parse(words))
        values = graph.resolve(given)
    except (ValueError, FileNotFoundError) as error:
        print(f'gsc_ros: {error}', file=sys.stderr)
        return 2
    for warning in warnings:
        print(f'gsc_ros: {warning}', file=sys.stderr)
    if values.get('rviz') == 'true':
        config = config_dir() / 'teleop.rviz'
        print(f'gsc_ros: rviz:=true needs `ros2 launch`; without it: rviz2 -d {config}')
    nodes = graph.running(values)
    commands = {node.key(values): command(graph, node, values) for node in nodes}
    respawns = {node.key(values): Respawn(graph.respawned(node, values)) for node in nodes}
    with stop_on_signals() as stopping:
        return supervise(Processes(commands, sys.stdout, respawns), stopping)


if __name__ == '__main__':
    code = main()
    start.ignore_signals()
    sys.exit(code)
