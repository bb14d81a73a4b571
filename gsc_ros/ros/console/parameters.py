"""Parameters of the console."""

from dataclasses import dataclass

from gsc_ros.console.drive import Limits
from gsc_ros.ros.parameters import Parameters, parameter


@dataclass(frozen=True)
class ConsoleParameters(Parameters):
    """Parameters of the console."""

    host: str = parameter(
        '127.0.0.1',
        'Address to listen on; another than loopback needs password_file',
        read_only=True,
    )
    port: int = parameter(
        8080, 'Port to listen on; 0: any free one, which the log names', 0, 65535, read_only=True
    )
    password_file: str = parameter(
        '',
        'File whose first line is the password of the page; only its owner may read it',
        read_only=True,
    )
    tls_certificate: str = parameter(
        '', 'Certificate (PEM) for HTTPS; empty: HTTP', read_only=True
    )
    tls_key: str = parameter('', 'Key (PEM) of the certificate', read_only=True)
    session_s: float = parameter(
        43200.0, 'Time after which one has to log in again', 60.0, 1e7, read_only=True
    )
    session_idle_s: float = parameter(
        3600.0, 'Time without an action after which one has to log in again', 10.0, 1e7,
        read_only=True,
    )  # fmt: skip
    cameras: str = parameter(
        '',
        'Cameras of the link, as its nodes have them: the page shows one of them at a time; of '
        'several robots one list for all, or one for each with semicolons; empty: one without a '
        'name',
        read_only=True,
    )
    robots: str = parameter(
        '',
        'Robots of this ground, as rover1,rover2: the namespaces of their topics; the page shows '
        'one at a time, with the state and the STOP of all; empty: one without a name',
        read_only=True,
    )
    max_viewers: int = parameter(32, 'Browsers at once', 1, 1000, read_only=True)
    output: str = parameter(
        '~/.ros/gsc_ros/console', 'Folder for recordings and snapshots', read_only=True
    )
    stale_after_s: float = parameter(
        0.0,
        'Age from which the image is stale and nobody may drive; 0: half as much again as delay, '
        'two times of a frame and coding',
        0.0,
        1e6,
    )
    max_linear: float = parameter(0.5, 'Greatest speed, m/s', 0.0, 30.0)
    max_angular: float = parameter(0.6, 'Greatest turn, rad/s', 0.0, 10.0)
    linear_ramp: float = parameter(0.5, 'Growth of the speed, m/s2', 0.01, 100.0)
    angular_ramp: float = parameter(1.5, 'Growth of the turn, rad/s2', 0.01, 100.0)
    command_rate: float = parameter(5.0, 'Commands a second while driving', 1.0, 20.0)
    heartbeat_s: float = parameter(
        0.5,
        "Time without a word of the driver's browser after which the robot is stopped",
        0.2,
        5.0,
    )
    driver_idle_s: float = parameter(
        60.0, 'Time without driving after which another may take the wheel', 1.0, 1e5
    )
    stamped: bool = parameter(
        False, 'Publish teleop/cmd_vel as TwistStamped, and not as Twist', read_only=True
    )
    camera_ahead_m: float = parameter(
        0.0,
        "How far the camera, that looks straight ahead, is ahead of the robot's own frame, for "
        'goals; only where link/mount does not state it',
        -100.0,
        100.0,
    )
    max_goal_m: float = parameter(20.0, 'Greatest distance of a goal', 0.1, 300.0)
    goal_trust: float = parameter(
        0.5,
        'Least trust of the image where a goal is chosen; 0: any, also where trust is not known',
        0.0,
        1.0,
    )
    frame_id: str = parameter('base_link', 'Frame of teleop/cmd_vel, where it is stamped',
                              read_only=True)  # fmt: skip

    def limits(self) -> Limits:
        """Return the limits of driving."""
        return Limits(
            self.max_linear,
            self.max_angular,
            self.linear_ramp,
            self.angular_ramp,
            self.command_rate,
            self.heartbeat_s,
            self.driver_idle_s,
        )
