"""
Renderers: what draws the image of a frame that was read.

``deterministic`` draws what was sent and nothing else. ``flow`` is the shipped generator: a
rectified flow, and a decoder that adds texture. Any other name is the folder or the hub id of a
diffusers pipeline (:mod:`gsc_ros.codec.foundation`). A renderer changes no symbol, and no depth,
class or trust.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gsc_ros.codec.networks import GroundNetworks
    from gsc_ros.codec.types import ReceivedFrame
    from gsc_ros.models.tokenizer import Synthesis

DETERMINISTIC, FLOW = 'deterministic', 'flow'
EMBEDDED = ('', DETERMINISTIC, FLOW)  # need no diffusers
DTYPES = ('auto', 'float32', 'bfloat16', 'float16')
OFFLOADS = ('none', 'model', 'sequential')


class RendererError(ValueError):
    """A renderer that cannot be used; the text names the remedy."""


class RendererWarning(UserWarning):
    """The deterministic renderer stands in for one that cannot be used now."""


class Renderer(Protocol):
    """Draws images; it is pure: the same frames and steps give the same images."""

    @property
    def name(self) -> str:
        """What draws, for people."""
        ...

    @property
    def default_steps(self) -> int:
        """Steps where none are asked for."""
        ...

    @property
    def max_steps(self) -> int:
        """The most steps."""
        ...

    def draw(
        self,
        networks: 'GroundNetworks',
        frames: 'Sequence[ReceivedFrame]',
        out: 'Synthesis',
        steps: int,
    ) -> 'NDArray[np.float32]':
        """
        Draw frames of one working size in ``steps`` steps, 1 or more.

        ``out``: the prediction of the frames, as a batch. Returns float32 (N, H, W, 3), 0..255.
        """
        ...


@dataclass(frozen=True)
class RendererOptions:
    """
    Which renderer, and how a pretrained one is loaded and run.

    ``model``: '' (the same as ``flow``), ``deterministic``, ``flow``, or a
    folder or hub id of a diffusers pipeline; the other fields are for the latter. ``revision``: of
    the hub, a commit; ``offline``: take what is on this machine; ``dtype``: one of
    :data:`DTYPES`; ``offload``: one of :data:`OFFLOADS`; ``guidance``: negative for the model's
    own; ``lora``, ``controlnet``, ``tiny_vae``: folder or hub id of such weights, '' for none;
    ``mtgc``: folder that ``gsc train mtgc`` wrote, '' for none; ``prompt``: ``{caption}`` stands
    for the frame's; ``pull``: 0..1, how strongly each step is pulled back to what was sent. Raises
    ``ValueError`` for values outside these.
    """

    model: str = ''
    revision: str = ''
    offline: bool = False
    dtype: str = 'auto'
    offload: str = 'none'
    compile: bool = False
    attention_slicing: bool = False
    guidance: float = -1.0
    lora: str = ''
    controlnet: str = ''
    tiny_vae: str = ''
    mtgc: str = ''
    prompt: str = "a photo from a robot's camera, {caption}"
    pull: float = 1.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ('dtype', self.dtype, DTYPES),
            ('offload', self.offload, OFFLOADS),
        ):
            if value not in known:
                raise ValueError(f'renderer: {name} {value!r} is not one of {", ".join(known)}')
        if not 0 <= self.pull <= 1:
            raise ValueError(f'renderer: pull {self.pull:g} is outside 0..1')

    @property
    def embedded(self) -> bool:
        """Whether the renderer is one of this package, which needs no diffusers."""
        return self.model in EMBEDDED


class Deterministic:
    """Draws what was sent and nothing else; takes no steps."""

    name, default_steps, max_steps = DETERMINISTIC, 0, 0

    def draw(
        self,
        networks: 'GroundNetworks',
        frames: 'Sequence[ReceivedFrame]',
        out: 'Synthesis',
        steps: int,
    ) -> 'NDArray[np.float32]':
        """Draw the prediction."""
        return networks.reconstructor.draw(out)


class Flow:
    """
    Draws by the shipped generator.

    A rectified flow near the prediction (:mod:`gsc_ros.models.flow`), and the generative decoder
    where the weights have one. One step of the flow is the prediction.
    """

    name, default_steps, max_steps = FLOW, 1, 100

    def draw(
        self,
        networks: 'GroundNetworks',
        frames: 'Sequence[ReceivedFrame]',
        out: 'Synthesis',
        steps: int,
    ) -> 'NDArray[np.float32]':
        """Sample latents near the prediction, and draw them."""
        from gsc_ros.codec.conditions import noise, words
        from gsc_ros.models.flow import sample

        start = noise(frames, out.latent)
        device = out.latent.device
        latent = sample(
            networks.flow, out.latent, out.features, words(frames, device), start, steps
        )
        return networks.reconstructor.draw(out, latent, networks.generator)


def load(
    renderer: str | RendererOptions | Renderer = '',
    device: str = 'auto',
    note: Callable[[str], None] | None = None,
) -> Renderer:
    """
    Load a renderer, or return one that is loaded.

    ``note``: is told what a long load does, and the licence of the weights. Raises
    :class:`RendererError` for a model that cannot be used.
    """
    options = RendererOptions(renderer) if isinstance(renderer, str) else renderer
    if not isinstance(options, RendererOptions):
        return options
    if options.model == DETERMINISTIC:
        return Deterministic()
    if options.embedded:
        return Flow()
    found: Renderer = load_foundation('loading').load(options, device, note)
    return found


def load_foundation(module: str) -> Any:
    """
    Import a module of :mod:`gsc_ros.codec.foundation`.

    Raises :class:`RendererError` where the extra is not installed.
    """
    try:
        for name in ('diffusers', 'transformers', 'accelerate'):
            import_module(name)
    except ImportError as error:
        raise RendererError(
            f'a pretrained renderer needs the extra foundation ({error}). Install it: '
            'pip install "gsc_ros[foundation]".'
        ) from error
    return import_module(f'gsc_ros.codec.foundation.{module}')


def load_or_fall_back(
    renderer: str | RendererOptions | Renderer = '',
    device: str = 'auto',
    note: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
    background: bool = False,
) -> Renderer:
    """
    Load a renderer; while it cannot be used, the deterministic one stands in.

    ``warn``: is told why, a :class:`RendererWarning` by default; ``background``: load while images
    are drawn already.
    """
    options = RendererOptions(renderer) if isinstance(renderer, str) else renderer
    if not isinstance(options, RendererOptions) or options.embedded:
        return load(options, device, note)
    from gsc_ros.codec.fallback import FallbackRenderer

    return FallbackRenderer(
        options.model, lambda: load(options, device, note), warn or _warn, background
    )


def _warn(text: str) -> None:
    warnings.warn(text, RendererWarning, stacklevel=5)


def steps_of(renderer: Renderer, steps: int | None) -> int:
    """Return the steps to take, None for the renderer's own; raises ``ValueError``."""
    steps = renderer.default_steps if steps is None else steps
    if steps and not renderer.max_steps:
        raise ValueError(f'renderer {renderer.name} takes no steps: give 0, or renderer {FLOW}')
    if not 0 <= steps <= renderer.max_steps:
        raise ValueError(f'steps {steps} is outside 0..{renderer.max_steps}')
    return steps
