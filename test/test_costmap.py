"""A costmap of decoded topics: a wall is marked where it stands, and old data stop it."""

import importlib.util
import math
import subprocess
import threading
import time
from importlib.util import find_spec

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import OccupancyGrid, Odometry
from sensor_msgs.msg import CameraInfo, Image, LaserScan

from gsc_ros import costmap
from gsc_ros.clouds import beams_of, points_of, scan_of
from gsc_ros.codec.pose import Pose
from gsc_ros.labels import GROUND, LABELS, SKY
from gsc_ros.link.radio import profiles
from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.nodes.camera import Camera
from gsc_ros.nodes.encoder import Encoder
from gsc_ros.nodes.link import LinkNode
from gsc_ros.paths import config_dir, launch_dir, prefixes
from gsc_ros.ros import convert, topics
from gsc_ros.ros.images.camera_info import rays_of
from gsc_ros.ros.images.clouds import to_scan
from gsc_ros.ros.robot_state import messages
from gsc_ros.transforms import OPTICAL, Transform, TransformBuffer, from_euler, scan_frame

needs_simulator = pytest.mark.skipif(find_spec('mujoco') is None, reason='MuJoCo is not installed')
_INDEX = 'share/ament_index/resource_index/packages/nav2_costmap_2d'
HAS_NAV2 = any((prefix / _INDEX).exists() for prefix in prefixes())
RESOLUTION = 0.1
RANGE = 15.0
FRAME = 'camera_optical_frame'
BAND = 0.4, 0.75


def ends(scan):
    """The points (N, 3) that a LaserScan marks, in its frame, as nav2's obstacle layer does."""
    ranges = np.asarray(scan.ranges)
    angles = scan.angle_min + scan.angle_increment * np.arange(len(ranges))
    good = (ranges >= scan.range_min) & (ranges <= scan.range_max)
    angles, ranges = angles[good], ranges[good]
    return np.stack([ranges * np.cos(angles), ranges * np.sin(angles), 0 * ranges], -1)


def cells(points):
    """The cells of a grid that points (N, 2 or 3) are in."""
    return {tuple(c) for c in np.floor(np.asarray(points)[:, :2] / RESOLUTION).astype(int)}


def true_obstacles(depth, classes, rays, camera):
    """Points (N, 3) in odom of what is neither ground nor sky, of the simulator's truth."""
    found = ~np.isin(classes, (*GROUND, SKY)) & np.isfinite(depth) & (depth < RANGE + 2)
    return camera.apply(points_of(depth, rays)[found])


def rays_for(k, size):
    info = CameraInfo(width=size[0], height=size[1])
    info.k = np.asarray(k, float).ravel().tolist()
    return rays_of(info)


def off(points, truth):
    """Distance in the plane from each of the points (N, 3) to the nearest true one, m."""
    away = points[:, None, :2] - truth[None, :, :2]
    return np.sqrt((away**2).sum(-1)).min(1)


@needs_simulator
def test_a_wall_is_marked_where_it_stands():
    from gsc_ros.sim.world import World

    world = World('street', 3, 160, 120, 75.0)
    world.yaw = math.pi / 2  # to the houses
    view = world.look()
    world.close()
    rays = rays_for(world.k, (160, 120))
    truth = true_obstacles(view.depth, view.segmentation, rays, world.base @ world.mount)
    # What crosses the link: the pose in ten bytes, and here the depth as it is.
    camera = Pose.unpack(Pose(world.base @ world.mount).pack()).transform
    beams = beams_of(rays, *BAND)
    ranges = scan_of(view.depth, view.segmentation, beams, RANGE)
    scan = to_scan(ranges, beams, RANGE, Image().header)
    marked = (camera @ OPTICAL.inverse).apply(ends(scan))
    assert len(marked) > 50
    # Each mark is at something that stands there: the scan's plane leans by 4 degrees.
    assert np.quantile(off(marked, truth), 0.95) < 0.15
    # The wall is marked without gaps that the robot fits through, at the line that it stands on.
    building = view.segmentation == LABELS.index('building')
    building[: round(BAND[0] * 120)] = building[round(BAND[1] * 120) :] = False
    wall = (world.base @ world.mount).apply(points_of(view.depth, rays)[building])
    wall = wall[np.abs(wall[:, 0] - world.x) < 3]
    line = np.median(wall[:, 1])
    wall = wall[np.abs(wall[:, 1] - line) < 0.05]
    at_wall = marked[np.abs(marked[:, 1] - line) < 0.2]
    assert len(at_wall) > 10
    assert np.abs(wall[:, :1] - at_wall[:, 0]).min(1).max() < 0.25
    # By points, too: those between the heights of the costmap's parameters.
    points = camera.apply(points_of(view.depth, rays)).reshape(-1, 3)
    layer = costmap.read(config_dir() / 'nav2_costmap.yaml')['obstacle_layer']['points']
    low, high = layer['min_obstacle_height'], layer['max_obstacle_height']
    kept = points[(points[:, 2] > low) & (points[:, 2] < high)]
    assert np.isfinite(kept).all()
    assert np.quantile(off(kept[::7], truth), 0.99) < 0.05


class Mapping:
    """What nav2's obstacle layer takes of a camera, of nodes; depth is the simulator's."""

    def __init__(self, bench, name=''):
        self.bench, self.base = bench, f'{name}/' if name else ''
        self.frame = f'{name}_{FRAME}' if name else FRAME
        for kind, topic, quality in (
            (Image, topics.DEPTH, topics.SENSOR),
            (Image, topics.SEGMENTATION, topics.SENSOR),
            (CameraInfo, topics.CAMERA_INFO, topics.SENSOR),
            (TransformStamped, topics.MOUNT, topics.LATCHED),
        ):
            bench.subscribe(kind, self.base + topic, quality)

    def got(self, topic):
        return list(self.bench.got[self.base + topic])

    def joined(self):
        """Of each stamp that all has come of: depth, classes, info, true camera, scan by TF."""
        buffer = TransformBuffer(kept_s=100.0)
        for t in transforms_of(self.bench):
            buffer.add(t.header.frame_id, t.child_frame_id, ns(t.header), messages.to_transform(t))
        by = {
            topic: {ns(m.header): m for m in self.got(topic)}
            for topic in (topics.DEPTH, topics.SEGMENTATION, topics.CAMERA_INFO)
        }
        odom = {ns(m.header): m for m in list(self.bench.got[topics.ODOM])}
        if not self.got(topics.MOUNT):
            return []
        mount = messages.to_transform(self.got(topics.MOUNT)[-1])
        out = []
        for at, depth in by[topics.DEPTH].items():
            try:
                # At the stamp itself, as tf2's message filter waits for it.
                scan = buffer.find('odom', scan_frame(self.frame), at, 0.0)
                classes, info = by[topics.SEGMENTATION][at], by[topics.CAMERA_INFO][at]
                base = messages.pose_to_transform(odom[at].pose.pose)
            except LookupError:
                continue
            out.append((depth, classes, info, base @ mount, scan))
        return out

    def has_three(self):
        """Whether three frames can be put into a map; joining them takes the nodes' time."""
        time.sleep(0.5)
        return len(self.joined()) >= 3

    def marks(self, parts):
        """Return what a scan marks in odom (N, 3), and what stands there in truth (M, 3)."""
        depth_message, class_message, info, camera, scan = parts
        depth, classes = convert.to_metres(depth_message), convert.to_array(class_message)
        rays = rays_for(info.k, (info.width, info.height))
        beams = beams_of(rays, *BAND)
        made = to_scan(scan_of(depth, classes, beams, RANGE), beams, RANGE, info.header)
        return scan.apply(ends(made)), true_obstacles(depth, classes, rays, camera)


def ns(header):
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def transforms_of(bench):
    if messages.TFMessage is None:
        return list(bench.got[topics.RECEIVED_TRANSFORMS])
    return [t for m in list(bench.got[topics.TF]) for t in m.transforms]


@pytest.fixture
def odometry(bench):
    """Hear where the robot is, in truth and as the ground has it."""
    bench.subscribe(Odometry, topics.ODOM)
    if messages.TFMessage is None:
        bench.subscribe(TransformStamped, topics.RECEIVED_TRANSFORMS, topics.TF_QOS)
    else:
        bench.subscribe(messages.TFMessage, topics.TF, topics.TF_QOS)
    return bench


SIMULATED = {'source': 'sim', 'rate': 2.0, 'width': 160, 'height': 120, 'seed': 3}


@needs_simulator
def test_marks_of_a_moving_robot_are_where_truth_is(odometry):
    """Stamps, transforms and scan as nav2 joins them, of nodes."""
    mapping = Mapping(odometry)
    odometry.add(Encoder, weights='random')
    odometry.add(LinkNode, profile='ideal')
    odometry.add(Camera, frame_id=FRAME, **SIMULATED)
    odometry.wait(mapping.has_three, 'three frames that can be put into a map')
    for parts in mapping.joined():
        marked, truth = mapping.marks(parts)
        if len(marked) and len(truth):
            assert np.quantile(off(marked, truth), 0.9) < 0.25
            assert len(cells(marked)) > 5


@needs_simulator
def test_what_only_the_rear_camera_sees_is_marked_where_it_stands(odometry):
    """Two cameras in one map: each scan by the transform of its own frame, at its stamp."""
    bench = odometry
    front, rear = mappings = [Mapping(bench, name) for name in ('front', 'rear')]
    for mapping in mappings:
        base = f'{bench.namespace}/{mapping.base}'.rstrip('/')
        rules = [f'__ns:={base}', f'{topics.ODOM}:={bench.namespace}/{topics.ODOM}']
        bench.add(Encoder, rules, weights='random')
    link = bench.add(LinkNode, profile='ideal', cameras='front,rear')
    for mapping in mappings:
        name = f'{bench.namespace}/{mapping.base}{topics.IMAGE}'
        bench.wait(lambda name=name: link.count_subscribers(name), 'the encoder listens')
    bench.add(Camera, frame_id=FRAME, cameras='front,rear', **SIMULATED)
    for mapping in mappings:
        bench.wait(mapping.has_three, f'three frames of {mapping.base}')
    alone = set()
    for parts in front.joined():
        alone |= cells(front.marks(parts)[0])
    found = 0
    for parts in rear.joined():
        marked, truth = rear.marks(parts)
        if not (len(marked) and len(truth)):
            continue
        assert np.quantile(off(marked, truth), 0.9) < 0.25
        behind = parts[3].inverse.apply(marked)[:, 2] > 0  # ahead of the camera that looks back
        assert behind.all()
        found += len(cells(marked) - alone)
    assert found > 20, 'the front has not seen it'
    assert 'frame_id' not in link.ground.trouble(0.0)
    # By the transform of the other camera's frame all of it would be elsewhere.
    swapped = [(*r[:4], f[4]) for r, f in zip(rear.joined(), front.joined(), strict=False)]
    wrong = [rear.marks(parts) for parts in swapped]
    assert all(np.quantile(off(m, t), 0.9) > 1.0 for m, t in wrong if len(m) and len(t))


def test_a_wrong_pose_is_noticed_by_such_a_test():
    # A wall 10 m ahead, and a pose that is 3 degrees off: the marks are half a metre off.
    wall = np.stack([np.full(50, 10.0), np.linspace(0, 6, 50), np.zeros(50)], -1)
    turned = from_euler((0, 0, 0), 0, 0, math.radians(3)).apply(wall)
    assert np.quantile(off(turned, wall), 0.9) > 0.25
    assert off(Transform().apply(wall), wall).max() < 1e-9


@pytest.mark.parametrize('link', profiles.known())
def test_every_link_has_limits_of_age(link):
    limits = costmap.age_limits(link)
    delay_s = costmap.budget.compute(profiles.load(link)).delay_s
    (update_s,) = limits.update_s
    assert delay_s + update_s == pytest.approx(limits.transform_s, abs=0.11)
    assert update_s >= 2
    slower = costmap.age_limits(link, budget_bytes=2000, max_rate=0.1)
    assert slower.transform_s > limits.transform_s


@pytest.mark.parametrize(
    'wrong',
    [
        {'max_rate': 0.0}, {'max_rate': -1.0}, {'max_rate': math.nan}, {'max_rate': math.inf},
        {'budget_bytes': 0}, {'budget_bytes': -300}, {'budget_bytes': 10**9},
    ],
)  # fmt: skip
def test_bytes_and_rates_that_no_encoder_has_are_refused(wrong):
    with pytest.raises(ValueError, match='give'):
        costmap.age_limits('ideal', **wrong)


def test_the_shipped_limits_are_those_of_the_shipped_link():
    file = config_dir() / 'nav2_costmap.yaml'
    shipped = yaml.safe_load((config_dir() / 'teleop_link.yaml').read_text())
    encoder = shipped['/**/encoder']['ros__parameters']
    link = shipped['/**/link']['ros__parameters']['profile']
    limits = costmap.age_limits(link, encoder['budget_bytes'], encoder['max_rate'])
    parameters = costmap.read(file)
    assert parameters['transform_tolerance'] == limits.transform_s
    for source in costmap.SOURCES:
        layer = parameters['obstacle_layer'][source]
        assert layer['expected_update_rate'] == limits.update_s[0]
        assert layer['observation_persistence'] == 0  # over 0, nav2 drops what is older on arrival
    assert parameters['obstacle_layer']['scan']['topic'] == f'/{topics.SCAN}'
    assert parameters['obstacle_layer']['points']['topic'] == f'/{topics.POINTS}'
    assert parameters['obstacle_layer']['hazards']['topic'] == f'/{topics.HAZARD_POINTS}'


# What nav2 declares (navigation2, main, a3a97043e of 2026-08-21) of what we set, with its types:
# ROS refuses a parameter of another one, and ignores one of another name.
LAYER = {
    'plugin': str,
    'enabled': bool,
    'footprint_clearing_enabled': bool,
    'combination_method': int,
    'tf_filter_tolerance': float,  # since Kilted
    'min_obstacle_height': float,
    'max_obstacle_height': float,
    'observation_sources': str,
}
SOURCE = {
    'topic': str,
    'data_type': str,
    'marking': bool,
    'clearing': bool,
    'inf_is_valid': bool,
    'expected_update_rate': float,
    'observation_persistence': float,
    'min_obstacle_height': float,
    'max_obstacle_height': float,
    'obstacle_min_range': float,
    'obstacle_max_range': float,
    'raytrace_min_range': float,
    'raytrace_max_range': float,
}
INFLATION = {'plugin': str, 'cost_scaling_factor': float, 'inflation_radius': float}
COSTMAP = {
    'global_frame': str,
    'robot_base_frame': str,
    'update_frequency': float,
    'publish_frequency': float,
    'rolling_window': bool,
    'width': int,
    'height': int,
    'resolution': float,
    'robot_radius': float,
    'track_unknown_space': bool,
    'always_send_full_costmap': bool,
    'transform_tolerance': float,
    'initial_transform_timeout': float,  # since Iron
    'plugins': list,
}


def test_parameters_have_the_names_and_types_that_nav2_declares():
    cameras = parse_cameras('front,rear')
    limits = costmap.age_limits('moon_dte_s_13m', cameras=cameras)
    shipped = costmap.read(config_dir() / 'nav2_costmap.yaml')
    made = costmap.complete(shipped, limits, costmap.SOURCES, cameras=cameras)
    layer, inflation = made.pop('obstacle_layer'), made.pop('inflation_layer')
    named = layer['observation_sources'].split()
    assert len(named) == 6
    sources = [layer.pop(name) for name in (*named, *costmap.SOURCES)]
    for parameters, declared in (
        (made, COSTMAP),
        (layer, LAYER),
        (inflation, INFLATION),
        *((source, SOURCE) for source in sources),
    ):
        assert parameters.keys() <= declared.keys()
        assert {name: type(value) for name, value in parameters.items()} == {
            name: declared[name] for name in parameters
        }
    assert {source['data_type'] for source in sources} == {'LaserScan', 'PointCloud2'}
    plugins = {layer['plugin'], inflation['plugin']}
    assert plugins == {'nav2_costmap_2d::ObstacleLayer', 'nav2_costmap_2d::InflationLayer'}


def test_parameters_are_completed_for_a_link_and_a_namespace(tmp_path):
    parameters = costmap.read(config_dir() / 'nav2_costmap.yaml')
    limits = costmap.age_limits('mars_dte_hga_70m')
    made = costmap.complete(parameters, limits, ['points'], 'rover/')
    assert made['transform_tolerance'] > 180  # light takes minutes
    layer = made['obstacle_layer']
    assert layer['observation_sources'] == 'points'
    assert layer['points']['topic'] == '/rover/decoded/points'
    assert layer['points']['expected_update_rate'] == limits.update_s[0]
    assert parameters['obstacle_layer']['points']['topic'] == '/decoded/points'  # as it was
    for sources in (['scan', 'sonar'], ['plugin'], ['']):
        with pytest.raises(ValueError, match='scan'):
            costmap.complete(parameters, limits, sources)
    with pytest.raises(ValueError, match='once'):
        costmap.complete(parameters, limits, ['scan', 'scan'])
    for layer in (None, {'scan': None}, []):
        with pytest.raises(ValueError, match='no source'):
            costmap.complete({'obstacle_layer': layer}, limits, ['scan'])
    own = {'obstacle_layer': {'sonar': {'data_type': 'LaserScan'}}}
    made = costmap.complete(own, limits, ['sonar'], 'rover')
    assert made['obstacle_layer']['sonar']['topic'] == '/rover/sonar'  # as nav2 has it
    (tmp_path / 'own.yaml').write_text('controller_server: {}')
    with pytest.raises(ValueError, match='nav2_costmap'):
        costmap.read(tmp_path / 'own.yaml')


def test_each_camera_has_its_sources_and_the_limits_of_its_share():
    parameters = costmap.read(config_dir() / 'nav2_costmap.yaml')
    cameras = parse_cameras('front:2,rear,arm')
    limits = costmap.age_limits('vhf_cnr_25k', cameras=cameras)
    alone = costmap.age_limits('vhf_cnr_25k')
    front, rear, arm = limits.update_s
    # With the arm first the rear has a twelfth of the air, and the front a sixth.
    assert arm == rear > front > alone.update_s[0]
    assert alone.transform_s < limits.transform_s < alone.transform_s + rear
    made = costmap.complete(parameters, limits, ['scan', 'hazards'], 'rover', cameras)
    layer = made['obstacle_layer']
    names = layer['observation_sources'].split()  # as nav2 splits them
    assert names == ['scan_front', 'hazards_front', 'scan_rear', 'hazards_rear', 'scan_arm',
                     'hazards_arm']  # fmt: skip
    assert [layer[name]['topic'] for name in names[2:4]] == [
        '/rover/rear/decoded/scan', '/rover/rear/decoded/hazards/points',
    ]  # fmt: skip
    assert [layer[name]['expected_update_rate'] for name in names[::2]] == [front, rear, arm]
    assert layer['scan_rear']['data_type'] == 'LaserScan'
    assert 'scan_rear' not in parameters['obstacle_layer']  # as it was


def test_the_launch_file_starts_nav2s_costmap():
    launch = pytest.importorskip('launch', reason='ros2 launch is not installed')
    pytest.importorskip('launch_ros', reason='ros2 launch is not installed')
    path = launch_dir() / 'navigation.launch.py'
    spec = importlib.util.spec_from_file_location('navigation', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described = module.generate_launch_description()
    assert len(described.entities) == len(module.ARGUMENTS) + 1
    context = launch.LaunchContext()
    context.launch_configurations.update({k: v[0] for k, v in module.ARGUMENTS.items()})
    assert [n.node_package for n in module.start(context)] == [
        'nav2_costmap_2d', 'nav2_lifecycle_manager',
    ]  # fmt: skip
    context.launch_configurations.update(cameras='front,rear', source='scan, hazards', rviz='true')
    assert len(module.start(context)) == 3


@pytest.mark.slow
@pytest.mark.skipif(not HAS_NAV2, reason='nav2 is not installed')
def test_nav2_marks_a_wall(bench):
    """The real costmap: a wall 4 m ahead comes out occupied, with transforms two seconds old."""
    process = subprocess.Popen(
        ['ros2', 'launch', str(launch_dir() / 'navigation.launch.py'), 'link:=moon_dte_s_13m']
    )
    made = bench.peer.create_publisher
    scans = made(LaserScan, '/decoded/scan', topics.IMAGES)
    tf = made(messages.TFMessage, topics.TF, topics.TF_QOS)
    bench.subscribe(OccupancyGrid, '/costmap/costmap', topics.LATCHED)
    stop = threading.Event()

    def publish():
        scan = LaserScan(angle_min=-0.5, angle_max=0.5, angle_increment=0.01)
        scan.range_min, scan.range_max = 0.1, 20.0
        scan.header.frame_id = scan_frame('camera')
        angles = np.arange(-0.5, 0.5, 0.01)
        scan.ranges = (4 / np.cos(angles)).tolist()
        while not stop.wait(0.2):
            now = bench.peer.get_clock().now().nanoseconds - 2 * 10**9
            stamp = scan.header.stamp
            stamp.sec, stamp.nanosec = divmod(now, 10**9)
            tf.publish(
                messages.TFMessage(
                    transforms=[
                        messages.from_transform(Transform(), stamp, 'odom', 'base_link'),
                        messages.from_transform(
                            Transform((0, 0, 1.0)), stamp, 'base_link', scan.header.frame_id
                        ),
                    ]
                )
            )
            scans.publish(scan)

    thread = threading.Thread(target=publish)
    thread.start()

    def wall():
        if not bench.got['/costmap/costmap']:
            return False
        grid = bench.got['/costmap/costmap'][-1]
        x, y = (
            round((at - origin) / grid.info.resolution)
            for at, origin in (
                (4.0, grid.info.origin.position.x),
                (0.0, grid.info.origin.position.y),
            )
        )
        near = [
            grid.data[(y + j) * grid.info.width + x + i]
            for i in range(-2, 3)
            for j in range(-2, 3)
        ]
        return max(near) >= 99

    try:
        bench.wait(wall, 'nav2 marks the wall')
    finally:
        stop.set()
        thread.join()
        process.terminate()
        process.wait(30)
