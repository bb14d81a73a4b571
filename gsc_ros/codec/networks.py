"""The networks and tables that a codec is made of, loaded together or made untrained."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gsc_ros.codec import tables
from gsc_ros.codec.caption import VOCABULARY
from gsc_ros.codec.tables import Tables
from gsc_ros.models.autoencoder import Autoencoder
from gsc_ros.models.flow import FlowNet
from gsc_ros.models.tokenizer import Tokenizer
from gsc_ros.models.weights import FOLDER, fingerprint, frozen, load
from gsc_ros.perception.eye import Eye

RANDOM = 'random'
FILES = {
    'autoencoder': 'autoencoder.safetensors',
    'tokenizer': 'tokenizer.safetensors',
    'flow': 'flow.safetensors',
}


@dataclass
class Networks:
    """What both ends share, and the robot's eye."""

    eye: Eye
    encoder: nn.Module
    decoder: nn.Module
    tokenizer: Tokenizer
    flow: FlowNet
    tables: Tables
    fingerprint: int

    @classmethod
    def load(cls, weights: str | Path | None = None) -> 'Networks':
        """Load from a folder, the shipped one (None), or make untrained ones (``'random'``)."""
        if weights == RANDOM:
            return cls.random()
        folder = FOLDER if weights is None else Path(weights)
        autoencoder = _restore(Autoencoder, folder / FILES['autoencoder'])
        tokenizer = _restore(Tokenizer, folder / FILES['tokenizer'])
        flow = _restore(FlowNet, folder / FILES['flow'])
        # The eye is the robot's own and may differ; what both ends decode with may not.
        shared = [folder / name for name in (*FILES.values(), tables.WEIGHTS)]
        return cls(
            Eye.load(folder),
            autoencoder.encoder,
            autoencoder.decoder,
            tokenizer,
            flow,
            Tables.load(folder / tables.WEIGHTS),
            fingerprint(shared),
        )

    @classmethod
    def random(cls, seed: int = 0) -> 'Networks':
        """Make the real architecture with random weights of a fixed seed and uniform tables."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            autoencoder = Autoencoder()
            tokenizer = Tokenizer()
            flow = FlowNet(VOCABULARY, guidance=tokenizer.config['widths'][0])
            robot = Eye.random()
        for net in (autoencoder, tokenizer, flow):
            frozen(net)
        return cls(
            robot,
            autoencoder.encoder,
            autoencoder.decoder,
            tokenizer,
            flow,
            Tables.uniform(),
            seed,
        )


def _restore(kind: type, path: Path):  # type: ignore[no-untyped-def]
    state, config = load(path)
    try:
        net = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
        net.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f'{path}: not the weights of a {kind.__name__} ({error})') from error
    return frozen(net)
