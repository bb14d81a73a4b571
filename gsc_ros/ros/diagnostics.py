"""How a node fares, on /diagnostics once a second."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

PERIOD_S = 1.0
RECENT_S = 10.0  # trouble this old is over


@dataclass
class Report:
    """One state: ``level`` is OK, WARN, ERROR or STALE; ``values`` are figures by name."""

    level: bytes = OK
    message: str = 'ok'
    values: dict[str, object] = field(default_factory=dict)


class Diagnostics:
    """Publishes what ``report`` says."""

    def __init__(self, node: Node, report: Callable[[], Report]) -> None:
        self._node, self._report = node, report
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # A clock that is set back, or stands still, is no reason to fall silent.
        self._timer = node.create_timer(
            PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _publish(self) -> None:
        report = self._report()
        status = DiagnosticStatus(
            level=report.level,
            name=f'{self._node.get_fully_qualified_name().lstrip("/")}: gsc_ros',
            message=report.message,
            hardware_id='gsc_ros',
            values=[KeyValue(key=k, value=_text(v)) for k, v in report.values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)


def _text(value: object) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


class Drops:
    """Inputs that could not be used: counted, logged, and news for a while."""

    def __init__(self, node: Node, what: str) -> None:
        self._node, self._what = node, what
        self._at = -math.inf
        self.count = 0
        self.last = ''

    def note(self, error: Exception) -> None:
        """Take note of one."""
        if not self._node.context.ok():
            return  # the process is going down around a worker
        self.count += 1
        self.last = f'{type(error).__name__}: {error}'
        self._at = time.monotonic()
        self._node.get_logger().warning(
            f'{self._what} dropped: {self.last}', throttle_duration_sec=5.0
        )

    def recent(self) -> bool:
        """Whether the last one is still news."""
        return time.monotonic() - self._at < RECENT_S


class Troubles:
    """What is wrong with inputs that were used all the same: logged, and news for a while."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._said: dict[str, tuple[float, str]] = {}

    def note(self, kind: str, text: str) -> None:
        """Take note of a trouble of a kind, in words; they replace those of the kind before."""
        if not self._node.context.ok():
            return
        now = time.monotonic()
        if now - self._said.get(kind, (-math.inf, ''))[0] > RECENT_S:
            self._node.get_logger().warning(text)
        self._said[kind] = now, text

    def recent(self) -> list[str]:
        """Return what is still news."""
        now = time.monotonic()
        return [text for at, text in list(self._said.values()) if now - at < RECENT_S]


class Rate:
    """Events and amounts per second over the last ``window`` seconds of the caller's clock."""

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._events: deque[tuple[float, float]] = deque()

    def add(self, now: float, amount: float = 1.0) -> None:
        """Note an event at ``now`` seconds."""
        self._events.append((now, amount))
        self._trim(now)

    def per_second(self, now: float) -> float:
        """Sum of the amounts of the window over its length."""
        self._trim(now)
        return sum(amount for _, amount in self._events) / self._window

    def _trim(self, now: float) -> None:
        while self._events and self._events[0][0] < now - self._window:
            self._events.popleft()
