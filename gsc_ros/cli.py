"""`gsc`: the codec and the link's tools on the command line."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from gsc_ros import __version__

COMMANDS = (
    'encode',
    'decode',
    'info',
    'train',
    'evaluate',
    'manifest',
    'export_pipeline',
    'link_budget',
    'key',
    'demo',
)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; every command describes itself in gsc_ros/commands."""
    parser = argparse.ArgumentParser(
        prog='gsc', description='Images in a few hundred bytes, and the links that carry them.'
    )
    parser.add_argument('--version', action='version', version=f'gsc {__version__}')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in COMMANDS:
        import_module(f'gsc_ros.commands.{name}').add_parser(subparsers)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; a mistake of the user's ends in one line and exit code 2."""
    args = build_parser().parse_args(words)
    module = import_module(f'gsc_ros.commands.{args.command.replace("-", "_")}')
    try:
        code: int = module.run(args)
    except (ValueError, OSError, ImportError) as error:
        print(f'gsc {args.command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == '__main__':
    sys.exit(main())
