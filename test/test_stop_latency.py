"""How long a robot moves on when something breaks while it is driven, in real processes."""

import subprocess

import pytest

pytest.importorskip('rclpy')

from benchmarks import stop_latency
from benchmarks.stop_latency import LIMIT_S

SITUATIONS = {situation.name: situation for situation in stop_latency.situations()}
QUICK = (
    'SIGTERM of link',
    'SIGSTOP of link_robot',
    'SIGKILL of guard',
    'fsync stalls, commands end',
)
TRIES = 3  # a machine may be busy


def keeps_the_limit(name):
    took = []
    for _ in range(TRIES):
        try:
            took.append(stop_latency.measure(SITUATIONS[name]))
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip('no file system can be mounted here')
        if took[-1] <= LIMIT_S:
            return
    raise AssertionError(f'{name}: the robot moved on for {took} s')


@pytest.mark.parametrize('name', QUICK)
def test_the_robot_stops_within_its_limit(name):
    keeps_the_limit(name)


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in SITUATIONS if name not in QUICK])
def test_the_robot_stops_within_its_limit_in_all_situations(name):
    keeps_the_limit(name)
