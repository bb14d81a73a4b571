"""`gsc manifest`: list the files of a folder of weights, so that damage is noticed."""

import argparse
from pathlib import Path


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'manifest',
        help='write the manifest of a folder of weights',
        description='Writes sizes and hashes of a folder of weights into its manifest.json. '
        'Loading refuses files that differ from it. The fingerprint of frames is made of it, so '
        'that both ends need the same one.',
    )
    parser.add_argument('folder', type=Path)
    parser.add_argument('--model', default='gsc', help='name of the model (gsc)')
    parser.add_argument('--revision', default='', help='name of the revision')


def run(args: argparse.Namespace) -> int:
    """Write it."""
    from gsc_ros.models import manifest

    written = manifest.write(args.folder, args.model, args.revision)
    for name, entry in written.files.items():
        print(f'{entry.sha256}  {name}')
    return 0
