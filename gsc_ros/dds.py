"""Settings of Fast DDS that the nodes need, for launch files, runner and messages."""

import os

from gsc_ros.paths import config_dir, prefixes

_VARIABLES = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'


def dds_profile() -> tuple[str, str]:
    """Return the variable and the file that give Fast DDS room for whole images."""
    # Fast DDS 2 (up to Jazzy) knows the old name alone, Fast DDS 3 warns of it.
    is_old = any(any(prefix.glob('lib/libfastrtps.so*')) for prefix in prefixes())
    return _VARIABLES[not is_old], str(config_dir() / 'fastdds_shm.xml')


def dds_environment() -> dict[str, str]:
    """Return the variables the nodes need: :func:`dds_profile`, unless one is set already."""
    return {} if any(name in os.environ for name in _VARIABLES) else dict([dds_profile()])
