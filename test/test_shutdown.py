"""Signals: every process ends with code 0 and without a traceback, at any moment of its life."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gsc_ros import start
from gsc_ros.dds import dds_environment
from gsc_ros.paths import config_dir
from gsc_ros.ros import shared_memory

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60.0
NODES = [name for name in start.NODES if name != 'monitor']
SETTINGS = {
    'camera': ['source:=images', f'path:={ROOT / "docs"}'],
    'encoder': ['weights:=random'],
    'decoder': ['weights:=random'],
    'link': ['profile:=ideal'],
    'link_robot': ['profile:=ideal', 'security:=false', 'local:="127.0.0.1:0"'],
    'link_ground': ['profile:=ideal', 'security:=false', 'local:="127.0.0.1:0"'],
    'console': ['port:=0'],
}


def begin(*words, **options):
    """Start a process that gets no signal before it is ready for one, as our wrappers see to."""
    asking = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asking)
    try:
        return subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, **options,
        )  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def node(name, **options):
    """Start a node."""
    words = [word for setting in SETTINGS.get(name, []) for word in ('-p', setting)]
    return begin('-m', 'gsc_ros.start', name, '--ros-args', *words, **options)


def graph():
    """Start the whole graph."""
    params = config_dir() / 'teleop_link.yaml'
    return begin('-m', 'gsc_ros', 'source:=images', f'path:={ROOT / "docs"}', 'link:=ideal',
                 f'params_file:={params}')  # fmt: skip


def ends(process, *numbers, pause_s=0.05):
    """Send signals; the process must end as it should."""
    try:
        for number in numbers:
            process.send_signal(number)
            time.sleep(pause_s)
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    for sign in ('Traceback', 'not closed', 'killed', 'terminate called', 'Exception'):
        assert sign not in printed, printed


@pytest.mark.parametrize('name', NODES)
@pytest.mark.parametrize('moment_s', [0.0, 0.7, 1.6])
def test_a_signal_ends_a_node_that_starts(name, moment_s):
    process = node(name)
    time.sleep(moment_s)
    ends(process, signal.SIGTERM if moment_s == 0.7 else signal.SIGINT)


@pytest.mark.parametrize('moment_s', [0.0, 0.3, 1.0])
def test_a_signal_ends_the_graph_that_starts(moment_s):
    process = graph()
    time.sleep(moment_s)
    ends(process, signal.SIGINT, signal.SIGINT)


@pytest.mark.parametrize('pause_s', [0.0, 0.01, 0.1])
@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_changes_nothing(second, pause_s):
    process = node('link')
    time.sleep(2.5)  # it runs
    ends(process, signal.SIGINT, second, pause_s=pause_s)


@pytest.mark.slow
@pytest.mark.parametrize('name', [*NODES, 'graph'])
def test_signals_at_many_moments(name):
    for step in range(16):
        process = graph() if name == 'graph' else node(name)
        time.sleep(0.2 * step)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGTERM)[
            step % 2 : step % 2 + 1 + step % 3 % 2
        ]
        ends(process, *numbers, pause_s=0.02 * (step % 5))


def test_a_node_ends_with_the_process_that_started_its_graph():
    parent = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    process = node('link', env=os.environ | {start.PARENT: str(parent.pid)})
    try:
        time.sleep(2.5)
        assert process.poll() is None
        parent.kill()
        parent.wait()
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        parent.kill()
        process.kill()
    assert process.returncode == 0 and 'Traceback' not in printed


FAILING = """
import time
from gsc_ros.ros import process
from gsc_ros.nodes.guard import Guard

class Failing(Guard):
    def __init__(self):
        super().__init__()
        self.create_timer(0.05, self.fail)
    def fail(self):
        raise RuntimeError('out of order')
    def close(self):
        time.sleep(600)

raise SystemExit(process.run(Failing, ['failing']))
"""


def test_a_node_that_fails_and_cannot_be_closed_ends():
    process = begin('-c', FAILING)
    try:
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == os.EX_SOFTWARE
    assert 'RuntimeError: out of order' in printed and 'not closed after' in printed


DEACTIVATING = """
import signal
import time
from gsc_ros.ros import lifecycle

signal.pthread_sigmask(signal.SIG_SETMASK, ())

class Slow(lifecycle.GscNode):
    def __init__(self):
        super().__init__('slow')
    def start(self):
        self.create_timer(0.05, self.trigger_deactivate)
    def stop(self):
        print('stopping', flush=True)
        time.sleep(1.5)
    def teardown(self):
        print('torn down', flush=True)

raise SystemExit(lifecycle.run(Slow))
"""


def test_a_node_that_deactivates_is_closed():
    process = begin('-c', DEACTIVATING)
    try:
        while process.stdout.readline() != 'stopping\n':
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert 'torn down' in printed


def segments_of(process):
    """Return the segments of shared memory that a process has mapped and that are its own."""
    lines = Path(f'/proc/{process.pid}/maps').read_text().splitlines()
    names = {line.rpartition('/dev/shm/')[2] for line in lines if '/dev/shm/fastdds_' in line}
    return {shared_memory.FOLDER / name for name in names if 'port' not in name}


def test_shared_memory_is_given_back():
    process = node('link', env=os.environ | dds_environment())
    while 'datagrams of' not in process.stdout.readline():
        assert process.poll() is None
    segments = segments_of(process)
    assert segments
    time.sleep(2.0)  # it runs
    shared_memory.clean()
    assert all(segment.exists() for segment in segments)  # those of the living stay
    ends(process, signal.SIGTERM)
    assert not any(segment.exists() for segment in segments)


def test_shared_memory_of_the_dead_is_given_back_by_the_next(tmp_path):
    dead, young, living = (tmp_path / f'fastdds_{name}' for name in ('dead', 'young', 'living'))
    for file in (dead, young, living):
        file.write_bytes(bytes(10))
        lock = file.with_name(f'{file.name}_el')
        lock.touch()
        if file is not young:
            os.utime(lock, (1, 1))
    with open(f'{living}_el') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert shared_memory.clean(tmp_path) == 1
    assert sorted(f.name for f in tmp_path.iterdir() if not f.name.endswith('_el')) == [
        'fastdds_living', 'fastdds_young',
    ]  # fmt: skip


PROBE = """import signal, sys
print(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))), *sys.argv[1:], sep='\\n')
"""


def test_a_wrapper_holds_signals_back_until_python_handles_them(tmp_path):
    text = (ROOT / 'setup.py').read_text()
    wrapper = re.search(r'WRAPPER = """(.*?)"""', text, re.DOTALL)[1]
    script, python = tmp_path / 'lib/gsc_ros/link', tmp_path / 'bin/python3'
    for file, content in (
        (script, wrapper.format(module='gsc_ros.start', function='link')),
        (python, f'#!{sys.executable}\n{PROBE}'),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(content)
        file.chmod(0o755)
    printed = subprocess.run([script, 'a b'], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ['[2, 15]', str(script), 'a b']
    compile(script.read_text(), str(script), 'exec')


def test_every_node_has_an_entry_point():
    text = (ROOT / 'setup.py').read_text()
    (names,) = re.findall(r'^NODES = \((.*?)\)', text, re.MULTILINE | re.DOTALL)
    assert tuple(re.findall(r"'(\w+)'", names)) == start.NODES
    for name in start.NODES:
        assert callable(getattr(start, name))
    with pytest.raises(AttributeError):
        start.nosuch  # noqa: B018
