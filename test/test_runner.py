"""The process runner: real processes start together, and end together whatever happens."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest

from gsc_ros import __main__ as runner
from gsc_ros import paths, respawn
from gsc_ros.graph import GRAPHS

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60.0
SLEEP = 'import time; print("awake", flush=True); time.sleep(600)'


@pytest.fixture
def mark(monkeypatch):
    """A mark in the environment, by which our processes are found; all must be gone at the end."""
    text = uuid.uuid4().hex
    monkeypatch.setenv('GSC_TEST_MARK', text)
    yield text
    left = marked(text)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def marked(text):
    """List the processes other than this one that carry a mark."""
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                if text.encode() in (folder / 'environ').read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # it has ended, or is not ours
    return found


def wait(condition, why):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f'waited in vain: {why}'
        time.sleep(0.02)


@pytest.fixture
def arguments(tmp_path):
    """A graph that starts quickly: small images, untrained networks, a link without limits."""
    images = tmp_path / 'a "2" folder'
    images.mkdir()
    rng = np.random.default_rng(1)
    for number in range(2):
        blocks = rng.integers(0, 256, (8, 12, 3), np.uint8)
        cv2.imwrite(str(images / f'{number}.png'), np.kron(blocks, np.ones((8, 8, 1), np.uint8)))
    params = tmp_path / 'params.yaml'
    text = (paths.config_dir() / 'teleop_link.yaml').read_text()
    params.write_text(text.replace('weights: ""', 'weights: random'))
    return {
        'source': 'images', 'path': str(images), 'params_file': str(params), 'link': 'ideal',
        'namespace': f'r{os.getpid()}',
    }  # fmt: skip


class Run:
    """``python -m gsc_ros`` in a process, with what it says."""

    def __init__(self, arguments):
        words = [f'{name}:={value}' for name, value in arguments.items()]
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'gsc_ros', *words],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        self.lines.extend(self.process.stdout)

    def end(self):
        """Wait for the end; returns exit code and its output."""
        code = self.process.wait(PATIENCE_S)
        self.thread.join(5)
        return code, ''.join(self.lines)


@pytest.fixture
def seen(ros, arguments):
    """Images that the graph shows; call it to see what has come until now."""
    rclpy = pytest.importorskip('rclpy')
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from gsc_ros.ros import topics

    node = rclpy.create_node('viewer', context=ros, namespace=arguments['namespace'])
    executor = SingleThreadedExecutor(context=ros)
    executor.add_node(node)
    got = []
    node.create_subscription(Image, topics.DECODED, got.append, topics.IMAGES)

    def look():
        executor.spin_once(timeout_sec=0.1)
        return got

    yield look
    executor.shutdown()
    node.destroy_node()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_graph_shows_images_and_stops_on_a_signal(seen, mark, arguments, number):
    run = Run(arguments)
    try:
        wait(lambda: seen() or run.process.poll(), 'an image')
        run.process.send_signal(number)
        code, printed = run.end()
    finally:
        run.process.kill()
    got = seen()
    assert got, printed
    assert (got[0].width, got[0].height, got[0].encoding) == (96, 64, 'rgb8')
    assert code == 0, printed
    assert 'Traceback' not in printed
    assert 'killed' not in printed


def pid_of(mark, name):
    """Return the id of the node that is called so."""
    for pid in marked(mark):
        words = Path(f'/proc/{pid}/cmdline').read_text().split('\0')
        if f'__node:={name}' in words:
            return pid
    return None


@pytest.mark.slow
@pytest.mark.parametrize('name', ['camera', 'encoder', 'link', 'decoder'])
def test_a_node_that_is_killed_is_started_again_and_images_come(seen, mark, arguments, name):
    run = Run(arguments)
    try:
        wait(lambda: seen() or run.process.poll(), 'an image')
        killed = pid_of(mark, name)
        os.kill(killed, signal.SIGKILL)
        wait(lambda: pid_of(mark, name) not in (None, killed), 'another process')
        while seen():
            seen().clear()
        wait(lambda: seen() or run.process.poll(), 'images again')
        run.process.send_signal(signal.SIGINT)
        code, printed = run.end()
    finally:
        run.process.kill()
    assert code == 0, printed
    assert f'[gsc_ros] {name} was ended by SIGKILL: started again in 1 s' in printed


@pytest.mark.slow
def test_without_respawn_a_node_that_is_killed_ends_all(mark, arguments):
    run = Run({**arguments, 'respawn': 'false'})
    wait(lambda: pid_of(mark, 'link'), 'the link')
    os.kill(pid_of(mark, 'link'), signal.SIGKILL)
    code, printed = run.end()
    assert code == 128 + signal.SIGKILL
    assert '[gsc_ros] link was ended by SIGKILL: stopping the others' in printed


@pytest.fixture
def hangup():
    """Let processes inherit what a closed terminal does to them: ``hangup(handling)``."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handling: signal.signal(signal.SIGHUP, handling)
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_ends_it_even_while_it_starts(mark, arguments, hangup):
    hangup(signal.SIG_DFL)
    run = Run(arguments)
    wait(lambda: len(marked(mark)) == 6, 'five nodes beside the runner')
    run.process.send_signal(signal.SIGHUP)
    code, printed = run.end()
    assert code == 0, printed


def test_nohup_outlives_the_terminal(mark, arguments, hangup):
    hangup(signal.SIG_IGN)  # as nohup does
    run = Run({**arguments, 'link': 'nosuch'})
    wait(lambda: len(marked(mark)) == 6, 'five nodes beside the runner')
    run.process.send_signal(signal.SIGHUP)
    code, printed = run.end()
    assert code == 1
    assert 'link has ended with exit code 1' in printed  # it ran on, to this end


def test_a_node_that_dies_ends_all_with_its_reason(mark, arguments):
    code, printed = Run({**arguments, 'link': 'nosuch'}).end()
    assert code == 1
    assert '[link] [FATAL]' in printed
    assert "unknown link profile 'nosuch'" in printed
    assert '[gsc_ros] link has ended with exit code 1: stopping the others' in printed


@pytest.mark.parametrize(
    'words, expected',
    [
        (['sorce:=sim'], ["unknown argument 'sorce'", 'source']),
        (['--source', 'sim'], ["'--source'", 'name:=value']),
        (['source:=images'], ['path:=']),
        (['params_file:=/no/such.yaml'], ['/no/such.yaml']),
    ],
)
def test_bad_arguments_start_nothing(mark, capsys, words, expected):
    assert runner.main(words) == 2
    printed = capsys.readouterr().err
    for part in expected:
        assert part in printed


def test_a_params_file_that_is_none_starts_nothing(mark, capsys, tmp_path):
    (tmp_path / 'broken.yaml').write_text('camera: [\n')
    assert runner.main([f'params_file:={tmp_path / "broken.yaml"}']) == 2
    printed = capsys.readouterr().err
    assert 'broken.yaml is no file of parameters' in printed
    assert 'Traceback' not in printed


@pytest.mark.parametrize('words', [[], ['robot'], ['ground']])
def test_help_lists_every_argument(capsys, words):
    assert runner.main([*words, '--help']) == 0
    printed = capsys.readouterr().out
    for name in GRAPHS[words[0] if words else 'teleop_link'].defaults():
        assert f'  {name}:=' in printed


def test_a_signal_sets_the_event_and_handlers_are_restored(hangup):
    hangup(signal.SIG_DFL)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [
        signal.getsignal(number) for number in numbers
    ]  # in the background SIGINT is ignored
    for number in numbers:
        with runner.stop_on_signals() as stopping:
            assert not stopping.is_set()
            signal.raise_signal(number)
            assert stopping.wait(5)
    assert [signal.getsignal(number) for number in numbers] == before


SIGNALLED = """
import os, signal, threading, time
from gsc_ros import __main__ as runner
with runner.stop_on_signals() as stopping:
    signals = 'while not done: os.kill(os.getpid(), signal.SIGTERM)'
    done = []
    thread = threading.Thread(target=exec, args=(signals, globals()), daemon=True)
    thread.start()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert stopping.wait(5)
    done.append(True)
    thread.join()
print('done')
"""


def test_a_signal_amid_the_wait_for_it_locks_nothing():
    words = python(SIGNALLED)
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == 'done\n'


def python(code):
    return [sys.executable, '-c', code]


def test_lines_carry_their_process_and_an_end_its_code(mark):
    output = io.StringIO()
    processes = runner.Processes(
        {('', 'one'): python(SLEEP), ('', 'two'): python('print("bye"); raise SystemExit(3)')},
        output,
    )
    assert runner.supervise(processes, threading.Event()) == 3
    printed = output.getvalue()
    assert '[two] bye\n' in printed
    assert '[gsc_ros] two has ended with exit code 3: stopping the others' in printed


def watched(processes):
    """Supervise processes in a thread; returns what stops them, the thread and its result."""
    stopping, codes = threading.Event(), []
    thread = threading.Thread(target=lambda: codes.append(runner.supervise(processes, stopping)))
    thread.start()
    return stopping, thread, codes


@pytest.fixture
def quick(monkeypatch):
    """Start again sooner than in the field."""
    monkeypatch.setattr(respawn, 'FIRST_S', 0.05)
    monkeypatch.setattr(respawn, 'MOST_S', 0.2)


def test_what_crashes_is_started_again_and_the_others_live_on(mark, quick):
    output = io.StringIO()
    crash = 'import os; print("up", flush=True); os.kill(os.getpid(), 9)'
    processes = runner.Processes(
        {('', 'one'): python(SLEEP), ('', 'two'): python(crash)},
        output,
        {('', 'two'): respawn.Respawn()},
    )
    one = processes.children['', 'one']
    stopping, thread, codes = watched(processes)
    wait(lambda: output.getvalue().count('[two] up') >= 4, 'it is started four times')
    assert one.poll() is None
    stopping.set()
    thread.join(PATIENCE_S)
    assert codes == [0]
    printed = output.getvalue()
    for delay in ('0.05', '0.1', '0.2'):
        assert f'[gsc_ros] two was ended by SIGKILL: started again in {delay} s' in printed
    assert one.poll() is not None


def test_what_cannot_begin_ends_all_though_it_would_be_started_again(mark, quick):
    output = io.StringIO()
    processes = runner.Processes(
        {('', 'one'): python(SLEEP), ('', 'two'): python('raise SystemExit(1)')},
        output,
        {('', 'one'): respawn.Respawn(), ('', 'two'): respawn.Respawn()},
    )
    assert runner.supervise(processes, threading.Event()) == 1
    assert '[gsc_ros] two has ended with exit code 1: stopping the others' in output.getvalue()


def test_what_cannot_be_started_again_yet_is_tried_later(mark, quick, monkeypatch):
    output = io.StringIO()
    processes = runner.Processes(
        {('', 'one'): python('')}, output, {('', 'one'): respawn.Respawn()}
    )
    start, tries = runner.Processes._start, []

    def no_memory(self, name):
        tries.append(name)
        if len(tries) < 3:
            raise OSError('no memory')
        start(self, name)

    monkeypatch.setattr(runner.Processes, '_start', no_memory)
    stopping, thread, codes = watched(processes)
    wait(lambda: len(tries) > 3, 'it is started')
    stopping.set()
    thread.join(PATIENCE_S)
    assert codes == [0]
    assert output.getvalue().count('cannot be started: no memory') == 2


def test_an_end_by_a_signal_is_the_code_of_a_shell(mark):
    processes = runner.Processes(
        {('', 'one'): python('import os; os.kill(os.getpid(), 9)')}, io.StringIO()
    )
    assert runner.supervise(processes, threading.Event()) == 128 + signal.SIGKILL


def test_an_end_without_a_fault_is_still_the_end_of_all(mark):
    processes = runner.Processes(
        {('', 'one'): python(SLEEP), ('', 'two'): python('')}, io.StringIO()
    )
    assert runner.supervise(processes, threading.Event()) == 1


def test_what_does_not_stop_is_killed(mark, monkeypatch):
    monkeypatch.setattr(runner, '_GRACE_S', 0.3)
    output = io.StringIO()
    deaf = f'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}'
    processes = runner.Processes({('', 'deaf'): python(deaf)}, output)
    wait(lambda: 'awake' in output.getvalue(), 'it is deaf')
    processes.stop()
    assert '[deaf] does not stop and is killed' in output.getvalue()


def test_a_process_that_cannot_start_leaves_no_others(mark):
    with pytest.raises(FileNotFoundError):
        runner.Processes(
            {('', 'one'): python(SLEEP), ('', 'two'): ['/no/such/program']}, io.StringIO()
        )


class Unread(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_nobody_reading_neither_blocks_nor_orphans(mark):
    flood = 'for i in range(100000): print("a line that nobody reads")'
    processes = runner.Processes(
        {('', 'one'): python(SLEEP), ('', 'loud'): python(flood)}, Unread()
    )
    assert runner.supervise(processes, threading.Event()) == 1
