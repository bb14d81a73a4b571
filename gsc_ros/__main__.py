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
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from gsc_ros import start
from gsc_ros.graph import GRAPHS, Graph, Node, Values, dds_environment
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
    words = [sys.executable, '-m', start.__name__, node.executable]
    words += ['--ros-args', '-r', f'__node:={node.executable}']
    words += ['--log-level', values['log_level'], '--params-file', values['params_file']]
    if values['namespace']:
        words += ['-r', f'__ns:=/{values["namespace"]}']
    for name, target in graph.remappings(values):
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


class Processes:
    """
    The graph's processes: started together, ended together.

    ``respawns``: what is done when one of them ends by itself; one without ends for good.
    """

    def __init__(
        self,
        commands: dict[str, list[str]],
        output: IO[str],
        respawns: Mapping[str, Respawn] | None = None,
    ) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._commands, self._respawns = commands, respawns or {}
        self._started: dict[str, float] = {}
        self._due: dict[str, float] = {}  # when one is started again
        self.children: dict[str, subprocess.Popen[str]] = {}
        try:
            for name in commands:
                self._start(name)
        except BaseException:
            self.stop()  # those that did start
            raise

    def _start(self, name: str) -> None:
        child = subprocess.Popen(
            self._commands[name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors='replace',
            env=environment(),
            start_new_session=True,  # Ctrl-C reaches them through us, once
        )
        self.children[name] = child
        self._started[name] = time.monotonic()
        thread = threading.Thread(target=self._relay, args=(name, child), daemon=True)
        thread.start()
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]

    def _relay(self, name: str, child: 'subprocess.Popen[str]') -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self.say(name, line.rstrip('\n'))

    def say(self, name: str, line: str) -> None:
        """Print a line of a process; where nobody reads any more, it is lost."""
        with self._lock, contextlib.suppress(OSError):
            self._output.write(f'[{name}] {line}\n')
            self._output.flush()

    def ended(self) -> tuple[str, int] | None:
        """
        Return name and exit code of a process that has ended for good, or None.

        One that is to be started again is, once its delay is over.
        """
        now = time.monotonic()
        for name, child in self.children.items():
            if name not in self._due:
                code = child.poll()
                if code is not None and not self._again(name, code, cause(code)):
                    return name, code
            elif now >= self._due[name]:
                del self._due[name]
                try:
                    self._start(name)
                except OSError as error:  # no memory, or too many processes
                    self._again(name, os.EX_OSERR, f'cannot be started: {error}')
        return None

    def _again(self, name: str, code: int, why: str) -> bool:
        """See to it that a process which ended is started again; returns False for not at all."""
        now = time.monotonic()
        respawn = self._respawns.get(name)
        delay_s = respawn.after(code, now - self._started[name]) if respawn else None
        if delay_s is None:
            return False
        self._due[name] = now + delay_s
        self.say('gsc_ros', f'{name} {why}: started again in {delay_s:g} s')
        return True

    def stop(self) -> None:
        """End all processes: asked first, killed after a grace."""
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()  # unlike SIGINT no traceback, however early it comes
        deadline = time.monotonic() + _GRACE_S
        for name, child in self.children.items():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(name, 'does not stop and is killed')
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        for thread in self._threads:
            thread.join(1.0)


class Asked:
    """
    Whether this process was asked to end: an event that a signal handler may set.

    One of `threading` may not be set there: its lock may be held by the thread that handles the
    signal, which then waits for itself for ever.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def set(self) -> None:
        """Ask."""
        with contextlib.suppress(BlockingIOError):  # often enough before
            os.write(self._write, b'.')

    def is_set(self) -> bool:
        """Return whether it was asked."""
        return self.wait(0.0)

    def wait(self, timeout: float) -> bool:
        """Wait so long (s) at most; returns whether it was asked."""
        return bool(select.select([self._read], [], [], timeout)[0])

    def close(self) -> None:
        """Give the descriptors back; nobody may ask any more."""
        os.close(self._read)
        os.close(self._write)


def supervise(processes: Processes, stopping: threading.Event | Asked) -> int:
    """Wait for the end of one process or of our time; returns the exit code."""
    try:
        while not stopping.wait(0.2):
            end = processes.ended()
            if end is not None:
                name, code = end
                processes.say('gsc_ros', f'{name} {cause(code)}: stopping the others')
                return 128 - code if code < 0 else code or 1
    finally:
        processes.stop()
    return 0


@contextlib.contextmanager
def told_to_stop() -> Iterator[Asked]:
    """Give an event that is set when this process is told to stop; needs the main thread."""
    stopping = Asked()
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
    """Run the graph until it ends or is told to; returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    graph = GRAPHS[words.pop(0) if words and words[0] in GRAPHS else _WHOLE]
    if '-h' in words or '--help' in words:
        print(usage(graph))
        return 0
    try:
        values = graph.resolve(parse(words))
    except (ValueError, FileNotFoundError) as error:
        print(f'gsc_ros: {error}', file=sys.stderr)
        return 2
    if values.get('rviz') == 'true':
        config = config_dir() / 'teleop.rviz'
        print(f'gsc_ros: rviz:=true needs `ros2 launch`; without it: rviz2 -d {config}')
    nodes = graph.running(values)
    commands = {node.executable: command(graph, node, values) for node in nodes}
    respawns = {node.executable: Respawn(graph.respawned(node, values)) for node in nodes}
    with told_to_stop() as stopping:
        return supervise(Processes(commands, sys.stdout, respawns), stopping)


if __name__ == '__main__':
    code = main()
    start.ignore_signals()
    sys.exit(code)
