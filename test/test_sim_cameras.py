"""The simulated robot's cameras look where they are said to, at one moment."""

from importlib.util import find_spec

import numpy as np
import pytest

from gsc_ros.sim.place import VIEWS
from gsc_ros.sim.world import World
from gsc_ros.sources.sim import Sim

pytestmark = pytest.mark.skipif(find_spec('mujoco') is None, reason='MuJoCo is not installed')

SIZE = 96, 72


@pytest.fixture(scope='module')
def world():
    made = World('street', 3, *SIZE)
    yield made
    made.close()


def test_the_front_is_what_it_was(world):
    mount = world.rig.turned('front').mount
    assert world.mount == mount
    assert np.array_equal(world.look(False).rgb, world.look(False, mount).rgb)


@pytest.mark.parametrize('view', VIEWS)
def test_points_of_each_view_lie_on_the_ground_of_one_world(world, view):
    """By depth, K and mount alone: road and pavement are at height 0 in the world."""
    mount = world.rig.turned(view).mount
    seen = world.look(True, mount)
    v, u = np.mgrid[: SIZE[1], : SIZE[0]]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(world.k).T
    ground = np.isin(seen.segmentation, (0, 1)) & (seen.depth < 15)
    assert ground.sum() > 100
    points = (rays * seen.depth[..., None])[ground]
    heights = (world.base @ mount).apply(points)[:, 2]
    assert np.abs(np.median(heights)) < 0.2
    assert np.abs(np.median(seen.heights[ground])) < 0.2


def test_the_rear_shows_what_the_front_shows_after_a_turn(world):
    rear = world.look(False, world.rig.turned('rear').mount).rgb.astype(int)
    yaw, world.yaw = world.yaw, world.yaw + np.pi
    turned = world.look(False).rgb.astype(int)
    world.yaw = yaw
    assert np.abs(rear - turned).mean() < 1.0
    assert np.abs(rear - world.look(False).rgb.astype(int)).mean() > 5.0


def test_a_source_gives_all_cameras_of_one_moment():
    source = Sim('street', 3, *SIZE, 70.0, views=('front', 'rear', 'arm'))
    try:
        frame = source.frame(0.2, (1.0, 0.0), truth=True)
        assert len(frame.others) == 2
        assert all(other.base == frame.base for other in frame.others)
        assert len({frame.mount, *(other.mount for other in frame.others)}) == 3
        assert all(other.depth is not None for other in frame.others)
    finally:
        source.close()


def test_a_camera_that_the_simulator_does_not_have_is_refused():
    with pytest.raises(ValueError, match='front, rear, left, right, arm'):
        Sim('street', 3, *SIZE, 70.0, views=('front', 'mast'))
