"""From symbols to the deterministic image, which both ends can work out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gsc_ros.codec.planes import TOKENS, FrameSymbols
from gsc_ros.models.pseudo_words import PseudoWords
from gsc_ros.models.tokenizer import (
    LEVELS,
    UNKNOWN_CLASS,
    UNKNOWN_DEPTH,
    Predictor,
    Synthesis,
    from_symbols,
)


@dataclass
class Reconstructor:
    """
    The networks that turn symbols into the deterministic image.

    The ground renders with them; the robot works out with them what the ground will see.
    ``latent_std``: (1, 16, 1, 1), the unit of the predictor's latent; ``words``: what reads
    pseudo-words, None where frames have none.
    """

    predictor: Predictor
    latent_std: Tensor
    decoder: nn.Module
    words: PseudoWords | None = None

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.latent_std.device

    def predict(self, *frames: FrameSymbols) -> Synthesis:
        """Predict latent, features, classes and depth of frames of one size, as a batch."""

        def grids(name: str) -> NDArray[np.int64]:
            return np.stack([symbols.planes[name] for symbols in frames]).astype(np.int64)

        def put(array: NDArray) -> Tensor:
            return torch.from_numpy(array).to(self.device)

        tokens, masks = [], []
        for name, n in zip(TOKENS, LEVELS, strict=True):
            tokens.append(from_symbols(put(grids(name)), n))
            received = np.stack([symbols.received(name) for symbols in frames])
            masks.append(put(received).float()[:, None])
        coarse, fine, coarse_depth = (
            grids(name)[:, 0] for name in ('coarse', 'fine', 'coarse_depth')
        )
        layout = np.where(fine < 0, coarse.repeat(2, 1).repeat(2, 2), fine)
        layout[layout < 0] = UNKNOWN_CLASS
        coarse_depth = np.where(coarse_depth < 0, UNKNOWN_DEPTH, coarse_depth)
        y, far = self.predictor.read(tokens, masks, put(layout), put(coarse_depth))
        return self.predictor.tell(self._told(y, frames), far)

    def _told(self, features: Tensor, frames: Sequence[FrameSymbols]) -> Tensor:
        """Add to features (N, F, h, w) what the pseudo-words of frames say."""
        counts = [len(symbols.pseudo_words) for symbols in frames]
        if self.words is None or not any(counts):
            return features
        features = features.clone()
        for count in set(counts) - {0}:
            rows = [row for row, own in enumerate(counts) if own == count]
            said = np.stack([frames[row].pseudo_words for row in rows]).astype(np.int64)
            read = self.words.read(features[rows], torch.from_numpy(said).to(self.device))
            features[rows] = read.to(features.dtype)
        return features

    def draw(
        self,
        out: Synthesis,
        latent: Tensor | None = None,
        decoder: nn.Module | None = None,
    ) -> NDArray[np.float32]:
        """
        Draw the images of a prediction, or of latents near it, by the decoder or another one.

        Returns float32 (N, H, W, 3), 0..255.
        """
        latent = out.latent if latent is None else latent
        images = (decoder or self.decoder)(latent * self.latent_std, out.features, out.maps)
        images = (images.float() * 127.5 + 127.5).clamp(0, 255)
        return np.asarray(images.permute(0, 2, 3, 1).contiguous().cpu().numpy())
