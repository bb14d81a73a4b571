"""Start nav2's local costmap on the decoded topics of all cameras, its limits set for the link."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from gsc_ros import costmap
from gsc_ros.link.traffic.cameras import parse_cameras
from gsc_ros.paths import config_dir
from gsc_ros.ros import topics
from launch import LaunchContext, LaunchDescription

OF_A_CAMERA = topics.DECODED, topics.TRUST, topics.POINTS, topics.HAZARD_POINTS, topics.SCAN
ARGUMENTS = {
    'link': ('moon_dte_s_13m', 'Link profile, see `gsc link-budget --list`'),
    'budget_bytes': ('300', 'Bytes of a frame on air'),
    'max_rate': ('5.0', 'Frames a second at most'),
    'cameras': ('', 'Cameras that share the link, as of ground.launch.py'),
    'source': ('scan', 'What obstacles are marked by, one or more of scan,points,hazards'),
    'params_file': ('', 'Parameters of nav2; empty for config/nav2_costmap.yaml'),
    'namespace': ('', 'Namespace of the decoded topics, as of ground.launch.py'),
    'use_sim_time': ('false', 'Take the time from /clock'),
    'rviz': ('false', 'Start RViz with config/navigation.rviz'),
    'autostart': ('true', 'Configure and activate; false leaves it to a lifecycle manager'),
}


def start(context: LaunchContext) -> list[Node]:
    """Make the nodes from the arguments' values."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    cameras = parse_cameras(given['cameras'])
    limits = costmap.age_limits(
        given['link'], int(given['budget_bytes']), float(given['max_rate']), cameras
    )
    sources = [source.strip() for source in given['source'].split(',')]
    file = Path(given['params_file'] or config_dir() / 'nav2_costmap.yaml')
    parameters = costmap.complete(costmap.read(file), limits, sources, given['namespace'], cameras)
    clock = {'use_sim_time': given['use_sim_time'] == 'true'}
    nodes = [
        # Humble's puts itself into /costmap, later ones go where they are put.
        Node(
            package='nav2_costmap_2d',
            executable='nav2_costmap_2d',
            namespace='/costmap',
            parameters=[parameters, clock],
            output='screen',
        )
    ]
    if given['rviz'] == 'true':
        nodes.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=given['namespace'],
                arguments=['-d', str(config_dir() / 'navigation.rviz')],
                # Of several cameras the displays show the first.
                remappings=[
                    (topic, cameras[0].topic(topic)) for topic in OF_A_CAMERA if cameras[0].name
                ],
                parameters=[clock],
                output='screen',
            )
        )
    if given['autostart'] == 'true':
        nodes.append(
            Node(
                package='nav2_lifecycle_manager',
                executable='lifecycle_manager',
                name='lifecycle_manager_costmap',
                parameters=[
                    {'autostart': True, 'node_names': ['costmap/costmap'], 'bond_timeout': 0.0},
                    clock,
                ],
                output='screen',
            )
        )
    return nodes


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments and start the costmap."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
