"""`gsc key`: make the key of a link."""

import argparse
from pathlib import Path


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser('key', help='make a key file that both ends of a link share')
    parser.add_argument('file', type=Path, nargs='?', help='default: that of simulated links')
    parser.add_argument(
        '--line', action='store_true', help='print a new line for a key file, to change keys'
    )


def run(args: argparse.Namespace) -> int:
    """Make the file, or print a line of one."""
    from gsc_ros.link.datagrams import key_file

    if args.line:
        print(key_file.new_key())
        return 0
    path = args.file or key_file.default_path()
    key_file.create(path)
    print(
        f'{path}: made. Copy it and {path.name}.counts to the other end of the link, by a way '
        'that nobody overhears.'
    )
    return 0
