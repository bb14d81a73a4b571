"""
Stage `mtgc`: MTGC's parts around a pretrained flow model of diffusers, on a GPU.

The base stays as it is, but for LoRA weights where they are asked for. Frames are coded and read
as on air, at budgets of 60 to 1,200 bytes, so that the parts learn from what a ground station has.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gsc_ros.codec import SemanticCodec
from gsc_ros.codec.networks import Networks
from gsc_ros.codec.renderers import RendererOptions, load_foundation
from gsc_ros.codec.types import ReceivedFrame
from gsc_ros.training import corpus, loop
from gsc_ros.training.crops import Crops

SIZE = 512, 384  # of the images, multiples of 64
BUDGETS = 60, 1200  # bytes, drawn evenly in their logarithm
TEXT_LOST = 0.1  # share of empty prompts, for guidance without a classifier
_LORA_LAYERS = ['to_q', 'to_k', 'to_v', 'to_out.0']


class Frames:
    """Draws images, and what a ground station has of their frames."""

    def __init__(
        self, data: Path, simulated: Path | None, codec: SemanticCodec, size: tuple[int, int],
        batch: int, seed: int, device: torch.device,
    ) -> None:  # fmt: skip
        samples = corpus.load(data, simulated=simulated)
        self.crops, self.codec = Crops(samples, size, device, seed), codec
        self.count, self.batch = len(samples), batch

    def sample(self) -> tuple[Tensor, list[ReceivedFrame]]:
        """Return images float32 (N, 3, h, w) in [-1, 1] and their frames."""
        rng = self.crops.rng
        x, *_ = self.crops.cut(rng.choice(self.count, self.batch))
        images = (x.permute(0, 2, 3, 1) * 127.5 + 127.5).round().byte().cpu().numpy()
        low, high = np.log(BUDGETS)
        budgets = np.exp(rng.uniform(low, high, len(x))).astype(int).tolist()
        data = [self.codec.encode(rgb, n).data for rgb, n in zip(images, budgets, strict=True)]
        return x, [self.codec.read(one) for one in data]


def with_lora(transformer: nn.Module, rank: int) -> dict[str, nn.Parameter]:
    """Add LoRA weights (Hu et al., ICLR 2022) to a frozen transformer; returns them by name."""
    from peft import LoraConfig

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_LORA_LAYERS)
    transformer.add_adapter(config)  # type: ignore[operator]
    added = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
    for parameter in added.values():
        parameter.data = parameter.data.float()
    return added


def train(
    data: Path,
    settings: loop.Settings,
    base: RendererOptions,
    weights: Path,
    simulated: Path | None = None,
    batch: int = 4,
    seed: int = 0,
    lora_rank: int = 0,
    words: int = 8,
    size: tuple[int, int] = SIZE,
) -> Path:
    """
    Train, and write a folder for the option ``mtgc`` of the renderer; returns it.

    ``base``: the pretrained model, and how it is loaded; ``weights``: of the codec; ``lora_rank``:
    0 for a frozen base; ``words``: how many pseudo-words; ``size``: (W, H) of the images. Raises
    ``ValueError`` for a base that cannot be used.
    """
    if base.embedded:
        raise ValueError('stage mtgc needs --base: the folder or hub id of a diffusers pipeline')
    if base.mtgc:
        raise ValueError(
            'stage mtgc: --base-option mtgc is what is trained: leave it out. A run in --output '
            'is resumed'
        )
    if lora_rank and base.lora:
        raise ValueError('stage mtgc: name a LoRA of the base, or give --lora-rank, not both')
    torch.manual_seed(seed)
    renderer = load_foundation('loading').load(base, settings.device, print)
    from gsc_ros.codec.foundation import mtgc

    pipe, family, device = renderer.pipe, renderer.family, settings.torch_device
    networks = Networks.load(weights, settings.device)
    frames = Frames(data, simulated, SemanticCodec.of(networks), size, batch, seed, device)
    with torch.no_grad():
        z = family.encode(pipe, renderer.vae, torch.zeros(1, 3, *size[::-1], device=device))
        prompt = family.prompt(pipe, '', device)
    shape = mtgc.shape_of(pipe, family)
    guide = mtgc.MtgcGuide(**shape, channels=z.shape[1], text=prompt[0].shape[-1], words=words)
    renderer.lead_by(guide.to(device).train())
    lora = with_lora(pipe.transformer, lora_rank) if lora_rank else {}
    pipe.transformer.enable_gradient_checkpointing()
    model = nn.ModuleDict({'guide': guide, 'lora': nn.ParameterList(lora.values())})

    def step() -> dict[str, Tensor]:
        x, read = frames.sample()
        with torch.no_grad():
            out = networks.ground.reconstructor.predict(*(f.symbols for f in read))
            scene = renderer.scene(networks.ground, read, out)
            true = family.encode(pipe, renderer.vae, x)
            image = family.encode(pipe, renderer.vae, scene.base)
            lost = frames.crops.rng.random(batch) < TEXT_LOST
            texts = ['' if off else renderer.text(f) for off, f in zip(lost, read, strict=True)]
            prompts = renderer.prompts(texts, scene)
        # Logit-normal times (Esser et al., ICML 2024): most in the middle, where it is hard.
        t = torch.randn(len(x), device=device).sigmoid()
        noise = torch.randn_like(true)
        noisy = family.noised(true, noise, t[:, None, None, None])
        velocity = renderer.velocity(scene, noisy, t, image, prompts)
        return {'loss': (velocity - (noise - true)).square().mean()}

    state = loop.run(model, step, settings)
    model.load_state_dict(state)
    guide.save_pretrained(settings.output)
    if lora:
        from peft import get_peft_model_state_dict

        pipe.save_lora_weights(
            settings.output / mtgc.LORA,
            transformer_lora_layers=get_peft_model_state_dict(pipe.transformer),
        )
    return settings.output
