"""Parameters of a node that draws images: which renderer, and how a pretrained one is run."""

from dataclasses import dataclass, fields

from gsc_ros.codec.renderers import DTYPES, OFFLOADS, RendererOptions
from gsc_ros.ros.parameters import Schema, parameter

_PREFIX = 'renderer_'


@dataclass(frozen=True)
class RendererParameters(Schema):
    """Parameters of the renderer; those with a prefix are for pipelines of diffusers."""

    renderer: str = parameter(
        '',
        'What draws the image: deterministic, flow, or the folder or hub id of a diffusers '
        'pipeline; empty: flow',
        read_only=True,
    )
    steps: int = parameter(
        -1, 'Steps of the renderer; 0: the deterministic image, -1: as the renderer likes', -1, 8
    )
    renderer_revision: str = parameter(
        '', 'Commit of the hub from which such a pipeline is taken', read_only=True
    )
    renderer_offline: bool = parameter(
        False, 'Never ask the hub for it; so too where offline is set', read_only=True
    )
    renderer_dtype: str = parameter(
        'auto', 'Numbers that it computes in', choices=DTYPES, read_only=True
    )
    renderer_offload: str = parameter(
        'none',
        'Keep on the GPU all of it (none), the network at work (model), or its layer (sequential)',
        choices=OFFLOADS,
        read_only=True,
    )
    renderer_compile: bool = parameter(
        False,
        'Compile its network: the first image takes minutes, the others less time',
        read_only=True,
    )
    renderer_attention_slicing: bool = parameter(
        False, 'Compute its attention in parts: less memory, more time', read_only=True
    )
    renderer_guidance: float = parameter(
        -1.0,
        'Its guidance by the caption; negative: as the model likes',
        -1.0,
        30.0,
        read_only=True,
    )
    renderer_lora: str = parameter('', 'Folder or hub id of LoRA weights', read_only=True)
    renderer_controlnet: str = parameter('', 'Folder or hub id of a ControlNet', read_only=True)
    renderer_tiny_vae: str = parameter(
        '', 'Folder or hub id of an AutoencoderTiny, in place of its VAE', read_only=True
    )
    renderer_mtgc: str = parameter(
        '', 'Folder of parts around it that `gsc train mtgc` wrote', read_only=True
    )
    renderer_prompt: str = parameter(
        RendererOptions.prompt, 'Its prompt; {caption} is the caption of the frame', read_only=True
    )
    renderer_pull: float = parameter(
        1.0,
        'How strongly each of its steps is pulled back to what was sent',
        0.0,
        1.0,
        read_only=True,
    )

    def renderer_options(self) -> RendererOptions:
        """Return which renderer is asked for; raises ``ValueError`` for one that cannot be."""
        names = (f.name for f in fields(self) if f.name.startswith(_PREFIX))
        options = {name.removeprefix(_PREFIX): getattr(self, name) for name in names}
        return RendererOptions(self.renderer, **options)
