"""The lifecycle that the nodes share, and the function that runs one."""

import contextlib
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter

from gsc_ros.ros import parameters, process
from gsc_ros.ros.diagnostics import OK, WARN, Diagnostics, Report
from gsc_ros.ros.graph_check import GraphCheck
from gsc_ros.ros.parameters import Parameters

P = TypeVar('P', bound=Parameters)

# What a node may open, inputs first, and what closes it.
_INPUTS = (
    ('subscriptions', 'destroy_subscription'),
    ('timers', 'destroy_timer'),
    ('guards', 'destroy_guard_condition'),
    ('services', 'destroy_service'),
)
_OUTPUTS = (('publishers', 'destroy_publisher'), ('clients', 'destroy_client'))
# Their messages say what is wrong; other errors are logged with a traceback.
_EXPECTED = ValueError, OSError, ImportError


class Opened:
    """
    What a node opens in a transition: closed together when the transition fails or is undone.

    Subscriptions and timers of the node close first, then what :meth:`callback` was given, newest
    first, and publishers last.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._callbacks = contextlib.ExitStack()
        # The objects themselves, as an id alone may be given to another one later.
        self._before = {id(one): one for _, one in self._entities(*_INPUTS, *_OUTPUTS)}
        self._inputs: list[tuple[str, Any]] | None = None
        self._outputs: list[tuple[str, Any]] = []

    def callback(self, close: Callable[[], object]) -> None:
        """Have this called on :meth:`close`."""
        self._callbacks.callback(close)

    def complete(self) -> None:
        """End the collection: what the node opens from now on is not part of it."""
        self._inputs, self._outputs = self._new(*_INPUTS), self._new(*_OUTPUTS)
        self._before = {}

    def close(self) -> None:
        """Close everything; what is closed already is no error."""
        if self._inputs is None:
            self.complete()
        self._destroy(self._inputs or [])
        try:
            self._callbacks.close()
        finally:
            self._destroy(self._outputs)

    def _entities(self, *kinds: tuple[str, str]) -> list[tuple[str, Any]]:
        return [(destroy, one) for kind, destroy in kinds for one in getattr(self._node, kind)]

    def _new(self, *kinds: tuple[str, str]) -> list[tuple[str, Any]]:
        return [(d, one) for d, one in self._entities(*kinds) if id(one) not in self._before]

    def _destroy(self, entities: list[tuple[str, Any]]) -> None:
        for destroy, one in entities:
            getattr(self._node, destroy)(one)


class GscNode(LifecycleNode, Generic[P]):
    """
    A managed node: ``configure`` loads, ``activate`` starts traffic.

    A node overrides :meth:`setup` (make publishers, load weights; may raise ``ValueError`` or
    ``OSError`` with the remedy), :meth:`start` (subscriptions, timers, workers) and
    :meth:`diagnose`. Its publishers, subscriptions and timers are destroyed for it; what else it
    opens it gives to :meth:`add_cleanup`, or undoes in :meth:`stop` and :meth:`teardown`.
    ``values`` are its checked parameters, one immutable object for all threads.
    """

    Parameters: ClassVar[type[Parameters]] = Parameters
    values: P

    def __init__(self, name: str, **options: object) -> None:
        super().__init__(name, **options)  # type: ignore[arg-type]
        self.exit_code = 0
        self.active = self.closing = False
        # Humble has no callback after a change; there set_parameters() applies it.
        self._has_post_set = hasattr(self, 'add_post_set_parameters_callback')
        parameters.declare(self, self.Parameters)
        self.diagnostics: Diagnostics | None = None
        self._graph_check = GraphCheck(self)
        self._configured = self._activated = self._opening = Opened(self)
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
        """End work, before what :meth:`start` opened is closed."""

    def teardown(self) -> None:
        """Undo :meth:`setup`, before what it opened is closed."""

    def halt(self) -> None:
        """Stop the robot, if this node moves it; in any thread, in any state, more than once."""

    def diagnose(self) -> Report:
        """Return the state of the node, once a second."""
        return Report()

    def publish_status(self, report: Report) -> None:
        """Publish the state that goes to diagnostics as a message of the node's own."""

    def parameters_changed(self) -> None:
        """Apply new ``self.values``."""

    # For nodes

    def add_cleanup(self, close: Callable[[], object]) -> None:
        """
        Have this called when the state that is being entered is left, or if entering it fails.

        To be called in :meth:`setup` and :meth:`start`; the newest is called first.
        """
        self._opening.callback(close)

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters and set up; a failure is logged and leaves nothing open."""
        self._configured = Opened(self)
        return self._enter(self._configured, self._configure, 'configured')

    def _configure(self) -> None:
        self.values = parameters.read(self, self.Parameters)  # type: ignore[assignment]
        self.setup()
        self.add_on_set_parameters_callback(self._validate)
        self.add_cleanup(lambda: self.remove_on_set_parameters_callback(self._validate))
        if self._has_post_set:
            self.add_post_set_parameters_callback(self._apply)
            self.add_cleanup(lambda: self.remove_post_set_parameters_callback(self._apply))
        self.diagnostics = Diagnostics(self, self._report)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start traffic; a failure is logged and leaves nothing open."""
        self._activated = Opened(self)
        result = self._enter(self._activated, self.start, 'activated')
        if result != TransitionCallbackReturn.SUCCESS:
            return result
        self.active = True
        return super().on_activate(state)

    def _enter(
        self, opened: Opened, enter: Callable[[], None], name: str
    ) -> TransitionCallbackReturn:
        """Enter a state; where that fails, what was opened is closed."""
        self._opening = opened
        try:
            enter()
        except Exception as error:
            details = '' if isinstance(error, _EXPECTED) else f'\n{traceback.format_exc()}'
            self.get_logger().fatal(f'not {name}: {error}{details}')
            opened.close()
            return TransitionCallbackReturn.FAILURE
        opened.complete()
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop traffic."""
        self._leave_active()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo the configuration."""
        self._leave_configured()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and undo the configuration."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End all work from whatever state; a second call does nothing."""
        try:
            if self.active:
                self._leave_active()
        finally:
            self._leave_configured()

    def _leave_active(self) -> None:
        self.active = False
        self._leave(self.stop, self._activated)

    def _leave_configured(self) -> None:
        if self.diagnostics is None:
            return
        self.diagnostics.close()
        self.diagnostics = None
        self._leave(self.teardown, self._configured)

    def _leave(self, undo: Callable[[], None], opened: Opened) -> None:
        """Leave a state; a process that is asked to end waits for that."""
        self.closing = True
        try:
            undo()
        finally:
            try:
                opened.close()
            finally:
                self.closing = False

    def _report(self) -> Report:
        """Return the state of the node, with what keeps its topics from coming."""
        report, problems = self.diagnose(), self._graph_check.problems
        if problems:
            messages = [] if report.level == OK else [report.message]
            report.level = max(report.level, WARN)
            report.message = '; '.join([*messages, *problems])
        self.publish_status(report)
        return report

    # Changes of parameters: refused or accepted first, applied once they are set

    def _validate(self, wanted: list[Parameter]) -> SetParametersResult:
        return parameters.validate(self.Parameters, wanted)

    def _apply(self, _set: list[Parameter]) -> None:
        if self.diagnostics is None:
            return
        values = parameters.read(self, self.Parameters)
        if values != self.values:
            self.values = values  # type: ignore[assignment]
            self.parameters_changed()

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """Set parameters one by one, as rclpy does."""
        results = super().set_parameters(parameter_list)
        if not self._has_post_set:
            self._apply(parameter_list)
        return results

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set parameters all at once, as rclpy does."""
        result = super().set_parameters_atomically(parameter_list)
        if not self._has_post_set:
            self._apply(parameter_list)
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
