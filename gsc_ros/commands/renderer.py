"""The renderer on the command line: its name, and how a pretrained one is loaded and run."""

import argparse
import dataclasses
import sys
from typing import Any

from gsc_ros.codec.renderers import RendererOptions

_FIELDS = {field.name: field for field in dataclasses.fields(RendererOptions)}
_SWITCH = {'true': True, 'false': False}


def add_renderer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that draws images takes."""
    parser.add_argument(
        '--renderer',
        default='',
        help='deterministic, flow, or the folder or hub id of a diffusers pipeline '
        '(default: deterministic, and flow with steps)',
    )
    parser.add_argument(
        '--renderer-option',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help=f'of such a pipeline: {", ".join(name for name in _FIELDS if name != "model")}',
    )


def _value(name: str, text: str) -> Any:
    kind: type[Any] = type(getattr(RendererOptions, name))
    try:
        return _SWITCH[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = 'true or false' if kind is bool else f'a value of type {kind.__name__}'
        raise ValueError(f'--renderer-option {name}={text}: give {wanted}') from None


def renderer_of(args: argparse.Namespace) -> RendererOptions:
    """Return what the arguments ask for; raises ``ValueError`` for unknown options."""
    options: dict[str, Any] = {}
    for word in args.renderer_option:
        name, separator, text = word.partition('=')
        if not separator or name not in _FIELDS or name == 'model':
            names = ', '.join(name for name in _FIELDS if name != 'model')
            raise ValueError(f'--renderer-option {word}: give NAME=VALUE, NAME of {names}')
        options[name] = _value(name, text)
    made = RendererOptions(args.renderer, **options)
    if options and made.embedded:
        raise ValueError('--renderer-option is for a diffusers pipeline: give --renderer, too')
    return made


def note(args: argparse.Namespace, text: str) -> None:
    """Print what a load does where it does not mix with results."""
    print(f'gsc {args.command}: {text}', file=sys.stderr)
