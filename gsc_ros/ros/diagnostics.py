"""
State of a node, on /diagnostics once a second, and what it is made of: drops, troubles and rates.

``diagnostic_updater`` publishes it where it is installed, else a publisher of ours; names, levels
and values are the same.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from gsc_ros.ros import topics

try:
    import diagnostic_updater
except ImportError:  # the wheels do not have it
    diagnostic_updater = None

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

NAME = HARDWARE_ID = 'gsc_ros'
PERIOD_S = 1.0
RECENT_S = 10.0  # a trouble older than this is over
_RIGHT_S = 2.0  # and so is one of this age, when what came after it was right
_UPDATER_PARAMETERS = 'diagnostic_updater.period', 'diagnostic_updater.use_fqn'


@dataclass
class Report:
    """A state: ``level`` is OK, WARN, ERROR or STALE; ``values`` are figures by name."""

    level: bytes = OK
    message: str = 'ok'
    values: dict[str, object] = field(default_factory=dict)

    def status(self, name: str) -> DiagnosticStatus:
        """Return it as a message."""
        return DiagnosticStatus(
            level=self.level,
            name=name,
            message=self.message,
            hardware_id=HARDWARE_ID,
            values=[KeyValue(key=k, value=_text(v)) for k, v in self.values.items()],
        )


class _Output(Protocol):
    period_s: float

    def update(self) -> None:
        """Publish the state now."""

    def close(self) -> None:
        """Stop publishing."""


class Diagnostics:
    """Publishes the state that ``report`` returns, once a second of the steady clock."""

    def __init__(self, node: Node, report: Callable[[], Report]) -> None:
        self._node = node
        kind = _Publisher if diagnostic_updater is None else _Updater
        self._output: _Output = kind(node, report)
        # Not on the node's clock, which may stand still or be set back.
        self._timer = node.create_timer(
            self._output.period_s,
            self._output.update,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._output.close()


class _Publisher:
    """Publishes without diagnostic_updater."""

    period_s = PERIOD_S

    def __init__(self, node: Node, report: Callable[[], Report]) -> None:
        self._node, self._report = node, report
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', topics.REPORTS)

    def update(self) -> None:
        self._publisher.publish(_array(self._node, [self._report().status(_name(self._node))]))

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)


class _Updater:
    """Publishes by diagnostic_updater, with its parameters, but our names and clock."""

    def __init__(self, node: Node, report: Callable[[], Report]) -> None:
        self._node, self._report = node, report
        self._updater: Any = diagnostic_updater.Updater(node, PERIOD_S)
        self.period_s = float(self._updater.period)
        self._updater.setHardwareID(HARDWARE_ID)
        # The updater names a node without its namespace.
        self._updater.publish = self._publish
        # Its own timer runs on the node's clock.
        node.destroy_timer(self._updater.timer)
        self._updater.add(NAME, self._fill)

    def _fill(self, status: Any) -> Any:
        report = self._report()
        status.summary(report.level, report.message)
        for key, value in report.values.items():
            status.add(key, _text(value))
        return status

    def _publish(self, statuses: Any) -> None:
        statuses = statuses if isinstance(statuses, list) else [statuses]
        for status in statuses:
            status.name = _name(self._node)
        self._updater.publisher.publish(_array(self._node, [_plain(s) for s in statuses]))

    def update(self) -> None:
        self._updater.force_update()

    def close(self) -> None:
        self._node.destroy_publisher(self._updater.publisher)
        for name in _UPDATER_PARAMETERS:  # else the next updater cannot declare them
            if self._node.has_parameter(name):
                self._node.undeclare_parameter(name)


def _plain(status: Any) -> DiagnosticStatus:
    """Return the updater's status, a subclass, as the message itself."""
    return DiagnosticStatus(
        level=status.level,
        name=status.name,
        message=status.message,
        hardware_id=status.hardware_id,
        values=status.values,
    )


def _array(node: Node, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    array = DiagnosticArray(status=statuses)
    array.header.stamp = node.get_clock().now().to_msg()
    return array


def _name(node: Node) -> str:
    return f'{node.get_fully_qualified_name().lstrip("/")}: {NAME}'


def _text(value: object) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


class Drops:
    """Inputs that could not be used: counted, logged, and recent for a while; any thread."""

    def __init__(self, node: Node, what: str) -> None:
        self._node, self._what = node, what
        self._lock = threading.Lock()
        self._at = self._right_at = -math.inf
        self.count = 0
        self.last = ''

    def note(self, error: Exception) -> None:
        """Count and log one."""
        if not self._node.context.ok():
            return  # the process ends around a worker
        with self._lock:
            self.count += 1
            self.last = f'{type(error).__name__}: {error}'
            self._at = time.monotonic()
        self._node.get_logger().warning(
            f'{self._what} dropped: {self.last}', throttle_duration_sec=5.0
        )

    def right(self) -> None:
        """Note an input that could be used."""
        self._right_at = time.monotonic()

    def recent(self) -> bool:
        """Whether the last one was a short time ago."""
        return _recent(self._at, self._right_at)


def _recent(at: float, right_at: float) -> bool:
    """Whether a trouble of ``at`` lasts, where all was right at ``right_at``, both monotonic s."""
    return time.monotonic() - at < (_RIGHT_S if right_at > at else RECENT_S)


class Troubles:
    """What is wrong with inputs that were used all the same: logged, recent for a while."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._noted: dict[str, tuple[float, str]] = {}
        self._right_at: dict[str, float] = {}

    def note(self, kind: str, text: str) -> None:
        """Note a trouble of a kind; its text replaces the one before. Empty: it is over."""
        if not self._node.context.ok():
            return
        now = time.monotonic()
        with self._lock:
            if not text:
                self._right_at[kind] = now
                return
            before = self._noted.get(kind, (-math.inf, ''))[0]
            self._noted[kind] = now, text
        if now - before > RECENT_S:
            self._node.get_logger().warning(text)

    def recent(self) -> list[str]:
        """Return the texts of a short time ago."""
        with self._lock:
            return [
                text
                for kind, (at, text) in self._noted.items()
                if _recent(at, self._right_at.get(kind, -math.inf))
            ]


class Rate:
    """Events and amounts a second over the last ``window`` s of the caller's clock; any thread."""

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._lock = threading.Lock()
        self._events: deque[tuple[float, float]] = deque()

    def add(self, now: float, amount: float = 1.0) -> None:
        """Note an event at ``now`` (s)."""
        with self._lock:
            self._events.append((now, amount))
            self._trim(now)

    def per_second(self, now: float) -> float:
        """Return the sum of the amounts of the window over its length."""
        with self._lock:
            self._trim(now)
            return sum(amount for _, amount in self._events) / self._window

    def _trim(self, now: float) -> None:
        while self._events and self._events[0][0] < now - self._window:
            self._events.popleft()
