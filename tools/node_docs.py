"""
Writes docs/nodes.md: topics, parameters and launch arguments of every node.

Parameters come from the nodes' dataclasses, launch arguments from ``gsc_ros/graph/``, topics
from ``node_topics.py``.

    python -m tools.node_docs           writes the file
    python -m tools.node_docs --check   fails where the file is out of date
"""

import dataclasses
import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from gsc_ros.graph import GRAPHS
from gsc_ros.ros.parameters import constraint
from tools.node_topics import NODES, Interface, Topic

FILE = Path(__file__).parent.parent / 'docs/nodes.md'
UNITS = {
    '_s': 's',
    '_bps': 'bit/s',
    '_bytes': 'B',
    '_deg': 'degrees',
    '_percent': '%',
    '_db': 'dB',
    '_m': 'm',
}
OTHER_UNITS = {
    'rate': 'Hz', 'max_rate': 'Hz', 'min_rate': 'Hz', 'width': 'pixels', 'height': 'pixels',
    'mtu': 'B', 'baud': 'baud', 'burst': 'datagrams', 'max_linear': 'm/s', 'max_angular': 'rad/s',
    'linear_ramp': 'm/s2', 'angular_ramp': 'rad/s2', 'command_rate': 'Hz',
}  # fmt: skip


def parameters_of(interface: Interface) -> tuple[dataclasses.Field, ...]:
    """Return the fields of a node's parameter dataclass."""
    module, name = interface.path.split(':')
    return dataclasses.fields(getattr(importlib.import_module(module), name).Parameters)


def quality(qos: QoSProfile) -> str:
    """Describe a quality of service, e.g. ``reliable, latched, 1``."""
    reliable = qos.reliability == ReliabilityPolicy.RELIABLE
    words = ['reliable' if reliable else 'best effort']
    if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        words.append('latched')
    return ', '.join([*words, str(qos.depth)])


def unit(name: str) -> str:
    """Return the unit of a parameter, by its name; empty for none."""
    if name in OTHER_UNITS:
        return OTHER_UNITS[name]
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), '')


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    head = list(head)
    yield f'| {" | ".join(head)} |'
    yield '|' + '---|' * len(head)
    for row in rows:
        yield '| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |'
    yield ''


def topic_table(listed: tuple[Topic, ...]) -> Iterator[str]:
    """Yield the lines of a table of topics."""
    rows = (
        (
            f'`{topic.name}`',
            topic.kind.replace('/msg/', '/'),
            quality(topic.qos),
            topic.text + (f' (only: {topic.when})' if topic.when else ''),
        )
        for topic in listed
    )
    return table(('topic', 'type', 'QoS, depth', 'content'), rows)


def parameter_table(fields: tuple[dataclasses.Field, ...]) -> Iterator[str]:
    """Yield the lines of a table of parameters."""
    rows = []
    for field in fields:
        meta = field.metadata
        default = str(field.default).lower() if type(field.default) is bool else field.default
        kind = type(field.default).__name__
        limits = '' if constraint(field) == f'any {kind}' else constraint(field)
        notes = [f'{meta["description"]}.']
        if meta['formerly']:
            notes.append(f'Formerly `{meta["formerly"]}`.')
        if meta['deprecated']:
            notes.append(f'Deprecated: {meta["deprecated"]}.')
        shown = '' if default == '' else f'`{default}`'
        changes = 'start' if meta['read_only'] else 'any time'
        rows.append(
            (f'`{field.name}`', kind, shown, limits, unit(field.name), changes, ' '.join(notes))
        )
    head = ('parameter', 'type', 'default', 'values', 'unit', 'set at', 'description')
    return table(head, rows)


def argument_table(name: str) -> Iterator[str]:
    """Yield the lines of a table of the arguments of a launch file."""
    graph = GRAPHS[name]
    rows = (
        (
            f'`{argument.name}`',
            f'`{argument.default}`' if argument.default else '',
            graph.describe(argument) + '.',
        )
        for argument in graph.arguments
    )
    return table(('argument', 'default', 'description'), rows)


def document() -> str:
    """Return the text of docs/nodes.md."""
    lines = [
        '# Nodes',
        '',
        '<!-- Written by `python -m tools.node_docs`; do not edit. -->',
        '',
        'Topic names are relative and can be remapped. All nodes but `guard` are lifecycle',
        'nodes. They configure and activate themselves unless `autostart` is false. QoS:',
        'reliability, latched for transient local durability, depth of the queue. Parameters',
        'set at `start` are fixed while a node is configured, others can be set at any time.',
        '',
    ]
    for name, interface in NODES.items():
        lines += [f'## {name}', '', interface.text, '']
        if interface.subscribes:
            lines += ['Subscribes:', '', *topic_table(interface.subscribes)]
        lines += ['Publishes:', '', *topic_table(interface.publishes)]
        lines += ['Parameters:', '', *parameter_table(parameters_of(interface))]
    lines += ['## Launch arguments', '']
    lines += ['Arguments without a default leave parameters to the file `params_file`.', '']
    for name, graph in GRAPHS.items():
        lines += [f'### {name}.launch.py', '', f'Starts {graph.title}.', '', *argument_table(name)]
    return '\n'.join(lines).rstrip() + '\n'


def main(words: list[str]) -> int:
    """Write the file, or check it; returns the exit code."""
    text = document()
    if '--check' not in words:
        FILE.write_text(text)
        return 0
    if FILE.read_text() == text:
        return 0
    print(f'{FILE} is out of date: run `python -m tools.node_docs`', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
