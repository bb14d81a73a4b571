"""What the launch files do: each starts a graph of gsc_ros/graph/. Needs launch_ros."""

import os
import signal
import time

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnShutdown
from launch.events.process import ProcessExited, SignalProcess
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from gsc_ros.dds import dds_environment
from gsc_ros.graph import GRAPHS, PACKAGE, Graph
from gsc_ros.paths import config_dir
from gsc_ros.respawn import Respawn, cause
from gsc_ros.robots import parse_robots, values_of
from gsc_ros.start import PARENT
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity


class Ended:
    """
    What launch does when a node's process ends.

    Launch's own respawn knows no exit codes and no back-off.
    """

    def __init__(self, name: str, respawn: Respawn) -> None:
        self._name, self._respawn = name, respawn
        self._started = time.monotonic()

    def __call__(
        self, event: ProcessExited, context: LaunchContext
    ) -> list[LaunchDescriptionEntity] | None:
        """Start it again, or end the graph with a code that says so: raises RuntimeError."""
        if context.is_shutdown:
            return None
        how, lasted_s = cause(event.returncode), time.monotonic() - self._started
        delay_s = self._respawn.after(event.returncode, lasted_s)
        if delay_s is None:
            raise RuntimeError(f'{self._name} {how}: stopping the others')
        self._started = time.monotonic() + delay_s
        # Not a Node: launch_ros would take it for a second one of the same name.
        again = ExecuteProcess(
            cmd=event.cmd,
            prefix='',  # the command has it
            name=self._name,
            cwd=event.cwd,
            env=event.env,
            output='screen',
            on_exit=self,
        )
        return [
            LogInfo(msg=f'{self._name} {how}: started again in {delay_s:g} s'),
            TimerAction(period=delay_s, actions=[again]),
        ]


def start(context: LaunchContext, graph: Graph) -> list[LaunchDescriptionEntity]:
    """Make the nodes from the arguments' values."""
    given, warnings = graph.current(
        {
            name: value
            for name, value in context.launch_configurations.items()
            if name in graph.old_names() or value != graph.defaults().get(name, value)
        }
    )
    values = graph.resolve(given)
    # Launch takes any argument; one like ours is most likely misspelt.
    warnings += [
        f'argument {name} is unknown and not used: did you mean {near}?'
        for name in context.launch_configurations
        if name not in (*graph.defaults(), *graph.old_names()) and (near := graph.nearest(name))
    ]
    entities: list[LaunchDescriptionEntity] = [LogInfo(msg=warning) for warning in warnings]
    first_robot = parse_robots(values.get('robots', ''))[0]  # RViz shows one
    # First, so that nothing runs yet where RViz is missing.
    if values.get('rviz') == 'true':
        entities.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=values_of(values, first_robot)['namespace'],
                arguments=['-d', str(config_dir() / 'teleop.rviz')],
                parameters=[{'use_sim_time': values['use_sim_time'] == 'true'}],
                # Its depth cloud takes camera_info from the root, whatever the namespace.
                remappings=[('/decoded/depth/camera_info', 'decoded/depth/camera_info')],
                output='screen',
            )
        )
    # Plain nodes: they configure and activate themselves (parameter autostart), and are started
    # again by our own policy, so that it all goes the same way with and without launch.
    entities += [
        Node(
            package=PACKAGE,
            executable=node.executable,
            name=node.key(values)[1],
            namespace=node.key(values)[0],
            parameters=[
                values['params_file'],
                {
                    # With its type, else launch makes numbers of text that looks like one.
                    name: ParameterValue(value, value_type=type(value))
                    for name, value in graph.node_parameters(node, values).items()
                },
            ],
            remappings=graph.remappings(values, node.robot),
            arguments=[
                *graph.options(node, values),
                '--ros-args',
                '--log-level',
                values['log_level'],
            ],
            output='screen',
            on_exit=Ended(node.key(values)[1], Respawn(graph.respawned(node, values))),
        )
        for node in graph.running(values)
    ]
    return entities


def _terminate() -> SignalProcess:
    """Return the event that ends all processes; our nodes take no harm of a second signal."""
    return SignalProcess(signal_number=signal.SIGTERM, process_matcher=lambda _: True)


def describe(name: str) -> LaunchDescription:
    """Describe the arguments of a graph and start it."""
    graph = GRAPHS[name]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    a.name,
                    default_value=a.default,
                    description=graph.describe(a),
                )
                for a in graph.arguments
            ),
            *(SetEnvironmentVariable(k, v) for k, v in dds_environment().items()),
            SetEnvironmentVariable(PARENT, str(os.getpid())),
            # At SIGINT launch assumes that the nodes got it from the terminal, and waits for 5 s.
            RegisterEventHandler(OnShutdown(on_shutdown=[EmitEvent(event=_terminate())])),
            OpaqueFunction(function=start, args=[graph]),
        ]
    )
