"""Parameters of the robot's side of a link."""

from dataclasses import dataclass

from gsc_ros.ros.parameters import parameter
from gsc_ros.ros.robot_state.telemetry_input import TelemetryParameters

PROTECTIONS = ('auto', 'off')


@dataclass(frozen=True)
class RobotSideParameters(TelemetryParameters):
    """Parameters of the robot's side."""

    max_age_s: float = parameter(
        0.0,
        'A frame that waited longer for the air is dropped, in s; 0: only for a newer one',
        low=0.0,
        high=1e5,
        read_only=True,
    )
    protection: str = parameter(
        'auto',
        'Parity behind frames, from which lost datagrams come back: as much as pays at the '
        'loss that the ground reports, or none',
        choices=PROTECTIONS,
    )
    max_frame_bytes: int = parameter(16384, 'Larger frames are refused', low=64, high=65535)
    still_share: float = parameter(
        0.2,
        'Share of the air that parts of a still may take, where one is asked for',
        low=0.01,
        high=0.5,
        read_only=True,
    )
    command_max_age_s: float = parameter(
        1.0,
        'A command is not executed when it took so much longer, in s, than an idle link takes',
        low=0.0,
        high=1e4,
    )
    command_timeout_s: float = parameter(
        1.0, 'Time without a command after which the robot stops, in s', low=0.05, high=1e4
    )
    goal_silence_s: float = parameter(
        0.0,
        "Time without anything from the ground, in s, after which the operator's goal ends, while "
        'the link is open; 0: 30 s, or twice what is a silence by the reports that the link '
        'allows, and the longest outage of a profile whose passes are not timed',
        low=0.0,
        high=1e7,
    )
    stamped: bool = parameter(
        False,
        'Publish cmd_vel as TwistStamped, and not as Twist; as the guard does',
        read_only=True,
    )
    frame_id: str = parameter('base_link', 'Frame of cmd_vel, where it is stamped', read_only=True)
