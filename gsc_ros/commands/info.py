"""`gsc info`: what a .gsc file holds."""

import argparse
from pathlib import Path

from gsc_ros.commands.decode import add_decoder_arguments, load


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser('info', help='show what a .gsc file holds')
    parser.add_argument('file', type=Path)
    parser.add_argument(
        '--truncated', action='store_true', help='accept a file whose end is missing'
    )
    add_decoder_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print header, caption and streams."""
    from gsc_ros.codec import bitstream
    from gsc_ros.codec.kind import SCALES

    data = args.file.read_bytes()
    frame = load(args, data).read(data, args.truncated)
    header, symbols = frame.header, frame.symbols
    print(f'size         {header.width}x{header.height}')
    print(f'bytes        {len(data)} ({8 * len(data) / header.width / header.height:.4f} bpp)')
    print(f'preset       {header.preset}, weights {header.fingerprint:04x}')
    print(f'sequence     {header.sequence} ({"delta" if header.frame_type else "key"} frame)')
    print(f'median depth {bitstream.depth_of_code(header.depth_code):.1f} m')
    print(f'caption      {symbols.description or "not received"}')
    print(f'kind         {symbols.kind or "not told"}')
    print(f'depth scale  {SCALES[symbols.scale]}')
    if symbols.notes and symbols.notes.sky_doubtful:
        print('sky          not certain: no depth of +Inf')
    print(f'header       {8 * header.bytes} bits')
    for number, content in frame.sections.items():
        name = getattr(number, 'name', f'section {number}').lower()
        print(f'{name:12} {len(content)} bytes{_meaning(number, content)}')
    for name, bits in symbols.bits.items():
        print(f'{name:12} {bits:.0f} bits')
    for name in symbols.planes:
        received = symbols.received(name)
        print(f'{name:12} {int(received.sum())} of {received.size} cells received')
    return 0


def _meaning(number: int, content: bytes) -> str:
    """Return in words what a section holds, where that is known here; else nothing."""
    from gsc_ros.codec.bitstream import Section
    from gsc_ros.codec.pose import Pose

    if number != Section.POSE:
        return ''
    try:
        pose = Pose.unpack(content)
    except ValueError as error:
        return f', {error}'
    x, y, z = pose.transform.position
    turn = ', '.join(f'{q:.3f}' for q in pose.transform.orientation)
    return f': {x:.2f}, {y:.2f}, {z:.2f} m, ({turn}), accuracy {pose.accuracy.name.lower()}'
