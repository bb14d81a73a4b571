"""Start nav2's local costmap on decoded topics, its limits of age set for the link."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from gsc_ros import costmap
from gsc_ros.paths import config_dir
from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    'link': ('moon_dte_s_13m', 'Link profile, see `gsc link-budget --list`'),
    'budget_bytes': ('300', 'Bytes of a frame on air'),
    'max_rate': ('5.0', 'Frames a second at most'),
    'source': ('scan', 'What obstacles are marked by: scan or points'),
    'params_file': ('', 'Parameters of nav2; empty for config/nav2_costmap.yaml'),
    'namespace': ('', 'Namespace of the decoded topics, as of ground.launch.py'),
    'use_sim_time': ('false', 'Take the time from /clock'),
    'rviz': ('false', 'Start RViz with config/navigation.rviz'),
    'autostart': ('true', 'Configure and activate; false leaves it to a lifecycle manager'),
}


def start(context: LaunchContext) -> list[Node]:
    """Make the nodes from the arguments' values."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    limits = costmap.age_limits(
        given['link'], int(given['budget_bytes']), float(given['max_rate'])
    )
    file = Path(given['params_file'] or config_dir() / 'nav2_costmap.yaml')
    parameters = costmap.complete(costmap.read(file), limits, given['source'], given['namespace'])
    clock = {'use_sim_time': given['use_sim_time'] == 'true'}
    nodes = [
        # It puts itself into /costmap, whatever its name and namespace.
        Node(
            package='nav2_costmap_2d',
            executable='nav2_costmap_2d',
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
