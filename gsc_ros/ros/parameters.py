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

# Of parameters that rclpy and diagnostic_updater declare.
_FOREIGN = 'qos_overrides.', 'diagnostic_updater.'


class ParameterError(ValueError):
    """A parameter that cannot be used."""


def parameter(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    read_only: bool = False,
    formerly: str = '',
    deprecated: str = '',
) -> Any:
    """
    Declare a field of a parameter dataclass.

    ``low`` and ``high`` are inclusive; ``read_only`` parameters are fixed once the node is
    configured. ``formerly``: an old name, which works at the start of a node, with a warning.
    ``deprecated``: why a parameter that is still accepted has no effect.
    """
    return dataclasses.field(
        default=default,
        metadata={
            'description': description,
            'low': low,
            'high': high,
            'choices': tuple(choices) if choices else None,
            'read_only': read_only,
            'formerly': formerly,
            'deprecated': deprecated,
        },
    )


@dataclasses.dataclass(frozen=True)
class Schema:
    """Parameters of a node: its fields are made by :func:`parameter`."""


@dataclasses.dataclass(frozen=True)
class Parameters(Schema):
    """Parameters of every managed node."""

    autostart: bool = parameter(
        True,
        'Configure and activate on start; false leaves it to a lifecycle manager',
        read_only=True,
    )


@dataclasses.dataclass(frozen=True)
class NetworkParameters(Parameters):
    """Parameters of nodes that load the networks."""

    device: str = parameter(
        'auto',
        'Device of the networks: auto (a GPU if there is one), cpu, cuda or, of several GPUs, '
        'cuda:1',
        read_only=True,
    )
    threads: int = parameter(1, 'CPU threads of the networks', 1, 64, read_only=True)
    weights: str = parameter(
        '',
        "Folder of weights; empty for the shipped ones, 'random' for untrained ones (tests)",
        read_only=True,
    )
    foundation: str = parameter(
        '',
        'Folder of preset foundation, which `gsc train entropy` writes: an autoencoder and its '
        'tables, the same at both ends',
        read_only=True,
    )

    perception: str = parameter(
        'embedded',
        'Who sees: embedded, or a folder or a model of the hub for each task: '
        'depth=FOLDER,classes=owner/name@revision,objects=FOLDER (perception_models.md). At the '
        'encoder it sees the image, at the decoder the decoded image',
        read_only=True,
    )
    perception_dtype: str = parameter(
        'auto',
        'Numbers that foundation models of perception compute with; auto: bfloat16 on a GPU, '
        'float32 on a CPU',
        choices=('auto', 'float32', 'bfloat16', 'float16'),
        read_only=True,
    )
    offline: bool = parameter(
        False,
        'Take pretrained models from this machine, and never ask the hub',
        read_only=True,
        formerly='perception_offline',
    )
    cod_lite: str = parameter(
        '',
        'Checkpoint of preset cod_lite, the same at both ends: a file with the .yaml of its name '
        'beside it, its folder, or owner/name/FILE.pt@revision of the hub',
        read_only=True,
    )

    def weights_of(self, preset: str) -> str | None:
        """Return the weights of a preset, None where none are named."""
        own = {'foundation': self.foundation, 'cod_lite': self.cod_lite}
        return own.get(preset, self.weights) or None

    def networks(self, preset: str) -> tuple[str | int | bool | None, ...]:
        """Return all that the networks of a preset are loaded by: what is equal can be shared."""
        return (
            preset,
            self.weights_of(preset),
            self.threads,
            self.device,
            self.perception,
            self.perception_dtype,
            self.offline,
        )


P = TypeVar('P', bound=Schema)


def constraint(field: dataclasses.Field) -> str:
    """Describe the values that a field takes, for people."""
    meta = field.metadata
    if meta['choices']:
        return 'one of ' + ', '.join(meta['choices'])
    if meta['low'] is not None or meta['high'] is not None:
        low = '-inf' if meta['low'] is None else _number(meta['low'])
        high = 'inf' if meta['high'] is None else _number(meta['high'])
        return f'{low} to {high}'
    return f'any {_type(field).__name__}'


def _number(value: float) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)


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

    Warns of values for old names, which are used, and for deprecated and unknown parameters.
    """
    given = node._parameter_overrides  # rclpy has no public way to them
    fields = dataclasses.fields(kind)
    for field in fields:
        default, old = field.default, field.metadata['formerly']
        if old in given:
            node.get_logger().warning(
                f'parameter {old} is now called {field.name}: use the new name'
            )
            default = given[old].value
        if field.metadata['deprecated'] and field.name in given:
            node.get_logger().warning(
                f'parameter {field.name} is not used any more: {field.metadata["deprecated"]}'
            )
        node.declare_parameter(
            field.name,
            default,
            ParameterDescriptor(
                name=field.name,
                description=field.metadata['description'],
                additional_constraints=constraint(field),
                dynamic_typing=True,  # so that a wrong type meets our message, not rclpy's
            ),
        )
    names = [field.name for field in fields]
    former = {field.metadata['formerly'] for field in fields}
    for name in given:
        if not node.has_parameter(name) and name not in former and not name.startswith(_FOREIGN):
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


def validate(kind: type[P], wanted: Sequence[Parameter]) -> SetParametersResult:
    """Check a change at run time; a refusal gives its reason. Other parameters are not ours."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
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
            return SetParametersResult(successful=False, reason=reason)
        try:
            check(field, item.value)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)
