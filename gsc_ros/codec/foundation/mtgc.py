"""
MTGC's parts around a pretrained flow model, which stays as it is (arXiv 2512.06344).

What came of a frame leads the model in two ways. A branch adds residuals to the tokens of the
image behind each block, as ControlNet does (Zhang et al., ICCV 2023); they begin at zero. Semantic
pseudo-words, which queries read from the branch, stand behind the prompt. The branch is given the
noisy latents, those of the deterministic image (the highly compressed image, drawn from the
tokens), class probabilities and depth, and where tokens came. A renderer keeps nothing between
frames: of the frame before it sees what a delta frame takes over. ``gsc train mtgc`` trains it.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.codec.foundation import pull
from gsc_ros.codec.foundation.families import Family, Prompt, Scene
from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models.flow import TimeConditionedResBlock, timestep_embedding
from gsc_ros.models.layers import conv, zero_init
from gsc_ros.models.pretrained import PretrainedError, first_line

LORA = 'lora'  # the folder of LoRA weights that were trained along
_MAPS = NUM_CLASSES + 1 + len(pull.BLOCKS)
_TIME, _HEADS = 128, 4
_CONFIG = 'config.json'


class MtgcGuide(ModelMixin, ConfigMixin):
    """
    The branch and the pseudo-words.

    ``family``: of the base; ``channels``: of its latents; ``patch``: their cells a side of a
    token; ``width``, ``count``: of its tokens and blocks; ``text``: of its prompts' embeddings;
    ``hidden``, ``depth``: channels and blocks of the branch; ``words``: how many pseudo-words.
    """

    @register_to_config
    def __init__(
        self,
        family: str,
        channels: int,
        patch: int,
        width: int,
        count: int,
        text: int,
        hidden: int = 320,
        depth: int = 6,
        words: int = 8,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.time = nn.Sequential(nn.Linear(64, _TIME), nn.SiLU(), nn.Linear(_TIME, _TIME))
        self.enter = conv(2 * channels * patch**2 + _MAPS, hidden)
        self.body = nn.ModuleList(TimeConditionedResBlock(hidden, _TIME) for _ in range(depth))
        leave = [conv(hidden, width, 1) for _ in range(count)]
        for layer in leave:
            zero_init(layer)
        self.leave = nn.ModuleList(leave)
        self.queries = nn.Parameter(0.02 * torch.randn(words, hidden))
        self.attention = nn.MultiheadAttention(hidden, _HEADS, batch_first=True)
        self.say = nn.Linear(hidden, text)

    def forward(
        self, x: Tensor, sigma: Tensor, image: Tensor, maps: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """
        Read what came.

        ``x``, ``image``: latents (N, channels, h, w); ``sigma``: (N,) in 0..1; ``maps``: (N,
        maps, h / patch, w / patch). Returns what to add to the tokens behind each block, (N,
        tokens, width), and the pseudo-words (N, words, text).
        """
        folded = functional.pixel_unshuffle(torch.cat([x, image], 1), self.patch)
        y = self.enter(torch.cat([folded, maps], 1))
        time = self.time(timestep_embedding(sigma))
        for block in self.body:
            y = block(y, time)
        seen = y.flatten(2).transpose(1, 2)
        queries = self.queries.expand(len(x), -1, -1)
        read, _ = self.attention(queries, seen, seen, need_weights=False)
        return [layer(y).flatten(2).transpose(1, 2) for layer in self.leave], self.say(read)


def shape_of(pipe: Any, family: Family) -> dict[str, Any]:
    """
    Return what a guide of a pipeline must have of :class:`MtgcGuide`'s arguments.

    Raises :class:`PretrainedError` for a family that cannot be led.
    """
    if not family.blocks:
        raise PretrainedError(f'mtgc: {family.name} cannot be led. Take a pretrained model.')
    config = pipe.transformer.config
    return {
        'family': family.name,
        'patch': family.patch,
        'width': config.get('dim') or config.num_attention_heads * config.attention_head_dim,
        'count': len(getattr(pipe.transformer, family.blocks)),
    }


def check(folder: Path, lora: str) -> None:
    """
    Check what can be known of a folder of parts before the base is loaded.

    ``lora``: LoRA weights of the base that are asked for, '' for none. Raises
    :class:`PretrainedError` for a folder without parts, and where the parts have a LoRA, too.
    """
    if not (folder / _CONFIG).is_file():
        raise _no_parts(folder, f'{_CONFIG} is missing')
    if lora and (folder / LORA).is_dir():
        raise PretrainedError(
            f'lora {lora}: mtgc {folder} has LoRA weights of its own. Leave lora empty.'
        )


def _no_parts(folder: Path, reason: str) -> PretrainedError:
    return PretrainedError(
        f'mtgc {folder}: no parts of MTGC ({reason}). Give the folder that gsc train mtgc wrote.'
    )


def load(folder: Path, pipe: Any, family: Family) -> MtgcGuide:
    """
    Load the parts that ``gsc train mtgc`` wrote, on the CPU, and LoRA weights into the pipeline.

    Raises :class:`PretrainedError` for a folder without them and for those of another model.
    """
    wanted = shape_of(pipe, family)
    try:
        guide: MtgcGuide = MtgcGuide.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        found = {name: guide.config[name] for name in wanted}
    except Exception as error:  # of diffusers, safetensors and torch
        raise _no_parts(folder, first_line(error)) from error
    if found != wanted:
        raise PretrainedError(
            f'mtgc {folder}: trained for {found}, this model is {wanted}. Give parts that were '
            'trained around it.'
        )
    if (folder / LORA).is_dir():
        try:
            pipe.load_lora_weights(folder / LORA, local_files_only=True)
        except Exception as error:  # of diffusers, peft and safetensors
            raise PretrainedError(
                f'mtgc {folder / LORA}: damaged, or peft is missing ({first_line(error)}). Copy '
                'the folder again, or pip install "gsc_ros[foundation]".'
            ) from error
    return guide.eval().requires_grad_(False)


class Lead:
    """Leads the transformer of a pipeline by a guide: hooks add its residuals to the blocks."""

    def __init__(self, guide: MtgcGuide, pipe: Any, family: Family) -> None:
        self.guide, self.family = guide, family
        self._residuals: list[Tensor] = []
        for index, block in enumerate(getattr(pipe.transformer, family.blocks)):
            block.register_forward_hook(partial(self._add, index))

    def __call__(
        self, scene: Scene, x: Tensor, sigma: Tensor, image: Tensor, prompts: list[Prompt]
    ) -> list[Prompt]:
        """
        Prepare the next question for the velocity; returns the prompts with pseudo-words.

        Arguments as of :meth:`PipelineRenderer.velocity`.
        """
        size = [side // self.family.patch for side in x.shape[2:]]
        known = pull.weights(scene.frames, x.device)
        maps = [
            functional.interpolate(m.to(x), size, mode='area') for m in (scene.out.maps, *known)
        ]
        # They stay until the next question: checkpointed blocks run again in the backward pass.
        self._residuals, words = self.guide(x, sigma, image, torch.cat(maps, 1))
        if not words.shape[1]:
            return prompts
        return [self.family.append(p, w[None]) for p, w in zip(prompts, words, strict=True)]

    def _add(self, index: int, block: nn.Module, given: Any, output: Any) -> Any:
        """Add a residual to what a block returns: the tokens, or those of the text and these."""
        *others, tokens = output if isinstance(output, tuple) else (output,)
        residual = self._residuals[index].to(tokens)
        count = residual.shape[1]
        tokens = torch.cat([tokens[:, :count] + residual, tokens[:, count:]], 1)
        return (*others, tokens) if isinstance(output, tuple) else tokens
