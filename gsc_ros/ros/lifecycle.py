"""The lifecycle that the nodes share, and the function that runs one."""

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from gsc_ros.ros import parameters, process
from gsc_ros.ros.diagnostics import OK, WARN, Diagnostics, Report
from gsc_ros.ros.graph_check import GraphCheck
from gsc_ros.ros.parameters import Parameters

P = TypeVar('P', bound=Parameters)


class GscNode(LifecycleNode, Generic[P]):
    """
    A managed node: ``configure`` loads, ``activate`` starts traffic.

    A node overrides :meth:`setup` (make publishers, load weights; may raise ``ValueError`` or
    ``OSError`` with the remedy), :meth:`start` and :meth:`stop` (subscriptions, timers, workers),
    :meth:`teardown` and :meth:`diagnose`. ``values`` are its checked parameters.
    """

    Parameters: ClassVar[type[Parameters]] = Parameters
    values: P

    def __init__(self, name: str, **options: object) -> None:
        super().__init__(name, **options)  # type: ignore[arg-type]
        self.exit_code = 0
        self.active = False
        parameters.declare(self, self.Parameters)
        self.diagnostics: Diagnostics | None = None
        self._graph_check = GraphCheck(self)
        # Not on the node's own clock: a simulated one may not go yet.
        self._autostart = self.create_timer(
            0.0, self._start_by_itself, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    # To be overridden

    def setup(self) -> None:
        """Prepare for work; ``self.values`` are set."""

    def start(self) -> None:
        """Begin work."""

    def stop(self) -> None:
        """End work."""

    def teardown(self) -> None:
        """Undo :meth:`setup`."""

    def halt(self) -> None:
        """Stop the robot, if this node moves it; in any thread, in any state, more than once."""

    def diagnose(self) -> Report:
        """Say how the node fares, once a second."""
        return Report()

    def parameters_changed(self) -> None:
        """Take note of new ``self.values``."""

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters and set up; a mistake is logged and fails the transition."""
        before = list(self.publishers)
        try:
            self.values = parameters.read(self, self.Parameters)  # type: ignore[assignment]
            self.setup()
        except (ValueError, OSError, ImportError) as error:
            self.get_logger().fatal(f'not configured: {error}')
            for publisher in [one for one in self.publishers if one not in before]:
                self.destroy_publisher(publisher)
            return TransitionCallbackReturn.FAILURE
        self.add_on_set_parameters_callback(self._on_change)
        self.diagnostics = Diagnostics(self, self._report)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start traffic."""
        try:
            self.start()
        except (ValueError, OSError) as error:
            self.get_logger().error(f'not activated: {error}')
            return TransitionCallbackReturn.FAILURE
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop traffic."""
        self.active = False
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget what was set up."""
        self._forget()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End all work from whatever state; a second call does nothing."""
        if self.active:
            self.active = False
            self.stop()
        self._forget()

    def _forget(self) -> None:
        if self.diagnostics is None:
            return
        self.remove_on_set_parameters_callback(self._on_change)
        self.diagnostics.close()
        self.diagnostics = None
        self.teardown()

    def _report(self) -> Report:
        """Return how the node fares, and what keeps its topics from coming."""
        report, problems = self.diagnose(), self._graph_check.problems
        if problems:
            said = [] if report.level == OK else [report.message]
            report.level = max(report.level, WARN)
            report.message = '; '.join([*said, *problems])
        return report

    def _on_change(self, wanted: list[Parameter]) -> SetParametersResult:
        self.values, result = parameters.changed(self.values, wanted)
        if result.successful:
            self.parameters_changed()
        return result

    def _start_by_itself(self) -> None:
        self._autostart.cancel()
        autostart = self.get_parameter('autostart').value
        if autostart is False:
            return
        success = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != success or self.trigger_activate() != success:
            self.exit_code = 1
            rclpy.try_shutdown(context=self.context)


def run(kind: Callable[[], GscNode], args: list[str] | None = None) -> int:
    """Run a node until it is asked to end; returns the process's exit code."""
    return process.run(kind, args)
