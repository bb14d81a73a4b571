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
        '(default: flow)',
    )
    parser.add_argument(
        '--renderer-option',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help=f'of such a pipeline: {", ".join(name for name in _FIELDS if name != "model")}',
    )


def _value(option: str, name: str, text: str) -> Any:
    kind: type[Any] = type(getattr(RendererOptions, name))
    try:
        return _SWITCH[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = 'true or false' if kind is bool else f'a value of type {kind.__name__}'
        raise ValueError(f'{option} {name}={text}: give {wanted}') from None


def renderer_of(args: argparse.Namespace) -> RendererOptions:
    """Return what the arguments ask for; raises ``ValueError`` for unknown options."""
    return options_of(args.renderer, args.renderer_option, 'renderer')


def options_of(model: str, words: list[str], name_of_option: str) -> RendererOptions:
    """Return a renderer of words NAME=VALUE; raises ``ValueError`` naming the command's option."""
    option, options = f'--{name_of_option}-option', {}
    for word in words:
        name, separator, text = word.partition('=')
        if not separator or name not in _FIELDS or name == 'model':
            names = ', '.join(name for name in _FIELDS if name != 'model')
            raise ValueError(f'{option} {word}: give NAME=VALUE, NAME of {names}')
        options[name] = _value(option, name, text)
    made = RendererOptions(model, **options)
    if options and made.embedded:
        raise ValueError(f'{option} is for a diffusers pipeline: give --{name_of_option}, too')
    return made


def note(args: argparse.Namespace, text: str) -> None:
    """Print what a load does where it does not mix with results."""
    print(f'gsc {args.command}: {text}', file=sys.stderr)
