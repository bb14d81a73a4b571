"""
Subscriptions that are read now and then, and do not wake the executor for each message.

A wake-up of rclpy's executor takes about a millisecond, so that a topic of some hundred messages a
second takes a good part of a core. Those that nobody waits for are read in batches.
"""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile

PERIOD_S = 0.1


class _NeverReady(CallbackGroup):
    """Keeps what is in it out of the executor."""

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        return


class Polled:
    """Reads topics each :data:`PERIOD_S`, and whenever :meth:`read` is called, in any thread."""

    def __init__(self, node: Node) -> None:
        self._node, self._group = node, _NeverReady()
        self._lock = threading.Lock()
        self._topics: list[tuple[Any, Callable[[Any], None]]] = []
        # Not on the node's clock, which may stand still.
        node.create_timer(PERIOD_S, self.read, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile
    ) -> None:
        """Give the messages of a topic to a callback; it holds as many as ``qos`` has depth."""
        made = self._node.create_subscription(
            kind, topic, callback, qos, callback_group=self._group
        )
        with self._lock:
            self._topics.append((made, callback))

    def read(self) -> None:
        """Give to the callbacks what has come."""
        with self._lock:
            for subscription, callback in self._topics:
                try:
                    with subscription.handle:
                        self._drain(subscription, callback)
                except InvalidHandle:
                    return  # the node closes

    def _drain(self, subscription: Any, callback: Callable[[Any], None]) -> None:
        # At most as many as it holds: more may come than are read.
        for _ in range(max(1, subscription.qos_profile.depth)):
            taken = subscription.handle.take_message(subscription.msg_type, False)
            if taken is None:
                return
            callback(taken[0])
