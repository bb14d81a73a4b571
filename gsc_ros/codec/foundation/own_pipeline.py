"""
The shipped flow as a pipeline of diffusers: models, scheduler, pipeline, and its row of the table.

So the adapter is proved with trained weights, on a CPU. ``gsc export-pipeline`` writes the folder
that ``DiffusionPipeline.from_pretrained`` loads. The generator's conditions are the predictor's:
the pipeline draws for the codec whose weights it was exported from.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor

from gsc_ros.codec.caption import Caption, token_ids
from gsc_ros.codec.foundation.families import Call, Family, Prompt, Scene
from gsc_ros.codec.networks import GroundNetworks
from gsc_ros.codec.renderers import RendererError
from gsc_ros.models.autoencoder import LATENT_CHANNELS, Decoder, Encoder
from gsc_ros.models.flow import START_NOISE, FlowNet


class GscFlowTransformer(ModelMixin, ConfigMixin):
    """The flow's network; the arguments are those of :class:`FlowNet`."""

    @register_to_config
    def __init__(
        self,
        vocabulary: Sequence[int],
        guidance: int = 128,
        widths: Sequence[int] = (128, 192),
        words: int = 48,
    ) -> None:
        super().__init__()
        first, second = widths
        self.net = FlowNet(tuple(vocabulary), guidance, (first, second), words)

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        prediction: Tensor,
        features: Tensor,
        encoder_hidden_states: Tensor,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """Compute the velocity; see :meth:`FlowNet.forward`."""
        return (self.net(hidden_states, timestep, prediction, features, encoder_hidden_states),)


class GscAutoencoder(ModelMixin, ConfigMixin):
    """Image and latent, in units of the latent's standard deviation; a cell is 16 pixels wide."""

    latent_std: Tensor

    @register_to_config
    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 160),
        features: int = 128,
        maps: int = 21,
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.encoder = Encoder((a, b, c))
        self.decoder = Decoder((a, b, c), features, maps)
        self.register_buffer('latent_std', torch.ones(1, LATENT_CHANNELS, 1, 1))

    def encode(self, images: Tensor) -> Tensor:
        """Turn images (N, 3, H, W) in [-1, 1] into latents (N, 16, H/16, W/16)."""
        return torch.as_tensor(self.encoder(images)) / self.latent_std

    def decode(
        self, z: Tensor, features: Tensor | None = None, maps: Tensor | None = None
    ) -> Tensor:
        """Turn latents into images; ``features``, ``maps``: as of :class:`Decoder`."""
        return torch.as_tensor(self.decoder(z * self.latent_std, features, maps))


class GscFlowPipeline(DiffusionPipeline):
    """
    The shipped flow.

    ``fingerprint``: of the codec's weights, to which its predictor belongs.
    """

    model_cpu_offload_seq = 'transformer->vae'

    def __init__(
        self,
        vae: GscAutoencoder,
        transformer: GscFlowTransformer,
        scheduler: FlowMatchEulerDiscreteScheduler,
        fingerprint: int = 0,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, transformer=transformer, scheduler=scheduler)
        self.register_to_config(fingerprint=fingerprint)

    @classmethod
    def of(cls, networks: GroundNetworks, encoder: Encoder) -> 'GscFlowPipeline':
        """Make it of the ground's networks and the encoder of the same autoencoder."""
        decoder, flow = networks.generator or networks.reconstructor.decoder, networks.flow
        state = decoder.state_dict()
        widths = [state[f'{name}.weight'].shape[0] for name in ('quarter.0', 'enter_eighth')]
        guides = [state[f'{name}.weight'].shape[1] for name in ('features', 'maps')]
        vae = GscAutoencoder((*widths, state['enter.weight'].shape[0]), *guides)
        vae.encoder.load_state_dict(encoder.state_dict())
        vae.decoder.load_state_dict(state)
        vae.latent_std.copy_(networks.reconstructor.latent_std)
        transformer = GscFlowTransformer(**flow.config)
        transformer.net.load_state_dict(flow.state_dict())
        for net in (vae, transformer):
            net.eval().requires_grad_(False)
        return cls(vae, transformer, FlowMatchEulerDiscreteScheduler(), networks.fingerprint)

    @classmethod
    def from_parts(cls, folder: Path) -> 'GscFlowPipeline':
        """Load a folder that ``gsc export-pipeline`` wrote, without the code that lies in it."""
        index = json.loads((folder / 'model_index.json').read_text())
        return cls(
            GscAutoencoder.from_pretrained(folder / 'vae'),
            GscFlowTransformer.from_pretrained(folder / 'transformer'),
            FlowMatchEulerDiscreteScheduler.from_pretrained(folder / 'scheduler'),
            int(index['fingerprint']),
        )

    def encode_prompt(self, prompt: Sequence[Caption | None], device: torch.device) -> Tensor:
        """Turn captions into words, int64 (N, words, fields)."""
        rows = [torch.from_numpy(token_ids(caption)) for caption in prompt]
        return torch.stack(rows).to(device)

    @torch.inference_mode()
    def __call__(
        self,
        prompt: Sequence[Caption | None],
        prediction: Tensor,
        features: Tensor,
        maps: Tensor,
        noise: Tensor,
        num_inference_steps: int = 1,
    ) -> Tensor:
        """
        Draw images near a prediction, float32 (N, 3, H, W), nominally in [-1, 1].

        ``prediction``, ``features``, ``maps``: of :class:`Synthesis`; ``noise``: like the first.
        """
        device = self._execution_device
        words = self.encode_prompt(prompt, device)
        even = np.linspace(1, 1 / num_inference_steps, num_inference_steps)
        self.scheduler.set_timesteps(sigmas=even.tolist(), device=device)
        x = prediction + START_NOISE * noise
        for time in self.scheduler.timesteps:
            sigma = (time / self.scheduler.config.num_train_timesteps).expand(len(x))
            velocity = self.transformer(x, sigma, prediction, features, words)[0]
            x = self.scheduler.step(velocity, time, x, return_dict=False)[0]
        return torch.as_tensor(self.vae.decode(x, features, maps))


@dataclass(frozen=True)
class OwnFamily(Family):
    """The row of the shipped flow: it starts from noise around the prediction, not in it."""

    def prompts(
        self, pipe: Any, texts: Sequence[str], scene: Scene, known: dict[str, Prompt]
    ) -> list[Prompt]:
        """Return the words of each frame's caption."""
        if scene.frames[0].header.fingerprint != pipe.config.fingerprint:
            raise RendererError(
                f'the pipeline was exported from weights {pipe.config.fingerprint:04x}, the frame '
                f'is of {scene.frames[0].header.fingerprint:04x}. Run gsc export-pipeline again.'
            )
        captions = [frame.symbols.caption for frame in scene.frames]
        return [(row[None],) for row in pipe.encode_prompt(captions, scene.base.device)]

    def encode(self, pipe: Any, vae: Any, images: Tensor) -> Tensor:
        return torch.as_tensor(vae.encode(images)).float()

    def decode(self, pipe: Any, vae: Any, z: Tensor, scene: Scene) -> Tensor:
        return torch.as_tensor(vae.decode(z, scene.out.features, scene.out.maps)).float()

    def start(self, pipe: Any, vae: Any, scene: Scene) -> Tensor:
        return scene.out.latent

    def level(self, received: Tensor) -> Tensor:
        return torch.ones_like(received)

    def noised(self, z: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        return z + sigma * START_NOISE * noise


def _prompt(pipe: Any, text: str, device: torch.device) -> Prompt:
    raise NotImplementedError('the shipped flow takes captions, not texts')


def _velocity(pipe: Any, call: Call) -> Tensor:
    out = call.scene.out
    velocity: Tensor = pipe.transformer(
        call.x, call.sigma, out.latent, out.features, call.stacked(0)
    )[0]
    return velocity


OWN = OwnFamily(
    'gsc flow', ('GscFlowPipeline',), 16, 1, _prompt, _velocity, two_passes=False, blocks=''
)
