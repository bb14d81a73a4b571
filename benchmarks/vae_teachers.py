"""
TAEF2, the tiny autoencoder of FLUX.2's latents, of a data folder: ``gsc train entropy --vae
benchmarks/vae_teachers.py``.

The folder ``$GSC_DATA/teachers`` holds ``teachers.py`` and its weights.
"""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

if 'GSC_DATA' not in os.environ:
    raise ValueError('set GSC_DATA to the folder that holds teachers/teachers.py')
sys.path.insert(0, str(Path(os.environ['GSC_DATA']) / 'teachers'))

import teachers

FILES = (Path(teachers.HERE) / 'taef2_fp16.safetensors',)


class Taef2:
    """Images in 0..1 to latents of 32 channels at an eighth of the size, and back."""

    def __init__(self, device: torch.device) -> None:
        encoder, decoder = teachers.load_taef2()
        self._encoder = encoder.to(device).requires_grad_(False)
        self._decoder = decoder.to(device).requires_grad_(False)

    def encode(self, images: Tensor) -> Tensor:
        """Encode."""
        return self._encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode."""
        return self._decoder(latents)


def load_vae(device: torch.device) -> Taef2:
    """Load both halves."""
    return Taef2(device)
