"""Messages that hold the state of a node: the same as its diagnostics, typed."""

from collections.abc import Callable
from typing import TypeVar

from rclpy.node import Node

from gsc_ros.ros.diagnostics import Report

S = TypeVar('S')


def status_of(node: Node, kind: Callable[..., S], report: Report) -> S:
    """Make an EncoderStatus or DecoderStatus of the report's values that are its fields."""
    fields = kind.get_fields_and_field_types()  # type: ignore[attr-defined]
    values = {name: value for name, value in report.values.items() if name in fields}
    status = kind(message=report.message, level=report.level[0], **values)
    status.header.stamp = node.get_clock().now().to_msg()  # type: ignore[attr-defined]
    return status
