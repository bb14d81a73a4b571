"""Tiny autoencoders of diffusers with random weights, and tables trained on them."""

import importlib.util

import numpy as np
import pytest
import torch

from gsc_ros.codec.foundation.vae_source import VaeSource
from gsc_ros.training import entropy
from gsc_ros.training.loop import Settings

LADDER = ((2, 4.0), (6, 2.0), (12, 1.0), (20, 0.5), (20, 0.1))


TRAINABLE = importlib.util.find_spec('compressai') is not None
needs_compressai = pytest.mark.skipif(not TRAINABLE, reason='needs CompressAI: Python 3.10..3.12')


def scene(seed, size=(64, 96)):
    """An image uint8 (H, W, 3) of soft shapes and some texture."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 6, 3)).astype(np.float32)
    y = np.linspace(0, 3, size[0]).astype(int)
    x = np.linspace(0, 5, size[1]).astype(int)
    return (0.8 * small[y][:, x] + rng.normal(25, 12, (*size, 3))).clip(0, 255).astype(np.uint8)


def save_vae(folder, kind='AutoencoderTiny', seed=0):
    """Save an autoencoder, 4 channels, a factor of 4; returns its folder."""
    diffusers = pytest.importorskip('diffusers', reason='needs the extra foundation')

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == 'AutoencoderTiny':
            model = diffusers.AutoencoderTiny(
                encoder_block_out_channels=(8, 8, 8),
                decoder_block_out_channels=(8, 8, 8),
                num_encoder_blocks=(1, 1, 1),
                num_decoder_blocks=(1, 1, 1),
            )
        else:
            model = diffusers.AutoencoderKL(
                down_block_types=('DownEncoderBlock2D',) * 3,
                up_block_types=('UpDecoderBlock2D',) * 3,
                block_out_channels=(8, 8, 8),
                norm_num_groups=4,
                latent_channels=4,
                shift_factor=0.1,
            )
        model.save_pretrained(folder)
    return folder


def save_images(folder, count=10):
    """Write images; returns the folder."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        cv2.imwrite(str(folder / f'{seed}.png'), scene(100 + seed))
    return folder


def train_tables(folder, vae, images, ladder=LADDER, steps=30):
    """Train tables for an autoencoder; returns their folder."""
    settings = Settings(folder, steps=steps, learning_rate=0.02, device='cpu')
    source = VaeSource(str(vae))
    return entropy.train(images, settings, vae=source, ladder=ladder)


def make(folder, kind='AutoencoderTiny', seed=0):
    """Make an autoencoder with its tables; returns the folder of preset foundation."""
    if not TRAINABLE:
        pytest.skip('needs CompressAI: Python 3.10..3.12')
    vae = save_vae(folder / 'vae', kind, seed)
    return train_tables(folder / 'tables', vae, save_images(folder / 'images'))
