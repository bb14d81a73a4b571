"""Weights are known by their manifest; damaged and edited files are refused by name."""

import json
import os
import shutil

import pytest
import torch

from gsc_ros.cli import main
from gsc_ros.codec import FrameDecoder, FrameEncoder
from gsc_ros.codec.networks import SHARED
from gsc_ros.codec.prior import WEIGHTS as PRIOR
from gsc_ros.models import manifest
from gsc_ros.models.weights import FOLDER, save
from gsc_ros.perception.model import WEIGHTS as PERCEPTION


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/gsc_ros/weights.json'


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are hashed."""
    names, entry = [], manifest._entry

    def spy(path):
        names.append(path.name)
        return entry(path)

    monkeypatch.setattr(manifest, '_entry', spy)
    return names


@pytest.fixture
def copy(tmp_path):
    """A copy of the shipped weights."""
    return shutil.copytree(FOLDER, tmp_path / 'weights')


def test_the_shipped_weights_are_those_of_their_manifest():
    shipped = manifest.read(FOLDER)
    assert shipped.files.keys() == {path.name for path in FOLDER.glob('*.safetensors')}
    assert shipped.revision
    for name, entry in shipped.files.items():
        assert manifest._entry(FOLDER / name) == entry, f'run `gsc manifest {FOLDER}`'


@pytest.mark.parametrize('name', [*SHARED, PERCEPTION])
def test_a_damaged_or_edited_file_is_refused_by_name(copy, name):
    path = copy / name
    data = bytearray(path.read_bytes())
    data[-100] ^= 1  # of the same size
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf'{name}.* is damaged or was edited.*gsc manifest'):
        FrameEncoder.load(weights=copy, device='cpu')
    if name != PERCEPTION:
        with pytest.raises(ValueError, match=name):
            FrameDecoder.load(weights=copy, device='cpu')
    # On purpose:
    before = manifest.fingerprint(FOLDER, SHARED)
    assert main(['manifest', str(copy), '--revision', manifest.read(FOLDER).revision]) == 0
    changed = FrameDecoder.load(weights=copy, device='cpu').fingerprint
    assert (changed == before) == (name == PERCEPTION)


def test_a_damaged_manifest_is_refused_with_the_remedy(copy):
    for text in ('{', '[]', '{"model": "gsc", "revision": "1", "files": {"a": {}}}'):
        (copy / manifest.NAME).write_text(text)
        with pytest.raises(ValueError, match=r'manifest.json: damaged.*gsc manifest'):
            FrameDecoder.load(weights=copy, device='cpu')


def test_files_are_hashed_once_until_their_size_or_time_differs(copy, hashed, cache):
    names = (*SHARED, PERCEPTION)
    manifest.check(copy, names)
    assert sorted(hashed) == sorted(names)
    hashed.clear()
    manifest.check(copy, names)
    assert not hashed
    os.utime(copy / PRIOR, ns=(0, 0))
    manifest.check(copy, names)
    assert hashed == [PRIOR]
    # What was remembered of another manifest is not believed.
    hashed.clear()
    known = json.loads(cache.read_text())
    known[str((copy / PRIOR).resolve())][2] = 'another'
    cache.write_text(json.dumps(known))
    manifest.check(copy, names)
    assert hashed == [PRIOR]
    for text in ('no JSON', '[]', '{"a": 1}'):
        cache.write_text(text)
        manifest.check(copy, names)


def test_without_a_place_to_remember_files_are_hashed_each_time(copy, hashed, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', os.devnull)
    for _ in range(2):
        manifest.check(copy, [PRIOR])
    assert hashed == [PRIOR] * 2


def test_the_fingerprint_is_of_model_revision_and_shared_files(copy):
    shipped = manifest.fingerprint(FOLDER, SHARED)
    assert manifest.fingerprint(copy, SHARED) == shipped
    seen = {shipped}
    for options in ({'revision': 'other'}, {'model': 'other'}):
        manifest.write(copy, **options)
        seen.add(manifest.fingerprint(copy, SHARED))
    assert len(seen) == 3
    # Without a manifest, as trained files that were put together, the files are hashed.
    (copy / manifest.NAME).unlink()
    plain = manifest.fingerprint(copy, SHARED)
    manifest.write(copy)
    assert manifest.fingerprint(copy, SHARED) == plain


def test_saving_enters_a_file_into_its_folders_manifest(tmp_path):
    for value in (1.0, 2.0):
        for name in ('a', 'b'):
            save(tmp_path / f'{name}.safetensors', {'x': torch.tensor([value])}, {})
        manifest.check(tmp_path, ['a.safetensors', 'b.safetensors'])
    assert manifest.read(tmp_path).files.keys() == {'a.safetensors', 'b.safetensors'}
    (tmp_path / manifest.NAME).write_text('{')
    save(tmp_path / 'a.safetensors', {'x': torch.tensor([3.0])}, {})
    manifest.check(tmp_path, ['a.safetensors', 'b.safetensors'])


def test_a_folder_without_weights_gets_no_manifest(tmp_path, capsys):
    assert main(['manifest', str(tmp_path)]) == 2
    assert 'no weights' in capsys.readouterr().err
