"""
Time and memory of pretrained renderers at their real size, with random weights.

``python -m benchmarks.renderers --device cuda`` prints a row for each family and size: ms a frame,
of one and of several frames at a time, and GB at the peak. Latency does not depend on the values
of weights. Text encoders are left out: a caption is encoded once, and then known. ``--count``
counts parameters and operations only, on any machine, and what they take at ``--tflops`` a second.
"""

import argparse
import inspect
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import diffusers
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from gsc_ros.codec import FrameDecoder, RendererOptions, SemanticCodec
from gsc_ros.codec.foundation import families
from gsc_ros.codec.foundation.adapter import PipelineRenderer
from gsc_ros.codec.networks import Networks

TOKENS = 128  # of a prompt


def _kl(**options: Any) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=('DownEncoderBlock2D',) * 4, up_block_types=('UpDecoderBlock2D',) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16,
        scaling_factor=0.36, shift_factor=0.12, **options,
    )  # fmt: skip


def _flux() -> tuple[Any, Any, tuple[Any, ...]]:
    net = diffusers.FluxTransformer2DModel()
    prompt = torch.randn(1, TOKENS, 4096), torch.randn(1, 768)
    return diffusers.FluxPipeline, (net, _kl()), prompt


def _flux2() -> tuple[Any, Any, tuple[Any, ...]]:
    net = diffusers.Flux2Transformer2DModel(
        num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680,
        guidance_embeds=False,
    )  # fmt: skip
    ids = torch.zeros(1, TOKENS, 4)
    ids[..., 3] = torch.arange(TOKENS)
    parts = net, diffusers.AutoencoderKLFlux2()
    return diffusers.Flux2KleinPipeline, parts, (torch.randn(1, TOKENS, 7680), ids)


def _sd3() -> tuple[Any, Any, tuple[Any, ...]]:
    net = diffusers.SD3Transformer2DModel(
        sample_size=128, num_layers=24, num_attention_heads=24, caption_projection_dim=1536,
        joint_attention_dim=4096, pooled_projection_dim=2048, out_channels=16,
        pos_embed_max_size=384, dual_attention_layers=tuple(range(13)), qk_norm='rms_norm',
    )  # fmt: skip
    prompt = torch.randn(1, TOKENS + 77, 4096), torch.randn(1, 2048)
    return diffusers.StableDiffusion3Pipeline, (net, _kl()), prompt


def _sana() -> tuple[Any, Any, tuple[Any, ...]]:
    blocks = ('ResBlock',) * 3 + ('EfficientViTBlock',) * 3
    scales, widths = ((),) * 3 + ((5,),) * 3, (128, 256, 512, 512, 1024, 1024)
    vae = diffusers.AutoencoderDC(
        latent_channels=32, attention_head_dim=32, scaling_factor=0.41,
        encoder_block_types=blocks, decoder_block_types=blocks,
        encoder_block_out_channels=widths, decoder_block_out_channels=widths,
        encoder_layers_per_block=(2, 2, 2, 3, 3, 3), decoder_layers_per_block=(3,) * 6,
        encoder_qkv_multiscales=scales, decoder_qkv_multiscales=scales,
        downsample_block_type='Conv', upsample_block_type='interpolate',
    )  # fmt: skip
    prompt = torch.randn(1, TOKENS, 2304), torch.ones(1, TOKENS, dtype=torch.int64)
    return diffusers.SanaPipeline, (diffusers.SanaTransformer2DModel(), vae), prompt


def _z_image() -> tuple[Any, Any, tuple[Any, ...]]:
    net = diffusers.ZImageTransformer2DModel()
    return diffusers.ZImagePipeline, (net, _kl()), (torch.randn(TOKENS, 2560),)


MAKERS: dict[str, Callable[[], tuple[Any, Any, tuple[Any, ...]]]] = {
    'FLUX.1': _flux,
    'FLUX.2-klein': _flux2,
    'SD3.5': _sd3,
    'SANA': _sana,
    'Z-Image': _z_image,
}


class Known(dict[str, Any]):
    """Every text has the same prompt."""

    def __init__(self, prompt: tuple[Any, ...]) -> None:
        super().__init__()
        self.prompt = prompt

    def __contains__(self, text: object) -> bool:
        return True

    def __missing__(self, text: str) -> tuple[Any, ...]:
        return self.prompt


def count(name: str) -> tuple[int, int]:
    """Count the parameters of a family's transformer and VAE, without memory for them."""
    with torch.device('meta'):
        _, parts, _ = MAKERS[name]()
    transformer, vae = (sum(p.numel() for p in part.parameters()) for part in parts)
    return transformer, vae


def operations(name: str, side: int) -> tuple[float, float, float]:
    """
    Count the operations of an image of ``side`` pixels, in 1e12: two for a product that is added.

    Returns those of the transformer, of the VAE's encoder and of its decoder, once each.
    """
    with torch.device('meta'):
        kind, (transformer, vae), prompt = MAKERS[name]()
        prompt = tuple(part.to('meta') for part in prompt)
        image, sigma = torch.zeros(1, 3, side, side), torch.ones(1)
        family = families.find(kind.__name__)
        assert family is not None
        pipe: Any = SimpleNamespace(transformer=transformer, vae=vae)
        scene = families.Scene((), cast(Any, None), image)
        counts = []
        with torch.no_grad():
            z = family.encode(pipe, vae, image)
            call = families.Call(scene, z, sigma, [prompt], 1.0)
            for ask in (
                lambda: family.velocity(pipe, call),
                lambda: family.encode(pipe, vae, image),
                lambda: family.decode(pipe, vae, z, scene),
            ):
                with FlopCounterMode(display=False) as counter:
                    ask()
                counts.append(counter.get_total_flops() / 1e12)
    return counts[0], counts[1], counts[2]


def estimate(name: str, side: int, tflops: float) -> str:
    """Estimate the time of a frame in the family's steps, with the pull; returns a row."""
    transformer, encoder, decoder = operations(name, side)
    family = next(family for family in families.FAMILIES if family.name == name)
    passes = 2 if family.two_passes and family.guidance > 1 else 1
    # A step decodes once and encodes two images; the start encodes one, the end decodes one.
    step = passes * transformer + decoder + 2 * encoder
    total = family.steps * step + encoder + decoder
    return (
        f'| {name} | {side} | {transformer:.2f} | {encoder:.2f} | {decoder:.2f} | {family.steps} '
        f'| {total:.0f} | {1000 * total / tflops:.0f} |'
    )


def make(name: str, device: str) -> PipelineRenderer:
    """Make the renderer of a family on a device, in bfloat16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            kind, (transformer, vae), prompt = MAKERS[name]()
    finally:
        torch.set_default_dtype(before)
    for net in (transformer, vae):
        net.eval().requires_grad_(False)
        for parameter in net.parameters():  # some are not initialised
            parameter.normal_(0, 0.02)
    parts = inspect.signature(kind.__init__).parameters
    texts = {part: None for part in parts if part.startswith(('text_encoder', 'tokenizer'))}
    shift = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = kind(scheduler=shift, transformer=transformer, vae=vae, **texts).to(device)
    family = families.find(kind.__name__)
    assert family is not None
    renderer = PipelineRenderer(pipe, family, RendererOptions(name, guidance=1.0))
    renderer._known = Known(prompt)
    return renderer


def measure(name: str, device: str, side: int, batch: int, steps: int, repeats: int) -> str:
    """Time a family; returns a row of the table."""
    networks = Networks.load(device=device)
    codec = SemanticCodec.of(networks)
    rng = np.random.default_rng(0)
    rgb = np.kron(
        rng.integers(0, 256, (side // 32, side // 32, 3), np.uint8), np.ones((32, 32, 1), np.uint8)
    )
    frame = codec.read(codec.encode(rgb, 300).data)
    assert frame.symbols.residual is None, 'such a frame is always drawn deterministically'
    ground = FrameDecoder(networks.ground, renderer=make(name, device))
    times = {}
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
    for frames in (1, batch):
        ground.render([frame] * frames, steps)
        began = time.perf_counter()
        for _ in range(repeats):
            ground.render([frame] * frames, steps)
        times[frames] = 1000 * (time.perf_counter() - began) / repeats / frames
    peak = 0.0 if device == 'cpu' else torch.cuda.max_memory_allocated() / 1e9
    return f'| {name} | {side} | {steps} | {times[1]:.0f} | {times[batch]:.0f} | {peak:.1f} |'


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--family', nargs='+', default=list(MAKERS), choices=list(MAKERS))
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--side', nargs='+', type=int, default=[512, 1024])
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--steps', type=int, default=4)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--count', action='store_true', help='count, and measure nothing')
    parser.add_argument(
        '--tflops', type=float, default=100.0, help='of --count: operations a second, 1e12 (100)'
    )
    args = parser.parse_args()
    if args.count:
        print('| family | transformer, M | VAE, M |\n|---|---|---|')
        for name in args.family:
            transformer, vae = (n / 1e6 for n in count(name))
            print(f'| {name} | {transformer:.0f} | {vae:.0f} |')
        print('\n| family | side | transformer, 1e12 | encoder | decoder | steps | a frame | ms |')
        print('|---|---|---|---|---|---|---|---|')
        for name in args.family:
            for side in args.side:
                print(estimate(name, side, args.tflops), flush=True)
        return
    print(f'| family | side | steps | ms, 1 frame | ms a frame of {args.batch} | GB |')
    print('|---|---|---|---|---|---|')
    for name in args.family:
        for side in args.side:
            print(
                measure(name, args.device, side, args.batch, args.steps, args.repeats), flush=True
            )


if __name__ == '__main__':
    main()
