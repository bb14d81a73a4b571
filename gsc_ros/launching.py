"""What the launch files do: each starts a graph of gsc_ros/graph.py. Needs launch_ros."""

import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from gsc_ros.graph import GRAPHS, PACKAGE, Graph, dds_environment
from gsc_ros.paths import config_dir
from gsc_ros.start import PARENT
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity


def start(context: LaunchContext, graph: Graph) -> list[LaunchDescriptionEntity]:
    """Make the nodes from the arguments' values."""
    values = graph.resolve(
        {name: context.launch_configurations[name] for name in graph.defaults()}
    )
    entities: list[LaunchDescriptionEntity] = []
    # First, so that nothing runs yet where RViz is missing.
    if values.get('rviz') == 'true':
        entities.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=values['namespace'],
                arguments=['-d', str(config_dir() / 'teleop.rviz')],
                parameters=[{'use_sim_time': values['use_sim_time'] == 'true'}],
                # Its depth cloud takes camera_info from the root, whatever the namespace.
                remappings=[('/decoded/depth/camera_info', 'decoded/depth/camera_info')],
                output='screen',
            )
        )
    # Plain nodes: they configure and activate themselves (parameter autostart), so that the graph
    # comes up the same way with and without launch.
    entities += [
        Node(
            package=PACKAGE,
            executable=node.executable,
            name=node.executable,
            namespace=values['namespace'],
            parameters=[
                values['params_file'],
                {
                    # With its type, else launch makes numbers of text that looks like one.
                    name: ParameterValue(value, value_type=type(value))
                    for name, value in graph.node_parameters(node, values).items()
                },
            ],
            remappings=graph.remappings(values),
            arguments=['--ros-args', '--log-level', values['log_level']],
            output='screen',
        )
        for node in graph.running(values)
    ]
    return entities


def describe(name: str) -> LaunchDescription:
    """Describe the arguments of a graph and start it."""
    graph = GRAPHS[name]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    a.name,
                    default_value=a.default,
                    description=a.description,
                    choices=list(a.choices) or None,
                )
                for a in graph.arguments
            ),
            *(SetEnvironmentVariable(k, v) for k, v in dds_environment().items()),
            SetEnvironmentVariable(PARENT, str(os.getpid())),
            OpaqueFunction(function=start, args=[graph]),
        ]
    )
