"""ROS tests talk to nobody outside: a domain of their own, on this machine."""

import itertools
import os
import tempfile

import pytest

os.environ.setdefault('ROS_DOMAIN_ID', str(60 + os.getpid() % 40))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

from gsc_ros.graph import dds_environment

os.environ.update(dds_environment())
# The key of simulated links is made at their first start: not in the home of who tests.
_home = tempfile.TemporaryDirectory()
os.environ['ROS_HOME'] = _home.name
_names = itertools.count()


@pytest.fixture(scope='module')
def ros():
    """A ROS context for a module."""
    rclpy = pytest.importorskip('rclpy')
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def bench(ros):
    """A bench in a namespace of its own."""
    from bench import Bench

    made = Bench(ros, f'/t{next(_names)}')
    yield made
    made.close()
