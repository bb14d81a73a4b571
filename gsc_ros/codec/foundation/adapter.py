"""
The adapter: a flow-matching pipeline of diffusers draws what was sent, and texture to it.

It knows of a pipeline its ``vae``, ``transformer``, ``scheduler`` and ``encode_prompt``, and its
row of :mod:`families`. The deterministic image, in the model's latents, is noised to a level set
by how little was received (as SDEdit does: Meng et al., ICLR 2022) and drawn in a few steps. In
each the estimate of the clean image is pulled to what was sent (:mod:`pull`). Nothing is trained.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.codec import conditions
from gsc_ros.codec.foundation import pull
from gsc_ros.codec.foundation.families import Call, Family, Prompt, Scene
from gsc_ros.codec.foundation.mtgc import Lead, MtgcGuide
from gsc_ros.codec.networks import GroundNetworks
from gsc_ros.codec.renderers import RendererError, RendererOptions
from gsc_ros.codec.types import ReceivedFrame
from gsc_ros.labels import STREET
from gsc_ros.models.tokenizer import Synthesis

MAX_STEPS = 8
_KEPT = 64
Trace = Callable[[int, Tensor, Tensor, Tensor], None]


class PipelineRenderer:
    """
    Draws by a pipeline of diffusers.

    ``pipe``: it, on its device; ``family``: its row; ``vae``: in place of the pipeline's;
    ``controlnet``: of the family's class, given the deterministic image; ``guide``: MTGC's parts,
    trained for the pipeline. ``trace``: called in each step with its number and the estimate of
    the clean latents before and after the pull, and their target. One call draws at a time.
    """

    max_steps = MAX_STEPS

    def __init__(
        self,
        pipe: Any,
        family: Family,
        options: RendererOptions,
        vae: Any = None,
        controlnet: Any = None,
        guide: MtgcGuide | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.pipe, self.family, self.options = pipe, family, options
        self.name, self.default_steps = options.model, family.steps
        self.vae = pipe.vae if vae is None else vae
        self._controlnet, self._trace = controlnet, trace
        self._lead: Lead | None = None
        if guide is not None:
            self.lead_by(guide)
        self._lock = threading.Lock()
        self._known: dict[str, Prompt] = {}
        self._guidance = options.guidance if options.guidance >= 0 else family.guidance
        self._scheduler = flow_scheduler(pipe.scheduler, type(pipe).__name__)

    def lead_by(self, guide: MtgcGuide) -> None:
        """Let MTGC's parts lead the transformer from now on."""
        self._lead = Lead(guide, self.pipe, self.family)

    def scene(
        self, networks: GroundNetworks, frames: Sequence[ReceivedFrame], out: Synthesis
    ) -> Scene:
        """Return what is known of frames of one working size."""
        base = networks.reconstructor.draw(out)
        images = torch.from_numpy(base).permute(0, 3, 1, 2).to(self.pipe._execution_device)
        return Scene(frames, out, images / 127.5 - 1)

    def draw(
        self, networks: GroundNetworks, frames: Sequence[ReceivedFrame], out: Synthesis, steps: int
    ) -> NDArray[np.float32]:
        """
        Draw frames of one working size; see :meth:`Renderer.draw`.

        An image that shows nothing or is not of now stays deterministic. Raises
        :class:`RendererError` where memory ends or the model computes no numbers.
        """
        scene = self.scene(networks, frames, out)
        images = scene.base * 127.5 + 127.5
        known = pull.weights(frames, images.device)
        try:
            with self._lock, torch.inference_mode():
                drawn = self._sample(scene, known, steps)
                if self.options.pull:
                    drawn = pull.hold_means(drawn, images, known)
                for index, frame in enumerate(frames):
                    if frame.symbols.notes is not None and frame.symbols.notes.blind:
                        drawn[index] = images[index]
                self.pipe.maybe_free_model_hooks()
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise RendererError(
                f'renderer {self.name}: out of GPU memory ({error}). Free some, or set offload '
                'to model, or give a tiny_vae.'
            ) from error
        if not torch.isfinite(drawn).all():
            raise RendererError(
                f'renderer {self.name}: draws values that are not finite in '
                f'{self.pipe.transformer.dtype}. Set dtype to bfloat16 or float32.'
            )
        return np.asarray(drawn.permute(0, 2, 3, 1).contiguous().cpu().numpy())

    def _sample(self, scene: Scene, known: list[Tensor], steps: int) -> Tensor:
        """Draw images, float32 (N, 3, H, W) in 0..255."""
        pipe, family = self.pipe, self.family
        z = family.start(pipe, self.vae, scene)
        sigmas = self._sigmas(family.level(pull.received(known)), scene.base, steps)
        x = family.noised(z, conditions.noise(scene.frames, z), sigmas[:, :1, None, None])
        texts = [self.text(frame) for frame in scene.frames]
        prompts = self.prompts(texts, scene)
        empty = None
        if family.two_passes and self._guidance > 1:
            empty = self.prompts([''] * len(texts), scene)
        for index in range(steps):
            now, then = (sigmas[:, i, None, None, None] for i in (index, index + 1))
            velocity = self.velocity(scene, x, sigmas[:, index], z, prompts, empty)
            if self.options.pull:
                clean = x - now * velocity
                held = self._pulled(clean, z, scene, known)
                if self._trace is not None:
                    self._trace(index, clean, held, z)
                velocity = (x - held) / now
            x = x + (then - now) * velocity
        images = family.decode(pipe, self.vae, x, scene)
        return (images * 127.5 + 127.5).clamp(0, 255)

    def text(self, frame: ReceivedFrame) -> str:
        """
        Return the prompt of a frame.

        On streets, and where no kind of scene is told, it has the frame's caption; else no object
        was named, and it has the kind of scene, where that is certain.
        """
        kind = frame.symbols.kind
        caption = str(frame.symbols.caption or '')  # and not what is unknown of the image
        if kind is not None and not (kind.sure and kind.index == STREET):
            caption = f'{kind.name} scene' if kind.sure and kind.name != 'other' else ''
        return self.options.prompt.replace('{caption}', caption).strip(' ,')

    def prompts(self, texts: list[str], scene: Scene) -> list[Prompt]:
        """Return the prompts; those of late texts are kept, for text encoders are slow."""
        if len(self._known) > _KEPT:
            self._known.clear()
        return self.family.prompts(self.pipe, texts, scene, self._known)

    def _sigmas(self, level: Tensor, images: Tensor, steps: int) -> Tensor:
        """Return the noise levels of each frame, float32 (N, steps + 1), by the scheduler."""
        count = images.shape[2] * images.shape[3] // 256  # tokens, of 16 pixels in every family
        mu = {}
        if self._scheduler.config.use_dynamic_shifting:
            mu = {'mu': self.family.shift(self.pipe, count, steps)}
        rows = []
        for one in level.tolist():
            even = np.linspace(one, one / steps, steps)
            self._scheduler.set_timesteps(sigmas=even.tolist(), device='cpu', **mu)
            rows.append(self._scheduler.sigmas)
        return torch.stack(rows).to(images.device)

    def velocity(
        self,
        scene: Scene,
        x: Tensor,
        sigma: Tensor,
        control: Tensor,
        prompts: list[Prompt],
        empty: list[Prompt] | None = None,
    ) -> Tensor:
        """
        Ask the transformer; with ``empty`` prompts under guidance (Ho and Salimans, 2022).

        ``x``, ``control``: noisy latents and those of the deterministic image, (N, C, h, w);
        ``sigma``: (N,). Returns float32 like ``x``.
        """
        dtype = self.pipe.transformer.dtype
        given = None if self._controlnet is None else (self._controlnet, control.to(dtype))

        def ask(wanted: list[Prompt]) -> Tensor:
            if self._lead is not None:
                wanted = self._lead(scene, x, sigma, control, wanted)
            call = Call(scene, x.to(dtype), sigma, wanted, self._guidance, given)
            return self.family.velocity(self.pipe, call).float()

        velocity = ask(prompts)
        if empty is not None:
            without = ask(empty)
            velocity = without + self._guidance * (velocity - without)
        return velocity

    def _pulled(self, clean: Tensor, target: Tensor, scene: Scene, known: list[Tensor]) -> Tensor:
        """Pull an estimate of the clean latents to what was sent, in pixels and then there."""
        strength, cell = self.options.pull, self.family.cell
        image = self.family.decode(self.pipe, self.vae, clean, scene)
        wanted = pull.pulled(image, scene.base, pull.in_cells(known, 1, strength))
        # What has to change in the image, as a change of the latents.
        both = torch.cat([wanted, image]).clamp(-1, 1)
        there, here = self.family.encode(self.pipe, self.vae, both).chunk(2)
        return pull.pulled(clean + there - here, target, pull.in_cells(known, cell, strength))


def flow_scheduler(scheduler: Any, pipeline: str) -> Any:
    """
    Return the scheduler that gives a flow-matching pipeline's noise levels.

    Multistep solvers with ``flow_prediction`` are taken for their shift alone. Raises
    :class:`RendererError` for a scheduler of another kind of model.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    if scheduler.config.get('prediction_type') == 'flow_prediction':
        return FlowMatchEulerDiscreteScheduler(shift=scheduler.config.get('flow_shift', 1.0))
    raise RendererError(
        f'{pipeline} with {type(scheduler).__name__} is no flow-matching model, which a renderer '
        'has to be: give one of the table in docs/foundation.md.'
    )
