"""Clicks and ways on the ground, against planes whose truth is known."""

import math

import numpy as np
import pytest

from gsc_ros.console import ground
from gsc_ros.console.ground import Footing, NoGround, Plane
from gsc_ros.labels import LABELS, SKY
from gsc_ros.transforms import OPTICAL, Transform

K = np.array([[300.0, 0, 119.5], [0, 300.0, 89.5], [0, 0, 1]])
SIZE = 240, 180
ROAD, CAR = LABELS.index('road'), LABELS.index('car')


def scene(height=1.2, pitch=0.1, roll=0.0, noise=0.0):
    """Depth and classes of a plane seen from a height (m), looking down by a pitch (rad)."""
    normal = np.array([math.sin(roll), math.cos(roll) * math.cos(pitch), math.sin(pitch)])
    normal /= np.linalg.norm(normal)
    v, u = np.mgrid[: SIZE[1], : SIZE[0]]
    rays = np.stack([u, v, np.ones_like(u)], axis=2) @ np.linalg.inv(K).T
    down = rays @ normal
    depth = np.where(down > 0.02, height / np.maximum(down, 1e-9), np.inf)
    depth *= np.exp(noise * np.random.default_rng(1).standard_normal(depth.shape))
    classes = np.where(np.isfinite(depth), ROAD, SKY).astype(np.uint8)
    return depth.astype(np.float32), classes, Plane(normal, height)


def trusted():
    return np.full(SIZE[::-1], 255, np.uint8)


@pytest.mark.parametrize('pitch', [0.0, 0.1, 0.5])
@pytest.mark.parametrize('roll', [0.0, -0.2])
def test_a_plane_is_found_through_noise_and_what_stands_on_it(pitch, roll):
    depth, classes, truth = scene(pitch=pitch, roll=roll, noise=0.05)
    depth[120:160, 40:90] = 2.0  # a thing that is classed as road
    plane = ground.fit(depth, classes, K)
    assert plane.height == pytest.approx(1.2, rel=0.08)
    assert plane.normal @ truth.normal > math.cos(math.radians(3))


def test_where_no_ground_is_none_is_found():
    depth, classes, _ = scene()
    assert ground.fit(depth, np.full_like(classes, CAR), K) is None
    assert ground.fit(np.full_like(depth, 3.0), classes, K) is None  # a wall
    assert ground.fit(np.full_like(depth, np.nan), None, K) is None


@pytest.mark.parametrize('place', [(3.0, 0.0), (4.0, 1.0), (6.0, -1.5)])
def test_a_click_leads_to_the_place_that_it_shows(place):
    depth, classes, truth = scene()
    plane = ground.fit(depth, classes, K)
    (share,) = ground.drawn([place], Footing.of(truth), K, SIZE)
    assert 0 < share[0] < 1 and 0 < share[1] < 1
    found = ground.point(share, depth, trusted(), classes, K, plane)
    assert found == pytest.approx(place, abs=0.12)


def test_the_rays_of_a_lens_lead_to_the_same_place_as_its_matrix():
    depth, classes, truth = scene()
    v, u = np.mgrid[: SIZE[1], : SIZE[0]]
    rays = (np.stack([u, v, np.ones_like(u)], axis=2) @ np.linalg.inv(K).T)[..., :2]
    rays = rays.astype(np.float32)
    plane = ground.fit(depth, classes, np.eye(3), rays)
    assert plane.height == pytest.approx(truth.height, rel=0.01)
    (share,) = ground.drawn([(4.0, 1.0)], Footing.of(truth), K, SIZE)
    found = ground.point(share, depth, trusted(), classes, np.eye(3), plane, rays)
    assert found == pytest.approx((4.0, 1.0), abs=0.12)


@pytest.mark.parametrize('least', [0.0, 0.3, 0.9])
def test_how_sure_the_image_has_to_be_is_asked_for(least):
    depth, classes, plane = scene()
    trust = np.full(SIZE[::-1], round(0.6 * 255), np.uint8)

    def click(trust):
        return ground.point((0.5, 0.9), depth, trust, classes, K, plane, least_trust=least)

    if least <= 0.6:
        assert click(trust)[0] > 0
    else:
        with pytest.raises(NoGround, match='60% only, and a goal needs 90%'):
            click(trust)
    if not least:
        assert click(None)[0] > 0


def turned(axis, angle):
    half = angle / 2
    return Transform(orientation=(*(math.sin(half) * np.eye(3)[axis]), math.cos(half)))


@pytest.mark.parametrize('yaw', [0.0, 0.6, math.pi])
@pytest.mark.parametrize('pitch', [0.1, 0.9])
def test_the_mount_of_the_camera_says_where_the_robot_is(pitch, yaw):
    """A camera that looks to the side or back, and steeply down, 0.4 m beside the origin."""
    tilted = turned(2, yaw) @ turned(1, pitch) @ OPTICAL
    mount = Transform((0.3, 0.4, 1.2), tilted.orientation)
    depth, classes, truth = scene(height=1.2, pitch=pitch)
    plane = ground.fit(depth, classes, K, mount=mount)
    if pitch > 0.8:
        assert ground.fit(depth, classes, K) is None, 'so steep only where the mount says so'
    footing = Footing.of(plane, mount)
    share = 0.6, 0.8
    found = ground.point(share, depth, trusted(), classes, K, plane, footing=footing)
    ray = np.linalg.solve(K, [int(share[0] * SIZE[0]), int(share[1] * SIZE[1]), 1.0])
    expected = mount.apply(ray * truth.height / (truth.normal @ ray))
    assert expected[2] == pytest.approx(0.0, abs=1e-6)
    assert found == pytest.approx(tuple(expected[:2]), abs=0.02)
    (back,) = ground.drawn([found], footing, K, SIZE)
    assert back == pytest.approx(share, abs=0.02)


def test_without_a_mount_the_camera_looks_straight_ahead_so_far_in_front():
    depth, classes, plane = scene()
    near, far = (
        ground.point((0.6, 0.8), depth, trusted(), classes, K, plane, None, footing)
        for footing in (None, Footing.of(plane, ahead_m=0.5))
    )
    assert far == pytest.approx((near[0] + 0.5, near[1]))


def test_a_camera_that_faces_the_ground_has_no_ahead():
    with pytest.raises(NoGround, match='faces the ground'):
        Footing.of(Plane(np.array([0.0, 0.0, 1.0]), 1.0))


def test_clicks_that_lead_nowhere_are_refused():
    depth, classes, plane = scene()
    place = 0.5, 0.9

    sure = trusted()

    def click(share=place, depth=depth, trust=sure, classes=classes, plane=plane):
        return ground.point(share, depth, trust, classes, K, plane)

    assert click()[0] > 0
    doubtful = trusted()
    doubtful[160:164, 118:123] = 0
    with pytest.raises(NoGround, match=r'0% only, and a goal needs 50% \(goal_trust\)'):
        click(trust=doubtful)
    with pytest.raises(NoGround, match='trust of this image is not known'):
        click(trust=None)
    with pytest.raises(NoGround, match='class is sky'):
        click((0.5, 0.05))
    with pytest.raises(NoGround, match='not known'):
        click(depth=np.full_like(depth, np.nan))
    with pytest.raises(NoGround, match='no ground is found'):
        click(plane=None)
    near = depth.copy()
    near[150:175, 100:140] = 1.0  # a box that is classed as road
    with pytest.raises(NoGround, match='above the ground'):
        click(depth=near)
    assert click((1.0, 1.0))[0] > 0  # the corner is within


def test_a_straight_way_and_an_arc():
    way = ground.predict([(0.0, 1.0, 0.0)], 0.0, 1.0, 0.0)
    assert way[-1] == pytest.approx((1.0, 0.0))
    radius = 1.0 / 0.5
    way = ground.predict([(0.0, 1.0, 0.5)], 0.0, 1.0, 0.0)
    assert way[-1] == pytest.approx(
        (radius * math.sin(0.5), radius * (1 - math.cos(0.5))), abs=1e-3
    )


def test_what_was_told_acts_after_the_delay_and_not_for_ever():
    commands = [(0.0, 1.0, 0.0), (0.5, 1.0, 0.0), (1.0, 0.0, 0.0)]
    assert ground.predict(commands, 0.0, 1.0, 2.0) == [(0.0, 0.0)]  # it has yet to arrive
    assert ground.predict(commands, 0.0, 10.0, 2.0)[-1] == pytest.approx((1.0, 0.0))
    assert ground.predict(commands, 2.5, 10.0, 2.0)[-1] == pytest.approx((0.5, 0.0))
    assert ground.predict(commands[:1], 0.0, 10.0, 2.0, hold_s=0.7)[-1] == pytest.approx(
        (0.7, 0.0)
    )


def test_a_way_behind_the_camera_is_not_drawn():
    _, _, plane = scene()
    points = ground.drawn([(-1.0, 0.0), (0.0, 0.0), (5.0, 0.0)], Footing.of(plane), K, SIZE)
    assert points[-1][0] == pytest.approx(0.5, abs=0.01) and len(points) <= 2
