"""The networks and the prior that a codec is made of, loaded together or made untrained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gsc_ros.codec import prior
from gsc_ros.codec.analysis import Analyser
from gsc_ros.codec.caption import VOCABULARY
from gsc_ros.codec.prior import Prior
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.flow import FlowNet
from gsc_ros.models.tokenizer import Tokenizer
from gsc_ros.models.weights import FOLDER, Net, fingerprint, frozen, load
from gsc_ros.perception.model import PerceptionModel

RANDOM = 'random'
FILES = {
    'autoencoder': 'autoencoder.safetensors',
    'tokenizer': 'tokenizer.safetensors',
    'flow': 'flow.safetensors',
}


@dataclass
class Networks:
    """The robot's side, and what the ground draws with."""

    robot: Analyser
    decoder: nn.Module
    flow: FlowNet
    prior: Prior
    fingerprint: int

    @classmethod
    def load(cls, weights: str | Path | None = None) -> 'Networks':
        """Load from a folder, the shipped one (None), or make untrained ones (``'random'``)."""
        if weights == RANDOM:
            return cls.random()
        folder = FOLDER if weights is None else Path(weights)
        robot, decoder = load_robot(folder)
        # Perception is the robot's alone and may differ; what both ends decode with may not.
        shared = [folder / name for name in (*FILES.values(), prior.WEIGHTS)]
        return cls(
            robot,
            decoder,
            _restore(FlowNet, folder / FILES['flow']),
            Prior.load(folder / prior.WEIGHTS),
            fingerprint(shared),
        )

    @classmethod
    def random(cls, seed: int = 0) -> 'Networks':
        """Make the real architecture with random weights of a fixed seed and a uniform prior."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            autoencoder = frozen(Autoencoder())
            tokenizer = frozen(Tokenizer())
            flow = frozen(FlowNet(VOCABULARY, guidance=tokenizer.config['widths'][0]))
            perception = PerceptionModel.random()
        robot = Analyser(perception, autoencoder.encoder, tokenizer)
        return cls(robot, autoencoder.decoder, flow, Prior.uniform(), seed)


def load_robot(folder: Path) -> tuple[Analyser, nn.Module]:
    """Load what looks at images, and the decoder of its latent."""
    autoencoder = _restore(Autoencoder, folder / FILES['autoencoder'])
    tokenizer = _restore(Tokenizer, folder / FILES['tokenizer'])
    return Analyser(
        PerceptionModel.load(folder), autoencoder.encoder, tokenizer
    ), autoencoder.decoder


def _restore(kind: Callable[..., Net], path: Path) -> Net:
    state, config = load(path)
    try:
        net = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
        net.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f'{path}: not the weights of this network ({error})') from error
    return frozen(net)
