"""Every import is named by package.xml, setup.py, docs/install.md and the lists of wheels."""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent


class Library(NamedTuple):
    """A library of PyPI: its name there, rosdep's key ('' where there is none), our extras."""

    name: str
    key: str
    extras: tuple[str, ...] = ()  # none: always needed


# Modules that are imported, and where they are from. The keys are those of rosdistro's
# rosdep/python.yaml.
LIBRARIES = {
    'PIL': Library('pillow', 'python3-pil'),
    'cryptography': Library('cryptography', 'python3-cryptography'),
    'cv2': Library('opencv-python-headless', 'python3-opencv'),
    'numpy': Library('numpy', 'python3-numpy'),
    'reedsolo': Library('reedsolo', 'python3-reedsolo'),
    'safetensors': Library('safetensors', ''),
    'simplejpeg': Library('simplejpeg', 'python3-simplejpeg-pip'),
    'threadpoolctl': Library('threadpoolctl', ''),
    'torch': Library('torch', 'python3-torch'),
    'tqdm': Library('tqdm', 'python3-tqdm'),
    'yaml': Library('pyyaml', 'python3-yaml'),
    'av': Library('av', '', ('video', 'evaluation')),
    'cobs': Library('cobs', 'python-cobs-pip', ('serial',)),
    'compressai': Library('compressai', ''),
    'diffusers': Library('diffusers', '', ('foundation',)),
    'huggingface_hub': Library('huggingface_hub', '', ('foundation',)),
    'h5py': Library('h5py', 'python3-h5py', ('evaluation',)),
    'matplotlib': Library('matplotlib', 'python3-matplotlib', ('evaluation',)),
    'mujoco': Library('mujoco', 'python3-mujoco-pip', ('sim', 'demo')),
    'peft': Library('peft', '', ('foundation',)),
    'rosbags': Library('rosbags', 'python3-rosbags-pip', ('demo',)),
    'serial': Library('pyserial', 'python3-serial', ('serial',)),
    'spacepackets': Library('spacepackets', '', ('ccsds',)),
    'starlette': Library('starlette', '', ('console',)),
    'transformers': Library('transformers', 'python3-transformers-pip', ('foundation', 'judge')),
    'uvicorn': Library('uvicorn', '', ('console',)),
}
# For `gsc evaluate` and foundation models: no robot needs them, so package.xml only names them.
EVALUATION = {'h5py', 'matplotlib', 'transformers'}
FOUNDATION = {'diffusers', 'huggingface_hub', 'peft'}
# Its own requirements forbid numpy 2, so that pip installs it alone (Makefile).
APART = {'compressai'}
TESTING = {'hypothesis', 'pytest', 'websockets'}
# ROS packages that no wheel on PyPI has: the code does without.
NOT_IN_WHEELS = {
    'cv_bridge', 'diagnostic_updater', 'launch', 'launch_ros', 'tf2_msgs', 'vision_msgs',
}  # fmt: skip
ROS = {'cv_bridge', 'diagnostic_updater', 'launch', 'launch_ros', 'rclpy'}  # beside messages
# Modules of ours that are only imported where an extra is asked for.
LAZY_FILES = {
    'gsc_ros/console/pages.py',
    'gsc_ros/console/server.py',
    'gsc_ros/console/sockets.py',
    'gsc_ros/console/viewers.py',
    'gsc_ros/codec/foundation/mtgc.py',
    'gsc_ros/codec/foundation/own_pipeline.py',
    'gsc_ros/evaluation/judges/transformers.py',
    'gsc_ros/link/traffic/transports/serial.py',
}


def is_ros(module):
    return module in ROS or module.endswith(('_msgs', '_interfaces'))


def imports(path):
    """Yield the top names that a file imports, and whether at once when it is loaded."""

    def walk(node, at_once):
        for child in ast.iter_child_nodes(node):
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
            if isinstance(child, ast.Import):
                yield from ((alias.name.partition('.')[0], at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                yield child.module.partition('.')[0], at_once
            yield from walk(child, at_once and not later)

    own = {'gsc_ros', 'benchmarks'}
    if path.parent.name == 'test':
        own |= {'tools'} | {
            p.stem for folder in ('test', 'tools') for p in (ROOT / folder).glob('*.py')
        }
    for name, at_once in walk(ast.parse(path.read_text(), str(path)), True):
        if name not in sys.stdlib_module_names and name not in own:
            yield name, at_once


def imported(*folders):
    """Modules that the files below import, with those files."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob('*.py')):
            for name, _ in imports(path):
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


PACKAGE = imported('gsc_ros', 'launch')


@pytest.fixture(scope='module')
def manifest():
    text = (ROOT / 'package.xml').read_text()
    root = ElementTree.fromstring(text)
    kinds = ('depend', 'exec_depend')
    needed = {entry.text for kind in kinds for entry in root.iter(kind)}
    return needed, ' '.join(re.findall(r'<!--(.*?)-->', text, re.DOTALL))


@pytest.fixture(scope='module')
def distribution():
    """What setup.py asks for: names always needed, and those of each extra."""
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setup'
    )
    values = {
        k.arg: ast.literal_eval(k.value)
        for k in call.keywords
        if k.arg in ('install_requires', 'extras_require')
    }

    def names(requirements):
        return {re.match(r'[\w-]+', text)[0].lower() for text in requirements}

    extras = {extra: names(listed) for extra, listed in values['extras_require'].items()}
    return names(values['install_requires']), extras


def test_every_import_is_known():
    unknown = {
        name: sorted(files)
        for name, files in PACKAGE.items()
        if not is_ros(name) and name not in LIBRARIES
    }
    assert not unknown, 'add them to LIBRARIES, setup.py, package.xml and docs/install.md'
    assert set(LIBRARIES) <= set(PACKAGE), 'nobody imports these any more'


def test_package_xml_names_every_import(manifest):
    needed, comments = manifest
    for name in PACKAGE:
        if is_ros(name):
            assert name in needed, name
            continue
        library = LIBRARIES[name]
        if not library.key or name in EVALUATION | APART:
            assert re.search(rf'\b{library.name}\b', comments), name
            assert library.key not in needed
        else:
            assert library.key in needed, name


def test_package_xml_names_nothing_that_is_not_imported(manifest):
    needed, _ = manifest
    known = {name for name in PACKAGE if is_ros(name)}
    known |= {LIBRARIES[name].key for name in PACKAGE if name in LIBRARIES}
    # What runs the launch files, and the messages that are generated here.
    assert needed - known == {'ros2launch', 'rosidl_default_runtime'}


def test_setup_py_names_every_import(distribution):
    always, extras = distribution
    for name in PACKAGE:
        if is_ros(name) or name in APART:
            continue
        library = LIBRARIES[name]
        if library.extras:
            assert library.name not in always, name
            assert all(library.name in extras[extra] for extra in library.extras), name
        else:
            assert library.name in always, name
    assert always <= {library.name for library in LIBRARIES.values()}


def test_what_is_in_an_extra_is_not_imported_at_once():
    for folder in ('gsc_ros', 'launch'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            if str(path.relative_to(ROOT)) in LAZY_FILES:
                continue
            for name, at_once in imports(path):
                optional = name in APART or (name in LIBRARIES and LIBRARIES[name].extras)
                assert not (optional and at_once), f'{path}: {name}'


def test_the_documents_name_every_library_and_extra(distribution):
    text = (ROOT / 'docs/install.md').read_text()
    section = text[text.index('## Dependencies') :]
    for name in PACKAGE:
        wanted = name if is_ros(name) else LIBRARIES[name].name
        assert re.search(rf'(?<![\w-]){re.escape(wanted)}(?![\w-])', section), wanted
    for extra in distribution[1]:
        assert f'`{extra}`' in section, extra
    by_pip = re.search(r'^pip install .*', text, re.MULTILINE)[0]
    for name, library in LIBRARIES.items():
        if not library.key and name not in FOUNDATION | APART:
            assert library.name in by_pip.split(), name


@pytest.mark.parametrize('distro', ['kilted', 'jazzy'])
def test_the_lists_of_wheels_name_every_ros_import(distro):
    text = (ROOT / f'requirements/ros-{distro}.txt').read_text()
    wheels = set(re.findall(r'^ros-[\w-]+', text, re.MULTILINE))
    for name in imported('gsc_ros', 'test'):
        if is_ros(name) and name not in NOT_IN_WHEELS:
            assert f'ros-{name.replace("_", "-")}' in wheels, name


def test_what_tests_import_is_in_their_extra(distribution):
    always, extras = distribution
    for path in sorted((ROOT / 'test').glob('*.py')):
        for name, at_once in imports(path):
            if at_once and not is_ros(name):
                wanted = LIBRARIES[name].name if name in LIBRARIES else name
                assert wanted in always | extras['test'], f'{path.name}: {name}'
    assert {name for name in imported('test') if name not in LIBRARIES and not is_ros(name)} == (
        TESTING
    )
