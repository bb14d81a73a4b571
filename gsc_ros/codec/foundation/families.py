"""
What the adapter has to know of each family of flow-matching pipelines: one row each.

A row says how an image becomes the latents that the transformer works on, how a prompt is passed,
and how the velocity is asked for. Latents are images of channels throughout, (N, C, h, w); what a
transformer wants packed is packed in the call. Conventions: ``x = (1 - sigma) z + sigma noise``,
the velocity is ``noise - z``, sigma runs from 1 to 0 (Liu et al., ICLR 2023; Esser et al.,
"Scaling Rectified Flow Transformers", ICML 2024). The calls follow diffusers' pipelines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gsc_ros.codec.types import ReceivedFrame
from gsc_ros.models.tokenizer import Synthesis

# The level of noise at the start, for a frame of which all came and one of which nothing came.
LEVELS = (0.35, 0.9)

Pipe = Any  # a DiffusionPipeline
Prompt = tuple[Any, ...]  # of one text, tensors with a batch of 1


@dataclass(frozen=True)
class Scene:
    """
    Frames to draw, as a batch.

    ``out``: their prediction; ``base``: the deterministic images, float32 (N, 3, H, W) in [-1, 1].
    """

    frames: Sequence[ReceivedFrame]
    out: Synthesis
    base: Tensor


@dataclass(frozen=True)
class Call:
    """
    One question for the velocity.

    ``x``: (N, C, h, w); ``sigma``: float32 (N,); ``prompts``: one a frame; ``guidance``: of models
    that take it as an input; ``control``: a ControlNet and the latents that it is given, or None.
    """

    scene: Scene
    x: Tensor
    sigma: Tensor
    prompts: list[Prompt]
    guidance: float
    control: tuple[Any, Tensor] | None = None

    def stacked(self, index: int) -> Tensor:
        """Return one part of the prompts as a batch."""
        return torch.cat([prompt[index] for prompt in self.prompts])


@dataclass(frozen=True)
class Family:
    """
    A family of pipelines.

    ``pipelines``: names of diffusers' classes; ``factor``: pixels a side of a cell of the VAE's
    latents; ``packed``: cells a side that the transformer's latents have in one; ``steps``,
    ``guidance``: where none is asked for; a guidance over 1 takes a second pass with an empty
    prompt where ``two_passes``. ``normalise``, ``restore``: the VAE's latents to those of the
    transformer and back, of a pipeline and the VAE in use; ``shift``: mu of a scheduler that
    shifts by the count of tokens and steps; ``controlnet``: diffusers' class, '' for none. For
    :mod:`mtgc`: ``blocks``: the transformer's attribute, '' where none can be led; the image's
    tokens are the first of what a block returns last; ``patch``: cells a side of a token;
    ``append``: puts words, (1, K, D), behind the embedding of a prompt.
    """

    name: str
    pipelines: tuple[str, ...]
    factor: int
    steps: int
    prompt: Callable[[Pipe, str, torch.device], Prompt]
    velocity: Callable[[Pipe, Call], Tensor]
    packed: int = 1
    guidance: float = 1.0
    two_passes: bool = True
    normalise: Callable[[Pipe, Any, Tensor], Tensor] = lambda pipe, vae, z: scaled(vae, z)
    restore: Callable[[Pipe, Any, Tensor], Tensor] = lambda pipe, vae, z: unscaled(vae, z)
    shift: Callable[[Pipe, int, int], float] = lambda pipe, count, steps: linear_shift(pipe, count)
    controlnet: str = ''
    blocks: str = 'transformer_blocks'
    patch: int = 2
    append: Callable[[Prompt, Tensor], Prompt] = lambda prompt, words: (
        torch.cat([prompt[0], words.to(prompt[0])], 1),
        *prompt[1:],
    )

    @property
    def cell(self) -> int:
        """Pixels a side of a cell of the latents that the transformer works on."""
        return self.factor * self.packed

    def prompts(
        self, pipe: Pipe, texts: Sequence[str], scene: Scene, known: dict[str, Prompt]
    ) -> list[Prompt]:
        """Return the prompt of each frame; ``known``: prompts by text, which get the new ones."""
        for text in texts:
            if text not in known:
                known[text] = self.prompt(pipe, text, scene.base.device)
        return [known[text] for text in texts]

    def encode(self, pipe: Pipe, vae: Any, images: Tensor) -> Tensor:
        """Turn images (N, 3, H, W) in [-1, 1] into latents, float32; the VAE's mode, no noise."""
        coded = vae.encode(images.to(vae.dtype))
        z = coded.latent_dist.mode() if hasattr(coded, 'latent_dist') else None
        if z is None:
            z = coded.latents if hasattr(coded, 'latents') else coded.latent
        return self.normalise(pipe, vae, z.float())

    def decode(self, pipe: Pipe, vae: Any, z: Tensor, scene: Scene) -> Tensor:
        """Turn latents into images, float32 (N, 3, H, W), nominally in [-1, 1]."""
        raw = self.restore(pipe, vae, z).to(vae.dtype)
        return torch.as_tensor(vae.decode(raw, return_dict=False)[0]).float()

    def start(self, pipe: Pipe, vae: Any, scene: Scene) -> Tensor:
        """Return the latents around which the sampler begins."""
        return self.encode(pipe, vae, scene.base)

    def level(self, received: Tensor) -> Tensor:
        """Return sigma at the start, before the shift, by the share of the tokens that came."""
        low, high = LEVELS
        return high + (low - high) * received

    def noised(self, z: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Return where the sampler begins; ``sigma``: (N, 1, 1, 1)."""
        return (1 - sigma) * z + sigma * noise


def scaled(vae: Any, z: Tensor) -> Tensor:
    """Bring a VAE's latents to a standard deviation of about 1."""
    return (z - (vae.config.get('shift_factor') or 0.0)) * vae.config.scaling_factor


def unscaled(vae: Any, z: Tensor) -> Tensor:
    """Inverse of :func:`scaled`."""
    return z / vae.config.scaling_factor + (vae.config.get('shift_factor') or 0.0)


def pack(z: Tensor) -> Tensor:
    """Put each 2x2 square of cells into the channels of one: (N, C, h, w) -> (N, 4C, h/2, w/2)."""
    return torch.nn.functional.pixel_unshuffle(z, 2)


def unpack(z: Tensor) -> Tensor:
    """Inverse of :func:`pack`."""
    return torch.nn.functional.pixel_shuffle(z, 2)


def tokens(z: Tensor) -> Tensor:
    """Cells as a row of tokens: (N, C, h, w) -> (N, h w, C)."""
    return z.flatten(2).transpose(1, 2)


def cells(y: Tensor, like: Tensor) -> Tensor:
    """Inverse of :func:`tokens`, for a grid like ``like``'s."""
    return y.transpose(1, 2).reshape(len(y), -1, *like.shape[2:])


def linear_shift(pipe: Pipe, count: int) -> float:
    """Return mu for so many tokens: linear between the scheduler's two ends (FLUX.1)."""
    config = pipe.scheduler.config
    low, high = config.get('base_image_seq_len', 256), config.get('max_image_seq_len', 4096)
    base, most = config.get('base_shift', 0.5), config.get('max_shift', 1.15)
    return float(base + (most - base) * (count - low) / (high - low))


def flux2_shift(pipe: Pipe, count: int, steps: int) -> float:
    """Return FLUX.2's mu: two lines over the count of tokens, of 10 and of 200 steps."""
    at_200 = 0.00016927 * count + 0.45666666
    if count > 4300:
        return at_200
    at_10 = 8.73809524e-05 * count + 1.89833333
    slope = (at_200 - at_10) / 190
    return at_200 + slope * (steps - 200)


# FLUX.1


def _flux_prompt(pipe: Pipe, text: str, device: torch.device) -> Prompt:
    embeds, pooled, _ = pipe.encode_prompt(text, None, device=device, max_sequence_length=128)
    return embeds, pooled


def _flux_velocity(pipe: Pipe, call: Call) -> Tensor:
    z = pack(call.x)
    rows, columns = z.shape[2:]
    # Row and column of each token; text has none.
    where = torch.cartesian_prod(torch.arange(1), torch.arange(rows), torch.arange(columns))
    embeds = call.stacked(0)
    given: dict[str, Any] = {
        'timestep': call.sigma.to(call.x.dtype),
        'pooled_projections': call.stacked(1),
        'encoder_hidden_states': embeds,
        'img_ids': where.to(call.x),
        'txt_ids': torch.zeros(embeds.shape[1], 3).to(call.x),
        'guidance': None,
        'return_dict': False,
    }
    if pipe.transformer.config.guidance_embeds:
        given['guidance'] = torch.full_like(call.sigma, call.guidance)
    added = {}
    if call.control is not None:
        net, latents = call.control
        deep, single = net(hidden_states=tokens(z), controlnet_cond=tokens(pack(latents)), **given)
        added = {'controlnet_block_samples': deep, 'controlnet_single_block_samples': single}
    out = pipe.transformer(hidden_states=tokens(z), **given, **added)[0]
    return unpack(cells(out, z))


# FLUX.2


def _flux2_prompt(pipe: Pipe, text: str, device: torch.device) -> Prompt:
    embeds, ids = pipe.encode_prompt(text, device=device, max_sequence_length=128)
    return embeds, ids


def _flux2_append(prompt: Prompt, words: Tensor) -> Prompt:
    embeds, ids = prompt
    behind = ids[:, -1:].repeat(1, words.shape[1], 1)
    behind[..., -1] += torch.arange(1, words.shape[1] + 1).to(ids)  # the place in the text
    return torch.cat([embeds, words.to(embeds)], 1), torch.cat([ids, behind], 1)


def _flux2_scale(pipe: Pipe, z: Tensor) -> tuple[Tensor, Tensor]:
    statistics, epsilon = pipe.vae.bn, pipe.vae.config.batch_norm_eps
    mean = statistics.running_mean.view(1, -1, 1, 1).to(z)
    return mean, (statistics.running_var.view(1, -1, 1, 1) + epsilon).sqrt().to(z)


def _flux2_normalise(pipe: Pipe, vae: Any, z: Tensor) -> Tensor:
    z = pack(z)
    mean, deviation = _flux2_scale(pipe, z)
    return (z - mean) / deviation


def _flux2_restore(pipe: Pipe, vae: Any, z: Tensor) -> Tensor:
    mean, deviation = _flux2_scale(pipe, z)
    return unpack(z * deviation + mean)


def _flux2_velocity(pipe: Pipe, call: Call) -> Tensor:
    rows, columns = call.x.shape[2:]
    one = torch.arange(1)
    where = torch.cartesian_prod(one, torch.arange(rows), torch.arange(columns), one)
    out = pipe.transformer(
        hidden_states=tokens(call.x),
        timestep=call.sigma.to(call.x.dtype),
        guidance=None,
        encoder_hidden_states=call.stacked(0),
        txt_ids=call.stacked(1),
        img_ids=where.to(call.x.device).expand(len(call.x), -1, -1),
        return_dict=False,
    )[0]
    return cells(out, call.x)


# Stable Diffusion 3.5


def _sd3_prompt(pipe: Pipe, text: str, device: torch.device) -> Prompt:
    embeds, _, pooled, _ = pipe.encode_prompt(
        text, None, None, device=device, do_classifier_free_guidance=False, max_sequence_length=128
    )
    return embeds, pooled


def _sd3_velocity(pipe: Pipe, call: Call) -> Tensor:
    given = {
        'timestep': 1000 * call.sigma,
        'encoder_hidden_states': call.stacked(0),
        'pooled_projections': call.stacked(1),
        'return_dict': False,
    }
    added = {}
    if call.control is not None:
        net, latents = call.control
        blocks = net(hidden_states=call.x, controlnet_cond=latents, **given)[0]
        added = {'block_controlnet_hidden_states': blocks}
    out: Tensor = pipe.transformer(hidden_states=call.x, **given, **added)[0]
    return out


# SANA


def _sana_prompt(pipe: Pipe, text: str, device: torch.device) -> Prompt:
    embeds, mask, _, _ = pipe.encode_prompt(
        text, do_classifier_free_guidance=False, device=device, max_sequence_length=128
    )
    return embeds, mask


def _sana_append(prompt: Prompt, words: Tensor) -> Prompt:
    embeds, mask = prompt
    seen = torch.ones_like(mask[:, :1]).expand(-1, words.shape[1])
    return torch.cat([embeds, words.to(embeds)], 1), torch.cat([mask, seen], 1)


def _sana_velocity(pipe: Pipe, call: Call) -> Tensor:
    out: Tensor = pipe.transformer(
        call.x,
        encoder_hidden_states=call.stacked(0),
        encoder_attention_mask=call.stacked(1),
        timestep=1000 * call.sigma * pipe.transformer.config.timestep_scale,
        return_dict=False,
    )[0]
    return out[:, : call.x.shape[1]]  # the rest is a variance


# Z-Image


def _z_image_prompt(pipe: Pipe, text: str, device: torch.device) -> Prompt:
    embeds, _ = pipe.encode_prompt(
        [text], device=device, do_classifier_free_guidance=False, max_sequence_length=128
    )
    return (embeds[0],)  # as long as the text


def _z_image_append(prompt: Prompt, words: Tensor) -> Prompt:
    return (torch.cat([prompt[0], words[0].to(prompt[0])]),)


def _z_image_velocity(pipe: Pipe, call: Call) -> Tensor:
    out = pipe.transformer(
        list(call.x[:, :, None].unbind()),
        1 - call.sigma,  # its time runs the other way, and so does its velocity
        [prompt[0] for prompt in call.prompts],
        return_dict=False,
    )[0]
    return -torch.stack(list(out))[:, :, 0]


FAMILIES: tuple[Family, ...] = (
    Family(
        'FLUX.1', ('FluxPipeline', 'FluxImg2ImgPipeline'), 8, 4, _flux_prompt, _flux_velocity,
        guidance=3.5, two_passes=False, controlnet='FluxControlNetModel',
    ),
    Family(
        'FLUX.2-klein', ('Flux2KleinPipeline',), 8, 4, _flux2_prompt, _flux2_velocity, packed=2,
        normalise=_flux2_normalise, restore=_flux2_restore, shift=flux2_shift, patch=1,
        append=_flux2_append,
    ),
    Family(
        'SD3.5', ('StableDiffusion3Pipeline', 'StableDiffusion3Img2ImgPipeline'), 8, 8,
        _sd3_prompt, _sd3_velocity, guidance=4.5, controlnet='SD3ControlNetModel',
    ),
    Family(
        'SANA', ('SanaPipeline',), 32, 8, _sana_prompt, _sana_velocity, guidance=4.5, patch=1,
        append=_sana_append,
    ),
    Family(
        'Z-Image', ('ZImagePipeline', 'ZImageImg2ImgPipeline'), 8, 8, _z_image_prompt,
        _z_image_velocity, blocks='layers', append=_z_image_append,
    ),
)  # fmt: skip


def find(pipeline: str) -> Family | None:
    """Return the family of a pipeline's class by its name, None where the table has none."""
    return next((family for family in FAMILIES if pipeline in family.pipelines), None)
