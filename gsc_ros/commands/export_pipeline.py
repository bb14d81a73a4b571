"""`gsc export-pipeline`: the shipped flow as a folder that diffusers loads."""

import argparse
from pathlib import Path


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'export-pipeline', help='write the flow as a pipeline of diffusers'
    )
    parser.add_argument('folder', type=Path, help='a new folder')
    parser.add_argument('--weights', type=Path, help='folder of weights (default: the shipped)')


def run(args: argparse.Namespace) -> int:
    """Export."""
    from gsc_ros.codec.renderers import load_foundation

    folder = load_foundation('export').export(args.folder, args.weights)
    print(f'{folder}: draws with `--renderer {folder}`, and loads with diffusers')
    return 0
