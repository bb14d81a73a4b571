"""The robot's side of the codec: all there is to say of a picture, as symbols."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gsc_ros.codec.caption import describe, median_depth
from gsc_ros.codec.grid import coding_size
from gsc_ros.codec.layout import coarse_of, fine_of
from gsc_ros.codec.relief import relief_of
from gsc_ros.codec.streams import FrameSymbols
from gsc_ros.models.layers import to_tensor
from gsc_ros.models.tokenizer import LEVELS, Tokenizer, to_symbols
from gsc_ros.perception.eye import Eye


@dataclass
class Analyser:
    """Eye, encoder and tokenizer at work on one picture."""

    eye: Eye
    encoder: nn.Module
    tokenizer: Tokenizer

    @torch.inference_mode()
    def analyse(self, rgb: NDArray[np.uint8]) -> tuple[FrameSymbols, float]:
        """
        Say all there is to say of a picture uint8 (H, W, 3), and its median depth in metres.

        The depth is NaN where nothing but sky is seen.
        """
        size = coding_size(rgb.shape[1], rgb.shape[0])
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        classes, metres = self.eye.look(small)
        latent = self.encoder(to_tensor(torch.from_numpy(small)[None]))
        tokens = self.tokenizer.analyse(latent)
        fine = fine_of(classes)
        symbols = FrameSymbols(
            describe(classes, metres),
            coarse_of(fine),
            relief_of(metres, classes),
            fine,
            [
                to_symbols(t, n)[0].numpy().astype(np.int8)
                for t, n in zip(tokens, LEVELS, strict=True)
            ],
        )
        return symbols, median_depth(metres, classes)
