"""`gsc train STAGE --data DIR`: make training frames, pack a corpus, train the networks."""

import argparse
from pathlib import Path

from gsc_ros.sim import SCENES

STAGES = (
    'simulated', 'pack', 'kinds', 'perception', 'autoencoder', 'tokens', 'generator', 'flow',
    'words', 'prior', 'captions', 'entropy', 'objects', 'trust', 'hazards', 'mtgc',
)  # fmt: skip


def add_parser(subparsers: 'argparse._SubParsersAction[argparse.ArgumentParser]') -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        'train',
        help='train a stage of the codec',
        description='Train a stage; the stages build on each other in the order they are listed. '
        'A run that was stopped is resumed from the checkpoint in the output folder.',
    )
    parser.add_argument('stage', choices=STAGES)
    parser.add_argument(
        '--data', type=Path,
        help='folder with train/manifest.csv (images and labels), or any folder of images '
        '(all stages but `simulated`); of `captions`, a text file with a caption a line',
    )  # fmt: skip
    parser.add_argument(
        '--simulated', type=Path,
        help='folder of simulator frames with true labels, as stage `simulated` makes them',
    )  # fmt: skip
    parser.add_argument(
        '--scenes', type=lambda text: tuple(text.split(',')), default=SCENES,
        help='worlds to make frames of (simulated; default: all, ' + ','.join(SCENES) + ')',
    )  # fmt: skip
    parser.add_argument(
        '--worlds', type=int, default=40, help='worlds of each, of six frames (simulated; 40)'
    )
    parser.add_argument(
        '--size', type=_size, default=(480, 360), help='of the frames (simulated; 480x360)'
    )
    parser.add_argument(
        '--critics', type=Path,
        help='Python file with the networks that judge images (autoencoder, tokens, generator, '
        'flow, words); see '
        'gsc_ros/training/critics.py',
    )  # fmt: skip
    parser.add_argument(
        '--kinds', type=Path,
        help='CSV of columns file and kind: the kinds of scene of images in --data (kinds)',
    )  # fmt: skip
    parser.add_argument(
        '--backbone', type=Path,
        help='published weights of EfficientNet-Lite0, .pth or .safetensors (perception; default: '
        'those of the shipped network)',
    )  # fmt: skip
    parser.add_argument(
        '--vae',
        help='pretrained autoencoder (entropy): folder or hub id of diffusers, or a Python file '
        'with load_vae(device); of the hub also owner/name@revision',
    )
    parser.add_argument(
        '--base',
        default='',
        help='pretrained model (mtgc): folder or hub id of a diffusers pipeline',
    )
    parser.add_argument(
        '--base-option', action='append', default=[], metavar='NAME=VALUE',
        help='how it is loaded, as --renderer-option of gsc decode (mtgc)',
    )  # fmt: skip
    parser.add_argument(
        '--lora-rank',
        type=int,
        default=0,
        help='train LoRA weights of the base along, of this rank (mtgc; 0: it stays as it is)',
    )
    parser.add_argument(
        '--weights', type=Path, help='folder of the earlier stages (default: the shipped weights)'
    )
    parser.add_argument(
        '--output', type=Path, default=Path('training'), help='default: ./training'
    )
    parser.add_argument(
        '--megabytes', type=float, default=60.0, help='size of a packed corpus (`pack`; 60)'
    )
    _add_settings(parser)


def _size(text: str) -> tuple[int, int]:
    """Read a size such as 480x360."""
    width, height = text.split('x')
    return int(width), int(height)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Describe how long, how fast and where to train."""
    parser.add_argument('--steps', type=int, default=100_000)
    parser.add_argument('--minutes', type=float, default=120.0, help='stop after so long (120)')
    parser.add_argument('--rate', type=float, help='learning rate (a default per stage)')
    parser.add_argument(
        '--warmup', type=int, default=200, help='steps in which the rate rises from zero (200)'
    )
    parser.add_argument(
        '--muon', action='store_true',
        help='step along orthogonal matrices where there are kernels (torch 2.9); AdamW else',
    )  # fmt: skip
    parser.add_argument(
        '--receiver-only', action='store_true',
        help='train only what the receiver runs (tokens): what is sent stays as it is',
    )  # fmt: skip
    parser.add_argument(
        '--pattern', type=float, default=0.0, metavar='SHARE',
        help='how hard a loss on the pattern of the decoder\'s grid may pull, as a share of the '
        'likeness (tokens, generator; 0: not at all, which is the default)',
    )  # fmt: skip
    parser.add_argument(
        '--realism', action='store_true',
        help='train a critic along that tells decoded images from originals (tokens)',
    )  # fmt: skip
    parser.add_argument('--batch', type=int, help='images a step (a default per stage)')
    parser.add_argument('--threads', type=int)
    parser.add_argument(
        '--device', default='auto', help='cpu, cuda (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--bfloat16', action=argparse.BooleanOptionalAction,
        help='compute in bfloat16 (default: where it is fast: GPUs, CPUs with units for it)',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0)


_RATES = {'perception': 2e-3, 'autoencoder': 5e-4, 'tokens': 6e-4, 'generator': 2e-4,
          'flow': 6e-4, 'words': 1e-3, 'prior': 3e-3, 'entropy': 0.02, 'hazards': 3e-3,
          'mtgc': 1e-4}  # fmt: skip
# Stages that need no --data where there are simulated frames.
_SIMULATED = ('pack', 'hazards')


_OF_STAGES = {'receiver_only': ('tokens',), 'pattern': ('tokens', 'generator'),
              'realism': ('tokens',), 'vae': ('entropy',), 'base': ('mtgc',),
              'base_option': ('mtgc',), 'lora_rank': ('mtgc',)}  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the stage."""
    from importlib import import_module

    from gsc_ros.models.weights import FOLDER
    from gsc_ros.training import processes
    from gsc_ros.training.loop import Settings

    if args.stage == 'simulated':
        from gsc_ros.training.simulated import export

        folder = args.output / 'simulated'
        print(export(folder, args.worlds, args.seed, args.scenes, args.size))
        return 0
    for name, stages in _OF_STAGES.items():
        if getattr(args, name) and args.stage not in stages:
            option = name.replace('_', '-')
            raise ValueError(f'stage {args.stage} has no --{option}: {" and ".join(stages)} has')
    if args.data is None and not (args.stage in _SIMULATED and args.simulated):
        raise ValueError(f'stage {args.stage} needs --data <folder of images>')
    if args.stage == 'pack':
        from gsc_ros.training.pack import export as pack

        print(pack(args.data, args.output / 'pack', args.simulated, args.megabytes))
        return 0
    if args.stage == 'kinds':
        from gsc_ros.training.kinds import train as train_kinds

        if args.kinds is None:
            raise ValueError('stage kinds needs --kinds <CSV of file and kind>')
        print(train_kinds(args.data, args.output / 'kinds', args.kinds, args.weights, args.seed))
        return 0
    if args.stage == 'trust':
        from gsc_ros.training.trust import train as train_trust

        print(
            train_trust(
                [args.data], args.output / 'trust', args.simulated, args.weights, seed=args.seed
            )
        )
        return 0
    if args.stage == 'objects':
        from gsc_ros.training.objects import train as train_objects

        print(train_objects([args.data], args.output / 'objects', args.weights))
        return 0
    if args.stage == 'captions':
        from gsc_ros.training.captions import train as count

        print(count(args.data, args.output / 'captions'))
        return 0
    settings = Settings(
        output=args.output / args.stage,
        steps=args.steps,
        minutes=args.minutes,
        learning_rate=args.rate or _RATES[args.stage],
        warmup=args.warmup,
        threads=args.threads,
        device=args.device,
        bfloat16=args.bfloat16,
        muon=args.muon,
    )
    # Each of several processes draws images of its own.
    seed = args.seed + processes.join()
    options: dict[str, object] = {'simulated': args.simulated, 'seed': seed}
    if args.stage == 'entropy':
        from gsc_ros.codec.foundation.vae_source import VaeSource

        options = {'vae': VaeSource.parse(args.vae or ''), 'seed': args.seed}
    if args.stage == 'mtgc':
        from gsc_ros.commands.renderer import options_of

        options['base'] = options_of(args.base, args.base_option, 'base')
        options['lora_rank'] = args.lora_rank
    if args.pattern:
        options['pattern'] = args.pattern
    for name in ('receiver_only', 'realism'):
        if getattr(args, name):
            options[name] = True
    if args.batch:
        options['batch'] = args.batch
    if args.stage == 'perception':
        options['backbone'] = args.backbone
    if args.stage in ('autoencoder', 'tokens', 'generator', 'flow', 'words'):
        options['critics_file'] = args.critics
    if args.stage in ('tokens', 'generator', 'flow', 'words', 'prior', 'hazards', 'mtgc'):
        options['weights'] = args.weights or FOLDER
    path = import_module(f'gsc_ros.training.{args.stage}').train(args.data, settings, **options)
    print(path)
    return 0
