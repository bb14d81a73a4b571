"""
The networks and the prior of each half, loaded or made untrained.

The robot runs perception, encoder and the tokenizer's analysis; the ground runs the flow and the
generative decoder. Both run the reconstructor, the robot to know what the ground will see, and
both have the prior.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gsc_ros.codec import device as devices
from gsc_ros.codec import prior, pseudo_words
from gsc_ros.codec.analysis import Analyser
from gsc_ros.codec.caption import VOCABULARY
from gsc_ros.codec.prior import Prior
from gsc_ros.codec.synthesis import Reconstructor
from gsc_ros.models import manifest
from gsc_ros.models.autoencoder import Autoencoder, Decoder, Encoder
from gsc_ros.models.flow import FlowNet
from gsc_ros.models.objects import ObjectNet
from gsc_ros.models.pseudo_words import PseudoWords
from gsc_ros.models.tokenizer import Predictor, Tokenizer
from gsc_ros.models.trust import TrustNet
from gsc_ros.models.weights import FOLDER, frozen, load, restore
from gsc_ros.perception.model import WEIGHTS as PERCEPTION
from gsc_ros.perception.model import PerceptionModel

RANDOM = 'random'
FILES = {
    'autoencoder': 'autoencoder.safetensors',
    'tokenizer': 'tokenizer.safetensors',
    'flow': 'flow.safetensors',
}
# What both ends decode with. Perception is the robot's own and may differ.
SHARED = (*FILES.values(), prior.WEIGHTS)
TRUST = 'trust.safetensors'
OBJECTS = 'objects.safetensors'
GENERATOR = 'generator.safetensors'
Weights = str | Path | None


@dataclass(frozen=True)
class RobotNetworks:
    """What the robot runs."""

    analyser: Analyser
    reconstructor: Reconstructor
    prior: Prior
    fingerprint: int

    @classmethod
    def load(
        cls, weights: Weights = None, device: str = 'auto', worded: bool = False
    ) -> 'RobotNetworks':
        """
        Load from a folder, the shipped one (None), or make untrained ones (``'random'``).

        ``worded``: with the networks of pseudo-words, where the folder has some.
        """
        if weights == RANDOM:
            return Networks.random(device=device).robot
        folder, torch_device = _folder(weights), devices.resolve(device)
        words = _load_words(folder, torch_device) if worded else None
        manifest.check(folder, (*SHARED, PERCEPTION, OBJECTS))
        analyser = load_analyser(folder, device)
        analyser.kinds, analyser.words = True, words
        return cls(
            analyser,
            Reconstructor(
                analyser.tokenizer.predictor,
                analyser.tokenizer.latent_std,
                restore(Decoder, folder / FILES['autoencoder'], 'decoder').to(torch_device),
                words,
            ),
            _load_prior(folder, words),
            manifest.fingerprint(folder, _shared(words)),
        )


@dataclass(frozen=True)
class GroundNetworks:
    """
    What the ground runs.

    ``generator``: the decoder that draws what the flow makes, with texture of its own; None for
    weights without: the deterministic one draws then.
    """

    reconstructor: Reconstructor
    flow: FlowNet
    prior: Prior
    fingerprint: int
    trust: TrustNet | None = None
    generator: nn.Module | None = None

    @classmethod
    def load(
        cls, weights: Weights = None, device: str = 'auto', worded: bool = False
    ) -> 'GroundNetworks':
        """Load; arguments as of :meth:`RobotNetworks.load`."""
        torch_device = devices.resolve(device)
        if weights == RANDOM:
            with torch.random.fork_rng(devices=[]):
                return _random(0, torch_device)[0]
        folder = _folder(weights)
        words = _load_words(folder, torch_device) if worded else None
        manifest.check(folder, (*SHARED, TRUST, GENERATOR))
        tokens = folder / FILES['tokenizer']
        return cls(
            Reconstructor(
                restore(Predictor, tokens, 'predictor').to(torch_device),
                load(tokens, 'latent_std')[0]['latent_std'].to(torch_device),
                restore(Decoder, folder / FILES['autoencoder'], 'decoder').to(torch_device),
                words,
            ),
            restore(FlowNet, folder / FILES['flow']).to(torch_device),
            _load_prior(folder, words),
            manifest.fingerprint(folder, _shared(words)),
            load_trust(folder),
            _load_generator(folder, torch_device),
        )


@dataclass(frozen=True)
class Networks:
    """Both sets; what both halves run is there once."""

    robot: RobotNetworks
    ground: GroundNetworks

    @classmethod
    def load(
        cls, weights: Weights = None, device: str = 'auto', worded: bool = False
    ) -> 'Networks':
        """Load; arguments as of :meth:`RobotNetworks.load`."""
        if weights == RANDOM:
            return cls.random(device=device)
        robot = RobotNetworks.load(weights, device, worded)
        folder, torch_device = _folder(weights), devices.resolve(device)
        ground = GroundNetworks(
            robot.reconstructor,
            restore(FlowNet, folder / FILES['flow']).to(torch_device),
            robot.prior,
            robot.fingerprint,
            load_trust(folder),
            _load_generator(folder, torch_device),
        )
        return cls(robot, ground)

    @classmethod
    def random(cls, seed: int = 0, device: str = 'auto') -> 'Networks':
        """Make the real architecture with random weights of a fixed seed and a uniform prior."""
        torch_device = devices.resolve(device)
        with torch.random.fork_rng(devices=[]):
            ground, autoencoder, tokenizer = _random(seed, torch_device)
            perception = PerceptionModel.random()  # last, for the ground does without
        words = ground.reconstructor.words
        moved = _moved(perception, torch_device)
        analyser = Analyser(moved, autoencoder.encoder, tokenizer, words=words)
        robot = RobotNetworks(analyser, ground.reconstructor, ground.prior, seed)
        return cls(robot, ground)


def load_trust(folder: Path) -> TrustNet | None:
    """Load what judges trust, on the CPU; None for a folder without: then nothing is proven."""
    path = folder / TRUST
    return restore(TrustNet, path) if path.is_file() else None


def load_objects(folder: Path) -> ObjectNet | None:
    """Load what judges objects, on the CPU; None for a folder without: then none is stated."""
    path = folder / OBJECTS
    return restore(ObjectNet, path) if path.is_file() else None


def _load_generator(folder: Path, torch_device: torch.device) -> Decoder | None:
    """Load the generative decoder; None for a folder without."""
    path = folder / GENERATOR
    return restore(Decoder, path).to(torch_device) if path.is_file() else None


def _load_words(folder: Path, torch_device: torch.device) -> PseudoWords | None:
    """Load the networks of pseudo-words; None for a folder without: then frames have none."""
    path = folder / pseudo_words.WEIGHTS
    if not path.is_file():
        return None
    manifest.check(folder, (pseudo_words.WEIGHTS,))
    return restore(PseudoWords, path).to(torch_device)


def _load_prior(folder: Path, words: PseudoWords | None) -> Prior:
    """Load the prior, with the tables of pseudo-words."""
    loaded = Prior.load(folder / prior.WEIGHTS)
    if words is not None:
        loaded.pseudo_words = words.tables.cpu().numpy()
    return loaded


def _shared(words: PseudoWords | None) -> tuple[str, ...]:
    """Return the files that both ends must share."""
    return SHARED if words is None else (*SHARED, pseudo_words.WEIGHTS)


def load_analyser(weights: Weights = None, device: str = 'auto') -> Analyser:
    """
    Load what the robot alone runs, but for the kind of scene; training needs no more.

    Without a kind every image has a class layout. Raises ``ValueError`` for perception that does
    not tell hazards.
    """
    folder, torch_device = _folder(weights), devices.resolve(device)
    perception = PerceptionModel.load(folder)
    if perception.net.hazards is None:
        raise ValueError(
            f'{folder / PERCEPTION}: weights without the head that tells hazards; '
            f'`gsc train hazards --weights {folder}` adds it'
        )
    return Analyser(
        _moved(perception, torch_device),
        restore(Encoder, folder / FILES['autoencoder'], 'encoder').to(torch_device),
        restore(Tokenizer, folder / FILES['tokenizer']).to(torch_device),
        objects=load_objects(folder),
    )


def _folder(weights: Weights) -> Path:
    return FOLDER if weights is None else Path(weights)


def _moved(perception: PerceptionModel, torch_device: torch.device) -> PerceptionModel:
    perception.net.to(torch_device)
    return perception


def _random(
    seed: int, torch_device: torch.device
) -> tuple[GroundNetworks, Autoencoder, Tokenizer]:
    torch.manual_seed(seed)
    autoencoder = frozen(Autoencoder()).to(torch_device)
    tokenizer = frozen(Tokenizer()).to(torch_device)
    flow = frozen(FlowNet(VOCABULARY, guidance=tokenizer.config['widths'][0])).to(torch_device)
    with torch.random.fork_rng(devices=[]):  # what is made later stays as it was
        words = frozen(PseudoWords()).to(torch_device)
        generator = frozen(Decoder()).to(torch_device)
    reconstructor = Reconstructor(
        tokenizer.predictor, tokenizer.latent_std, autoencoder.decoder, words
    )
    ground = GroundNetworks(reconstructor, flow, Prior.uniform(), seed, generator=generator)
    return ground, autoencoder, tokenizer
