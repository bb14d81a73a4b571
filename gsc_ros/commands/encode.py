"""`gsc encode`: an image to a file of so many bytes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gsc_ros.codec.backend import CAPTION_BYTES

if TYPE_CHECKING:
    from gsc_ros.models.pretrained import Options


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser('encode', help='encode an image to a byte budget')
    parser.add_argument('image', type=Path)
    parser.add_argument('-o', '--output', type=Path, required=True, help='the .gsc file')
    parser.add_argument('--budget', type=int, default=300, help='bytes, 40 or more (300)')
    parser.add_argument(
        '--depth',
        type=Path,
        help="depth of the robot's own sensor (16-bit PNG in mm, or .npy in m)",
    )
    parser.add_argument('--sequence', type=int, default=0, help='number of the frame (0)')
    parser.add_argument('--preset', default='gsc', help='which streams a frame has (gsc)')
    parser.add_argument(
        '--leave-out',
        type=words_of,
        default=(),
        metavar='NAMES',
        help='parts that it does without, as caption,residual; of preset mtgc also pseudo_words '
        'and planes (docs/codec.md)',
    )
    parser.add_argument(
        '--captioner',
        default='',
        help='what describes the image in free text (preset foundation): the folder of a model '
        'or owner/name@revision',
    )
    parser.add_argument(
        '--caption-bytes',
        type=int,
        default=CAPTION_BYTES,
        help=f'bytes of its caption at most ({CAPTION_BYTES})',
    )
    add_codec_arguments(parser)


def words_of(text: str) -> tuple[str, ...]:
    """Split a list of names at its commas."""
    return tuple(name.strip() for name in text.split(',') if name.strip())


def add_codec_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that loads a codec takes."""
    parser.add_argument(
        '--weights', help="folder of weights; 'random' for untrained ones, for tests"
    )
    parser.add_argument(
        '--device',
        default='auto',
        help='of the networks: auto (a GPU if there is one), cpu, cuda:1',
    )
    parser.add_argument(
        '--perception',
        default='embedded',
        help='who sees: embedded, or depth=FOLDER,classes=owner/name@revision,objects=FOLDER',
    )
    parser.add_argument(
        '--offline',
        '--perception-offline',
        action='store_true',
        help='take pretrained models from this machine, and never ask the hub',
    )


def models_of(args: argparse.Namespace) -> 'Options':
    """Return how foundation models are loaded."""
    from gsc_ros.codec.device import resolve
    from gsc_ros.models.pretrained import Options

    def tell(text: str) -> None:
        print(f'gsc {args.command}: {text}', file=sys.stderr)

    return Options(str(resolve(args.device)), offline=args.offline, report=tell, note=tell)


def run(args: argparse.Namespace) -> int:
    """Encode, and print size and caption."""
    from gsc_ros.codec.backend import load_encoder
    from gsc_ros.commands.images import read_depth
    from gsc_ros.image_files import read_rgb

    rgb = read_rgb(args.image, lambda text: print(f'gsc encode: {text}', file=sys.stderr))
    depth = read_depth(args.depth) if args.depth else None
    encoder = load_encoder(
        args.preset,
        args.weights,
        device=args.device,
        perception=args.perception,
        models=models_of(args),
        captioner=args.captioner,
        caption_bytes=args.caption_bytes,
        leave_out=args.leave_out,
    )
    frame = encoder.pack(encoder.analyse(rgb, depth), args.budget, args.sequence)
    args.output.write_bytes(frame.data)
    height, width = rgb.shape[:2]
    size = len(frame.data)
    print(f'{args.output}: {size} bytes, {8 * size / (width * height):.4f} bpp, {frame.caption}')
    return 0
