"""Keys on disk: no count is used twice, whatever dies, and nobody waits for the disk."""

import contextlib
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.cli import main
from gsc_ros.link.datagrams import count_file, framing, key_file, keys, security, trusted_files
from gsc_ros.link.datagrams.count_file import MARGIN, SESSIONS
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.keys import KeyRing
from gsc_ros.link.datagrams.seals import FramingError, ReplayError, SealError
from gsc_ros.link.datagrams.trusted_files import KeyFileError

DATAGRAM = Datagram(TrafficClass.FRAME, 700, 3, b'what the robot sees')


@pytest.fixture
def file(tmp_path):
    key_file.create(tmp_path / 'link.key')
    return tmp_path / 'link.key'


@pytest.fixture
def ring(file):
    made = KeyRing(file)
    yield made
    made.close()


def counts_of(file):
    return file.with_name(f'{file.name}.counts')


def number(seal):
    """Close a datagram; returns its count."""
    return struct.unpack_from('>I', seal.close(b'a', b'b'), 1)[0]


def wait(condition, patience_s=20.0):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Files


def test_a_made_key_is_its_owner_s_alone(tmp_path, capsys):
    path = tmp_path / 'new' / 'link.key'
    assert main(['key', str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = key_file.read(path)
    assert len(key) == 32
    counts_of(path).write_text('{"a": 1}')
    assert main(['key', str(path)]) == 2
    assert 'already' in capsys.readouterr().err
    assert key_file.read(path) == [key] and counts_of(path).read_text() == '{"a": 1}'
    assert main(['key', '--line']) == 0
    line = capsys.readouterr().out
    path.write_text(f'# old and new\n{key.hex()}  # old\n{line}')
    assert key_file.read(path) == [key, bytes.fromhex(line)]


def test_a_file_that_holds_no_key_is_refused(file, tmp_path):
    with pytest.raises(KeyFileError, match='gsc key'):
        KeyRing(tmp_path / 'none')
    whole = file.read_text()
    for text, message in (
        ('', 'no key'),
        ('abc\n', 'line 1'),
        (whole + 'zz' * 32, 'line 3'),
        (whole + whole, 'twice'),
    ):
        file.write_text(text)
        with pytest.raises(KeyFileError, match=message):
            KeyRing(file)
    file.write_bytes(b'\xff')
    with pytest.raises(KeyFileError, match='not text'):
        KeyRing(file)


def others_read_the_key(file):
    file.chmod(0o640)


def others_write_the_counts(file):
    counts_of(file).chmod(0o664)


def others_own_the_key(file):
    os.chown(file, 12345, -1)


def others_own_the_counts(file):
    os.chown(counts_of(file), 12345, -1)


def others_own_the_folder(file):
    os.chown(file.parent, 12345, -1)


def others_write_the_folder(file):
    file.parent.chmod(0o777)


def its_group_writes_the_folder(file):
    file.parent.chmod(0o770)
    os.chown(file.parent, -1, 12345)


def the_key_has_two_names(file):
    os.link(file, file.with_name('again.key'))


def the_key_is_a_pipe(file):
    file.unlink()
    os.mkfifo(file, 0o600)


def the_counts_are_elsewhere(file):
    other = counts_of(file).replace(file.with_name('elsewhere'))
    counts_of(file).symlink_to(other)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (others_read_the_key, 'chmod 600'),
        (others_write_the_counts, 'chmod 600'),
        (others_own_the_key, 'chown'),
        (others_own_the_counts, 'chown'),
        (others_own_the_folder, 'folder'),
        (others_write_the_folder, 'chmod go-w'),
        (its_group_writes_the_folder, 'chmod go-w'),
        (the_key_has_two_names, 'hard link'),
        (the_key_is_a_pipe, 'not a file'),
        (the_counts_are_elsewhere, 'symbolic link'),
    ],
)
def test_files_that_others_can_change_are_refused(file, spoil, message):
    try:
        spoil(file)
    except PermissionError:
        pytest.skip('only root can give files away')
    with pytest.raises(KeyFileError, match=message):
        KeyRing(file)


def test_a_folder_that_only_its_owner_takes_files_away_from_will_do(file):
    file.parent.chmod(0o1777)
    KeyRing(file).close()


def test_a_symbolic_link_leads_to_the_counts_of_the_key_itself(file, tmp_path):
    folder = tmp_path / 'config'
    folder.mkdir()
    name = folder / 'robot.key'
    name.symlink_to(file)
    ring, same = KeyRing(name), KeyRing(file)
    assert number(ring.seal('down')) != number(same.seal('down'))
    assert [path.name for path in folder.iterdir()] == ['robot.key']
    folder.chmod(0o777)  # others could make it lead to another key
    with pytest.raises(KeyFileError, match='chmod go-w'):
        KeyRing(name)
    for one in (ring, same):
        one.close()


def test_planted_links_are_not_followed(file, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    file.with_name('.link.key.counts.new').symlink_to(victim)
    ring = KeyRing(file)
    number(ring.seal('down'))
    ring.close()
    assert victim.read_text() == 'mine'
    file.with_name('link.key.lock').unlink()
    file.with_name('link.key.lock').symlink_to(victim)
    ring = KeyRing(file)
    with pytest.raises(SealError, match='symbolic link'):
        number(ring.seal('down'))
    ring.close()


def test_a_key_that_cannot_be_made_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'fsync', fail(errno.ENOSPC))
    with pytest.raises(KeyFileError, match='No space'):
        key_file.create(tmp_path / 'link.key')
    monkeypatch.undo()
    key_file.create(tmp_path / 'link.key')


def test_counts_outlive_a_power_cut(ring, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, 'fsync', lambda fd: (done.append(stat.S_IFMT(os.fstat(fd).st_mode)), sync(fd))
    )
    monkeypatch.setattr(Path, 'replace', lambda a, b: (done.append('renamed'), replace(a, b)))
    ring.seal('down')
    # The bytes, then the name, then the folder that holds the name.
    assert done == [stat.S_IFREG, 'renamed', stat.S_IFDIR]


def test_a_key_without_its_counts_is_not_used(file):
    for text in (None, '', '[]', '{"a": -1}', '{"a": "b"}'):
        counts_of(file).unlink()
        if text is not None:
            counts_of(file).write_text(text)
        with pytest.raises(KeyFileError, match='make a new one'):
            KeyRing(file)
        counts_of(file).touch()


def test_a_key_that_is_used_up_is_refused(file, ring):
    (name,) = ring._names
    counts_of(file).write_text(json.dumps({f'{name} down used': security.MAX_COUNT - 5}))
    other = KeyRing(file)
    with pytest.raises(KeyFileError, match='used up'):
        other.seal('down')
    other.seal('down', closes=False)
    number(other.seal('up'))
    other.close()


def test_the_last_counts_of_a_key_are_used_and_none_after_them(file, monkeypatch):
    monkeypatch.setattr(keys, 'LEAST_LEFT', 0)
    monkeypatch.setattr(keys, '_RETRY_S', 0.05)
    ring = KeyRing(file)
    (name,) = ring._names
    counts_of(file).write_text(json.dumps({f'{name} down used': security.MAX_COUNT - 9}))
    seal = ring.seal('down')
    assert [number(seal) for _ in range(10)][-1] == security.MAX_COUNT
    wait(lambda: 'used up' in ring.trouble)
    with pytest.raises(SealError, match='used up'):
        number(seal)
    ring.close()


# What was received


def test_what_was_received_is_refused_after_a_restart(file, ring):
    other = KeyRing(file)
    robot, ground = other.seal('up'), ring.seal('up', closes=False)
    packets = [DATAGRAM.pack(robot) for _ in range(5)]
    for packet in packets[:4]:
        Datagram.unpack(packet, ground)
    ring.note()
    wait(lambda: any(name.endswith('heard') for name in json.loads(counts_of(file).read_text())))
    restarted = KeyRing(file)
    with pytest.raises(ReplayError):
        Datagram.unpack(packets[3], restarted.seal('up', closes=False))
    assert Datagram.unpack(packets[4], restarted.seal('up', closes=False)) == DATAGRAM
    for one in (other, restarted):
        one.close()


def test_what_was_received_last_is_noted_at_the_end(file):
    robot, ground = KeyRing(file), KeyRing(file)
    packet = DATAGRAM.pack(robot.seal('up'))
    Datagram.unpack(packet, ground.seal('up', closes=False))
    ground.close()
    again = KeyRing(file)
    with pytest.raises(ReplayError):
        Datagram.unpack(packet, again.seal('up', closes=False))
    for one in (robot, again):
        one.close()


def test_what_was_received_counts_also_before_it_is_noted(ring):
    packet = DATAGRAM.pack(ring.seal('up'))
    Datagram.unpack(packet, ring.seal('up'))
    with pytest.raises(ReplayError):  # the link starts afresh
        Datagram.unpack(packet, ring.seal('up'))


def test_what_other_processes_receive_does_not_keep_a_link_from_beginning_anew(file, ring):
    first = ring.seal('up')
    Datagram.unpack(DATAGRAM.pack(first), first)
    other = KeyRing(file)  # another simulated link
    theirs = other.seal('up')
    Datagram.unpack(DATAGRAM.pack(theirs), theirs)
    other.close()
    ring._settle(5.0)
    again = ring.seal('up')
    assert Datagram.unpack(DATAGRAM.pack(again), again) == DATAGRAM


def test_an_end_does_not_seal_what_it_only_receives(ring):
    with pytest.raises(SealError, match='listens'):
        number(ring.seal('up', closes=False))


# A disk that fails


def fail(code):
    def failing(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return failing


@contextlib.contextmanager
def stalled(file):
    """No fsync comes back."""
    released = threading.Event()
    sync = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', lambda fd: (released.wait(), sync(fd)))
        yield
    released.set()


@contextlib.contextmanager
def held(file):
    """Another process holds the lock."""
    with open(file.with_name(f'{file.name}.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def full(file):
    """Nothing can be written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', fail(errno.ENOSPC))
        yield


@contextlib.contextmanager
def read_only(file):
    """No file can be opened for writing."""
    opened = os.open

    def opening(path, flags, *rest, **options):
        if flags & (os.O_WRONLY | os.O_RDWR):
            fail(errno.EROFS)()
        return opened(path, flags, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'open', opening)
        yield


@contextlib.contextmanager
def removed(file):
    """The counts are gone."""
    with trusted_files.locked(file, 5.0):  # else a write under way makes them again
        aside = counts_of(file).rename(file.with_name('aside'))
    yield
    aside.rename(counts_of(file))


@contextlib.contextmanager
def opened_to_others(file):
    """Others may write the counts."""
    with trusted_files.locked(file, 5.0):
        counts_of(file).chmod(0o666)
    yield
    counts_of(file).chmod(0o600)


DISKS = [
    (stalled, 'has not answered'),
    (held, 'another process'),
    (full, 'free some space'),
    (read_only, 'mount it for writing'),
    (removed, 'make a new one'),
    (opened_to_others, 'chmod 600'),
]


@pytest.mark.parametrize(('disk', 'message'), DISKS)
def test_sending_goes_on_without_the_disk_as_long_as_counts_last(file, monkeypatch, disk, message):
    monkeypatch.setattr(keys, 'BLOCK', 100)
    for owner, name in ((keys, '_STUCK_S'), (keys, '_RETRY_S'), (count_file, '_LOCK_S')):
        monkeypatch.setattr(owner, name, 0.1)
    ring = KeyRing(file)
    seal = ring.seal('down')
    sent, slowest = [number(seal)], 0.0

    def take():
        nonlocal slowest
        began = time.perf_counter()
        sent.append(number(seal))
        slowest = max(slowest, time.perf_counter() - began)

    def all_taken():
        with contextlib.suppress(SealError):
            while True:
                take()
        return message in ring.trouble

    wait(lambda: ring.left >= 100)  # nothing is being written
    with disk(file):
        for _ in range(20):
            take()
        wait(all_taken)
        # One more block may have been on its way.
        assert 100 <= len(sent) <= 300 and ring.left == 0
        with pytest.raises(SealError, match=message):
            take()
        assert 1 <= ring.next_session() <= 0xFFFF
        ring.seal('down')  # as the link does when time begins anew
    wait(lambda: not ring.trouble and ring.left >= 100)  # it heals by itself
    for _ in range(500):
        wait(lambda: ring.left)
        take()
    assert len(set(sent)) == len(sent)
    assert slowest < 2.0  # nothing waits: what is left is a machine that does other things
    ring.close()


@pytest.mark.parametrize(('disk', 'message'), DISKS[:4])
def test_a_start_and_an_end_do_not_wait_for_the_disk(file, monkeypatch, disk, message):
    monkeypatch.setattr(keys, '_STUCK_S', 0.5)
    with disk(file):
        began = time.monotonic()
        ring = KeyRing(file)
        seal = ring.seal('down')
        assert time.monotonic() - began < 2.0 + 4.0
        with pytest.raises(SealError, match='no counts'):
            number(seal)
        wait(lambda: message in ring.trouble)
        ring.note()
        assert ring.next_session() & 0xFF
    wait(lambda: ring.left)
    assert number(seal) == 0
    ring.close()


def test_ending_under_a_disk_that_does_not_answer_takes_half_a_second(file):
    ring = KeyRing(file)
    packet = DATAGRAM.pack(ring.seal('up'))
    Datagram.unpack(packet, ring.seal('up'))
    with stalled(file):
        began = time.monotonic()
        ring.close()
        took = time.monotonic() - began
        ring.close()
    assert 0.4 < took < 3.0


def test_a_file_that_comes_back_older_does_not_set_a_running_end_back(file, monkeypatch):
    monkeypatch.setattr(keys, 'BLOCK', 10)
    old = counts_of(file).read_text()
    ring = KeyRing(file)
    seal = ring.seal('down')
    sent = []
    for turn in range(100):
        wait(lambda: ring.left)
        sent.append(number(seal))
        if turn % 10 == 5:
            file.with_name('old').write_text(old)
            file.with_name('old').replace(counts_of(file))
    assert sent == sorted(set(sent))
    ring.close()


# Crashes


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
    code = f'import json; from test_link_keys import *; print(json.dumps({call}))'
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
        """A ring whose thread's work is done where the test says."""

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


# Copies


def copy(file, folder):
    """Copy a key and its counts, as who sets up the other end does."""
    folder.mkdir()
    for path in (file, counts_of(file)):
        shutil.copy2(path, folder / path.name)
    return folder / file.name


def talk(sender, receiver, direction, datagrams):
    """Send so many datagrams; returns the greatest count."""
    out, into = sender.seal(direction), receiver.seal(direction, closes=False)
    for _ in range(datagrams):
        data = DATAGRAM.pack(out)
        Datagram.unpack(data, into)
    receiver.note()
    return struct.unpack_from('>I', data, 1)[0]


def test_a_ground_that_is_set_up_from_the_robot_s_files_repeats_no_count(file, tmp_path):
    robot, ground = KeyRing(file), KeyRing(copy(file, tmp_path / 'ground'))
    used = {talk(ground, robot, 'up', 3000), talk(robot, ground, 'down', 100)}
    missed = [number(ground.seal('up')) for _ in range(500)]  # and the robot knows of none
    robot.close()
    ground.close()
    again = KeyRing(copy(file, tmp_path / 'again'))
    sent = [number(again.seal('up')) for _ in range(3000)]
    assert min(sent) > max(*used, *missed)
    assert "copy of the other end's" in again.notices[0]
    again.close()
    # From then on it goes its own way.
    second = KeyRing(again.path)
    assert number(second.seal('up')) > max(sent) and not second.notices
    second.close()


def test_two_ends_from_one_old_copy_hardly_meet(file, tmp_path):
    robot, ground = KeyRing(file), KeyRing(copy(file, tmp_path / 'ground'))
    talk(ground, robot, 'up', 10)
    for ring in (robot, ground):
        ring.close()
    begun = []
    for name in ('one', 'two', 'three'):
        ring = KeyRing(copy(file, tmp_path / name))
        begun.append(number(ring.seal('up')))
        ring.close()
    assert len(set(begun)) == 3
    assert MARGIN < min(begun) < max(begun) < 2 * MARGIN + 10


def test_a_ground_that_the_robot_never_received_repeats_no_count(file, tmp_path):
    robot, ground = KeyRing(file), KeyRing(copy(file, tmp_path / 'ground'))
    for ring in (robot, ground):
        ring.seal('down' if ring is robot else 'up')
    missed = [number(ground.seal('up')) for _ in range(50)]
    robot.close()
    ground.close()
    again = KeyRing(copy(file, tmp_path / 'again'))
    assert number(again.seal('up')) > max(missed)
    again.close()


def test_both_ends_begin_at_zero_with_a_new_key(file, tmp_path):
    robot, ground = KeyRing(file), KeyRing(copy(file, tmp_path / 'ground'))
    assert (number(robot.seal('down')), number(ground.seal('up'))) == (0, 0)
    simulated = KeyRing(copy(file, tmp_path / 'both'))
    assert [number(simulated.seal(way)) < MARGIN for way in ('down', 'up')] == [True, True]
    for ring in (robot, ground, simulated):
        assert not ring.notices
        ring.close()


def test_counts_that_were_set_back_are_told_by_the_other_end(file, tmp_path):
    robot, ground = KeyRing(file), KeyRing(copy(file, tmp_path / 'ground'))
    sessions = {robot.next_session() for _ in range(20)}
    snapshot = counts_of(file).read_text()
    for _ in range(4):
        newest = talk(robot, ground, 'down', 5000)
    robot.close()
    counts_of(file).write_text(snapshot)
    robot = KeyRing(file)
    seal = robot.seal('down')
    with pytest.raises(ReplayError):
        Datagram.unpack(DATAGRAM.pack(seal), ground.seal('down', closes=False))
    robot.peer_received('down', newest)
    with pytest.raises(SealError):
        number(seal)  # not before it is noted
    wait(lambda: robot.left)
    assert number(seal) > newest + MARGIN
    assert 'set back' in robot.notices[0] and str(newest) in robot.notices[0]
    Datagram.unpack(DATAGRAM.pack(seal), ground.seal('down', closes=False))
    # What it says from now on is no news.
    robot.peer_received('down', newest)
    robot.peer_received('down', number(seal))
    wait(lambda: robot.left >= keys.BLOCK)
    assert len(robot.notices) == 1
    assert sessions and robot.next_session()
    for ring in (robot, ground):
        ring.close()
    assert number(KeyRing(file).seal('down')) > newest + MARGIN


def test_a_count_that_is_set_aside_but_not_sent_tells_it_too(ring):
    seal = ring.seal('down')
    assert [number(seal) for _ in range(10)] == list(range(10))
    ring.peer_received('down', 9)
    ring.peer_received('up', 10**6)  # this end does not send there
    assert number(seal) == 10
    ring.peer_received('down', 500)
    wait(lambda: ring.left)
    assert number(seal) > 500 + MARGIN and len(ring.notices) == 1


def test_another_process_with_the_same_file_is_no_copy(file, ring):
    other = KeyRing(file)
    seal, theirs = ring.seal('down'), other.seal('down')
    sent = [number(seal), number(theirs)]
    assert sent[1] > sent[0]
    ring.peer_received('down', sent[1])
    wait(lambda: ring.left)
    sent.append(number(seal))
    assert sent[2] > sent[1] and not ring.notices
    assert sent[2] < MARGIN
    other.close()


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from(['k down used', 'k up used', 'k down heard', 'k up heard', 'j up used']),
        st.integers(0, 2**31),
    ),
    st.sets(st.sampled_from(['k down', 'k up'])),
)
def test_an_end_begins_beyond_all_that_its_file_knows_of(noted, ours):
    begin, moved = count_file.beginning(noted, 'k up', ours)
    assert begin >= noted.get('k up used', 0)
    assert begin > noted.get('k up heard', -1)
    assert begin >= MARGIN or not moved
    if 'k up heard' not in noted and noted.get('k up used'):
        assert begin == noted['k up used'] and not moved


# Sessions


def test_sessions_differ_over_restarts_and_kills(file, monkeypatch):
    seen = []
    for _ in range(30):
        ring = KeyRing(file)
        seen += [ring.next_session() for _ in range(3)]
        if len(seen) % 2:
            ring.close()  # else it is as if it had been killed
    assert len(set(seen)) == len(seen)
    assert all(framing.is_session(session) for session in seen)
    assert len({session & 0xFF for session in seen[-30:]}) == 30


@given(st.integers(0, 10 * SESSIONS))
def test_sessions_in_a_row_have_other_low_bytes(place):
    row = [count_file.session_of(place + one) for one in range(255)]
    assert len({session & 0xFF for session in row}) == 255
    assert all(framing.is_session(session) for session in row)


def test_there_are_sessions_without_the_disk(file, monkeypatch):
    monkeypatch.setattr(os, 'fsync', fail(errno.EIO))
    ring = KeyRing(file)
    assert all(framing.is_session(ring.next_session()) for _ in range(50))
    ring.close()


def test_a_lock_of_others_is_refused(file):
    lock = file.with_name('link.key.lock')
    lock.touch()
    try:
        os.chown(lock, 12345, -1)
    except PermissionError:
        pytest.skip('only root can give files away')
    with (
        pytest.raises(KeyFileError, match='chown'),
        trusted_files.locked(file, 1.0),
    ):
        pass


def test_a_stranger_cannot_read(file, ring, tmp_path):
    key_file.create(tmp_path / 'other.key')
    other = KeyRing(tmp_path / 'other.key')
    with pytest.raises(FramingError):
        Datagram.unpack(DATAGRAM.pack(ring.seal('up')), other.seal('up', closes=False))
    other.close()
