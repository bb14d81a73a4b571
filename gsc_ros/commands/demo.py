"""`gsc demo`: the whole link for a while, on record."""

import argparse
import math
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsc_ros.__main__ import Processes, StopEvent

_CONSOLE = 'the console is at '  # as its node logs it
_START_S = 180.0  # for the first image, on a slow machine
_RECORD = ('bag', 'summary.json', 'summary.md', 'frame_*.png')  # what the monitor leaves


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'demo',
        help='run the whole link for a while and keep images, a bag and figures',
        description='Starts camera, encoder, link and decoder as `python -m gsc_ros` does, with a '
        'monitor. Further arguments of the form name:=value go to the graph.',
    )
    parser.add_argument(
        '--seconds', type=float, default=30.0, help='of the run, start-up apart (30)'
    )
    parser.add_argument('--output', type=Path, default=Path('demo'))
    parser.add_argument('arguments', nargs='*', metavar='name:=value')


def clear(output: Path) -> None:
    """
    Remove the record of an earlier run.

    Raises ``ValueError``, and removes nothing, when there is anything else.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f'--output {output} is no folder: name another')
    others = [f.name for f in output.iterdir() if not any(f.match(p) for p in _RECORD)]
    if others:
        raise ValueError(
            f'--output {output} holds other files ({min(others)}): name another folder'
        )
    shutil.rmtree(output)


class StatusLine:
    """Shows the monitor's line in place on a terminal, and other nodes' warnings above it."""

    def __init__(self) -> None:
        self.running = threading.Event()

    def write(self, text: str) -> None:
        """Take one line ``[node] text``."""
        if text.startswith('[monitor] frame age'):
            if 'nan' not in text.split('|', maxsplit=1)[0]:
                self.running.set()
            end = '' if sys.stdout.isatty() else '\n'
            start = '\r\x1b[K' if sys.stdout.isatty() else ''
            print(f'{start}{text.strip()}', end=end)
        elif '[INFO]' not in text or _CONSOLE in text:
            print(text.rstrip())

    def flush(self) -> None:
        """Pass on."""
        sys.stdout.flush()


def watch(
    processes: 'Processes',
    running: threading.Event,
    seconds: float,
    stopping: 'threading.Event | StopEvent',
) -> int:
    """Wait for the first image, and then for the end of the run; returns the exit code."""
    deadline = time.monotonic() + _START_S
    shown = False
    while time.monotonic() < deadline:
        if stopping.wait(0.2):
            return 130
        end = processes.ended()
        if end is not None:
            print(f'gsc demo: {end[0]} has ended with exit code {end[1]}', file=sys.stderr)
            return end[1] or 1
        if not shown and running.is_set():
            shown, deadline = True, time.monotonic() + seconds
    if not shown:
        print(f'gsc demo: no image came within {_START_S:.0f} s', file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> int:
    """Run, record, and print the summary."""
    from gsc_ros.__main__ import Processes, command, parse, stop_on_signals
    from gsc_ros.graph import GRAPHS, Node
    from gsc_ros.link.traffic.cameras import parse_cameras
    from gsc_ros.robots import parse_robots, values_of

    graph = GRAPHS['teleop_link']
    given, warnings = graph.current(parse(args.arguments))
    values = graph.resolve(given)
    for warning in warnings:
        print(f'gsc demo: {warning}', file=sys.stderr)
    output = args.output.resolve()
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        raise ValueError(f'--seconds {args.seconds:g}: give more than 0')
    clear(output)
    # Of several robots and cameras the first one is recorded.
    robot = parse_robots(values['robots'])[0]
    first = parse_cameras(values_of(values, robot)['cameras'])[0].name
    monitor = Node('monitor', {'output': 'output'}, namespace=first, robot=robot)
    nodes = [*graph.running(values), monitor]
    commands = {n.key(values): command(graph, n, {**values, 'output': str(output)}) for n in nodes}
    line = StatusLine()
    with stop_on_signals() as stopping:
        processes = Processes(commands, line)  # type: ignore[arg-type]
        try:
            code = watch(processes, line.running, args.seconds, stopping)
        finally:
            processes.stop()
    summary = output / 'summary.md'
    if summary.is_file():
        print(f'\n{summary.read_text()}\n{output}: images, bag and summary')
    return code
