"""Keys on disk: no count is used twice, whatever dies, and nobody waits for the disk."""

import contextlib
import errno
import fcntl
import json
import os
import struct
import threading
import time

import pytest

from gsc_ros.link.datagrams import count_file, key_file, keys, trusted_files
from gsc_ros.link.datagrams.framing import Datagram, TrafficClass
from gsc_ros.link.datagrams.keys import KeyRing
from gsc_ros.link.datagrams.seals import ReplayError, SealError

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


# What was received


def test_what_was_received_is_refused_after_a_restart(file, ring):
    other = KeyRing(file)
    robot, ground = other.seal('up'), ring.seal('up', closes=False)
    packets = [DATAGRAM.pack(robot) for _ in range(5)]
    for packet in packets[:4]:
        Datagram.unpack(packet, ground)
    ring.note()
    wait(
        lambda: any(name.endswith('received') for name in json.loads(counts_of(file).read_text()))
    )
    restarted = KeyRing(file)
    with pytest.raises(ReplayError):
        Datagram.unpack(packets[3], restarted.seal('up', closes=False))
    assert Datagram.unpack(packets[4], restarted.seal('up', closes=False)) == DATAGRAM
    for one in (other, restarted):
        one.close()


def test_what_an_earlier_version_noted_as_received_is_refused(file):
    robot, ground = KeyRing(file), KeyRing(file)
    packet = DATAGRAM.pack(robot.seal('up'))
    Datagram.unpack(packet, ground.seal('up', closes=False))
    for one in (robot, ground):
        one.close()
    counts = counts_of(file)
    assert ' received"' in counts.read_text()
    counts.write_text(counts.read_text().replace(' received"', ' heard"'))
    updated = KeyRing(file)
    with pytest.raises(ReplayError):
        Datagram.unpack(packet, updated.seal('up', closes=False))
    updated.close()
    assert ' heard"' not in counts.read_text()


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
