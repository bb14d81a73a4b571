"""
The manifest of a folder of weights: model, revision, and size and hash of each file.

It is written when weights are saved. When they are loaded, a file that differs from its entry is
refused. Hashing 20 MB takes a while: a file is hashed only when its size or time differs from when
it was last hashed on this machine (``$XDG_CACHE_HOME/gsc_ros/weights.json``).

Both ends of a link must decode with the same weights: their fingerprint, in every frame, is made
of the manifest.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

NAME = 'manifest.json'
SUFFIX = '.safetensors'


@dataclass(frozen=True)
class Entry:
    """Size and hash of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``model``, ``revision``: names for people; ``files``: by name."""

    model: str
    revision: str
    files: dict[str, Entry]


def read(folder: Path) -> Manifest | None:
    """
    Read a folder's manifest; None where there is none.

    Raises ``ValueError`` with the remedy for a damaged one.
    """
    path = folder / NAME
    try:
        data = json.loads(path.read_text())
        files = {name: Entry(**entry) for name, entry in data['files'].items()}
        return Manifest(str(data['model']), str(data['revision']), files)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ValueError(f'{path}: damaged ({error}); {_remedy(folder)}') from error


def write(folder: Path, model: str = 'gsc', revision: str = '') -> Manifest:
    """Write the manifest of a folder's weights; raises ``ValueError`` where there are none."""
    paths = sorted(folder.glob(f'*{SUFFIX}'))
    if not paths:
        raise ValueError(f'{folder}: no weights (*{SUFFIX}) here')
    manifest = Manifest(model, revision, {path.name: _entry(path) for path in paths})
    _write(folder, manifest)
    return manifest


def record(path: Path) -> None:
    """Enter a file of weights that was just saved into its folder's manifest."""
    with suppress(ValueError):  # a damaged one is written anew
        manifest = read(path.parent)
        if manifest is not None:
            files = {**manifest.files, path.name: _entry(path)}
            _write(path.parent, replace(manifest, files=files))
            return
    write(path.parent)


def check(folder: Path, names: Iterable[str]) -> None:
    """
    Check files against the folder's manifest, where it has one and lists them.

    Files that are missing are left to who loads them. Raises ``ValueError`` naming the file that
    is damaged or edited, and the remedy.
    """
    manifest = read(folder)
    for name in names if manifest else ():
        path = folder / name
        listed = manifest.files.get(name) if manifest else None
        if listed is not None and path.is_file() and _checked(path, listed.sha256) != listed:
            raise ValueError(
                f'{path} is not the file that {NAME} lists: it is damaged or was edited. '
                f'{_remedy(folder)}'
            )


def fingerprint(folder: Path, names: Iterable[str]) -> int:
    """
    Compute sixteen bits of model, revision and these files' hashes.

    Where the manifest does not list a file the file itself is hashed.
    """
    manifest = read(folder) or Manifest('gsc', '', {})
    hashes = {name: (manifest.files.get(name) or _checked(folder / name)).sha256 for name in names}
    text = json.dumps([manifest.model, manifest.revision, hashes], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:2], 'big')


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, remembered as all are; raises ``FileNotFoundError``."""
    return _checked(path).sha256


def _remedy(folder: Path) -> str:
    return (
        'Reinstall gsc_ros, or copy the folder of weights again; if you changed it on purpose, '
        f'run `gsc manifest {folder}`, at both ends of the link'
    )


def _entry(path: Path) -> Entry:
    data = path.read_bytes()
    return Entry(len(data), hashlib.sha256(data).hexdigest())


def _write(folder: Path, manifest: Manifest) -> None:
    _replace(folder / NAME, asdict(manifest))


def _replace(path: Path, data: Any) -> None:
    """Write JSON so that readers see all of it or what was there before."""
    partial = path.with_name(f'{path.name}.{os.getpid()}')
    partial.write_text(json.dumps(data, indent=1) + '\n')
    partial.replace(path)


def _cache() -> Path:
    home = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    return home / 'gsc_ros/weights.json'


def _remembered() -> dict[str, list[Any]]:
    """Return size, time and hash of the files that were hashed on this machine, by path."""
    with suppress(OSError, RuntimeError, ValueError, TypeError, AttributeError):
        known = json.loads(_cache().read_text()).items()
        return {key: value for key, value in known if len(value) == 3}
    return {}


def _checked(path: Path, expected: str | None = None) -> Entry:
    """
    Return size and hash of a file; not hashed again while size and time are as they were.

    ``expected``: the hash that it should have: one that was remembered otherwise is not believed.
    """
    state, key, known = path.stat(), str(path.resolve()), _remembered()
    size_and_time = [state.st_size, state.st_mtime_ns]
    if key in known and known[key][:2] == size_and_time and expected in (None, known[key][2]):
        return Entry(state.st_size, known[key][2])
    entry = _entry(path)
    # Without a place to remember, files are hashed each time.
    with suppress(OSError, RuntimeError):
        _cache().parent.mkdir(parents=True, exist_ok=True)
        _replace(_cache(), {**known, key: [*size_and_time, entry.sha256]})
    return entry
