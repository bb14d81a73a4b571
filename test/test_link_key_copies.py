"""Copies of keys and counts, and the numbers of sessions."""

import errno
import os
import shutil
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_keys import DATAGRAM, counts_of, fail, number, wait
from test_link_keys import file as _file
from test_link_keys import ring as _ring

from gsc_ros.link.datagrams import count_file, framing, key_file, keys, trusted_files
from gsc_ros.link.datagrams.count_file import MARGIN, SESSIONS
from gsc_ros.link.datagrams.framing import Datagram
from gsc_ros.link.datagrams.keys import KeyRing
from gsc_ros.link.datagrams.seals import FramingError, ReplayError, SealError
from gsc_ros.link.datagrams.trusted_files import KeyFileError

file = _file
ring = _ring


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


def test_counts_that_were_set_back_are_reported_by_the_other_end(file, tmp_path):
    robot, ground = KeyRing(file), KeyRing(copy(file, tmp_path / 'ground'))
    sessions = {robot.next_session() for _ in range(20)}
    snapshot = counts_of(file).read_text()
    for _ in range(4):
        newest = talk(robot, ground, 'down', 5000)
    robot.close(wait_s=60.0)
    counts_of(file).write_text(snapshot)
    robot = KeyRing(file)
    seal = robot.seal('down')
    with pytest.raises(ReplayError):
        Datagram.unpack(DATAGRAM.pack(seal), ground.seal('down', closes=False))
    update, disk = robot._file.update, threading.Event()
    robot._file.update = lambda change: disk.wait(60.0) and update(change)
    robot.peer_received('down', newest)
    with pytest.raises(SealError):
        number(seal)  # not before it is noted
    disk.set()
    wait(lambda: robot.left)
    assert number(seal) > newest + MARGIN
    assert 'set back' in robot.notices[0] and str(newest) in robot.notices[0]
    Datagram.unpack(DATAGRAM.pack(seal), ground.seal('down', closes=False))
    # What it reports from now on is not new.
    robot.peer_received('down', newest)
    robot.peer_received('down', number(seal))
    wait(lambda: robot.left >= keys.BLOCK)
    assert len(robot.notices) == 1
    assert sessions and robot.next_session()
    for ring in (robot, ground):
        ring.close()
    assert number(KeyRing(file).seal('down')) > newest + MARGIN


def test_two_senders_with_one_key_do_not_use_it_up(file, tmp_path):
    """The ground reports to each robot the greatest count, which is the other's."""
    robots = [KeyRing(file), KeyRing(copy(file, tmp_path / 'second'))]
    seals = [robot.seal('down') for robot in robots]
    sent, off = [number(seals[0]), *(number(seals[1]) for _ in range(100))], []
    for turn in range(10):
        robot, seal = robots[turn % 2], seals[turn % 2]
        robot.peer_received('down', max(sent))
        try:
            wait(lambda robot=robot: robot.left or 'another sender' in robot.trouble)
            sent.append(number(seal))
        except SealError:
            off.append(turn % 2)
    assert off == [0, 0, 0, 0], 'one of them is off, for good'
    assert max(sent) < 5 * MARGIN
    ended = robots[off[0]]
    assert ended.left == 0 and 'make a new key' in ended.trouble and len(ended.notices) == 1
    for robot in robots:
        robot.close()
    again = KeyRing(ended.path)  # the operator has ended the other one
    assert number(again.seal('down')) > sent[0] and not again.trouble
    again.close()


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
        st.sampled_from(
            ['k down used', 'k up used', 'k down received', 'k up received', 'j up used']
        ),
        st.integers(0, 2**31),
    ),
    st.sets(st.sampled_from(['k down', 'k up'])),
)
def test_an_end_begins_beyond_all_that_its_file_knows_of(noted, ours):
    begin, moved = count_file.beginning(noted, 'k up', ours)
    assert begin >= noted.get('k up used', 0)
    assert begin > noted.get('k up received', -1)
    assert begin >= MARGIN or not moved
    if 'k up received' not in noted and noted.get('k up used'):
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
