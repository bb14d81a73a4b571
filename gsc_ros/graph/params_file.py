"""What a file of parameters states for the nodes of a graph."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_PARAMETERS = 'ros__parameters'


def stated(file: Path, nodes: Sequence[str], parameter: str) -> dict[str, str]:
    """
    Return the texts of a parameter that a file states for nodes, without those that are empty.

    ``nodes``: namespaces and names, as ``/rover/link``. Raises ``ValueError`` for a file that is
    not of parameters.
    """
    try:
        entries = [
            (is_for, dict(parameters))
            for is_for, parameters in _entries(yaml.safe_load(file.read_text()) or {})
        ]
    except (yaml.YAMLError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f'params_file:={file} is no file of parameters: {error}') from None
    found: dict[str, str] = {}
    for is_for, parameters in entries:  # the last that matches a node holds
        text = str(parameters.get(parameter, '')).strip()
        found |= {node: text for node in nodes if parameter in parameters and is_for(node)}
    return {node: found[node] for node in nodes if found.get(node)}


def _entries(
    tree: Mapping[str, Any], above: str = ''
) -> Iterator[tuple[Callable[[str], object], Mapping[str, Any]]]:
    """Yield whether a part of a file is for a node, and its parameters."""
    for key, value in tree.items():
        if key == _PARAMETERS:
            parts = [part for part in above.split('/') if part]
            wild = {'**': '(/[^/]+)*', '*': '/[^/]+'}
            pattern = ''.join(wild.get(part, '/' + re.escape(part)) for part in parts)
            yield re.compile(pattern).fullmatch, value
        elif isinstance(value, dict):
            yield from _entries(value, f'{above}/{key}')
