"""No count is used twice, whatever dies."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_keys import file as _file
from test_link_keys import number

from gsc_ros.link.datagrams import key_file, keys
from gsc_ros.link.datagrams.keys import KeyRing
from gsc_ros.link.datagrams.seals import SealError

file = _file


def send_until_killed(file, pipe):
    """Give out counts for ever, in a process of its own, and tell each before it is used."""
    status = 1
    try:
        keys.BLOCK = 16  # so that it dies in the middle of all there is
        seal = KeyRing(file).seal('down')
        while True:
            with contextlib.suppress(SealError):
                os.write(pipe, struct.pack('>I', number(seal)))
                time.sleep(1e-4)
    finally:
        os._exit(status)


def kill_often(file, kills, seed):
    """Kill processes that share a key, two at a time; returns all counts that they gave out."""
    rng, sent = random.Random(seed), []
    rounds = 0
    while rounds < kills // 2 or len(sent) < 5 * kills:  # on a machine that is busy some give none
        rounds += 1
        running = []
        for _ in range(2):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                send_until_killed(file, writer)
            os.close(writer)
            running.append((child, reader))
        time.sleep(rng.uniform(0.0, 0.3))
        for child, _ in running:
            os.kill(child, signal.SIGKILL)
        for child, reader in running:
            os.waitpid(child, 0)
            with open(reader, 'rb') as pipe:
                data = pipe.read()
            sent += [count for (count,) in struct.iter_unpack('>I', data[: len(data) & ~3])]
    return sent


def killed_often(file, kills, seed):
    """Return what `kill_often` does, in a process that has loaded little and forks quickly."""
    call = f'kill_often(Path({str(file)!r}), {kills}, {seed})'
    code = f'import json; from test_link_key_crashes import *; print(json.dumps({call}))'
    here = Path(__file__).parent
    env = os.environ | {'PYTHONPATH': os.pathsep.join([str(here.parent), str(here)])}
    done = subprocess.run(
        [sys.executable, '-c', code], env=env, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def test_no_count_is_used_twice_over_kills(file):
    sent = killed_often(file, 40, seed=1)
    assert len(set(sent)) == len(sent)


@pytest.mark.slow
def test_no_count_is_used_twice_over_many_kills(file):
    sent = killed_often(file, 1000, seed=2)
    assert len(set(sent)) == len(sent)


class Killed(BaseException):
    """The process ends here."""


class Machine:
    """Processes that share a key, each step of their disk work counted, so that it can be last."""

    class Ring(KeyRing):
        """A ring whose thread's work is done where the test calls it."""

        def _work(self):
            pass

        def _settle(self, wait_s):
            with contextlib.suppress(OSError):
                self._update()

    def __init__(self, folder):
        self.path = folder / 'link.key'
        key_file.create(self.path)
        self.steps_left = None
        self.sent = {'down': [], 'up': []}
        self.rings = {}

    def step(self):
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = None
                raise Killed

    def counted(self, real):
        def stepping(*args, **options):
            self.step()
            return real(*args, **options)

        return stepping

    @contextlib.contextmanager
    def watched(self):
        """Count the steps of writing."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in (
                (os, 'open'), (Path, 'replace'), (Path, 'unlink'), (fcntl, 'flock'),
            ):  # fmt: skip
                patch.setattr(owner, name, self.counted(getattr(owner, name)))
            patch.setattr(os, 'fsync', self.counted(lambda _: None))
            patch.setattr(keys, 'BLOCK', 3)
            yield

    def act(self, process, direction, count, dies_after):
        """Let a process, begun if it is not running, send some; it may die at a step."""
        self.steps_left = dies_after
        try:
            if process not in self.rings:
                self.rings[process] = self.Ring(self.path)
            ring = self.rings[process]
            seal = ring.seal(direction)
            for _ in range(count):
                if ring.left < 2:
                    ring._settle(0)
                with contextlib.suppress(SealError):
                    self.sent[direction].append(number(seal))
        except Killed:
            self.rings.pop(process, None)
        finally:
            self.steps_left = None


ACTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(['down', 'up']),
        st.integers(0, 12),
        st.none() | st.integers(0, 30),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(acts=ACTS)
def test_no_count_is_used_twice_whatever_step_of_the_disk_is_the_last(tmp_path_factory, acts):
    folder = tmp_path_factory.mktemp('keys', numbered=True)
    try:
        machine = Machine(folder)
        with machine.watched():
            for act in acts:
                machine.act(*act)
            for process in range(3):  # a death leaves nothing that the next one cannot use
                machine.act(process, 'down', 1, None)
        for sent in machine.sent.values():
            assert len(set(sent)) == len(sent)
        assert len(machine.sent['down']) >= 3
    finally:
        shutil.rmtree(folder)
