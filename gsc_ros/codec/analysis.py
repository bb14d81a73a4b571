"""The robot's side of the codec: all there is to say of an image, as symbols."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gsc_ros.codec.caption import Caption, describe, median_depth
from gsc_ros.codec.coarse_depth import coarse_depth_of
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.layout import WEIGHTS, coarse_of, fine_of
from gsc_ros.codec.notes import Notes, Timing
from gsc_ros.codec.planes import TOKENS, FrameSymbols
from gsc_ros.labels import UNLABELLED
from gsc_ros.models.layers import to_tensor
from gsc_ros.models.tokenizer import LEVELS, Tokenizer, to_symbols
from gsc_ros.perception.content import find_loss
from gsc_ros.perception.model import PerceptionModel


@dataclass(frozen=True)
class Analysed:
    """
    What there is to say of an image.

    ``symbols``: all of it; ``scale``: median depth in metres, NaN where nothing but sky is seen;
    ``latent``: float32 (1, 16, H/16, W/16), which the symbols are to say as well as they can;
    ``image``: uint8 (H, W, 3) at the working size; ``importance``: float64 (H/16, W/16), what an
    error in a cell weighs.
    """

    symbols: FrameSymbols
    scale: float
    latent: Tensor
    image: NDArray[np.uint8]
    importance: NDArray[np.float64]


@dataclass
class Analyser:
    """Perception, encoder and tokenizer at work on one image."""

    perception: PerceptionModel
    encoder: nn.Module
    tokenizer: Tokenizer

    @torch.inference_mode()
    def analyse(self, rgb: NDArray[np.uint8], timing: Timing | None = None) -> Analysed:
        """Look at an image uint8 (H, W, 3); ``timing``: how it lies in time, None for now."""
        size = coding_size(rgb.shape[1], rgb.shape[0])
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        view = self.perception.predict(small)
        shown = classes = view.classes
        metres = view.metres
        notes = Notes(find_loss(small), timing or Timing(), view.sky_doubtful)
        if notes.loss is not None:
            lost = notes.loss.cells.repeat(2, 0).repeat(2, 1)
            shown = np.where(lost, np.uint8(UNLABELLED), classes)
            metres[lost] = np.nan
        latent = self.encoder(to_tensor(torch.from_numpy(small)[None]))
        seen = torch.from_numpy(classes)[None]
        fine = fine_of(seen)
        planes = {
            'coarse': coarse_of(fine).numpy(),
            'coarse_depth': coarse_depth_of(torch.from_numpy(metres)[None], seen).numpy(),
            'fine': fine.numpy(),
        }
        for name, tokens, levels in zip(
            TOKENS, self.tokenizer.analyse(latent), LEVELS, strict=True
        ):
            planes[name] = to_symbols(tokens, levels)[0].numpy()
        symbols = FrameSymbols(
            Caption() if notes.blind else describe(shown, metres),
            {k: v.astype(np.int8) for k, v in planes.items()},
            notes=notes or None,
        )
        importance = WEIGHTS[planes['fine'][0]].astype(np.float64)
        importance[symbols.lost('fine')] = 0
        return Analysed(symbols, median_depth(metres, classes), latent, small, importance)
