"""ROS tests talk to nobody outside: a domain of their own, on this machine."""

import itertools
import os
import tempfile
from pathlib import Path

import pytest

if 'PYTEST_XDIST_WORKER' in os.environ:  # workers run side by side, with the first's environment
    worker = int(os.environ['PYTEST_XDIST_WORKER'][2:])
    os.environ['ROS_DOMAIN_ID'] = str(60 + (os.getppid() + worker) % 40)
os.environ.setdefault('ROS_DOMAIN_ID', str(60 + os.getpid() % 40))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

from gsc_ros.dds import dds_environment

# The key of simulated links is made at their first start: not in the home of who tests.
_home = tempfile.TemporaryDirectory()
os.environ['ROS_HOME'] = _home.name
# Nodes under test talk as those of several processes do. Its delivery within a process has a race
# at the start of a participant: of publishers with a subscription in another one, Fast DDS 3 never
# matches one in a hundred, and two of two types made at once one in ten.
_PROFILES = '<profiles>'
_OFF = '<library_settings><intraprocess_delivery>OFF</intraprocess_delivery></library_settings>\n'
for _variable, _file in dds_environment().items():
    _profile = Path(_home.name, 'fastdds.xml')
    _profile.write_text(Path(_file).read_text().replace(_PROFILES, _OFF + _PROFILES, 1))
    os.environ[_variable] = str(_profile)
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


@pytest.fixture
def encoding(bench):
    """An encoder, the publisher of its images, and a subscriber of its frames."""
    from gsc_ros.msg import SemanticFrame
    from sensor_msgs.msg import Image

    from gsc_ros.nodes.encoder import Encoder
    from gsc_ros.ros import topics

    bench.subscribe(SemanticFrame, topics.CODED, topics.NEWEST)
    node = bench.add(Encoder, weights='random', max_rate=60.0, stale_after_s=1.0)
    publisher = bench.peer.create_publisher(Image, topics.IMAGE, 10)
    bench.wait(publisher.get_subscription_count, 'the encoder subscribes')
    bench.wait(lambda: bench.peer.count_publishers(f'{bench.namespace}/{topics.CODED}'))
    return bench, node, publisher
