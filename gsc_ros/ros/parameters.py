"""
Node parameters from one frozen dataclass: declared, described, validated and read in one place.

Types and ranges are checked here and not by rclpy, so that a bad value stops a node at configure
with a message that names the parameter, its range and the remedy.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter


class ParameterError(ValueError):
    """A parameter that cannot be used."""


def parameter(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    read_only: bool = False,
) -> Any:
    """
    Declare a field of a parameter dataclass.

    ``low`` and ``high`` are inclusive; ``read_only`` parameters are fixed once the node is
    configured.
    """
    return dataclasses.field(
        default=default,
        metadata={
            'description': description,
            'low': low,
            'high': high,
            'choices': tuple(choices) if choices else None,
            'read_only': read_only,
        },
    )


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a node can be told: its fields are made by :func:`parameter`."""


@dataclasses.dataclass(frozen=True)
class Parameters(Schema):
    """What every managed node has."""

    autostart: bool = parameter(
        True,
        'Configure and activate on start; false leaves it to a lifecycle manager',
        read_only=True,
    )


P = TypeVar('P', bound=Schema)


def constraint(field: dataclasses.Field) -> str:
    """Say what values a field takes, for people."""
    meta = field.metadata
    if meta['choices']:
        return 'one of ' + ', '.join(meta['choices'])
    if meta['low'] is not None or meta['high'] is not None:
        low = '-inf' if meta['low'] is None else f'{meta["low"]:g}'
        high = 'inf' if meta['high'] is None else f'{meta["high"]:g}'
        return f'{low} to {high}'
    return f'any {_type(field).__name__}'


def _type(field: dataclasses.Field) -> type:
    kind = field.type
    if isinstance(kind, str):
        kind = {'int': int, 'float': float, 'bool': bool, 'str': str}[kind]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind):
        raise TypeError(f'parameter {field.name}: use one plain type')
    return kind


def check(field: dataclasses.Field, value: Any) -> Any:
    """Return the value in the field's type, or raise :class:`ParameterError`."""
    kind, meta = _type(field), field.metadata

    def refuse() -> ParameterError:
        return ParameterError(
            f'parameter {field.name} = {value!r} cannot be used: it takes {constraint(field)} '
            f'({kind.__name__}). {meta["description"]}. Set it in the params file or with '
            f'-p {field.name}:=<value>; the default is {field.default!r}.'
        )

    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise refuse()
    if meta['choices'] and value not in meta['choices']:
        raise refuse()
    if meta['low'] is not None and value < meta['low']:
        raise refuse()
    if meta['high'] is not None and value > meta['high']:
        raise refuse()
    return value


def declare(node: Node, kind: type[P]) -> None:
    """
    Declare the fields on a node, with descriptions; values are checked by :func:`read`.

    What was given to the node and is none of its parameters is warned of.
    """
    for field in dataclasses.fields(kind):
        node.declare_parameter(
            field.name,
            field.default,
            ParameterDescriptor(
                name=field.name,
                description=field.metadata['description'],
                additional_constraints=constraint(field),
                dynamic_typing=True,  # so that a wrong type meets our message, not rclpy's
            ),
        )
    names = [field.name for field in dataclasses.fields(kind)]
    for name in node._parameter_overrides:  # rclpy has no public way to them
        if not node.has_parameter(name) and not name.startswith('qos_overrides.'):
            near = difflib.get_close_matches(name, names, 1)
            hint = f'did you mean {near[0]}?' if near else f'there are: {", ".join(names)}'
            node.get_logger().warning(f'parameter {name} is unknown and not used: {hint}')


def read(node: Node, kind: type[P]) -> P:
    """Read and check all fields; raises :class:`ParameterError` naming the first that is wrong."""
    return kind(
        **{
            field.name: check(field, node.get_parameter(field.name).value)
            for field in dataclasses.fields(kind)
        }
    )


def changed(current: P, wanted: Sequence[Parameter]) -> tuple[P, SetParametersResult]:
    """Apply a change at run time; returns the new values, or the current ones and the reason."""
    fields = {field.name: field for field in dataclasses.fields(current)}
    values = {}
    for item in wanted:
        field = fields.get(item.name)
        if field is None:
            continue  # use_sim_time and the like are rclpy's own
        if field.metadata['read_only']:
            reason = (
                f'parameter {item.name} is fixed while the node is configured: set it in the '
                f'params file or with -p {item.name}:=<value> and start the node again, or after '
                'the lifecycle transitions deactivate and cleanup'
            )
            return current, SetParametersResult(successful=False, reason=reason)
        try:
            values[item.name] = check(field, item.value)
        except ParameterError as error:
            return current, SetParametersResult(successful=False, reason=str(error))
    return dataclasses.replace(current, **values), SetParametersResult(successful=True)
