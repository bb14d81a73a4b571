"""`gsc decode`: a .gsc file to image, depth, segmentation and trust."""

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gsc_ros.commands.encode import add_codec_arguments, models_of
from gsc_ros.commands.renderer import add_renderer_arguments, note, renderer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gsc_ros.codec import DecodedFrame
    from gsc_ros.codec.backend import DecoderBackend
    from gsc_ros.codec.renderers import Renderer


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser('decode', help='decode a .gsc file')
    parser.add_argument('file', type=Path)
    parser.add_argument('-o', '--output', type=Path, required=True, help='the image')
    parser.add_argument('--depth', type=Path, help='16-bit PNG in mm (0 unknown), or .npy in m')
    parser.add_argument('--segmentation', type=Path, help='PNG of class ids, 255 unlabelled')
    parser.add_argument('--segmentation-color', type=Path, help='the same in colours')
    parser.add_argument('--trust', type=Path, help='PNG: probability, 255 for 1; 0 generated')
    parser.add_argument('--received', type=Path, help='PNG: 255 sent, 128 predicted, 0 generated')
    parser.add_argument('--objects', type=Path, help='JSON: what the robot saw, as sent')
    parser.add_argument('--steps', type=int, help='of the renderer; 0: deterministic')
    add_renderer_arguments(parser)
    parser.add_argument(
        '--truncated', action='store_true', help='accept a file whose end is missing'
    )
    add_decoder_arguments(parser)


def add_decoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that reads a frame takes."""
    add_codec_arguments(parser)
    parser.add_argument('--preset', help=argparse.SUPPRESS)


def load(
    args: argparse.Namespace, data: bytes, renderer: 'Renderer | None' = None
) -> 'DecoderBackend':
    """Load the decoder of a frame's preset."""
    from gsc_ros.codec import bitstream
    from gsc_ros.codec.backend import load_decoder

    if args.preset:
        print(f'gsc {args.command}: --preset has no effect: the frame has it', file=sys.stderr)
    preset = bitstream.read_header(data).preset
    try:
        return load_decoder(
            preset,
            args.weights,
            device=args.device,
            renderer=renderer or '',
            perception=args.perception,
            models=models_of(args),
        )
    except FileNotFoundError as error:
        if not args.weights:
            raise
        # They may be those of another preset.
        raise FileNotFoundError(
            f'the frame is of preset {preset!r}, --weights {args.weights} may be of another: '
            f'{error}'
        ) from error


def _map(array: 'NDArray | None', name: str, frame: 'DecodedFrame') -> 'NDArray':
    if array is None:
        raise ValueError(f'frames of preset {frame.header.preset!r} have no {name}')
    return array


def _objects(frame: 'DecodedFrame') -> dict[str, object]:
    """Return the objects of a frame; their boxes are in pixels of its image."""
    from gsc_ros.codec.objects import listed

    return listed(frame.objects, (frame.header.width, frame.header.height))


def run(args: argparse.Namespace) -> int:
    """Decode and write what was asked for."""
    from gsc_ros.codec import renderers
    from gsc_ros.commands.images import write_depth, write_exact, write_rgb
    from gsc_ros.labels import colourise

    data, wanted = args.file.read_bytes(), renderer_of(args)
    wanted = replace(wanted, offline=wanted.offline or args.offline)
    renderer = None
    if wanted.model:
        tell = partial(note, args)
        renderer = renderers.load_or_fall_back(wanted, args.device, tell, tell)
    decoder = load(args, data, renderer)
    (frame,) = decoder.render([decoder.read(data, args.truncated)], args.steps)
    write_rgb(args.output, frame.rgb)
    if args.depth:
        write_depth(args.depth, _map(frame.depth, 'depth', frame))
    if args.segmentation:
        write_exact(args.segmentation, _map(frame.segmentation, 'segmentation', frame))
    if args.segmentation_color:
        classes = _map(frame.segmentation, 'segmentation', frame)
        write_rgb(args.segmentation_color, colourise(classes))
    if args.trust:
        write_exact(args.trust, _map(frame.trust, 'trust', frame))
    if args.received:
        write_exact(args.received, _map(frame.received, 'received', frame))
    if args.objects:
        args.objects.write_text(json.dumps(_objects(frame), indent=1) + '\n')
    summary = f'{frame.header.width}x{frame.header.height}, {frame.caption}'
    if frame.received is not None:
        summary += f'; {100 * (frame.received == 255).mean():.0f} % of the pixels were sent'
    print(f'{args.output}: {summary}')
    return 0
