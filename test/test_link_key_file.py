"""Key files: what is in them, and who may read and change them."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from test_link_keys import counts_of, fail, number, wait
from test_link_keys import file as _file
from test_link_keys import ring as _ring

from gsc_ros.cli import main
from gsc_ros.link.datagrams import key_file, keys, security
from gsc_ros.link.datagrams.keys import KeyRing
from gsc_ros.link.datagrams.seals import SealError
from gsc_ros.link.datagrams.trusted_files import KeyFileError

file = _file
ring = _ring


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
