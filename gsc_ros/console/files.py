"""Recordings and snapshots: a flat list of files to download, each found by its name there."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST = 500
_NAME = re.compile(r'[\w.-]{1,200}')


@dataclass(frozen=True)
class Kept:
    """A file to download."""

    name: str
    path: Path
    size: int
    changed_s: float

    def describe(self) -> dict[str, Any]:
        """Return what the page shows: name, bytes, time (UTC)."""
        when = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(self.changed_s))
        return {'name': self.name, 'bytes': self.size, 'time': when}


class Files:
    """
    The files of a folder, and of the folders in it, as ``folder_file``.

    No path is made of what a browser asks for: a name is looked up in the list. Links are left
    out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listed(self) -> list[Kept]:
        """List the newest files, the newest first."""
        found = []
        for path in self._paths():
            try:
                state = path.lstat()
            except OSError:
                continue  # removed meanwhile
            if path.is_symlink() or not path.is_file():
                continue
            name = '_'.join(path.relative_to(self.folder).parts)
            if _NAME.fullmatch(name):
                found.append(Kept(name, path, state.st_size, state.st_mtime))
        found.sort(key=lambda one: (-one.changed_s, one.name))
        return found[:_MOST]

    def find(self, name: str) -> Kept | None:
        """Return the file of a name of the list, or None."""
        return next((one for one in self.listed() if one.name == name), None)

    def _paths(self) -> list[Path]:
        paths: list[Path] = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        paths += Path(entry.path).iterdir()
                    else:
                        paths.append(Path(entry.path))
        except OSError:
            return paths  # nothing was kept yet
        return paths
