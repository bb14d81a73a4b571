"""Where the files beside the code are: in the source tree, or where the package was installed."""

import os
import sys
from pathlib import Path


def config_dir() -> Path:
    """Return the folder of params files, link profiles and viewer settings."""
    return _shared('config')


def launch_dir() -> Path:
    """Return the folder of launch files."""
    return _shared('launch')


def message_dir() -> Path:
    """Return the folder of message definitions."""
    return _shared('msg')


def prefixes() -> list[Path]:
    """Return where ROS packages are installed: ament's prefixes, and this interpreter's own."""
    listed = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return [Path(p) for p in dict.fromkeys([*listed, sys.prefix]) if p]


def _shared(folder: str) -> Path:
    source = Path(__file__).resolve().parent.parent
    places = [prefix / 'share' / 'gsc_ros' / folder for prefix in prefixes()]
    if (source / 'package.xml').is_file():
        places.insert(0, source / folder)
    for place in places:
        if place.is_dir():
            return place
    searched = ', '.join(map(str, places))
    raise FileNotFoundError(f'no {folder} of gsc_ros in {searched}: install the package again')
